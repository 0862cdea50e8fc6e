//! The migrator: a program that brings a database to a schema and exits.

use std::process::ExitCode;

use clap::Parser;
use migrator::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime.block_on(cli.run()).into(),
        Err(error) => {
            use std::io::Write as _;
            let _nobody_reads = writeln!(std::io::stderr(), "the program cannot start: {error}");
            foundation::exit::Exit::Unavailable.into()
        }
    }
}
