//! The program. What it does stands in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::commands::main().into()
}
