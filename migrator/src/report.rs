//! What a command tells: as a document for machines, as lines for people, and while it works.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::IsTerminal;

use foundation::database::DatabaseUrl;
use foundation::settings::Secret;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use time::OffsetDateTime;

use crate::history::JournalEntry;
use crate::past::Past;
use crate::plan::Plan;
use crate::progress::Begun;
use crate::source::{Catalog, Version};

/// A migration that a run applied or took back.
#[derive(Clone, Debug, Serialize)]
pub struct AppliedNow {
    /// Its version.
    pub version: Version,
    /// Its name, without the version.
    pub name: String,
    /// How long it took.
    pub milliseconds: f64,
}

/// What `up` did.
#[derive(Clone, Debug, Serialize)]
pub struct UpReport {
    /// The database, its password redacted.
    pub database: String,
    /// What was applied, in order; empty when there was nothing to do.
    pub applied: Vec<AppliedNow>,
    /// The newest applied version afterwards.
    pub current_version: Option<Version>,
    /// Where there is a way back to what was before: the copy of a SQLite file, or the name of a restore point
    /// in PostgreSQL's log.
    pub restore_point: Option<String>,
    /// The name of the administrator that was made.
    pub admin: Option<String>,
    /// The role that was given rights.
    pub granted_to: Option<String>,
    /// The password that was made for the administrator: to be shown once, on the terminal.
    #[serde(skip)]
    pub generated_password: Option<Secret>,
}

impl UpReport {
    pub(crate) fn new(url: &DatabaseUrl) -> Self {
        let database = url.to_string();
        Self {
            database,
            applied: Vec::new(),
            current_version: None,
            restore_point: None,
            admin: None,
            granted_to: None,
            generated_password: None,
        }
    }

    /// Whether the database was as it should be already.
    #[must_use]
    pub fn nothing_done(&self) -> bool {
        self.applied.is_empty() && self.admin.is_none() && self.granted_to.is_none()
    }
}

/// What `down` did.
#[derive(Clone, Debug, Serialize)]
pub struct DownReport {
    /// The database, its password redacted.
    pub database: String,
    /// What was taken back, newest first.
    pub undone: Vec<AppliedNow>,
    /// The newest applied version afterwards.
    pub current_version: Option<Version>,
}

impl DownReport {
    pub(crate) fn new(url: &DatabaseUrl) -> Self {
        Self { database: url.to_string(), undone: Vec::new(), current_version: None }
    }
}

/// What `stamp` did.
#[derive(Clone, Debug, Serialize)]
pub struct StampReport {
    /// The database, its password redacted.
    pub database: String,
    /// The newest version that the history has now; 0 for none.
    pub current_version: Version,
    /// Whether the history was changed.
    pub changed: bool,
}

impl StampReport {
    pub(crate) fn new(url: &DatabaseUrl, current_version: Version, changed: bool) -> Self {
        Self { database: url.to_string(), current_version, changed }
    }
}

/// What `backup` did.
#[derive(Clone, Debug, Serialize)]
pub struct BackupReport {
    /// The copy.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// The newest version that is applied in it.
    pub current_version: Option<Version>,
}

/// What `restore` did.
#[derive(Clone, Debug, Serialize)]
pub struct RestoreReport {
    /// The database, its password redacted.
    pub database: String,
    /// The backup.
    pub file: String,
    /// The newest version that is applied now.
    pub current_version: Option<Version>,
    /// How many migrations of this release are not.
    pub pending: usize,
    /// Where there is a way back to what was replaced.
    pub restore_point: Option<String>,
    /// Why this release cannot run on it, in words, or why that is not known.
    pub problems: Vec<String>,
}

/// One migration as `status` lists it.
#[derive(Clone, Debug, Serialize)]
pub struct StatusLine {
    /// Its version.
    pub version: Version,
    /// Its name, without the version.
    pub name: String,
    /// `applied`, `pending`, or `newer` when a newer release applied it; or what does not go together:
    /// `changed`, `renamed`, `replaced`, `renumbered`, `late` or `missing`, or `in part`, said in `problems`.
    pub state: &'static str,
    /// When it was applied, in UTC.
    #[serde(with = "time::serde::rfc3339::option")]
    pub applied_on: Option<OffsetDateTime>,
}

/// What `status` tells.
#[derive(Clone, Debug, Serialize)]
pub struct StatusReport {
    /// The database, its password redacted.
    pub database: String,
    /// The newest applied version.
    pub current_version: Option<Version>,
    /// The newest version that this release has.
    pub newest_version: Version,
    /// How many are pending.
    pub pending: usize,
    /// Why this release cannot run on the schema, in words.
    pub problems: Vec<String>,
    /// Every migration that is applied or known, in order.
    pub migrations: Vec<StatusLine>,
}

