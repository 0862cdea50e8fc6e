//! `rehearse`: tries every migration and its undo in a scratch database.

use std::collections::{BTreeMap, BTreeSet};

use foundation::database::{Backend, Connection, DatabaseError, DatabaseErrorKind, Statement};
use serde::Serialize;
use tokio::time::Instant;

use super::Migrator;
use crate::error::MigratorError;
use crate::history;
use crate::scratch::{self, Scratch};
use crate::source::{Migration, Version};
use crate::structure::{Difference, Partitions, Structure, difference};

/// What others may hold or wait for in the current schema.
const RELATIONS: Statement = Statement::write(
    "pg_class",
    "SELECT c.oid::bigint AS id, c.relname::text AS name FROM pg_class c
     WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
       AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')",
);

const LOCKS: Statement = Statement::write(
    "pg_locks",
    "SELECT DISTINCT l.relation::bigint AS id, l.mode FROM pg_locks l
     WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted
       AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
);

/// A lock on something that was there before the migration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Lock {
    /// The table, view or sequence.
    pub relation: String,
    /// As PostgreSQL calls it, for example `AccessExclusiveLock`.
    pub mode: String,
}

/// A statement of a migration, and the locks that it took beyond those of the statements before it.
#[derive(Clone, Debug, Serialize)]
pub struct RehearsedStatement {
    /// The statement.
    pub sql: String,
    /// Its locks; none is seen of a statement outside of a transaction, and on SQLite.
    pub locks: Vec<Lock>,
}

/// How the rehearsal of a migration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was undone to exactly the schema before it, and applied again to the same schema.
    Exact,
    /// Its undo leaves another schema than there was before it.
    UndoDiffers,
    /// Its undo fails.
    UndoFails,
    /// It cannot be applied after its undo.
    SecondFails,
    /// Applied after its undo, it leaves another schema than the first time.
    SecondDiffers,
    /// It says that it is irreversible, so it was only applied.
    Irreversible,
    /// It was only applied, because the database has it already.
    Skipped,
}

/// The rehearsal of one migration.
#[derive(Clone, Debug, Serialize)]
pub struct RehearsedMigration {
    /// Its version.
    pub version: Version,
    /// Its name, without the version.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it is irreversible, or what the database said where the undo, or the second time, failed.
    pub reason: Option<String>,
    /// What differs.
    pub differences: Vec<Difference>,
    /// Its statements with their locks; PostgreSQL only.
    pub statements: Vec<RehearsedStatement>,
    /// How long it took to apply it the first time, to empty tables.
    pub milliseconds: f64,
}

/// What `rehearse` found.
#[derive(Clone, Debug, Serialize)]
pub struct RehearsalReport {
    /// The database beside which it was tried, its password redacted.
    pub database: String,
    /// Whether each undo brings back exactly the schema before its migration.
    pub exact: bool,
    /// Every migration in its order.
    pub migrations: Vec<RehearsedMigration>,
}

impl Migrator {
    /// Applies every migration in a scratch database, undoes it, compares the schema with the one before,
    /// applies it again and compares with the first time. With `pending_only`, what the real database has
    /// already is applied and not tried.
    ///
    /// # Errors
    /// Every [`MigratorError`]: what fails to apply, and a role that may not make databases. An undo that fails,
    /// or brings back something else, is told in the report.
    pub async fn rehearse(&self, pending_only: bool) -> Result<RehearsalReport, MigratorError> {
        let applied: BTreeSet<Version> = if pending_only {
            let applied = history::read(&mut self.existing().await?).await?.unwrap_or_default();
            applied.iter().map(|it| it.version).collect()
        } else {
            BTreeSet::new()
        };
        let mut migrations = Vec::new();
        while migrations.len() < self.catalog.len() {
            // Each time begins with an empty database: what a migration left that went wrong would be in the way
            // of the next ones.
            scratch::with(&self.context, async |connection| {
                self.rehearse_from(connection, &applied, &mut migrations).await
            })
            .await?;
        }
        let is_right = |it: &RehearsedMigration| {
            matches!(it.outcome, Outcome::Exact | Outcome::Irreversible | Outcome::Skipped)
        };
        let exact = migrations.iter().all(is_right);
        Ok(RehearsalReport { database: self.context.url.to_string(), exact, migrations })
    }

    /// Applies those that are rehearsed already, then rehearses the others, until one leaves a schema on which the
    /// next cannot be tried.
    async fn rehearse_from(
        &self,
        connection: &mut Scratch,
        applied: &BTreeSet<Version>,
        rehearsed: &mut Vec<RehearsedMigration>,
    ) -> Result<(), MigratorError> {
        let done = rehearsed.len();
        for migration in self.catalog.iter().take(done) {
            let nothing = &mut async |_: &mut Connection, _: &str| Ok(());
            Box::pin(scratch::run_migration(connection, migration, nothing)).await?;
        }
        for migration in self.catalog.iter().skip(done) {
            let skip = applied.contains(&migration.version());
            let one = Box::pin(rehearse_one(connection, migration, skip)).await?;
            tracing::info!(migration = migration.display(), outcome = ?one.outcome, "rehearsed");
            let outcome = one.outcome;
            rehearsed.push(one);
            if matches!(outcome, Outcome::UndoFails | Outcome::SecondFails) {
                break;
            }
        }
        Ok(())
    }
}

