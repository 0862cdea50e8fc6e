//! The commands of the program.

mod admin;
mod archive;
mod check_config;
mod duties;
mod healthcheck;
mod partitions;
mod serve;

use std::io::{self, Write as _};

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use foundation::database::{DatabaseError, DatabaseErrorKind, DatabaseUrl};
use foundation::exit::Exit;
use foundation::settings::{Environment, SettingsError};
use migrator::cli::pages;
use tokio::runtime::{Builder, Runtime};

pub use serve::Serving;

/// Serves Bedplate's API.
///
/// The settings are environment variables; `service check-config` shows those in force.
#[derive(Debug, Parser)]
#[command(name = "service", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves; so does the program without a command.
    Serve,
    /// Shows the settings in force, where each comes from, and what is wrong with them.
    CheckConfig {
        /// For people, or for programs.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Makes administrators, resets passwords and ends sessions, beside a service that runs or without one.
    ///
    /// A password is asked for where there is a terminal, and read from the first line of standard input
    /// where there is none; it is never an argument, which others on the machine could read. Each is written
    /// down as an audit event.
    Admin {
        #[command(subcommand)]
        command: admin::AdminCommand,
    },
    /// Makes the partitions that old snapshots need before they are loaded.
    Partitions {
        #[command(subcommand)]
        command: partitions::PartitionsCommand,
    },
    /// Runs the archive policies, and brings back what they archived.
    Archive {
        #[command(subcommand)]
        command: archive::ArchiveCommand,
    },
    /// Asks the service that runs at HTTP_ADDRESS whether it is well: exit 0, else 69.
    Healthcheck {
        /// Whether it is ready, instead of whether it is alive.
        #[arg(long)]
        ready: bool,
    },
    /// Prints the script that completes this program's command line in a shell.
    Completions {
        /// Which shell.
        #[arg(value_enum)]
        shell: pages::Shell,
    },
    /// Prints the page of the manual.
    Man,
}

/// What is below the help.
const EXAMPLES: &str = "Examples:
  service                       serve
  service check-config          the settings in force, and what is wrong with them
  service healthcheck --ready   for a container
  service admin --help          accounts, beside a service that runs or without one
  service completions bash      into /etc/bash_completion.d/service

Exit codes:
  0 done   2 bad usage   65 the schema is not one this release may run on   69 unreachable, or a port in use
  70 a migration's SQL failed   75 timed out or stopped   78 bad settings, and what only a person can mend";

/// The form of what is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// Runs the program as its arguments say.
#[must_use]
pub fn main() -> Exit {
    // There is one provider of TLS, and rustls panics when it has to choose.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tell("the provider of TLS was set up twice; this is a defect of the program");
    }
    // On bad usage this ends the program by itself, with 2.
    let arguments = Arguments::parse();
    // These two are asked for where nothing is configured.
    match &arguments.command {
        Some(Command::Completions { shell }) => {
            return print(Ok(pages::completions(Arguments::command(), *shell)));
        }
        Some(Command::Man) => return print(pages::manual(Arguments::command())),
        _ => {}
    }
    let environment = Environment::from_process();
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(environment),
        Command::CheckConfig { format } => check_config::run(environment, format),
        Command::Admin { command } => admin::run(environment, command),
        Command::Partitions { command } => partitions::run(environment, &command),
        Command::Archive { command } => archive::run(environment, &command),
        Command::Healthcheck { ready } => healthcheck::run(environment, ready),
        Command::Completions { .. } | Command::Man => unreachable!("it was answered before the settings"),
    }
}

/// Writes what was asked for to standard output.
fn print(text: io::Result<String>) -> Exit {
    let mut stdout = io::stdout().lock();
    match text.and_then(|text| stdout.write_all(text.as_bytes())).and_then(|()| stdout.flush()) {
        // Whoever reads, `head` for example, may stop when it has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            tell(format_args!("standard output cannot be written: {error}"));
            Exit::Unavailable
        }
        _ => Exit::Success,
    }
}

/// Says on standard output what was done. It is done, also when nobody reads of it.
fn say(done: impl std::fmt::Display) {
    let _nobody_reads = writeln!(io::stdout().lock(), "{done}");
}

/// Says something on standard error, where the log does not exist yet or would not be read.
fn tell(message: impl std::fmt::Display) {
    // When standard error is gone there is nobody left to tell.
    let _nobody_reads = writeln!(io::stderr().lock(), "{message}");
}

/// Says what the database says, and what to do where it has none of what this release needs.
fn explain(error: &DatabaseError) -> Exit {
    if matches!(error.kind(), DatabaseErrorKind::UndefinedTable | DatabaseErrorKind::UndefinedName) {
        tell(format_args!("the database is not up to date: run `migrator up` first ({error})"));
        return Exit::Schema;
    }
    tell(error);
    error.exit()
}

/// Refuses a SQLite file that is missing: connecting would make an empty one, in whatever folder this is.
fn require_file(url: &DatabaseUrl) -> Result<(), Exit> {
    match url {
        DatabaseUrl::Sqlite(path) if !path.exists() => {
            let path = path.display();
            tell(format_args!(
                "there is no file {path}; `migrator up` makes it (DATABASE_URL says which one)"
            ));
            Err(Exit::Configuration)
        }
        _ => Ok(()),
    }
}

/// The threads that a command works on.
fn threads(mut builder: Builder) -> Result<Runtime, Exit> {
    builder.enable_all().build().map_err(|error| {
        tell(format_args!("no threads to run on: {error}"));
        Exit::Unavailable
    })
}

/// Shows every problem at once.
fn refuse(error: &SettingsError) -> Exit {
    tell(format_args!("{error}\n`service check-config` shows the settings in force once they can be read."));
    Exit::Configuration
}
