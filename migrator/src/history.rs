//! What is applied: refinery's `refinery_schema_history`, and `migrator_journal` beside it.
//!
//! refinery panics on a row that it does not understand, so the history is read by statements of our own.

use std::hash::{Hash, Hasher};

use foundation::database::{Connection, DatabaseError, Row, Statement, Value};
use serde::Serialize;
use siphasher::sip::SipHasher13;
use time::OffsetDateTime;

use crate::own::{Asked, Question, question};
use crate::source::{Migration, Version};

/// With a cast, so that a statement that was prepared before the versions were widened stays valid.
const READ_HISTORY: Question = question!("refinery_schema_history":
    "SELECT CAST(h.version AS BIGINT) AS version, h.name, h.applied_on, h.checksum
     FROM refinery_schema_history AS h WHERE" own "h" of "refinery_schema_history" "ORDER BY h.version"
);
const IS_IN_HISTORY: Statement = Statement::write(
    "refinery_schema_history",
    "SELECT CAST(count(*) AS BIGINT) AS count FROM refinery_schema_history WHERE version = $1",
);
const FORGET: Statement =
    Statement::write("refinery_schema_history", "DELETE FROM refinery_schema_history WHERE version = $1");
const REMEMBER: Statement = Statement::write(
    "refinery_schema_history",
    "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) VALUES ($1, $2, $3, $4)",
);
const READ_JOURNAL: Question = question!("migrator_journal":
    "SELECT version, name, statement, action, outcome, started_at, finished_at, compatible_from, undo_sql, migrator_version, error
     FROM migrator_journal AS j WHERE" own "j" of "migrator_journal" "ORDER BY id"
);
const WRITE_JOURNAL: Statement = Statement::write(
    "migrator_journal",
    "INSERT INTO migrator_journal (version, name, action, outcome, started_at, finished_at, compatible_from, checksum, undo_sql, migrator_version, error, sql) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
);
/// A migration that is applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Its version.
    pub version: Version,
    /// Its name, without the version.
    pub name: String,
    /// When, in UTC; nothing when the row does not say it in RFC 3339.
    #[serde(with = "time::serde::rfc3339::option")]
    pub applied_on: Option<OffsetDateTime>,
    /// The checksum of the file that was applied.
    #[serde(skip)]
    pub checksum: String,
}

impl Applied {
    pub(crate) fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        let applied_on: Option<String> = row.get("applied_on")?;
        let parse =
            |text: String| OffsetDateTime::parse(&text, &time::format_description::well_known::Rfc3339).ok();
        Ok(Self {
            version: row.get("version")?,
            name: row.get::<Option<String>>("name")?.unwrap_or_default(),
            applied_on: applied_on.and_then(parse),
            checksum: row.get::<Option<String>>("checksum")?.unwrap_or_default(),
        })
    }

    /// Whether the row stands for this migration, with the checksum that refinery computes with or
    /// without its feature `int8-versions`.
    #[must_use]
    pub fn is(&self, migration: &Migration) -> bool {
        self.version == migration.version()
            && self.name == migration.name()
            && (self.checksum == migration.checksum().to_string()
                || narrow_checksum(migration.name(), migration.version(), migration.sql())
                    .is_some_and(|it| self.checksum == it.to_string()))
    }

    /// Whether the text of this migration is the one that was applied, whatever its version and name are.
    #[must_use]
    pub fn has_text(&self, migration: &Migration) -> bool {
        let narrow = narrow_checksum(&self.name, self.version, migration.sql());
        self.checksum == checksum(&self.name, self.version, migration.sql()).to_string()
            || narrow.is_some_and(|it| self.checksum == it.to_string())
    }

    /// `V3__add_index`.
    #[must_use]
    pub fn display(&self) -> String {
        format!("V{}__{}", self.version, self.name)
    }
}

/// The checksum that refinery computes, its versions of 64 bits.
fn checksum(name: &str, version: impl Hash, sql: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    name.hash(&mut hasher);
    version.hash(&mut hasher);
    sql.hash(&mut hasher);
    hasher.finish()
}

/// The one that it computes where versions have 32 bits; nothing where this one has more.
fn narrow_checksum(name: &str, version: Version, sql: &str) -> Option<u64> {
    Some(checksum(name, i32::try_from(version).ok()?, sql))
}

/// What is applied, in the order of versions; nothing when the database has no history yet.
///
/// # Errors
/// What the database says; that the table is missing is no error.
pub async fn read(connection: &mut Connection) -> Result<Option<Vec<Applied>>, DatabaseError> {
    ask(&mut Asked::Connection(connection)).await
}

pub(crate) async fn ask(asked: &mut Asked<'_>) -> Result<Option<Vec<Applied>>, DatabaseError> {
    let rows = asked.own_rows(&READ_HISTORY, &[]).await?;
    rows.map(|rows| rows.iter().map(Applied::from_row).collect()).transpose()
}

/// Whether the version is applied, asked inside of a transaction that goes on to change that.
pub(crate) async fn contains(connection: &mut Connection, version: Version) -> Result<bool, DatabaseError> {
    let row = connection.query_optional(&IS_IN_HISTORY, &[version.into()]).await?;
    row.map_or(Ok(false), |row| Ok(row.get::<i64>("count")? > 0))
}

pub(crate) async fn forget(connection: &mut Connection, version: Version) -> Result<(), DatabaseError> {
    connection.execute(&FORGET, &[version.into()]).await.map(drop)
}

/// Records a migration as applied, as refinery writes it.
pub(crate) async fn remember(
    connection: &mut Connection,
    migration: &Migration,
    now: OffsetDateTime,
) -> Result<(), DatabaseError> {
    let applied_on = now.format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
    let values = [
        migration.version().into(),
        migration.name().into(),
        applied_on.into(),
        migration.checksum().to_string().into(),
    ];
    connection.execute(&REMEMBER, &values).await.map(drop)
}

