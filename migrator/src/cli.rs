//! The command line of the migrator.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use foundation::clock::Clock;
use foundation::entropy::Entropy;
use foundation::exit::Exit;
use foundation::settings::{Effective, Environment, Setting, SettingsError, Warning, format_effective};
use foundation::telemetry::{Program, Telemetry};
use serde::Serialize;
use serde_json::json;

use crate::commands::{Awaited, Migrator};
use crate::error::MigratorError;
use crate::report::{UpReport, journal_table};
use crate::settings::Settings;
use crate::source::{Version, new_files};
use crate::stop::Stop;

/// Brings a database to the schema that this release needs, and exits.
///
/// The database is named by DATABASE_URL (or POSTGRES_HOST and its kin); without either it is the file
/// bedplate.db. Every setting is documented in .env.example and shown by `migrator check-config`.
#[derive(Debug, Parser)]
#[command(name = "migrator", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do. Without a command: up.
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

const EXAMPLES: &str = "Examples:
  migrator                      apply everything that is pending
  migrator up --to 3            apply up to and with version 3
  migrator down                 take the newest migration back
  migrator status --format json what is applied and pending, for a script
  migrator wait --for schema    return when another migrator has done its work

Exit codes:
  0 done, or nothing to do   2 bad usage   65 the schema is not one this release may touch
  69 database unreachable   70 a migration's SQL failed   75 lock not won, timed out or stopped
  78 bad settings, and what only a person can mend";

#[derive(Debug, Args)]
struct Options {
    /// How the result is written to standard output. Logs go to standard error.
    #[arg(long, global = true, value_enum, default_value = "text")]
    format: Format,
    /// How long a statement waits for a table's lock before it is tried again [MIGRATOR_LOCK_TIMEOUT].
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration)]
    lock_timeout: Option<Duration>,
    /// How long the run keeps trying to get its locks [MIGRATOR_DEADLINE].
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration)]
    deadline: Option<Duration>,
    /// How long one statement may run [MIGRATOR_STATEMENT_TIMEOUT].
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration)]
    statement_timeout: Option<Duration>,
    /// How long to wait for a database that is starting [MIGRATOR_WAIT_TIMEOUT].
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration)]
    wait_timeout: Option<Duration>,
    /// The role of the service, which gets what it needs on every table [MIGRATOR_GRANT_TO].
    #[arg(long, global = true, value_name = "ROLE")]
    grant_to: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Apply the migrations that are pending.
    Up {
        /// Stop after this version.
        #[arg(long, value_name = "VERSION")]
        to: Option<Version>,
    },
    /// Take migrations back, newest first.
    Down {
        /// How many.
        #[arg(long, default_value_t = 1, conflicts_with = "to")]
        steps: usize,
        /// Everything above this version; 0 is back to the base.
        #[arg(long, value_name = "VERSION")]
        to: Option<Version>,
    },
    /// List what is applied and what is pending.
    Status,
    /// List everything that was ever done to this database.
    History,
    /// Say that exactly the migrations up to VERSION are applied, without running any; 0 for none.
    Stamp {
        /// The newest version that is to count as applied.
        version: Version,
    },
    /// Write the files of a new migration and its undo, for both databases.
    New {
        /// What it does, for example add_team_to_users.
        name: String,
        /// The folder that holds `migrations` and `undo`.
        #[arg(long, default_value = "migrator", value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Drop everything in the database's schema and apply all migrations again.
    Reset {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// Needed beside --yes in production.
        #[arg(long)]
        i_know_this_deletes_everything: bool,
    },
    /// Return when the database, or its schema, is there.
    Wait {
        /// What to wait for.
        #[arg(long = "for", value_enum, default_value = "schema")]
        awaited: Awaited,
        /// For how long.
        #[arg(long, default_value = "60s", value_name = "DURATION", value_parser = duration)]
        timeout: Duration,
    },
    /// Print the settings in force, where each came from, secrets redacted.
    CheckConfig,
}

fn duration(text: &str) -> Result<Duration, String> {
    Duration::parse(text).map_err(|wrong| format!("{wrong}; expected {}", Duration::EXPECTED))
}

