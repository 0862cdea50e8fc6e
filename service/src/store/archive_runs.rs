//! The SQL of the runs of archive policies.

use foundation::database::{Database, DatabaseError, DatabaseErrorKind, Row, Statement, Transaction, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::archive_runs::{ArchiveRun, Details, Figures, PastRun, RunState, UnknownWord};

macro_rules! columns {
    () => {
        "id, reason, requested_by, is_dry_run, state, fencing, started_at, finished_at, rows_deleted, \
         rows_archived, partitions_dropped, bytes_freed, details, error"
    };
}

fn malformed(error: impl std::fmt::Display) -> DatabaseError {
    DatabaseError::new(DatabaseErrorKind::Conversion, format!("a row of archive_run: {error}"))
}

fn state(row: &Row) -> Result<RunState, DatabaseError> {
    row.get::<String>("state")?.parse().map_err(|error: UnknownWord| malformed(error))
}

fn from_row(row: &Row) -> Result<ArchiveRun, DatabaseError> {
    let word = |column: &str| row.get::<String>(column);
    let number = |column: &str| u64::try_from(row.get::<i64>(column)?).map_err(malformed);
    let details: Option<String> = row.get("details")?;
    let details = details.map(|it| serde_json::from_str(&it)).transpose().map_err(malformed)?;
    Ok(ArchiveRun {
        id: row.get("id")?,
        reason: word("reason")?.parse().map_err(|error: UnknownWord| malformed(error))?,
        requested_by: row.get("requested_by")?,
        is_dry_run: row.get("is_dry_run")?,
        state: state(row)?,
        fencing: row.get("fencing")?,
        started_at: row.get("started_at")?,
        finished_at: row.get("finished_at")?,
        figures: Figures {
            rows_deleted: number("rows_deleted")?,
            rows_archived: number("rows_archived")?,
            partitions_dropped: number("partitions_dropped")?,
            bytes_freed: number("bytes_freed")?,
        },
        details: details.unwrap_or_default(),
        error: row.get("error")?,
    })
}

const FIND: Statement =
    Statement::lookup("archive_run", concat!("SELECT ", columns!(), " FROM archive_run WHERE id = $1"));

/// The run with this id.
///
/// # Errors
/// What the database says.
pub async fn find(database: &Database, id: Uuid) -> Result<Option<ArchiveRun>, DatabaseError> {
    database.query_optional(&FIND, &[id.into()]).await?.as_ref().map(from_row).transpose()
}

const PAGE: Statement = Statement::read(
    "archive_run",
    concat!("SELECT ", columns!(), " FROM archive_run WHERE id < $1 ORDER BY id DESC LIMIT $2"),
);

/// The runs before the one with the id `before`, the newest first, at most `limit`.
///
/// # Errors
/// What the database says.
pub async fn page(
    database: &Database,
    before: Option<Uuid>,
    limit: u32,
) -> Result<Vec<ArchiveRun>, DatabaseError> {
    let before = before.unwrap_or(Uuid::max());
    database.query(&PAGE, &[before.into(), limit.into()]).await?.iter().map(from_row).collect()
}

const LAST_SCHEDULED: Statement = Statement::read(
    "archive_run",
    "SELECT started_at FROM archive_run WHERE reason = 'schedule' AND state IN ('succeeded', 'failed') \
       AND id >= $1 ORDER BY id DESC LIMIT 1",
);

/// Whether a run that was begun by its hour, at this time or later, came to its end. One that is under way has
/// the lease, and one that was killed or stopped is to be made up for.
///
/// # Errors
/// What the database says.
pub async fn was_scheduled_since(database: &Database, since: OffsetDateTime) -> Result<bool, DatabaseError> {
    Ok(database.query_optional(&LAST_SCHEDULED, &[first_id(since).into()]).await?.is_some())
}

const PAST: Statement = Statement::read(
    "archive_run",
    "SELECT state, fencing, started_at, finished_at FROM archive_run WHERE is_dry_run = $1 ORDER BY id DESC LIMIT $2",
);

/// The last runs that changed something, the newest first. The times of two may be those of different clocks:
/// the lease says which came first.
///
/// # Errors
/// What the database says.
pub async fn past(database: &Database) -> Result<Vec<PastRun>, DatabaseError> {
    let rows = database.query(&PAST, &[false.into(), PastRun::REMEMBERED.into()]).await?;
    let run = |row: &Row| {
        Ok(PastRun {
            state: state(row)?,
            fencing: row.get("fencing")?,
            started_at: row.get("started_at")?,
            finished_at: row.get("finished_at")?,
        })
    };
    let mut runs = rows.iter().map(run).collect::<Result<Vec<_>, DatabaseError>>()?;
    runs.sort_by_key(|it| std::cmp::Reverse(it.fencing));
    Ok(runs)
}

const INSERT: Statement = Statement::write(
    "archive_run",
    "INSERT INTO archive_run (id, reason, requested_by, is_dry_run, state, fencing, started_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7)",
);

/// Adds a run that begins.
///
/// # Errors
/// What the database says.
pub async fn insert(transaction: &mut Transaction, run: &ArchiveRun) -> Result<(), DatabaseError> {
    let values: [Value; 7] = [
        run.id.into(),
        run.reason.name().into(),
        run.requested_by.into(),
        run.is_dry_run.into(),
        run.state.name().into(),
        run.fencing.into(),
        run.started_at.into(),
    ];
    transaction.execute(&INSERT, &values).await.map(drop)
}

fn numbers(figures: &Figures) -> [Value; 4] {
    let Figures { rows_deleted, rows_archived, partitions_dropped, bytes_freed } = *figures;
    [rows_deleted, rows_archived, partitions_dropped, bytes_freed]
        .map(|it| Value::Integer(i64::try_from(it).unwrap_or(i64::MAX)))
}

const PROGRESS: Statement = Statement::write(
    "archive_run",
    "UPDATE archive_run SET rows_deleted = $2, rows_archived = $3, partitions_dropped = $4, bytes_freed = $5 \
     WHERE id = $1",
);

/// Writes what the run did until now.
///
/// # Errors
/// What the database says.
pub async fn progress(
    transaction: &mut Transaction,
    id: Uuid,
    figures: &Figures,
) -> Result<(), DatabaseError> {
    let values: Vec<Value> = [id.into()].into_iter().chain(numbers(figures)).collect();
    transaction.execute(&PROGRESS, &values).await.map(drop)
}

const FINISH: Statement = Statement::write(
    "archive_run",
    "UPDATE archive_run SET rows_deleted = $2, rows_archived = $3, partitions_dropped = $4, bytes_freed = $5, \
       state = $6, finished_at = $7, details = $8, error = $9 WHERE id = $1 AND state = 'running'",
);

/// How a run ended.
#[derive(Clone, Debug)]
pub struct End<'a> {
    /// What it did.
    pub figures: &'a Figures,
    /// What it did, piece by piece.
    pub details: &'a Details,
    /// How it ended.
    pub state: RunState,
    /// When.
    pub finished_at: OffsetDateTime,
    /// Why it did not do everything.
    pub error: Option<String>,
}

