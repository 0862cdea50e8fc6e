//! From a command of the command line to a call of the library, and back to a result.

use std::path::Path;
use std::time::Duration;

use foundation::clock::Clock;
use foundation::entropy::Entropy;
use foundation::exit::Exit;
use serde::Serialize;
use serde_json::{Value, json};
use tracing::Instrument;

use super::Command;
use super::confirm::ask_for_name;
use super::output::{Output, show};
use crate::commands::{Awaited, Down, Migrator};
use crate::error::MigratorError;
use crate::report::{DownReport, UpReport, journal_table};
use crate::settings::Settings;
use crate::stop::Stop;
use crate::structure::Renames;

/// How long a run that is to stop may take for it. Kubernetes gives 30 seconds.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

impl Output {
    pub(super) async fn command(&self, command: Command, settings: &Settings) -> Exit {
        let name = command.name();
        let stop = match Stop::on_signals() {
            Ok(stop) => stop,
            Err(error) => {
                return self
                    .failure(name, &MigratorError::File(error, "signals cannot be listened to".to_owned()));
            }
        };
        if let Command::Reset { yes, i_know_this_deletes_everything: known } = command
            && let Err(error) = confirm_reset(settings, yes, known, &stop).await
        {
            return self.failure(name, &error);
        }
        let migrator = match migrator(&command, settings, stop.clone()) {
            Ok(migrator) => migrator,
            Err(error) => return self.failure(name, &error),
        };
        let span = tracing::info_span!(
            target: "bedplate::span::migration", "run", otel.name = %format_args!("migrator {name}"),
            otel.status_code = tracing::field::Empty,
        );
        let performing = self.perform(command, &migrator).instrument(span.clone());
        let performed = tokio::select! {
            biased;
            performed = performing => performed,
            // What changes something stops by itself and in order; what only waits for an answer is left.
            () = async { stop.requested().await; tokio::time::sleep(STOP_TIMEOUT).await } => {
                Err(MigratorError::Stopped.into())
            }
        };
        if performed.is_err() {
            span.record("otel.status_code", "ERROR");
        }
        match performed {
            Ok(exit) => exit,
            Err(Unfinished { error, report }) => self.refusal(name, &error, &report),
        }
    }

    async fn down(&self, migrator: &Migrator, down: Down) -> Result<Exit, Unfinished> {
        let mut report = DownReport::new(migrator.url());
        let done = Box::pin(migrator.down_telling(down, &mut report)).await;
        let report = told(done, report)?;
        let text = format!("took {} back; at version {}", report.undone.len(), show(report.current_version));
        Ok(self.result("down", &report, &text))
    }

    async fn perform(&self, command: Command, migrator: &Migrator) -> Result<Exit, Unfinished> {
        Ok(match command {
            Command::Up(arguments) => {
                let mut report = UpReport::new(migrator.url());
                let done = Box::pin(migrator.up_telling(arguments.to, &mut report)).await;
                self.up("up", &told(done, report)?)
            }
            Command::Reset { .. } => {
                let mut report = UpReport::new(migrator.url());
                let done = Box::pin(migrator.reset_telling(&mut report)).await;
                self.up("reset", &told(done, report)?)
            }
            Command::Down { to, steps } => {
                self.down(migrator, to.map_or(Down::Steps(steps), Down::To)).await?
            }
            Command::Plan(arguments) => self.plan(&arguments, migrator).await?,
            Command::Lint(arguments) => self.lint(&arguments, migrator)?,
            Command::Status => {
                let report = migrator.status().await?;
                self.result("status", &report, report.table().trim_end())
            }
            Command::History => {
                let journal = migrator.history().await?;
                self.result("history", &json!({ "entries": journal }), journal_table(&journal).trim_end())
            }
            Command::Stamp { version } => {
                let report = migrator.stamp(version).await?;
                let text = match report.changed {
                    true => format!("the history now ends at version {version}; nothing was run"),
                    false => format!("the history ended at version {version} already"),
                };
                self.result("stamp", &report, &text)
            }
            Command::ImportHistory(arguments) => self.import_history(arguments, migrator).await?,
            Command::New { name, folder, autogenerate, rename, no_rename } => {
                let renames = Renames { given: rename, refused: Vec::new(), rest_is_new: no_rename };
                self.new_files(migrator, &folder, &name, autogenerate.then_some(renames)).await?
            }
            Command::Dump => {
                let sql = migrator.dump().await?;
                self.result("dump", &json!({ "sql": sql }), sql.trim_end())
            }
            Command::Rehearse { pending } => {
                let report = migrator.rehearse(pending).await?;
                let exit = if report.exact { Exit::Success } else { Exit::Migration };
                self.verdict("rehearse", exit, &report, &report.text())
            }
            Command::Check { against_scratch } => {
                let report = migrator.check(against_scratch).await?;
                let exit = if report.clean() { Exit::Success } else { Exit::Drift };
                self.verdict("check", exit, &report, &report.text())
            }
            Command::Repair(arguments) => self.repair(&arguments, migrator).await?,
            Command::Restore(arguments) => self.restore(&arguments, migrator).await?,
            Command::Backup { file, .. } => {
                let report = migrator.backup(&file).await?;
                let text = format!("copied {} bytes to {}", report.bytes, report.file);
                self.result("backup", &report, &text)
            }
            Command::Wait { awaited, timeout } => {
                migrator.wait(awaited, timeout).await?;
                let what = if awaited == Awaited::Database { "database" } else { "schema" };
                self.result("wait", &json!({ "ready": what }), &format!("the {what} is there"))
            }
            Command::CheckConfig | Command::Completions { .. } | Command::Man { .. } => {
                unreachable!("it was answered before anything was connected")
            }
        })
    }
}

/// The report of what was done, or of what was done before it failed.
fn told<R: Serialize>(done: Result<(), MigratorError>, report: R) -> Result<R, Unfinished> {
    match done {
        Ok(()) => Ok(report),
        Err(error) => {
            Err(Unfinished { report: serde_json::to_value(report).unwrap_or_default(), ..error.into() })
        }
    }
}

/// Why a command did not do what it was asked for, and what it had done by then.
struct Unfinished {
    error: Box<MigratorError>,
    report: Value,
}

impl From<MigratorError> for Unfinished {
    fn from(error: MigratorError) -> Self {
        Self { error: Box::new(error), report: json!({}) }
    }
}

/// With the migrations that the settings name; `new` looks into their folder by itself, which may be empty.
fn migrator(command: &Command, settings: &Settings, stop: Stop) -> Result<Migrator, MigratorError> {
    let migrator = Migrator::new(settings, Clock::system(), Entropy::system(), stop);
    match &settings.migrator.migrations {
        Some(folder) if !matches!(command, Command::New { .. }) => migrator.with_folder(Path::new(folder)),
        _ => Ok(migrator),
    }
}

async fn confirm_reset(
    settings: &Settings,
    yes: bool,
    known: bool,
    stop: &Stop,
) -> Result<(), MigratorError> {
    let url = settings.url();
    if settings.is_production() && !(yes && known) {
        return Err(MigratorError::Usage(format!(
            "reset would delete everything in {url}, and this is production; if that is meant: reset --yes --i-know-this-deletes-everything"
        )));
    }
    if yes { Ok(()) } else { ask_for_name("reset", "delete", url, stop).await }
}