/// What a run did with one migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Up,
    Down,
    Stamp,
    /// Taken out of the history by a stamp, its SQL not run.
    Unstamp,
    /// Recorded as its file is now, nothing run.
    Repair,
    /// Taken out of the history by a repair, its SQL not run.
    Forget,
}

impl Action {
    /// As the journal calls it.
    pub(crate) const fn word(self) -> &'static str {
        self.words().0
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Up => ("up", "applied"),
            Self::Down => ("down", "undone"),
            Self::Stamp => ("stamp", "stamped"),
            Self::Unstamp => ("stamp", "undone"),
            Self::Repair => ("repair", "repaired"),
            Self::Forget => ("repair", "undone"),
        }
    }
}

/// An entry that is to be written into the journal.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) version: Version,
    pub(crate) name: String,
    pub(crate) action: Action,
    pub(crate) compatible_from: Option<Version>,
    pub(crate) checksum: Option<String>,
    /// The text of the file that is applied, to be shown where the file is another one later.
    pub(crate) sql: Option<String>,
    pub(crate) undo_sql: Option<String>,
    /// What went wrong, for a migration that was rolled back.
    pub(crate) error: Option<String>,
}

impl Entry {
    /// About a migration that this release embeds.
    pub(crate) fn of(migration: &Migration, action: Action) -> Self {
        Self {
            version: migration.version(),
            name: migration.name().to_owned(),
            action,
            compatible_from: migration.instructions().compatible_from,
            checksum: Some(migration.checksum().to_string()),
            sql: Some(migration.sql().to_owned()),
            undo_sql: migration.undo().map(|undo| undo.sql.clone()),
            error: None,
        }
    }

    /// About a row that is taken out of the history.
    pub(crate) fn gone(applied: &Applied, action: Action) -> Self {
        Self {
            version: applied.version,
            name: applied.name.clone(),
            action,
            compatible_from: None,
            checksum: Some(applied.checksum.clone()),
            sql: None,
            undo_sql: None,
            error: None,
        }
    }
}

pub(crate) async fn write_journal(
    connection: &mut Connection,
    entry: &Entry,
    started_at: OffsetDateTime,
    finished_at: OffsetDateTime,
) -> Result<(), DatabaseError> {
    let (statement, values) = journal_row(entry, started_at, finished_at);
    connection.execute(&statement, &values).await.map(drop)
}

/// The statement that writes an entry into the journal, and its values.
pub(crate) fn journal_row(
    entry: &Entry,
    started_at: OffsetDateTime,
    finished_at: OffsetDateTime,
) -> (Statement, [Value; 12]) {
    let (action, success) = entry.action.words();
    let outcome = if entry.error.is_some() { "failed" } else { success };
    let values: [Value; 12] = [
        entry.version.into(),
        entry.name.as_str().into(),
        action.into(),
        outcome.into(),
        started_at.into(),
        finished_at.into(),
        entry.compatible_from.into(),
        entry.checksum.clone().into(),
        entry.undo_sql.clone().into(),
        env!("CARGO_PKG_VERSION").into(),
        entry.error.clone().into(),
        entry.sql.clone().into(),
    ];
    (WRITE_JOURNAL, values)
}

/// An entry of the journal.
#[derive(Clone, Debug, Serialize)]
pub struct JournalEntry {
    /// The version; nothing for what concerns all of them.
    pub version: Option<Version>,
    /// The name, without the version.
    pub name: Option<String>,
    /// The number of the statement, from 1, of a file that runs outside of a transaction; nothing for whole
    /// migrations.
    pub statement: Option<i64>,
    /// `up`, `down`, `stamp` or `repair`.
    pub action: String,
    /// `applied`, `undone`, `stamped`, `repaired`, `failed` and rolled back, or of a statement `started`.
    pub outcome: String,
    /// When it began, in UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// When it was done, in UTC.
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
    /// The oldest version whose release can still run on the schema after this one.
    pub compatible_from: Option<Version>,
    /// The SQL that takes it back.
    #[serde(skip)]
    pub undo_sql: Option<String>,
    /// The version of the migrator that did it.
    pub migrator_version: Option<String>,
    /// What went wrong, for one that was rolled back.
    pub error: Option<String>,
}

impl JournalEntry {
    fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            version: row.get("version")?,
            name: row.get("name")?,
            statement: row.get("statement")?,
            action: row.get("action")?,
            outcome: row.get("outcome")?,
            started_at: row.get("started_at")?,
            finished_at: row.get("finished_at")?,
            compatible_from: row.get("compatible_from")?,
            undo_sql: row.get("undo_sql")?,
            migrator_version: row.get("migrator_version")?,
            error: row.get("error")?,
        })
    }
}

/// The last entry that made a version applied.
pub(crate) fn last_applied(journal: &[JournalEntry], version: Version) -> Option<&JournalEntry> {
    journal.iter().rfind(|it| {
        it.version == Some(version) && it.statement.is_none() && it.error.is_none() && it.outcome != "undone"
    })
}

/// Everything that runs did, oldest first; empty when there is no journal.
///
/// # Errors
/// What the database says; that the table is missing is no error.
pub async fn read_journal(connection: &mut Connection) -> Result<Vec<JournalEntry>, DatabaseError> {
    ask_journal(&mut Asked::Connection(connection)).await
}

pub(crate) async fn ask_journal(asked: &mut Asked<'_>) -> Result<Vec<JournalEntry>, DatabaseError> {
    let rows = asked.own_rows(&READ_JOURNAL, &[]).await?.unwrap_or_default();
    rows.iter().map(JournalEntry::from_row).collect()
}
