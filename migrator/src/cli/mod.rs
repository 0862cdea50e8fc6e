//! The command line of the migrator.

mod arguments;
mod autogenerate;
mod confirm;
mod examples;
mod import_history;
mod lint;
mod output;
pub mod pages;
mod perform;
mod plan;
mod repair;
mod restore;
mod safety;
mod termination;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use foundation::clock::Clock;
use foundation::entropy::Entropy;
use foundation::exit::Exit;
use foundation::settings::{Effective, Environment, LONGEST, Setting, SettingsError, Warning};
use foundation::telemetry::{Program, Telemetry};

use crate::commands::Awaited;
use crate::error::MigratorError;
use crate::settings::{MigratorSettings, Settings, TERMINATION_LOG};
use crate::source::Version;
use crate::structure::Rename;
use output::Output;

pub use output::tell_password;

/// Brings a database to the schema that this release needs, and exits.
///
/// The database is named by DATABASE_URL (or POSTGRES_HOST and its kin); without either it is the file
/// bedplate.db. Every setting is documented in .env.example and shown by `migrator check-config`.
#[derive(Debug, Parser)]
#[command(name = "migrator", version, after_help = examples::ALL)]
pub struct Cli {
    /// What to do. Without a command: up.
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

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
    /// The role that everything is done as and that owns what is made [MIGRATOR_ROLE].
    #[arg(long, global = true, value_name = "ROLE", value_parser = something)]
    role: Option<String>,
    /// The schema that everything is in; made by `up` [DATABASE_SCHEMA].
    #[arg(long, global = true, value_name = "NAME", value_parser = something)]
    schema: Option<String>,
    /// Use the migrations in this folder instead of those that this program carries [MIGRATOR_MIGRATIONS].
    ///
    /// The files are for one database, or lie in a folder `postgres` or `sqlite` of their own. They are named as by
    /// refinery, sqlx, golang-migrate, dbmate, goose or Flyway, which is seen from the files; an undo is optional.
    #[arg(long, global = true, value_name = "FOLDER", value_parser = something)]
    migrations: Option<String>,
    /// The role of the service, which gets what it needs on every table [MIGRATOR_GRANT_TO].
    #[arg(long, global = true, value_name = "ROLE", value_parser = something)]
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
    #[command(after_help = examples::UP)]
    Up(safety::UpArguments),
    /// Take migrations back, newest first.
    #[command(after_help = examples::DOWN)]
    Down {
        /// How many.
        #[arg(long, default_value_t = 1, conflicts_with = "to")]
        steps: usize,
        /// Everything above this version; 0 is back to the base.
        #[arg(long, value_name = "VERSION")]
        to: Option<Version>,
    },
    /// Show what up or down would do: the SQL, its locks, what it rewrites, and what lint finds. Changes nothing.
    #[command(after_help = examples::PLAN)]
    Plan(plan::PlanArguments),
    /// Look for what is wrong or dangerous in migrations: in FILES, or in those that up would apply. Exit code 73
    /// when something is found.
    #[command(after_help = examples::LINT)]
    Lint(lint::LintArguments),
    /// List what is applied and what is pending.
    #[command(after_help = examples::STATUS)]
    Status,
    /// List everything that was ever done to this database.
    #[command(after_help = examples::HISTORY)]
    History,
    /// Say that exactly the migrations up to VERSION are applied, without running any; 0 for none.
    #[command(after_help = examples::STAMP)]
    Stamp {
        /// The newest version that is to count as applied.
        version: Version,
    },
    /// Record as applied what Alembic, Flyway, golang-migrate, sqlx, dbmate or goose says is applied, without running
    /// any. Their table is left as it is.
    #[command(after_help = examples::IMPORT_HISTORY)]
    ImportHistory(import_history::ImportArguments),
    /// Record what is applied as its files are now, after showing the difference. Runs no SQL of a migration.
    #[command(after_help = examples::REPAIR)]
    Repair(repair::RepairArguments),
    /// Write the files of a new migration and its undo, for both databases.
    #[command(after_help = examples::NEW)]
    New {
        /// What it does, for example add_team_to_users.
        name: String,
        /// The folder that holds `migrations` and `undo`.
        #[arg(long, default_value = "migrator", value_name = "FOLDER")]
        folder: PathBuf,
        /// Make them from the difference between `schema/postgres.sql` and `schema/sqlite.sql` in that folder
        /// and what the migrations make.
        #[arg(long)]
        autogenerate: bool,
        /// What has another name now: table.old=new for a column, old=new for a table. Can be repeated.
        #[arg(long, value_name = "RENAME", requires = "autogenerate")]
        rename: Vec<Rename>,
        /// Nothing but that was renamed: what looks so is dropped and made anew.
        #[arg(long, requires = "autogenerate")]
        no_rename: bool,
    },
    /// Print the current schema as plain DDL.
    #[command(after_help = examples::DUMP)]
    Dump,
    /// Try every migration, its undo, and the migration again in a scratch database.
    #[command(after_help = examples::REHEARSE)]
    Rehearse {
        /// Try only what the database does not have yet.
        #[arg(long)]
        pending: bool,
    },
    /// Say whether the schema is the one that the applied migrations made, and whether any is pending.
    #[command(after_help = examples::CHECK)]
    Check {
        /// Compare with what the applied migrations make of a scratch database.
        #[arg(long)]
        against_scratch: bool,
    },
    /// Copy the database to FILE while it is in use: a SQLite file, or what pg_dump makes of PostgreSQL.
    #[command(after_help = examples::BACKUP)]
    Backup {
        /// The copy; it must not exist yet.
        file: PathBuf,
        #[command(flatten)]
        limit: safety::Limit,
    },
    /// Put the database back to what a backup has, all of it or nothing.
    #[command(after_help = examples::RESTORE)]
    Restore(restore::RestoreArguments),
    /// Drop everything in the database's schema and apply all migrations again.
    #[command(after_help = examples::RESET)]
    Reset {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// Needed beside --yes in production.
        #[arg(long)]
        i_know_this_deletes_everything: bool,
    },
    /// Return when the database, or its schema, is there.
    #[command(after_help = examples::WAIT)]
    Wait {
        /// What to wait for.
        #[arg(long = "for", value_enum, default_value = "schema")]
        awaited: Awaited,
        /// For how long.
        #[arg(long, default_value = "60s", value_name = "DURATION", value_parser = duration)]
        timeout: Duration,
    },
    /// Print the settings in force, where each came from, secrets redacted.
    #[command(after_help = examples::CHECK_CONFIG)]
    CheckConfig,
    /// Print the script that completes this program's command line in a shell.
    #[command(after_help = examples::COMPLETIONS)]
    Completions {
        /// Which shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the page of the manual.
    #[command(after_help = examples::MAN)]
    Man {
        /// Write it there instead, and a page for each command.
        #[arg(long, value_name = "FOLDER")]
        folder: Option<PathBuf>,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration =
        Duration::parse(text).map_err(|wrong| format!("{wrong}; expected {}", Duration::EXPECTED))?;
    if duration > LONGEST { Err("expected a duration of at most 24days".to_owned()) } else { Ok(duration) }
}

/// What is not empty. A variable that is empty is one that is not set; an option that is empty was meant to say
/// something, so that a shell's variable without a value is not taken for what it would have been.
fn something(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("it is empty: leave the option out") } else { Ok(text.to_owned()) }
}

/// The settings, with what the command line overrides.
struct Configured {
    settings: Settings,
    effective: Vec<Effective>,
    warnings: Vec<Warning>,
}

impl Options {
    fn configure(&self, command: &Command) -> Result<Configured, SettingsError> {
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
        if let Some(role) = &self.role {
            environment.overridden("MIGRATOR_ROLE", role);
            migrator.role = Some(role.clone());
        }
        if let Some(schema) = &self.schema {
            environment.overridden("DATABASE_SCHEMA", schema);
            settings.foundation.use_schema(schema, &mut environment);
        }
        if let Some(folder) = &self.migrations {
            environment.overridden("MIGRATOR_MIGRATIONS", folder);
            migrator.migrations = Some(folder.clone());
        }
        if let Some(role) = &self.grant_to {
            environment.overridden("MIGRATOR_GRANT_TO", role);
            migrator.grant_to = Some(role.clone());
        }
        command.configure(&mut environment, migrator);
        if self.lock_timeout.is_some() {
            migrator.check_bounds(&mut environment);
        }
        let (effective, warnings) = environment.finish()?;
        Ok(Configured { settings, effective, warnings })
    }
}

impl Cli {
    /// Does what the command line says.
    pub async fn run(self) -> Exit {
        let command = self.command.unwrap_or_else(|| Command::Up(safety::UpArguments::default()));
        let mut output = Output { format: self.options.format, termination_log: TERMINATION_LOG.into() };
        // These two are asked for where nothing is configured.
        match &command {
            Command::Completions { shell } => return output.completions(*shell),
            Command::Man { folder } => return output.manual(folder.as_deref()),
            _ => {}
        }
        let configured = match self.options.configure(&command) {
            Ok(configured) => configured,
            Err(error) => {
                output.termination_log = arguments::termination_log();
                return output.settings_error(&error);
            }
        };
        output.termination_log.clone_from(&configured.settings.migrator.termination_log);
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

impl Command {
    const fn name(&self) -> &'static str {
        match self {
            Self::Up(_) => "up",
            Self::Down { .. } => "down",
            Self::Plan(_) => "plan",
            Self::Lint(_) => "lint",
            Self::Status => "status",
            Self::History => "history",
            Self::Stamp { .. } => "stamp",
            Self::ImportHistory(_) => "import-history",
            Self::New { .. } => "new",
            Self::Dump => "dump",
            Self::Rehearse { .. } => "rehearse",
            Self::Check { .. } => "check",
            Self::Backup { .. } => "backup",
            Self::Restore(_) => "restore",
            Self::Repair(_) => "repair",
            Self::Reset { .. } => "reset",
            Self::Wait { .. } => "wait",
            Self::CheckConfig => "check-config",
            Self::Completions { .. } => "completions",
            Self::Man { .. } => "man",
        }
    }

    /// Overrides the settings with the options that this command alone has.
    fn configure(&self, environment: &mut Environment, settings: &mut MigratorSettings) {
        match self {
            Self::Up(arguments) => {
                safety::out_of_order(arguments.out_of_order, environment, settings);
                arguments.safety.apply(environment, settings);
            }
            Self::Plan(arguments) => safety::out_of_order(arguments.out_of_order, environment, settings),
            Self::Backup { limit, .. } => limit.apply(environment, settings),
            Self::Restore(arguments) => arguments.safety.apply(environment, settings),
            _ => {}
        }
    }
}