impl StatusReport {
    pub(crate) fn new(url: &DatabaseUrl, catalog: &Catalog, past: &Past, plan: &Plan<'_, '_>) -> Self {
        let newer: HashSet<Version> = plan.newer.iter().map(|it| it.version).collect();
        let conflicts_of_rows: BTreeMap<Version, &'static str> =
            plan.conflicts.iter().filter_map(|it| Some((it.applied()?.version, it.word()))).collect();
        let applied_lines = past.applied.iter().map(|it| StatusLine {
            version: it.version,
            name: it.name.clone(),
            state: match conflicts_of_rows.get(&it.version) {
                Some(word) => word,
                None if newer.contains(&it.version) => "newer",
                None => "applied",
            },
            applied_on: it.applied_on,
        });
        let known: HashSet<Version> = past.applied.iter().map(|it| it.version).collect();
        let pending = catalog.iter().filter(|it| !known.contains(&it.version()));
        let conflicts_of_files: BTreeMap<Version, &'static str> =
            plan.conflicts.iter().filter_map(|it| Some((it.migration()?.version(), it.word()))).collect();
        let pending_lines = pending.map(|it| StatusLine {
            version: it.version(),
            name: it.name().to_owned(),
            state: conflicts_of_files.get(&it.version()).copied().unwrap_or("pending"),
            applied_on: None,
        });
        let mut migrations: Vec<StatusLine> = applied_lines.chain(pending_lines).collect();
        migrations.sort_by_key(|it| it.version);
        let mut problems = plan.reasons();
        problems.extend(plan.incompatibility(catalog, past));
        Self {
            database: url.to_string(),
            current_version: past.newest(),
            newest_version: catalog.newest(),
            pending: plan.pending.len(),
            problems,
            migrations,
        }
    }

    /// The same, with the files of which a part is done.
    pub(crate) fn with_begun(mut self, begun: &[Begun]) -> Self {
        for line in &mut self.migrations {
            if begun.iter().any(|it| it.version == line.version) {
                line.state = "in part";
            }
        }
        self.problems.extend(begun.iter().map(Begun::reason));
        self
    }

    /// A table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let rows = self.migrations.iter().map(|it| {
            [it.version.to_string(), it.name.clone(), it.state.to_owned(), show_time(it.applied_on)]
        });
        let mut text = table(["VERSION", "NAME", "STATE", "APPLIED ON"], rows);
        let current = self.current_version.map_or_else(|| "none".to_owned(), |it| it.to_string());
        let _infallible = write!(
            text,
            "\n{}\nat version {current} of {}, {} pending\n",
            self.database, self.newest_version, self.pending
        );
        for problem in &self.problems {
            let _infallible = writeln!(text, "problem: {problem}");
        }
        text
    }
}

/// The journal as a table for people.
#[must_use]
pub fn journal_table(journal: &[JournalEntry]) -> String {
    let rows = journal.iter().map(|it| {
        [
            show_time(Some(it.started_at)),
            it.action.clone(),
            it.version.map(|version| version.to_string()).unwrap_or_default(),
            match (&it.name, it.statement) {
                (Some(name), Some(statement)) => format!("{name}, statement {statement}"),
                (name, _) => name.clone().unwrap_or_default(),
            },
            it.outcome.clone(),
            it.migrator_version.clone().unwrap_or_default(),
        ]
    });
    table(["STARTED AT", "ACTION", "VERSION", "NAME", "OUTCOME", "MIGRATOR"], rows)
}

fn show_time(time: Option<OffsetDateTime>) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    time.and_then(|time| time.to_utc().format(format).ok()).unwrap_or_default()
}

fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<String> =
            line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _infallible = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}

/// What is shown while migrations run: a line that moves on a terminal, log lines everywhere.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new(count: usize) -> Self {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(u64::try_from(count).ok(), target);
        if let Ok(style) = ProgressStyle::with_template("{pos}/{len} {wide_msg}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub(crate) fn begin(&self, title: &str) {
        self.0.set_message(title.to_owned());
    }

    pub(crate) fn end(&self, title: &str, milliseconds: f64, done: bool) {
        self.0.inc(1);
        self.0.suspend(|| {
            if done {
                tracing::info!(migration = title, milliseconds, "done");
            } else {
                tracing::info!(migration = title, "another migrator has done it");
            }
        });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["1".to_owned(), "long name".to_owned()], ["10".to_owned(), "b".to_owned()]];
        assert_eq!(table(["V", "NAME"], rows.into_iter()), "V   NAME\n1   long name\n10  b\n");
    }
}
