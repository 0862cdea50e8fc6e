//! The migrator: a program that brings a database to a schema and exits.

use std::process::ExitCode;
use std::time::Duration;

use migrator::cli::Cli;

/// How long the end waits for what still runs on other threads.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let cli = match Cli::from_arguments(&arguments) {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => {
            let exit = runtime.block_on(cli.run());
            // A statement of SQLite that could not be stopped must not keep the program; a connection that
            // is about to be closed gets the time for it.
            runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
            exit.into()
        }
        Err(error) => {
            use std::io::Write as _;
            let _nobody_reads = writeln!(std::io::stderr(), "the program cannot start: {error}");
            foundation::exit::Exit::Unavailable.into()
        }
    }
}
