//! Questions before what cannot be taken back.

use std::io::{IsTerminal, Write};

use foundation::database::DatabaseUrl;

use crate::error::MigratorError;
use crate::stop::Stop;

/// Asks on the terminal, and takes the answer without the end of its line. A signal ends the wait.
///
/// # Errors
/// [`MigratorError::Usage`] with `unanswered` when there is no terminal, or no answer comes from it.
pub(super) async fn ask(question: &str, unanswered: &str, stop: &Stop) -> Result<String, MigratorError> {
    let unanswered = || MigratorError::Usage(unanswered.to_owned());
    if !std::io::stdin().is_terminal() {
        return Err(unanswered());
    }
    let _nobody_reads = write!(std::io::stderr(), "{question}");
    let reading = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map(|read| (read, answer))
    });
    let unread = |error| MigratorError::File(error, "the answer cannot be read".to_owned());
    tokio::select! {
        () = stop.requested() => Err(MigratorError::Stopped),
        answer = reading => match answer {
            Ok(Ok((0, _))) => Err(unanswered()),
            Ok(Ok((_, answer))) => Ok(answer.trim().to_owned()),
            Ok(Err(error)) => Err(unread(error)),
            Err(error) => Err(unread(std::io::Error::other(error))),
        },
    }
}

/// Asks for the name of the database before a command that would, for example, `delete` everything in it.
///
/// # Errors
/// [`MigratorError::Usage`] when it is not given.
pub(super) async fn ask_for_name(
    command: &str,
    verb: &str,
    url: &DatabaseUrl,
    stop: &Stop,
) -> Result<(), MigratorError> {
    let unanswered =
        format!("{command} would {verb} everything in {url}; there is no terminal to ask on, so say --yes");
    let name = url.name();
    let question =
        format!("This {verb}s everything in {url}. Type the name of the database ({name}) to go on: ");
    if ask(&question, &unanswered, stop).await? == name {
        return Ok(());
    }
    Err(MigratorError::Usage("that is not its name; nothing was changed".to_owned()))
}
