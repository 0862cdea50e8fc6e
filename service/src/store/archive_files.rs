//! The SQL of the files of the archive.

use foundation::database::{Database, DatabaseError, DatabaseErrorKind, Row, Statement, Transaction, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::archive_files::{ArchiveFile, Contents, FileState, UnknownFileState};
use crate::domain::partitions::Range;

macro_rules! columns {
    () => {
        "id, run_id, metric_type, lower_bound, upper_bound, detached, location, state, rows, bytes, sha256, \
         first_at, last_at"
    };
}

fn malformed(error: impl std::fmt::Display) -> DatabaseError {
    DatabaseError::new(DatabaseErrorKind::Conversion, format!("a row of archive_file: {error}"))
}

fn from_row(row: &Row) -> Result<ArchiveFile, DatabaseError> {
    let state: String = row.get("state")?;
    Ok(ArchiveFile {
        id: row.get("id")?,
        run_id: row.get("run_id")?,
        metric_type: row.get("metric_type")?,
        range: Range { lower: row.get("lower_bound")?, upper: row.get("upper_bound")? },
        detached: row.get("detached")?,
        location: row.get("location")?,
        state: state.parse().map_err(|error: UnknownFileState| malformed(error))?,
        contents: contents(row)?,
    })
}

fn contents(row: &Row) -> Result<Option<Contents>, DatabaseError> {
    let (rows, bytes): (Option<i64>, Option<i64>) = (row.get("rows")?, row.get("bytes")?);
    let sha256: Option<Vec<u8>> = row.get("sha256")?;
    let (Some(rows), Some(bytes), Some(sha256)) = (rows, bytes, sha256) else { return Ok(None) };
    Ok(Some(Contents {
        rows: u64::try_from(rows).map_err(malformed)?,
        bytes: u64::try_from(bytes).map_err(malformed)?,
        sha256: sha256.try_into().map_err(|_| malformed("its SHA-256 has another length"))?,
        first_at: row.get("first_at")?,
        last_at: row.get("last_at")?,
    }))
}

const INSERT: Statement = Statement::write(
    "archive_file",
    "INSERT INTO archive_file (id, run_id, metric_type, lower_bound, upper_bound, detached, location, state, \
       created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
);

/// Writes a file down that is about to be begun.
///
/// # Errors
/// What the database says.
pub async fn insert(
    transaction: &mut Transaction,
    file: &ArchiveFile,
    now: OffsetDateTime,
) -> Result<(), DatabaseError> {
    let values: [Value; 10] = [
        file.id.into(),
        file.run_id.into(),
        file.metric_type.as_str().into(),
        file.range.lower.into(),
        file.range.upper.into(),
        file.detached.clone().into(),
        file.location.as_str().into(),
        FileState::Writing.name().into(),
        now.into(),
        now.into(),
    ];
    transaction.execute(&INSERT, &values).await.map(drop)
}

const VERIFIED: Statement = Statement::write(
    "archive_file",
    "UPDATE archive_file SET state = 'verified', rows = $2, bytes = $3, sha256 = $4, first_at = $5, last_at = $6, \
       updated_at = $7 WHERE id = $1 AND state = 'writing'",
);

/// Notes that a file was read back whole, and what it holds. Says whether it was being written.
///
/// # Errors
/// What the database says.
pub async fn verified(
    transaction: &mut Transaction,
    id: Uuid,
    contents: &Contents,
    now: OffsetDateTime,
) -> Result<bool, DatabaseError> {
    let number = |it: u64| Value::Integer(i64::try_from(it).unwrap_or(i64::MAX));
    let values: [Value; 7] = [
        id.into(),
        number(contents.rows),
        number(contents.bytes),
        contents.sha256.to_vec().into(),
        contents.first_at.into(),
        contents.last_at.into(),
        now.into(),
    ];
    Ok(transaction.execute(&VERIFIED, &values).await? == 1)
}

const ARCHIVED: Statement = Statement::write(
    "archive_file",
    "UPDATE archive_file SET state = 'archived', restored_until = NULL, updated_at = $2 \
     WHERE id = $1 AND state IN ('verified', 'restored')",
);

/// Notes that the rows of a file are nowhere else any more.
///
/// # Errors
/// What the database says.
pub async fn archived(
    transaction: &mut Transaction,
    id: Uuid,
    now: OffsetDateTime,
) -> Result<(), DatabaseError> {
    transaction.execute(&ARCHIVED, &[id.into(), now.into()]).await.map(drop)
}

const RESTORED: Statement = Statement::write(
    "archive_file",
    "UPDATE archive_file SET state = 'restored', restored_until = $2, updated_at = $3 \
     WHERE id = $1 AND state IN ('archived', 'restored')",
);

/// Notes that the rows of a file may be in the table again until then. Says whether they were archived.
///
/// # Errors
/// What the database says.
pub async fn restored(
    transaction: &mut Transaction,
    id: Uuid,
    until: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<bool, DatabaseError> {
    Ok(transaction.execute(&RESTORED, &[id.into(), until.into(), now.into()]).await? == 1)
}

const IS_BEING_WRITTEN: Statement = Statement::write(
    "archive_file",
    "UPDATE archive_file SET updated_at = $2 WHERE id = $1 AND state = 'writing'",
);

/// Whether the file is one that was never verified.
///
/// # Errors
/// What the database says.
pub async fn is_being_written(
    transaction: &mut Transaction,
    id: Uuid,
    now: OffsetDateTime,
) -> Result<bool, DatabaseError> {
    Ok(transaction.execute(&IS_BEING_WRITTEN, &[id.into(), now.into()]).await? == 1)
}

const FORGET: Statement =
    Statement::write("archive_file", "DELETE FROM archive_file WHERE id = $1 AND state = 'writing'");

/// Forgets a file that was never verified.
///
/// # Errors
/// What the database says.
pub async fn forget(transaction: &mut Transaction, id: Uuid) -> Result<(), DatabaseError> {
    transaction.execute(&FORGET, &[id.into()]).await.map(drop)
}

const DISCARD: Statement = Statement::write(
    "archive_file",
    "DELETE FROM archive_file WHERE id = $1 AND state = 'verified' AND detached IS NOT NULL",
);

/// Forgets a file that was verified and whose rows still lie in a detached partition, all of them.
///
/// # Errors
/// What the database says.
pub async fn discard(transaction: &mut Transaction, id: Uuid) -> Result<(), DatabaseError> {
    transaction.execute(&DISCARD, &[id.into()]).await.map(drop)
}

const UNFINISHED: Statement = Statement::read(
    "archive_file",
    concat!(
        "SELECT ",
        columns!(),
        " FROM archive_file WHERE state <> 'archived' AND (state IN ('writing', 'verified') OR restored_until <= $1) \
         AND id > $2 ORDER BY id LIMIT $3"
    ),
);

/// Files whose rows are not where they belong: those that are being written, those whose rows are being
/// deleted, and those that were restored until before `now`; behind the one with the id `after`, at most
/// `limit`.
///
/// # Errors
/// What the database says.
pub async fn unfinished(
    database: &Database,
    now: OffsetDateTime,
    after: Uuid,
    limit: u32,
) -> Result<Vec<ArchiveFile>, DatabaseError> {
    database
        .query(&UNFINISHED, &[now.into(), after.into(), limit.into()])
        .await?
        .iter()
        .map(from_row)
        .collect()
}

const OF_DETACHED: Statement = Statement::read(
    "archive_file",
    concat!(
        "SELECT ",
        columns!(),
        " FROM archive_file WHERE state = 'verified' AND detached = $1 ORDER BY id"
    ),
);

/// The files that were verified and whose rows still lie in this detached partition: one for a type.
///
/// # Errors
/// What the database says.
pub async fn of_detached(database: &Database, name: &str) -> Result<Vec<ArchiveFile>, DatabaseError> {
    database.query(&OF_DETACHED, &[name.into()]).await?.iter().map(from_row).collect()
}

const BEFORE: Statement = Statement::read(
    "archive_file",
    "SELECT id, location FROM (SELECT id, location FROM archive_file \
       WHERE id < $1 AND state <> 'writing' ORDER BY id DESC LIMIT $2) AS newest \
     UNION SELECT id, location FROM (SELECT id, location FROM archive_file \
       WHERE id < $1 AND state <> 'writing' ORDER BY id LIMIT $2) AS oldest \
     ORDER BY id DESC",
);

/// The ids and locations of files that were verified and begun before the one with this id: the newest and the oldest
/// of them, at most `limit` of either, the newest first.
///
/// # Errors
/// What the database says.
pub async fn before(database: &Database, id: Uuid, limit: u32) -> Result<Vec<(Uuid, String)>, DatabaseError> {
    let rows = database.query(&BEFORE, &[id.into(), limit.into()]).await?;
    rows.iter().map(|row| Ok((row.get("id")?, row.get("location")?))).collect()
}

const IS_WRITING_DETACHED: Statement = Statement::read(
    "archive_file",
    "SELECT id FROM archive_file WHERE state = 'writing' AND detached = $1 LIMIT 1",
);

/// Whether there is a file with rows of this detached partition of which it is not known yet whether it is whole.
///
/// # Errors
/// What the database says.
pub async fn is_writing_detached(database: &Database, name: &str) -> Result<bool, DatabaseError> {
    Ok(database.query_optional(&IS_WRITING_DETACHED, &[name.into()]).await?.is_some())
}

const HELD: Statement = Statement::read(
    "archive_file",
    "SELECT lower_bound, upper_bound FROM archive_file \
     WHERE state <> 'archived' AND lower_bound < $1 AND upper_bound > $2 \
       AND ($3 = '' OR metric_type = $3) ORDER BY upper_bound DESC LIMIT 1",
);

/// The range of a file whose rows may be in the table too, because they were restored or are not deleted yet, or
/// because it is not known yet whether the file is whole, and nothing may go to a second one until it is: one
/// that overlaps this range, of this type or of any; of several the one that reaches furthest.
///
/// # Errors
/// What the database says.
pub async fn held(
    database: &Database,
    metric_type: Option<&str>,
    range: Range,
) -> Result<Option<Range>, DatabaseError> {
    let values = [range.upper.into(), range.lower.into(), metric_type.unwrap_or_default().into()];
    let row = database.query_optional(&HELD, &values).await?;
    row.map(|row| Ok(Range { lower: row.get("lower_bound")?, upper: row.get("upper_bound")? })).transpose()
}

const IS_UNFINISHED: Statement = Statement::read(
    "archive_file",
    "SELECT id FROM archive_file WHERE state <> 'archived' AND state IN ('writing', 'verified') \
       AND metric_type = $1 AND lower_bound < $2 AND upper_bound > $3 LIMIT 1",
);

/// Whether there is a file of a type that overlaps the range and that a run left in the middle: one that may not
/// be whole, or whose rows are not all deleted.
///
/// # Errors
/// What the database says.
pub async fn is_unfinished(
    database: &Database,
    metric_type: &str,
    range: Range,
) -> Result<bool, DatabaseError> {
    let values = [metric_type.into(), range.upper.into(), range.lower.into()];
    Ok(database.query_optional(&IS_UNFINISHED, &values).await?.is_some())
}

const IS_ANY_UNFINISHED: Statement = Statement::read(
    "archive_file",
    "SELECT id FROM archive_file WHERE state <> 'archived' AND state IN ('writing', 'verified') LIMIT 1",
);

/// Whether there is a file that a run left in the middle.
///
/// # Errors
/// What the database says.
pub async fn is_any_unfinished(database: &Database) -> Result<bool, DatabaseError> {
    Ok(database.query_optional(&IS_ANY_UNFINISHED, &[]).await?.is_some())
}

const IN_RANGE: Statement = Statement::read(
    "archive_file",
    concat!(
        "SELECT ",
        columns!(),
        " FROM archive_file WHERE metric_type = $1 AND lower_bound < $2 AND upper_bound > $3 \
         AND state IN ('archived', 'restored') AND id > $4 ORDER BY id LIMIT $5"
    ),
);

/// The files of a type that overlap the range and whose rows are archived, behind the one with the id
/// `after`, at most `limit`.
///
/// # Errors
/// What the database says.
pub async fn in_range(
    database: &Database,
    metric_type: &str,
    range: Range,
    after: Uuid,
    limit: u32,
) -> Result<Vec<ArchiveFile>, DatabaseError> {
    let values = [metric_type.into(), range.upper.into(), range.lower.into(), after.into(), limit.into()];
    database.query(&IN_RANGE, &values).await?.iter().map(from_row).collect()
}
