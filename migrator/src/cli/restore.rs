//! `migrator restore`.

use std::path::PathBuf;

use clap::Args;
use foundation::exit::Exit;

use super::confirm::ask_for_name;
use super::output::{Output, show};
use super::safety::Safety;
use crate::commands::Migrator;
use crate::error::MigratorError;
use crate::report::RestoreReport;

#[derive(Debug, Args)]
pub(super) struct RestoreArguments {
    /// What `migrator backup` made, or pg_dump --format=custom.
    file: PathBuf,
    /// Replace what is in the database; otherwise it has to be empty.
    #[arg(long)]
    replace: bool,
    /// Do not ask before it is replaced.
    #[arg(long, requires = "replace")]
    yes: bool,
    #[command(flatten)]
    pub(super) safety: Safety,
}

impl Output {
    pub(super) async fn restore(
        &self,
        arguments: &RestoreArguments,
        migrator: &Migrator,
    ) -> Result<Exit, MigratorError> {
        if arguments.replace && !arguments.yes {
            ask_for_name("restore --replace", "replace", migrator.url(), migrator.stop()).await?;
        }
        let report = migrator.restore(&arguments.file, arguments.replace).await?;
        let exit = if report.problems.is_empty() { Exit::Success } else { Exit::Schema };
        Ok(self.verdict("restore", exit, &report, &text(&report)))
    }
}

fn text(report: &RestoreReport) -> String {
    let mut text = format!("restored {}; at version {}", report.file, show(report.current_version));
    if report.pending > 0 {
        text.push_str(&format!(", {} pending: `migrator up` applies them", report.pending));
    }
    if let Some(point) = &report.restore_point {
        text.push_str(&format!("\nwhat was there before is in {point}"));
    }
    for problem in &report.problems {
        text.push_str(&format!("\nproblem: {problem}"));
    }
    text
}
