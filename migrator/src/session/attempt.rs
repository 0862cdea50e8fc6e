//! One try of a change: a transaction that is made whole, rolled back, or stopped by a signal.

use std::pin::Pin;
use std::time::Duration;

use foundation::database::{Backend, Canceller, Connection, DatabaseError, DatabaseErrorKind, Request};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::blockers::Blockers;
use super::{Change, Context, Guard, Performed, Work, postgres, sqlite, trial};
use crate::correction;
use crate::error::MigratorError;
use crate::grants;
use crate::history::{self, Action};
use crate::progress;
use crate::source::Dialect;
use crate::statements::{Part, split};
use crate::stop::Stop;

/// How long a statement that was cancelled may take to end before its connection is given up.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a rollback may take before its connection is given up.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(2);

/// Said when what was looked at is not what is there.
pub(crate) const CHANGED_MEANWHILE: &str =
    "the history has changed since the differences were shown, and nothing was done; look again";

/// Why an attempt failed.
pub(super) enum Failure {
    Database(DatabaseError),
    /// The statements of a file failed, at this line of it.
    File(DatabaseError, Option<usize>),
    Migrator(MigratorError),
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

impl From<MigratorError> for Failure {
    fn from(error: MigratorError) -> Self {
        Self::Migrator(error)
    }
}

impl Failure {
    /// Of what is only asked.
    pub(super) fn told(self) -> MigratorError {
        match self {
            Self::Migrator(error) => error,
            Self::Database(source) | Self::File(source, _) => source.into(),
        }
    }

    pub(super) fn explain(self, change: &Change) -> MigratorError {
        match self {
            Self::Migrator(error) => error,
            Self::Database(source) => {
                MigratorError::Failed { migration: change.title.clone(), line: None, source }
            }
            Self::File(source, line) => {
                MigratorError::Failed { migration: change.title.clone(), line, source }
            }
        }
    }

    pub(super) fn explain_file(self, title: &str, sql: &str) -> MigratorError {
        match self {
            Self::Migrator(error) => error,
            Self::Database(source) | Self::File(source, _) => {
                let line = source.position().map(|position| line_at(sql, position));
                MigratorError::FailedInPart { migration: title.to_owned(), line, source }
            }
        }
    }
}

/// The line, from 1, of the character at `position`, from 1.
pub(crate) fn line_at(sql: &str, position: usize) -> usize {
    1 + sql.chars().take(position.saturating_sub(1)).filter(|character| *character == '\n').count()
}

/// What a change came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    /// The rows that its files wrote; the migrator's own do not count.
    pub(super) rows: u64,
    /// Whether the role of `MIGRATOR_GRANT_TO` was given what it lacked.
    pub(super) granted: bool,
}

/// A transaction that is under way.
type Attempting<'a> = Pin<Box<dyn Future<Output = Result<(Performed, Written), Failure>> + Send + 'a>>;

/// One try of a change, stopped by a signal, with an eye on who holds its locks.
pub(super) async fn attempt(
    context: &Context,
    connection: &mut Connection,
    change: &Change,
    blockers: &mut Blockers,
) -> Result<(Performed, Written), Failure> {
    let canceller = connection.canceller();
    let result = {
        // On the heap, as in `step`: without optimisation these frames are large, and each caller's has them in it.
        let work: Attempting<'_> = Box::pin(transaction(context, connection, change));
        stoppable(&context.stop, &canceller, blockers.watch(work)).await
    };
    if result.is_err() {
        // Where this does not work, the connection is gone or ends with the program, and the transaction
        // with it.
        match tokio::time::timeout(ROLLBACK_TIMEOUT, roll_back(connection, change)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(error = %error, "nothing was rolled back"),
            Err(_) => tracing::debug!("the rollback was not answered"),
        }
    }
    result
}

async fn roll_back(connection: &mut Connection, change: &Change) -> Result<(), DatabaseError> {
    connection.rollback().await?;
    // What was set in PostgreSQL is rolled back too.
    if connection.backend() == Backend::Sqlite && !is_piece_in_sqlite(connection, change) {
        sqlite::forget_file(connection).await?;
    }
    Ok(())
}

/// Whether it is a part of a file of which others follow in this session: what it has set in SQLite holds for them.
/// On PostgreSQL each of them is told again.
fn is_piece_in_sqlite(connection: &Connection, change: &Change) -> bool {
    connection.backend() == Backend::Sqlite && matches!(change.guard, Guard::NotFinished(..))
}

