//! Questions before what cannot be taken back.

use std::io::{IsTerminal, Write};

use crate::error::MigratorError;
use crate::stop::Stop;

/// Asks on the terminal, and takes the answer without the end of its line. A signal ends the wait.
///
/// # Errors
/// [`MigratorError::Usage`] with `without_terminal` when there is none.
pub(super) async fn ask(
    question: &str,
    without_terminal: &str,
    stop: &Stop,
) -> Result<String, MigratorError> {
    if !std::io::stdin().is_terminal() {
        return Err(MigratorError::Usage(without_terminal.to_owned()));
    }
    let _nobody_reads = write!(std::io::stderr(), "{question}");
    let reading = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map(|_| answer)
    });
    let unread = |error| MigratorError::File(error, "the answer cannot be read".to_owned());
    tokio::select! {
        () = stop.requested() => Err(MigratorError::Stopped),
        answer = reading => match answer {
            Ok(answer) => Ok(answer.map_err(unread)?.trim().to_owned()),
            Err(error) => Err(unread(std::io::Error::other(error))),
        },
    }
}
