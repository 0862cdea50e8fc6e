//! What `import-history` is told, and what it tells.

use clap::Args;
use foundation::exit::Exit;

use super::output::{Output, show};
use super::something;
use crate::commands::{ImportReport, ImportRequest, Migrator};
use crate::error::MigratorError;
use crate::foreign::Tool;
use crate::source::Version;

#[derive(Debug, Args)]
pub(super) struct ImportArguments {
    /// Whose history; not needed where there is only one.
    #[arg(long, value_enum, value_name = "TOOL")]
    from: Option<Tool>,
    /// For Alembic, which knows revisions and no versions: the newest migration whose work is in the database.
    #[arg(long, value_name = "VERSION")]
    at: Option<Version>,
    /// The table of the other tool, where it does not have its usual name.
    #[arg(long, value_name = "NAME", value_parser = something)]
    table: Option<String>,
    /// Only say what would be recorded.
    #[arg(long)]
    dry_run: bool,
}

impl Output {
    pub(super) async fn import_history(
        &self,
        arguments: ImportArguments,
        migrator: &Migrator,
    ) -> Result<Exit, MigratorError> {
        let ImportArguments { from, at, table, dry_run } = arguments;
        let report = migrator.import_history(&ImportRequest { from, at, table, dry_run }).await?;
        Ok(self.verdict("import-history", Exit::Success, &report, &text(&report)))
    }
}

fn text(report: &ImportReport) -> String {
    let ImportReport { from, table, recorded, pending, .. } = report;
    let mut lines: Vec<String> = recorded
        .iter()
        .map(|it| {
            let checksum = if it.same_checksum { ", the checksum is the same" } else { "" };
            format!("V{}__{}{checksum}", it.version, it.name)
        })
        .collect();
    lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
    let version = show(report.current_version);
    let last = match (recorded.len(), report.dry_run) {
        (0, _) => format!(
            "{from} says in {table} that nothing is applied, so nothing is recorded; {pending} pending"
        ),
        (count, true) => format!(
            "would record {count} as applied, as {from} says in {table}: at version {version}, {pending} pending"
        ),
        (count, false) => format!(
            "recorded {count} as applied, as {from} says in {table}; at version {version}, {pending} pending; nothing was run, and {table} is as it was"
        ),
    };
    lines.push(last);
    lines.join("\n")
}
