//! The SQL of the snapshots' partitions, which PostgreSQL alone has.

use std::time::Duration;

use foundation::database::{Database, DatabaseError, Row, Statement, Transaction, Value};

use super::layout::{self, Layout};
use crate::domain::partitions::{Detached, Partition, Range};

const LIST: Statement = Statement::read(
    "metrics_snapshot_partition",
    "SELECT name, lower_bound, upper_bound, bytes, made_at FROM metrics_snapshot_partition ORDER BY lower_bound",
);

/// The catalog of the coordinator knows nothing of what lies on the other machines.
const LIST_DISTRIBUTED: Statement = Statement::read(
    "metrics_snapshot_partition",
    "SELECT name, lower_bound, upper_bound, made_at, \
       citus_total_relation_size(CAST(quote_ident(name) AS regclass)) AS bytes \
     FROM metrics_snapshot_partition ORDER BY lower_bound",
);

const DETACHED: Statement = Statement::read(
    "metrics_snapshot_detached",
    "SELECT name, lower_bound, upper_bound FROM metrics_snapshot_detached ORDER BY lower_bound, name",
);

const ENSURE: Statement = Statement::write(
    "metrics_snapshot",
    "SELECT CAST(metrics_snapshot_ensure_partition($1, $2) AS BIGINT) AS made",
);

const DETACH: Statement = Statement::write(
    "metrics_snapshot",
    "SELECT metrics_snapshot_detach_partition($1, $2, CAST(CAST($3 AS BIGINT) AS INTEGER)) AS name",
);

const DROP_DETACHED: Statement =
    Statement::write("metrics_snapshot", "SELECT metrics_snapshot_drop_detached($1) AS dropped");

fn range(row: &Row) -> Result<Range, DatabaseError> {
    Ok(Range { lower: row.get("lower_bound")?, upper: row.get("upper_bound")? })
}

/// The partitions that there are, in the order of time.
///
/// # Errors
/// What the database says.
pub async fn list(database: &Database) -> Result<Vec<Partition>, DatabaseError> {
    let partition = |row: &Row| {
        let bytes = u64::try_from(row.get::<i64>("bytes")?).unwrap_or(0);
        Ok(Partition { name: row.get("name")?, range: range(row)?, bytes, made_at: row.get("made_at")? })
    };
    let statement = match layout::find(database).await? {
        Layout::Whole => &LIST,
        Layout::Distributed => &LIST_DISTRIBUTED,
    };
    database.query(statement, &[]).await?.iter().map(partition).collect()
}

/// The partitions that were taken out of the table and are not dropped yet, in the order of time.
///
/// # Errors
/// What the database says.
pub async fn detached(database: &Database) -> Result<Vec<Detached>, DatabaseError> {
    let detached = |row: &Row| Ok(Detached { name: row.get("name")?, range: range(row)? });
    database.query(&DETACHED, &[]).await?.iter().map(detached).collect()
}

/// Makes what is missing of the range and says how many partitions that took. Nobody is locked out.
///
/// # Errors
/// What the database says.
pub async fn ensure(database: &Database, range: Range) -> Result<u64, DatabaseError> {
    let made = database.query_optional(&ENSURE, &[range.lower.into(), range.upper.into()]).await?;
    Ok(made.map(|row| row.get::<i64>("made")).transpose()?.map_or(0, i64::unsigned_abs))
}

/// Takes the partition with exactly this range out of the table, waiting no longer than `lock_timeout` for
/// everybody who uses it. Its new name; nothing when there is no such partition.
///
/// # Errors
/// What the database says: `LockNotAvailable` when the others took longer.
pub async fn detach(
    transaction: &mut Transaction,
    range: Range,
    lock_timeout: Duration,
) -> Result<Option<String>, DatabaseError> {
    let milliseconds = Value::Integer(i64::try_from(lock_timeout.as_millis()).unwrap_or(i64::MAX));
    let values = [range.lower.into(), range.upper.into(), milliseconds];
    let detached = transaction.query_optional(&DETACH, &values).await?;
    Ok(detached.map(|row| row.get::<Option<String>>("name")).transpose()?.flatten())
}

/// Drops a partition that was taken out; says whether there was one.
///
/// # Errors
/// What the database says.
pub async fn drop_detached(transaction: &mut Transaction, name: &str) -> Result<bool, DatabaseError> {
    let dropped = transaction.query_optional(&DROP_DETACHED, &[name.into()]).await?;
    dropped.map_or(Ok(false), |row| row.get("dropped"))
}