/// Runs `work`; when the run is to stop, cancels the statement and waits for its end.
pub(super) async fn stoppable<T, E: Into<Failure>>(
    stop: &Stop,
    canceller: &Canceller,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    let stopped = async {
        stop.requested().await;
        MigratorError::Stopped
    };
    unless(stopped, canceller, work).await
}

/// Runs `work`; when there is a `reason` not to, cancels the statement and waits for its end.
pub(super) async fn unless<T, E: Into<Failure>>(
    reason: impl Future<Output = MigratorError>,
    canceller: &Canceller,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    tokio::pin!(work);
    let reason = tokio::select! {
        biased;
        result = &mut work => return result.map_err(Into::into),
        reason = reason => reason,
    };
    let give_up = Instant::now() + CANCEL_TIMEOUT;
    while Instant::now() < give_up {
        // Again and again, because the first time may have met the moment between two statements.
        if let Err(error) = canceller.cancel().await {
            tracing::warn!(error = %error, "the running statement could not be cancelled");
        }
        match tokio::time::timeout(Duration::from_millis(200), &mut work).await {
            // It was done just before.
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(_)) => break,
            Err(_) => {}
        }
    }
    Err(reason.into())
}

async fn transaction(
    context: &Context,
    connection: &mut Connection,
    change: &Change,
) -> Result<(Performed, Written), Failure> {
    let started_at = context.clock.now();
    let begun = begin(context, connection, change.guard).await?;
    if !begun.holds {
        connection.rollback().await?;
        return Ok((Performed::Skipped, Written::default()));
    }
    // What is written last goes together with the end.
    let (work, record) = match change.work.split_last() {
        Some((Work::Record { sql }, work)) => (work, sql.as_str()),
        _ => (change.work.as_slice(), ""),
    };
    let (work, entry) = match work.split_last() {
        Some((Work::Journal(entry), work)) => (work, Some(entry)),
        _ => (work, None),
    };
    let mut written = Written::default();
    for work in work {
        let one = perform_one(context, connection, change, work, started_at, begun.one_by_one).await?;
        written.rows += one.rows;
        written.granted |= one.granted;
    }
    // At the end of a migration or an undo: between two statements of a file that is not run as one, a table that is
    // rebuilt may be missing, also while the next run takes it up again.
    let has_files = work.iter().any(|it| matches!(it, Work::File { .. }));
    if connection.backend() == Backend::Sqlite
        && has_files
        && matches!(change.guard, Guard::NotApplied(_) | Guard::Applied(_))
    {
        sqlite::leave_as_found(context, connection, &change.title).await?;
    }
    let forgets = has_files && !is_piece_in_sqlite(connection, change);
    let after = if forgets { trial::after_file(connection.backend()) } else { "" };
    match entry {
        Some(entry) => {
            let (statement, values) = history::journal_row(entry, started_at, context.clock.now());
            let commit = Request::Commit { before: record, after };
            let (kept, committed) =
                connection.together(Request::Statement(&statement, &values), commit).await;
            kept?;
            committed?;
        }
        None => connection.commit_with(record, after).await?,
    }
    if forgets {
        trial::forget_file(connection).await?;
    }
    Ok((Performed::Done, written))
}

/// What was found at the beginning.
struct Begun {
    /// Whether the guard holds.
    holds: bool,
    /// Whether the statements of files are sent one by one.
    one_by_one: bool,
}

async fn begin(context: &Context, connection: &mut Connection, guard: Guard) -> Result<Begun, Failure> {
    match (connection.backend(), guard) {
        (Backend::Postgres, Guard::NotApplied(version)) => {
            let entered = postgres::begin(&context.settings, connection, Some(version)).await?;
            Ok(Begun { holds: !entered.is_applied, one_by_one: entered.has_citus })
        }
        (Backend::Postgres, guard) => {
            let entered = postgres::begin(&context.settings, connection, None).await?;
            Ok(Begun { holds: holds(connection, guard).await?, one_by_one: entered.has_citus })
        }
        (Backend::Sqlite, guard) => {
            sqlite::begin(connection).await?;
            Ok(Begun { holds: holds(connection, guard).await?, one_by_one: false })
        }
    }
}

/// Whether somebody else was in the way, and nothing is wrong with the statement: a lock was not given in
/// time, or PostgreSQL ended a deadlock by this transaction.
pub(super) fn is_contention(error: &DatabaseError) -> bool {
    matches!(error.kind(), DatabaseErrorKind::LockNotAvailable | DatabaseErrorKind::SerializationFailure)
}

