//! What a command prints: its result on standard output, everything else on standard error.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;

use foundation::exit::Exit;
use foundation::settings::{SettingsError, format_effective};
use foundation::telemetry::TelemetryError;
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
    pub(super) fn up(&self, command: &str, report: &UpReport) {
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
        self.result(command, report, &text);
        tell_password(report);
    }

    /// Writes a result. That nobody reads it any more is no failure of the command.
    pub(super) fn result(&self, command: &str, report: &impl Serialize, text: &str) {
        self.verdict(command, Exit::Success, report, text);
    }

    /// Writes a result that says by the exit code too what was found.
    pub(super) fn verdict(&self, command: &str, exit: Exit, report: &impl Serialize, text: &str) -> Exit {
        termination::leave(&self.termination_log, command, exit, text);
        let text = match self.format {
            Format::Text => text.to_owned(),
            Format::Json => document(command, exit, report),
        };
        let _nobody_reads = writeln!(std::io::stdout(), "{text}");
        exit
    }

    pub(super) fn failure(&self, command: &str, error: &MigratorError) -> Exit {
        let exit = error.exit();
        let causes = causes(error);
        tracing::error!(exit_code = exit.code(), causes = causes.join(": "), "{error}");
        termination::leave(&self.termination_log, command, exit, &error.to_string());
        if self.format == Format::Json {
            let report = json!({ "error": { "message": error.to_string(), "causes": causes } });
            let _nobody_reads = writeln!(std::io::stdout(), "{}", document(command, exit, &report));
        }
        exit
    }

    /// There is no log yet to say it in.
    pub(super) fn no_telemetry(&self, error: &TelemetryError) -> Exit {
        let _nobody_reads = writeln!(std::io::stderr(), "{error}");
        self.failure("start", &MigratorError::Settings(error.to_string()))
    }

    pub(super) fn settings_error(&self, error: &SettingsError) -> Exit {
        let _nobody_reads = writeln!(std::io::stderr(), "{error}");
        termination::leave(&self.termination_log, "settings", Exit::Configuration, &error.to_string());
        if self.format == Format::Json {
            let report = json!({ "error": { "message": error.to_string(), "causes": [] } });
            let _nobody_reads =
                writeln!(std::io::stdout(), "{}", document("settings", Exit::Configuration, &report));
        }
        Exit::Configuration
    }

    pub(super) fn completions(&self, shell: clap_complete::Shell) -> Exit {
        let script = pages::completions(Cli::command(), shell);
        self.result("completions", &json!({ "script": script }), script.trim_end());
        Exit::Success
    }

    pub(super) fn manual(&self, folder: Option<&Path>) -> Exit {
        let written = match folder {
            Some(folder) => pages::manual_pages(Cli::command(), folder).map(|pages| {
                let pages: Vec<String> = pages.iter().map(|page| page.display().to_string()).collect();
                self.result("man", &json!({ "files": pages }), &format!("wrote\n  {}", pages.join("\n  ")));
            }),
            None => pages::manual(Cli::command())
                .map(|page| self.result("man", &json!({ "page": page }), page.trim_end())),
        };
        match written {
            Ok(()) => Exit::Success,
            Err(error) => {
                let _nobody_reads = writeln!(std::io::stderr(), "the pages cannot be written: {error}");
                Exit::Configuration
            }
        }
    }

    pub(super) fn effective(&self, configured: &Configured) -> Exit {
        for warning in &configured.warnings {
            let _nobody_reads = writeln!(std::io::stderr(), "warning: {}: {}", warning.name, warning.detail);
        }
        let report = foundation::settings::document(&configured.effective, &configured.warnings);
        self.result("check-config", &report, format_effective(&configured.effective).trim_end());
        Exit::Success
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
            std::io::stderr(),
            "\n  The administrator {admin:?} has the password {}\n  It is shown this once. Set ADMIN_PASSWORD to choose one.\n",
            password.expose()
        );
    }
}
