//! What is done to its end, whether or not anybody still waits for it.

use std::future::Future;
use std::time::Duration;

use foundation::database::position::carried;
use tracing::Instrument as _;

use super::ActionError;
use crate::passwords::Attempt;

/// Does something to its end, though its client hang up or its time be over meanwhile. It belongs to the same
/// request, for the log and for where its transactions end. It holds its place among the attempts until then, as
/// nothing else bounds what nobody waits for.
pub(super) async fn to_its_end<T: Send + 'static>(
    attempt: Attempt,
    work: impl Future<Output = Result<T, ActionError>> + Send + 'static,
) -> Result<T, ActionError> {
    let work = async move {
        let _attempt = attempt;
        work.await
    };
    match tokio::spawn(carried(work).in_current_span()).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            // It is told as one of the request.
            Ok(panic) => std::panic::resume_unwind(panic),
            // The program ends.
            Err(_) => Err(ActionError::Busy { retry_after: Duration::from_secs(1) }),
        },
    }
}