async fn holds(connection: &mut Connection, guard: Guard) -> Result<bool, DatabaseError> {
    match guard {
        Guard::None => Ok(true),
        Guard::NotApplied(version) => Ok(!history::contains(connection, version).await?),
        Guard::NotFinished(action, version, number) => {
            let is_due = history::contains(connection, version).await? == (action == Action::Down);
            Ok(is_due && !progress::is_finished(connection, action, version, number).await?)
        }
        Guard::Applied(version) => history::contains(connection, version).await,
        Guard::OldJournal => Ok(!correction::journal_keeps_sql(connection).await?),
        Guard::NoAdmin => Ok(!crate::admin::exists(connection).await?),
    }
}

async fn perform_one(
    context: &Context,
    connection: &mut Connection,
    change: &Change,
    work: &Work,
    started_at: OffsetDateTime,
    one_by_one: bool,
) -> Result<Written, Failure> {
    let now = context.clock.now();
    let done: Result<(), Failure> = match work {
        Work::File { sql } => {
            let rows = run_file(connection, &change.title, sql, one_by_one).await?;
            return Ok(Written { rows, granted: false });
        }
        Work::Grant(role) => match Box::pin(grants::give(connection, role, change.file().is_some())).await {
            Ok(granted) => return Ok(Written { rows: 0, granted }),
            Err(error) if error.kind() == DatabaseErrorKind::InsufficientPrivilege => {
                Err(grants::not_allowed(&error).into())
            }
            Err(error) => Err(error.into()),
        },
        Work::Record { sql } => Ok(connection.batch(sql).await?),
        Work::Execute(statement, values) => Ok(connection.execute(statement, values).await.map(drop)?),
        Work::ExecuteOnOne(statement, values) => match connection.execute(statement, values).await? {
            1 => Ok(()),
            _ => Err(MigratorError::Usage(CHANGED_MEANWHILE.to_owned()).into()),
        },
        Work::Remember(migration) => Ok(history::remember(connection, migration, now).await?),
        Work::Forget(version) => Ok(history::forget(connection, *version).await?),
        Work::Begin(piece) => Ok(progress::begin(connection, piece, now).await?),
        Work::Withdraw(piece) => Ok(progress::withdraw(connection, piece).await?),
        Work::Finish(piece) => Ok(progress::finish(connection, piece, started_at, now).await?),
        Work::Journal(entry) => Ok(history::write_journal(connection, entry, started_at, now).await?),
    };
    done.map(|()| Written::default())
}

/// Runs the statements of a file, all at once, and asks before anything else is written whether they have left the
/// transaction: outside of it that would stay. Citus passes what changes a distributed table on as it was sent, and
/// its workers take one statement at a time, so there they are sent one by one.
async fn run_file(
    connection: &mut Connection,
    title: &str,
    sql: &str,
    one_by_one: bool,
) -> Result<u64, Failure> {
    let failed = |part: &Part<'_>, error: DatabaseError| {
        if is_contention(&error) {
            return Failure::Database(error);
        }
        let line = line_of(part.sql, &error).map(|line| part.line - 1 + line);
        Failure::File(error, line)
    };
    let whole = Part { sql, offset: 0, line: 1 };
    if connection.backend() == Backend::Sqlite {
        let rows = connection.batch_rows(sql).await.map_err(|error| failed(&whole, error))?;
        sqlite::still_inside(connection, title).await?;
        return Ok(rows);
    }
    let mut parts = if one_by_one { split(Dialect::Postgres, sql) } else { Vec::new() };
    let last = parts.pop().unwrap_or(whole);
    let mut rows = 0;
    for part in &parts {
        rows +=
            postgres::run(connection, title, part.sql, false).await?.map_err(|error| failed(part, error))?;
    }
    Ok(rows
        + postgres::run(connection, title, last.sql, true).await?.map_err(|error| failed(&last, error))?)
}

/// The line of these statements, from 1, at which they failed.
fn line_of(sql: &str, error: &DatabaseError) -> Option<usize> {
    match (error.position(), error.statement()) {
        (Some(position), _) => Some(line_at(sql, position)),
        // What PostgreSQL understood and could not do.
        (None, Some(number)) => split(Dialect::Postgres, sql).get(number).map(|part| part.line),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_from_one() {
        for (position, line) in [(1, 1), (5, 1), (6, 2), (7, 3)] {
            assert_eq!(line_at("abcd\n\nx", position), line, "{position}");
        }
    }
}
