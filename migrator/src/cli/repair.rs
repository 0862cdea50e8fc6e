//! `migrator repair`.

use std::io::{IsTerminal, Write};

use clap::Args;
use foundation::exit::Exit;

use super::Format;
use super::confirm::ask;
use super::output::Output;
use crate::commands::{Migrator, RepairReport, Repairs};
use crate::error::MigratorError;
use crate::source::Version;

#[derive(Debug, Args)]
pub(super) struct RepairArguments {
    /// Only these, with those whose place in the history they take. Without any: whatever has another checksum, name or version by now.
    #[arg(value_name = "VERSION")]
    versions: Vec<Version>,
    /// Take a version that has no file out of the history. Can be repeated.
    #[arg(long, value_name = "VERSION")]
    forget: Vec<Version>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

impl Output {
    pub(super) async fn repair(
        &self,
        arguments: &RepairArguments,
        migrator: &Migrator,
    ) -> Result<Exit, MigratorError> {
        let wanted = Repairs { versions: arguments.versions.clone(), forget: arguments.forget.clone() };
        let report = migrator.repairs(&wanted).await?;
        // What is left would be an error for `up` too.
        let exit = if report.left.is_empty() { Exit::Success } else { Exit::Schema };
        if report.repairs.is_empty() {
            let text = format!("{}there is nothing to repair", report.text());
            return Ok(self.verdict("repair", exit, &report, &text));
        }
        if !arguments.yes
            && let Err(error) = self.consent(&report, migrator).await
        {
            // A program sees what it would have to be asked about.
            return Ok(self.refusal("repair", &error, &report));
        }
        migrator.repair(&wanted, &report).await?;
        let count = report.repairs.len();
        let text = format!("{}repaired {count}; no migration was run", report.text());
        Ok(self.verdict("repair", exit, &report, &text))
    }

    async fn consent(&self, report: &RepairReport, migrator: &Migrator) -> Result<(), MigratorError> {
        if self.format == Format::Text || std::io::stdin().is_terminal() {
            let _nobody_reads = write!(std::io::stderr(), "{}", report.text());
        }
        let refused = format!(
            "nothing was changed: {} would be recorded anew and there is no terminal to ask on; say --yes when the differences are meant",
            report.repairs.len()
        );
        let question = "Is that what is applied, and is it to be recorded so? No SQL is run. [y/n] ";
        match ask(question, &refused, migrator.stop()).await?.as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(MigratorError::Usage("nothing was changed".to_owned())),
        }
    }
}