async fn rehearse_one(
    connection: &mut Scratch,
    migration: &Migration,
    skip: bool,
) -> Result<RehearsedMigration, MigratorError> {
    let before = Structure::read(connection).await?;
    let started = Instant::now();
    let statements = apply(connection, migration).await?;
    let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
    let mut rehearsed = RehearsedMigration {
        version: migration.version(),
        name: migration.name().to_owned(),
        outcome: Outcome::Skipped,
        reason: None,
        differences: Vec::new(),
        statements,
        milliseconds,
    };
    if skip {
        return Ok(rehearsed);
    }
    let Some(undo) = migration.undo() else {
        let why = migration.instructions().irreversible.clone();
        rehearsed.reason = Some(why.unwrap_or_else(|| "it has no undo file".to_owned()));
        rehearsed.outcome = Outcome::Irreversible;
        return Ok(rehearsed);
    };
    let after = Structure::read(connection).await?;
    let title = format!("the undo of {}", migration.display());
    if let Err(error) = scratch::run_undo(connection, &title, &undo.sql).await {
        rehearsed.reason = Some(in_words(error)?);
        rehearsed.outcome = Outcome::UndoFails;
        return Ok(rehearsed);
    }
    let undone = Structure::read(connection).await?;
    rehearsed.differences = difference(&undone, &before, Partitions::All);
    if !rehearsed.differences.is_empty() {
        rehearsed.outcome = Outcome::UndoDiffers;
    }
    if let Err(error) = apply(connection, migration).await {
        rehearsed.reason = Some(in_words(error)?);
        rehearsed.outcome = Outcome::SecondFails;
        return Ok(rehearsed);
    }
    let again = Structure::read(connection).await?;
    let second = difference(&again, &after, Partitions::All);
    if rehearsed.outcome == Outcome::Skipped {
        rehearsed.outcome = if second.is_empty() { Outcome::Exact } else { Outcome::SecondDiffers };
        rehearsed.differences = second;
    }
    Ok(rehearsed)
}

/// What went wrong in a file. Anything else ends the rehearsal.
fn in_words(error: MigratorError) -> Result<String, MigratorError> {
    match error {
        MigratorError::Failed { .. } | MigratorError::FailedInPart { .. } | MigratorError::Schema(_) => {
            Ok(error.to_string())
        }
        error => Err(error),
    }
}

/// Applies it; on PostgreSQL, asks after each statement for the locks.
async fn apply(
    connection: &mut Scratch,
    migration: &Migration,
) -> Result<Vec<RehearsedStatement>, MigratorError> {
    let mut statements = Vec::new();
    if connection.backend() == Backend::Sqlite {
        scratch::run_migration(connection, migration, &mut async |_: &mut Connection, _: &str| Ok(()))
            .await?;
        return Ok(statements);
    }
    let mut relations: BTreeMap<i64, String> = BTreeMap::new();
    for row in connection.query(&RELATIONS, &[]).await? {
        relations.insert(row.get("id")?, row.get("name")?);
    }
    let mut seen: BTreeSet<Lock> = BTreeSet::new();
    let mut after = async |connection: &mut Connection, sql: &str| {
        let mut locks = BTreeSet::new();
        for row in connection.query(&LOCKS, &[]).await.map_err(explain)? {
            if let Some(relation) = relations.get(&row.get::<i64>("id")?) {
                locks.insert(Lock { relation: relation.clone(), mode: row.get("mode")? });
            }
        }
        let locks: Vec<Lock> = locks.into_iter().filter(|lock| seen.insert(lock.clone())).collect();
        statements.push(RehearsedStatement { sql: sql.to_owned(), locks });
        Ok::<_, DatabaseError>(())
    };
    scratch::run_migration(connection, migration, &mut after).await?;
    Ok(statements)
}

fn explain(error: DatabaseError) -> DatabaseError {
    if error.kind() == DatabaseErrorKind::InsufficientPrivilege {
        return error.while_trying("the locks of the migration cannot be seen".to_owned());
    }
    error
}

impl RehearsalReport {
    /// The same for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        for it in &self.migrations {
            let outcome = match it.outcome {
                Outcome::Exact => "exact".to_owned(),
                Outcome::UndoDiffers => "its undo does not bring back the schema before it".to_owned(),
                Outcome::UndoFails => it.reason.clone().unwrap_or_default(),
                Outcome::SecondFails => format!(
                    "it cannot be applied after its undo: {}",
                    it.reason.as_deref().unwrap_or_default()
                ),
                Outcome::SecondDiffers => "applied again after its undo, it makes another schema".to_owned(),
                Outcome::Irreversible => {
                    format!("irreversible, only applied: {}", it.reason.as_deref().unwrap_or_default())
                }
                Outcome::Skipped => "applied already, not tried".to_owned(),
            };
            lines.push(format!("V{}__{}: {outcome}", it.version, it.name));
            lines.extend(it.differences.iter().map(|it| format!("  {it}")));
            for statement in it.statements.iter().filter(|it| !it.locks.is_empty()) {
                let locks: Vec<String> =
                    statement.locks.iter().map(|it| format!("{} {}", it.relation, it.mode)).collect();
                lines.push(format!("  locks: {}  by {}", locks.join(", "), shortened(&statement.sql)));
            }
        }
        if !self.migrations.is_empty() && self.migrations.iter().all(|it| it.outcome == Outcome::Skipped) {
            return "nothing is pending, so nothing was tried; `migrator rehearse` tries every migration"
                .to_owned();
        }
        let tried = self.migrations.iter().filter(|it| it.outcome == Outcome::Exact).count();
        lines.push(format!(
            "{tried} of {} can be undone exactly",
            self.migrations.iter().filter(|it| it.outcome != Outcome::Skipped).count()
        ));
        lines.join("\n")
    }
}

/// The beginning of a statement, on one line.
pub(super) fn shortened(sql: &str) -> String {
    let words = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() <= 70 {
        words
    } else {
        format!("{}...", words.chars().take(67).collect::<String>())
    }
}
