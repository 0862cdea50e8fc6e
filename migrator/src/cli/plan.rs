//! `migrator plan`.

use std::fmt::Write;

use clap::{Args, ValueEnum};
use foundation::exit::Exit;

use super::output::{Output, show};
use crate::commands::{Down, Migrator, PlanReport, PlannedMigration};
use crate::error::MigratorError;
use crate::lint;
use crate::locks::PlannedStatement;
use crate::source::Version;

#[derive(Debug, Args)]
pub(super) struct PlanArguments {
    /// What is planned.
    #[arg(value_enum, default_value = "up")]
    direction: Direction,
    /// As of up and down.
    #[arg(long, value_name = "VERSION")]
    to: Option<Version>,
    /// As of down.
    #[arg(long, conflicts_with = "to")]
    steps: Option<usize>,
    /// Plan also what came late, as of up [MIGRATOR_OUT_OF_ORDER].
    #[arg(long)]
    pub(super) out_of_order: bool,
    /// End with exit code 73 when there is something to do.
    #[arg(long)]
    check: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Direction {
    Up,
    Down,
}

impl Output {
    pub(super) async fn plan(
        &self,
        arguments: &PlanArguments,
        migrator: &Migrator,
    ) -> Result<Exit, MigratorError> {
        let report = match (arguments.direction, arguments.to, arguments.steps) {
            (Direction::Up, _, Some(_)) => {
                return Err(MigratorError::Usage("up knows no --steps: say --to VERSION".to_owned()));
            }
            (Direction::Up, to, None) => migrator.plan_up(to).await?,
            (Direction::Down, Some(version), _) => migrator.plan_down(Down::To(version)).await?,
            (Direction::Down, None, steps) => migrator.plan_down(Down::Steps(steps.unwrap_or(1))).await?,
        };
        let found = arguments.check && !report.migrations.is_empty();
        let exit = if found { Exit::Drift } else { Exit::Success };
        Ok(self.verdict("plan", exit, &report, text(&report).trim_end()))
    }
}

fn text(report: &PlanReport) -> String {
    let mut text = String::new();
    let (current, target) = (show(report.current_version), show(report.target_version));
    if report.migrations.is_empty() {
        return format!("nothing to do; at version {current}");
    }
    for migration in &report.migrations {
        of_migration(&mut text, report.direction, migration);
    }
    let count = report.migrations.len();
    let what = if report.direction == "up" { "to apply" } else { "to take back" };
    let _infallible = write!(text, "{count} {what}, from version {current} to {target}; nothing was done");
    text
}

fn of_migration(text: &mut String, direction: &str, migration: &PlannedMigration) {
    let PlannedMigration { version, name, in_transaction, .. } = migration;
    let how =
        if *in_transaction { "in one transaction" } else { "statement by statement, without a transaction" };
    let _infallible = writeln!(text, "{direction} V{version}__{name}, {how}");
    for statement in &migration.statements {
        of_statement(text, statement);
    }
    for line in lint::text(&migration.findings).lines() {
        let _infallible = writeln!(text, "  lint: {line}");
    }
    text.push('\n');
}

fn of_statement(text: &mut String, statement: &PlannedStatement) {
    for (number, line) in statement.sql.lines().enumerate() {
        let place = if number == 0 { statement.line.to_string() } else { String::new() };
        let _infallible = writeln!(text, "{place:>5}  {line}");
    }
    for lock in &statement.effects.locks {
        let _infallible = writeln!(text, "         locks {}: {}", lock.relation, lock.mode);
    }
    for rewrite in &statement.effects.rewrites {
        let _infallible = writeln!(text, "         rewrites {rewrite}");
    }
    for scan in &statement.effects.scans {
        let _infallible = writeln!(text, "         reads all of {scan}");
    }
}
