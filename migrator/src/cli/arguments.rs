//! The command line as it was typed, and what is wrong with it.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use foundation::exit::Exit;
use foundation::settings::{Environment, Section as _};
use serde_json::json;

use super::output::{Output, say};
use super::{Cli, Format};
use crate::error::MigratorError;
use crate::settings::{MigratorSettings, TERMINATION_LOG};

impl Cli {
    /// Reads the command line. What is wrong with it is told as any other failure, also to a program.
    ///
    /// # Errors
    /// The exit code with which the program ends, when it was asked for help, or for what there is not.
    pub fn from_arguments(arguments: &[OsString]) -> Result<Self, Exit> {
        let error = match Self::try_parse_from(arguments) {
            Ok(cli) => return Ok(cli),
            Err(error) => error,
        };
        let printed = error.print();
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match printed {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    let error = MigratorError::File(error, "the help could not be written".to_owned());
                    say(&error);
                    Err(error.exit())
                }
                _ => Err(Exit::Success),
            },
            _ => {
                let format = if asks_for_json(arguments) { Format::Json } else { Format::Text };
                let output = Output { format, termination_log: termination_log() };
                let message = message(&error.render().to_string());
                Err(output.failed(&command(arguments), Exit::Usage, &message, &[], &json!({})))
            }
        }
    }
}

/// Where the last words go while the settings are not known to be right.
pub(super) fn termination_log() -> PathBuf {
    let log = MigratorSettings::read(&mut Environment::from_process()).termination_log;
    if log.as_os_str().is_empty() { TERMINATION_LOG.into() } else { log }
}

fn asks_for_json(arguments: &[OsString]) -> bool {
    let is = |argument: &OsString, word: &str| argument.as_os_str() == OsStr::new(word);
    let follows = arguments.windows(2).any(|pair| is(&pair[0], "--format") && is(&pair[1], "json"));
    follows || arguments.iter().any(|it| is(it, "--format=json"))
}

/// The command that was meant, as far as it can be seen.
fn command(arguments: &[OsString]) -> String {
    let whole = Cli::command();
    let known = |it: &&str| whole.get_subcommands().any(|command| command.get_name() == *it);
    let words = arguments.iter().skip(1).filter_map(|it| it.to_str());
    words.into_iter().find(known).unwrap_or("arguments").to_owned()
}

/// What is wrong, and what to try instead, without the usage that is for people.
fn message(rendered: &str) -> String {
    let is_meant = |it: &&str| !it.starts_with("Usage:") && !it.starts_with("For more information");
    let paragraphs = rendered.trim_start_matches("error:").split("\n\n").filter(is_meant);
    let on_one_line = |it: &str| it.split_whitespace().collect::<Vec<_>>().join(" ");
    paragraphs.map(on_one_line).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_seen() {
        for (line, json, meant) in [
            ("migrator down --to -1 --format json", true, "down"),
            ("migrator --format=json dwon", true, "arguments"),
            ("migrator --format text up --bogus", false, "up"),
            ("migrator stamp", false, "stamp"),
        ] {
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!((asks_for_json(&arguments), command(&arguments).as_str()), (json, meant), "{line}");
        }
    }

    #[test]
    fn the_message_is_one_sentence() {
        let error = Cli::try_parse_from(["migrator", "up", "--lock-timeout", "abc"]).expect_err("it is none");
        let message = message(&error.render().to_string());
        assert!(message.starts_with("invalid value 'abc' for '--lock-timeout <DURATION>': "), "{message}");
        assert!(!message.contains('\n') && !message.contains("For more"), "{message}");
        let error = Cli::try_parse_from(["migrator", "dwon"]).expect_err("it is none");
        let message = super::message(&error.render().to_string());
        assert_eq!(message, "unrecognized subcommand 'dwon'; tip: a similar subcommand exists: 'down'");
    }
}
