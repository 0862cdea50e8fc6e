//! What is done to its end, whether or not anybody still waits for it.

use std::future::Future;
use std::time::Duration;

use foundation::database::position::carried;
use tracing::Instrument as _;

use super::ActionError;

/// Does something to its end, though its client hang up or its time be over meanwhile. It belongs to the same
/// request, for the log and for where its transactions end.
pub(super) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, ActionError>> + Send + 'static,
) -> Result<T, ActionError> {
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
