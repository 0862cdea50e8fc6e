//! What a command prints: its result on standard output, everything else on standard error.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;

use foundation::exit::Exit;
use foundation::settings::{SettingsError, format_effective};
use serde::Serialize;
use serde_json::json;

use super::{Cli, Configured, Format, pages, termination};
use crate::error::MigratorError;
use crate::report::UpReport;
use crate::source::Version;

/// Where results go: standard output, in the form that was asked for.
pub(super) struct Output {
    pub(super) format: Format,
    /// Where the last words go, if that is there.
    pub(super) termination_log: PathBuf,
}

impl Output {
    pub(super) fn up(&self, command: &str, report: &UpReport) -> Exit {
        let current = show(report.current_version);
        let mut text = if report.nothing_done() {
            format!("nothing to do; at version {current}")
        } else {
            format!("applied {}; at version {current}", report.applied.len())
        };
        if let Some(point) = &report.restore_point {
            text.push_str(&format!("\nwhat was there before is in {point}"));
        }
        if let Some(role) = &report.granted_to {
            text.push_str(&format!("\ngave {role} what it lacked"));
        }
        if let Some(admin) = &report.admin {
            text.push_str(&format!("\nmade the administrator {admin}"));
        }
        let exit = self.result(command, report, &text);
        tell_password(report);
        exit
    }

    /// Writes a result.
    pub(super) fn result(&self, command: &str, report: &impl Serialize, text: &str) -> Exit {
        self.verdict(command, Exit::Success, report, text)
    }

    /// Writes a result that says by the exit code too what was found.
    pub(super) fn verdict(&self, command: &str, exit: Exit, report: &impl Serialize, text: &str) -> Exit {
        match self.format {
            Format::Text => self.written(command, exit, text, text),
            Format::Json => self.written(command, exit, &document(command, exit, report), text),
        }
    }

    /// Writes `result` as it is; `last_words` are what the cluster keeps of it. Whoever gets the exit code of success
    /// has the result too, so that a disk that is full is told.
    pub(super) fn written(&self, command: &str, exit: Exit, result: &str, last_words: &str) -> Exit {
        match print(result) {
            Ok(()) => {
                termination::leave(&self.termination_log, command, exit, last_words);
                exit
            }
            Err(error) => {
                let code = exit.code();
                let what = format!(
                    "{command} ended with exit code {code}, but its result could not be written to standard output"
                );
                let error = MigratorError::File(error, what);
                say(&error);
                termination::leave(&self.termination_log, command, error.exit(), &error.to_string());
                error.exit()
            }
        }
    }

    pub(super) fn failure(&self, command: &str, error: &MigratorError) -> Exit {
        self.refusal(command, error, &json!({}))
    }

    /// The same, with what was found before it.
    pub(super) fn refusal(&self, command: &str, error: &MigratorError, report: &impl Serialize) -> Exit {
        say(error);
        self.failed(command, error.exit(), &error.to_string(), &causes(error), report)
    }

    /// There is no log yet to say it in.
    pub(super) fn settings_error(&self, error: &SettingsError) -> Exit {
        let _nobody_reads = writeln!(io::stderr(), "{error}");
        self.failed("settings", Exit::Configuration, &error.to_string(), &[], &json!({}))
    }

    /// Leaves the last words of what has been told on standard error, and writes the document where one is awaited.
    pub(super) fn failed(
        &self,
        command: &str,
        exit: Exit,
        message: &str,
        causes: &[String],
        report: &impl Serialize,
    ) -> Exit {
        termination::leave(&self.termination_log, command, exit, message);
        if self.format == Format::Json {
            let mut report = serde_json::to_value(report).unwrap_or_default();
            if let Some(fields) = report.as_object_mut() {
                fields.insert("error".to_owned(), json!({ "message": message, "causes": causes }));
            }
            // The exit code says already that it failed.
            if let Err(error) = print(&document(command, exit, &report)) {
                say(&MigratorError::File(error, "the document could not be written".to_owned()));
            }
        }
        exit
    }

    pub(super) fn completions(&self, shell: clap_complete::Shell) -> Exit {
        let script = pages::completions(Cli::command(), shell);
        self.result("completions", &json!({ "script": script }), script.trim_end())
    }

    pub(super) fn manual(&self, folder: Option<&Path>) -> Exit {
        let written = match folder {
            Some(folder) => pages::manual_pages(Cli::command(), folder).map(|pages| {
                let pages: Vec<String> = pages.iter().map(|page| page.display().to_string()).collect();
                self.result("man", &json!({ "files": pages }), &format!("wrote\n  {}", pages.join("\n  ")))
            }),
            None => pages::manual(Cli::command())
                .map(|page| self.result("man", &json!({ "page": page }), page.trim_end())),
        };
        written.unwrap_or_else(|error| {
            let what = "the pages cannot be written".to_owned();
            self.failure("man", &MigratorError::File(error, what))
        })
    }

    pub(super) fn effective(&self, configured: &Configured) -> Exit {
        for warning in &configured.warnings {
            let _nobody_reads = writeln!(io::stderr(), "warning: {}: {}", warning.name, warning.detail);
        }
        let report = foundation::settings::document(&configured.effective, &configured.warnings);
        self.result("check-config", &report, format_effective(&configured.effective).trim_end())
    }
}

/// Writes a line to standard output. That nobody reads it any more is no failure of the command.
fn print(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Says in the log that a command failed, or on standard error while there is none.
pub(super) fn say(error: &MigratorError) {
    if tracing::dispatcher::has_been_set() {
        tracing::error!(exit_code = error.exit().code(), causes = causes(error).join(": "), "{error}");
    } else {
        let _nobody_reads = writeln!(io::stderr(), "{error}");
    }
}

/// One document: the command, its exit code, and the fields of the report.
fn document(command: &str, exit: Exit, report: &impl Serialize) -> String {
    let mut document = json!({ "command": command, "exit_code": exit.code() });
    match (serde_json::to_value(report), document.as_object_mut()) {
        (Ok(serde_json::Value::Object(fields)), Some(document)) => document.extend(fields),
        (Ok(other), Some(document)) => drop(document.insert("result".to_owned(), other)),
        (Err(error), Some(document)) => drop(document.insert("error".to_owned(), error.to_string().into())),
        (_, None) => {}
    }
    document.to_string()
}

fn causes(error: &MigratorError) -> Vec<String> {
    let mut causes = Vec::new();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes
}

pub(super) fn show(version: Option<Version>) -> String {
    version.map_or_else(|| "none".to_owned(), |version| version.to_string())
}

/// Shows a password that was made here, once, and never in a log.
pub fn tell_password(report: &UpReport) {
    if let (Some(admin), Some(password)) = (&report.admin, &report.generated_password) {
        let _nobody_reads = writeln!(
            io::stderr(),
            "\n  The administrator {admin:?} has the password {}\n  It is shown this once. Set ADMIN_PASSWORD to choose one.\n",
            password.expose()
        );
    }
}