/// The settings, with what the command line overrides.
struct Configured {
    settings: Settings,
    effective: Vec<Effective>,
    warnings: Vec<Warning>,
}

impl Options {
    fn configure(&self) -> Result<Configured, SettingsError> {
        let mut environment = Environment::from_process();
        let mut settings = Settings::read(&mut environment);
        let migrator = &mut settings.migrator;
        let flags = [
            ("MIGRATOR_LOCK_TIMEOUT", self.lock_timeout, &mut migrator.lock_timeout),
            ("MIGRATOR_DEADLINE", self.deadline, &mut migrator.deadline),
            ("MIGRATOR_STATEMENT_TIMEOUT", self.statement_timeout, &mut migrator.statement_timeout),
            ("MIGRATOR_WAIT_TIMEOUT", self.wait_timeout, &mut migrator.wait_timeout),
        ];
        for (name, flag, setting) in flags {
            if let Some(value) = flag {
                environment.overridden(name, &value);
                *setting = value;
            }
        }
        if let Some(role) = &self.grant_to {
            environment.overridden("MIGRATOR_GRANT_TO", role);
            migrator.grant_to = Some(role.clone());
        }
        let (effective, warnings) = environment.finish()?;
        Ok(Configured { settings, effective, warnings })
    }
}

impl Cli {
    /// Does what the command line says.
    pub async fn run(self) -> Exit {
        let command = self.command.unwrap_or(Command::Up { to: None });
        let output = Output { format: self.options.format };
        let configured = match self.options.configure() {
            Ok(configured) => configured,
            Err(error) => return output.settings_error(&error),
        };
        if let Command::CheckConfig = command {
            return output.effective(&configured);
        }
        let (clock, entropy) = (Clock::system(), Entropy::system());
        let program = Program { name: "migrator", version: env!("CARGO_PKG_VERSION"), clock, entropy };
        let foundation = &configured.settings.foundation;
        let telemetry = match Telemetry::start(&program, &foundation.log, &foundation.open_telemetry) {
            Ok(telemetry) => telemetry,
            Err(error) => return output.failure("start", &MigratorError::Settings(error.to_string())),
        };
        for warning in &configured.warnings {
            tracing::warn!(setting = warning.name, "{}", warning.detail);
        }
        let exit = output.command(command, &configured.settings).await;
        tokio::task::block_in_place(|| telemetry.shutdown());
        exit
    }
}

/// Where results go: standard output, in the form that was asked for.
struct Output {
    format: Format,
}

impl Output {
    async fn command(&self, command: Command, settings: &Settings) -> Exit {
        let name = command.name();
        let stop = match Stop::on_signals() {
            Ok(stop) => stop,
            Err(error) => {
                return self
                    .failure(name, &MigratorError::File(error, "signals cannot be listened to".to_owned()));
            }
        };
        let migrator = Migrator::new(settings, Clock::system(), Entropy::system(), stop);
        match self.perform(command, settings, &migrator).await {
            Ok(()) => Exit::Success,
            Err(error) => self.failure(name, &error),
        }
    }

    async fn perform(
        &self,
        command: Command,
        settings: &Settings,
        migrator: &Migrator,
    ) -> Result<(), MigratorError> {
        match command {
            Command::Up { to } => self.up("up", &migrator.up(to).await?),
            Command::Reset { yes, i_know_this_deletes_everything: known } => {
                confirm_reset(settings, yes, known)?;
                self.up("reset", &migrator.reset().await?);
            }
            Command::Down { to, steps } => {
                let report = match to {
                    Some(version) => migrator.down_to(version).await?,
                    None => migrator.down_steps(steps).await?,
                };
                let count = report.undone.len();
                let text = format!("took {count} back; at version {}", show(report.current_version));
                self.result("down", &report, &text);
            }
            Command::Status => {
                let report = migrator.status().await?;
                self.result("status", &report, report.table().trim_end());
            }
            Command::History => {
                let journal = migrator.history().await?;
                self.result("history", &json!({ "entries": journal }), journal_table(&journal).trim_end());
            }
            Command::Stamp { version } => {
                let report = migrator.stamp(version).await?;
                let text = match report.changed {
                    true => format!("the history now ends at version {version}; nothing was run"),
                    false => format!("the history ended at version {version} already"),
                };
                self.result("stamp", &report, &text);
            }
            Command::New { name, folder } => {
                let files = new_files(&folder, &name, Clock::system().now())
                    .map_err(|error| MigratorError::Usage(error.to_string()))?;
                let paths: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
                self.result("new", &json!({ "files": paths }), &format!("wrote\n  {}", paths.join("\n  ")));
            }
            Command::Wait { awaited, timeout } => {
                migrator.wait(awaited, timeout).await?;
                let what = if awaited == Awaited::Database { "database" } else { "schema" };
                self.result("wait", &json!({ "ready": what }), &format!("the {what} is there"));
            }
            Command::CheckConfig => unreachable!("it was answered before anything was connected"),
        }
        Ok(())
    }