/// Writes how a run ended, unless that was written before.
///
/// # Errors
/// What the database says.
pub async fn finish(database: &Database, id: Uuid, end: &End<'_>) -> Result<(), DatabaseError> {
    let details = serde_json::to_string(end.details.pieces()).map_err(malformed)?;
    let ends: [Value; 4] =
        [end.state.name().into(), end.finished_at.into(), Value::Json(details), end.error.clone().into()];
    let values: Vec<Value> = [id.into()].into_iter().chain(numbers(end.figures)).chain(ends).collect();
    database.execute(&FINISH, &values).await.map(drop)
}

const ABANDON: Statement = Statement::write(
    "archive_run",
    "UPDATE archive_run SET state = 'abandoned', finished_at = $1, \
       error = 'its process ended, or lost the lease, in the middle' WHERE state = 'running' AND fencing < $2",
);

/// Marks the runs of holders before the one with this number, which do nothing any more.
///
/// # Errors
/// What the database says.
pub async fn abandon(
    transaction: &mut Transaction,
    fencing: i64,
    now: OffsetDateTime,
) -> Result<u64, DatabaseError> {
    transaction.execute(&ABANDON, &[now.into(), fencing.into()]).await
}

const IS_DRY_RUN_RUNNING: Statement = Statement::read(
    "archive_run",
    "SELECT id FROM archive_run WHERE is_dry_run = $1 AND state = 'running' LIMIT 1",
);

/// Whether there is a dry run that is under way, or was when its process ended.
///
/// # Errors
/// What the database says.
pub async fn is_dry_run_running(database: &Database) -> Result<bool, DatabaseError> {
    Ok(database.query_optional(&IS_DRY_RUN_RUNNING, &[true.into()]).await?.is_some())
}

const PRUNE: Statement = Statement::write(
    "archive_run",
    "DELETE FROM archive_run WHERE id IN (SELECT id FROM archive_run WHERE id < $1 ORDER BY id LIMIT $2)",
);

/// Deletes the oldest `limit` runs that began before this time.
///
/// # Errors
/// What the database says.
pub async fn prune(
    transaction: &mut Transaction,
    before: OffsetDateTime,
    limit: u32,
) -> Result<u64, DatabaseError> {
    transaction.execute(&PRUNE, &[first_id(before).into(), limit.into()]).await
}

/// The smallest id that a run can have which began at this time.
fn first_id(time: OffsetDateTime) -> Uuid {
    let milliseconds = u64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &[0; 10]).into_uuid()
}