    fn up(&self, command: &str, report: &UpReport) {
        let current = show(report.current_version);
        let mut text = if report.nothing_done() {
            format!("nothing to do; at version {current}")
        } else {
            format!("applied {}; at version {current}", report.applied.len())
        };
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
    fn result(&self, command: &str, report: &impl Serialize, text: &str) {
        let text = match self.format {
            Format::Text => text.to_owned(),
            Format::Json => document(command, Exit::Success, report),
        };
        let _nobody_reads = writeln!(std::io::stdout(), "{text}");
    }

    fn failure(&self, command: &str, error: &MigratorError) -> Exit {
        let exit = error.exit();
        let causes = causes(error);
        tracing::error!(exit_code = exit.code(), causes = causes.join(": "), "{error}");
        if self.format == Format::Json {
            let report = json!({ "error": { "message": error.to_string(), "causes": causes } });
            let _nobody_reads = writeln!(std::io::stdout(), "{}", document(command, exit, &report));
        }
        exit
    }

    fn settings_error(&self, error: &SettingsError) -> Exit {
        let _nobody_reads = writeln!(std::io::stderr(), "{error}");
        if self.format == Format::Json {
            let report = json!({ "error": { "message": error.to_string(), "causes": [] } });
            let _nobody_reads =
                writeln!(std::io::stdout(), "{}", document("settings", Exit::Configuration, &report));
        }
        Exit::Configuration
    }

    fn effective(&self, configured: &Configured) -> Exit {
        for warning in &configured.warnings {
            let _nobody_reads = writeln!(std::io::stderr(), "warning: {}: {}", warning.name, warning.detail);
        }
        let report = json!({ "settings": configured.effective });
        self.result("check-config", &report, format_effective(&configured.effective).trim_end());
        Exit::Success
    }
}

impl Command {
    const fn name(&self) -> &'static str {
        match self {
            Self::Up { .. } => "up",
            Self::Down { .. } => "down",
            Self::Status => "status",
            Self::History => "history",
            Self::Stamp { .. } => "stamp",
            Self::New { .. } => "new",
            Self::Reset { .. } => "reset",
            Self::Wait { .. } => "wait",
            Self::CheckConfig => "check-config",
        }
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

fn show(version: Option<Version>) -> String {
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

fn confirm_reset(settings: &Settings, yes: bool, known: bool) -> Result<(), MigratorError> {
    let refuse = |sentence: String| Err(MigratorError::Usage(sentence));
    let url = settings.url();
    if settings.is_production() && !(yes && known) {
        return refuse(format!(
            "reset would delete everything in {url}, and this is production; if that is meant: reset --yes --i-know-this-deletes-everything"
        ));
    }
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return refuse(format!(
            "reset would delete everything in {url}; there is no terminal to ask on, so say --yes"
        ));
    }
    let question = format!(
        "This deletes everything in {url}. Type the name of the database ({}) to go on: ",
        url.name()
    );
    let _nobody_reads = write!(std::io::stderr(), "{question}");
    let mut answer = String::new();
    match std::io::stdin().read_line(&mut answer) {
        Ok(_) if answer.trim() == url.name() => Ok(()),
        Ok(_) => refuse("that is not its name; nothing was changed".to_owned()),
        Err(error) => Err(MigratorError::File(error, "the answer cannot be read".to_owned())),
    }
}
