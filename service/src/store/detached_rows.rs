//! The SQL by which rows go from a detached partition into the archive, or back into the table.

use foundation::database::{
    Database, DatabaseError, DatabaseErrorKind, RowStream, Statement, Transaction, Value,
};
use time::OffsetDateTime;

use super::archive_rows::{MISSING, count_in, kept, names, rows_of, types_sql};
use super::layout::{self, Layout};

const READ: Statement = Statement::read("metrics_snapshot_detached", "");
const WRITE: Statement = Statement::write("metrics_snapshot_detached", "");

/// The name of a detached partition as it stands in SQL.
///
/// # Errors
/// It is not the name of one.
fn detached_table(name: &str) -> Result<&str, DatabaseError> {
    let number = name.strip_prefix("metrics_snapshot_detached_");
    if number.is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit())) {
        Ok(name)
    } else {
        let message = format!("{name:?} is not the name of a detached partition");
        Err(DatabaseError::new(DatabaseErrorKind::Conversion, message))
    }
}

/// The types of the rows in a detached partition.
///
/// # Errors
/// What the database says.
pub async fn types(database: &Database, name: &str) -> Result<Vec<String>, DatabaseError> {
    let sql = types_sql(detached_table(name)?, "1 = 1", layout::find(database).await?);
    names(&database.query(&READ.with_sql(sql), &[]).await?)
}

/// How many rows a type has in a detached partition.
///
/// # Errors
/// What the database says.
pub async fn count(database: &Database, name: &str, metric_type: &str) -> Result<u64, DatabaseError> {
    let table = detached_table(name)?;
    let sql = format!("SELECT COUNT(*) AS count FROM {table} WHERE metric_type = $1");
    count_in(database.query_optional(&READ.with_sql(sql), &[metric_type.into()]).await?)
}

/// The rows of a type in a detached partition as they come, in the order of time, all seen at one moment.
///
/// # Errors
/// What the database says.
pub async fn stream(
    database: &Database,
    name: &str,
    metric_type: &str,
) -> Result<RowStream<'static>, DatabaseError> {
    rows_of(database, detached_table(name)?, "metric_type = $1", &[metric_type.into()]).await
}

/// Moves the oldest `limit` rows of a type that lie in a detached partition, from this time on, back into the
/// table: each is in one of the two. Says how many there were, and where those that are left begin.
///
/// # Errors
/// What the database says.
pub async fn put_back(
    transaction: &mut Transaction,
    name: &str,
    metric_type: &str,
    from: OffsetDateTime,
    limit: u32,
) -> Result<(u64, OffsetDateTime), DatabaseError> {
    let table = detached_table(name)?;
    let columns = "id, timestamp, source, metric_type, metric_data";
    // What is moved stays in the partition's index for a while: each batch says where the next one begins.
    let sql = format!(
        "WITH old AS MATERIALIZED ( \
           SELECT source, timestamp, id FROM {table} WHERE metric_type = $1 AND timestamp >= $2 \
           ORDER BY timestamp, id LIMIT $3), \
         moved AS ( \
           DELETE FROM {table} AS d USING old WHERE d.metric_type = $1 AND d.source = old.source \
             AND d.timestamp = old.timestamp AND d.id = old.id \
           RETURNING d.id, d.timestamp, d.source, d.metric_type, d.metric_data), \
         {}, \
         put AS (INSERT INTO metrics_snapshot ({columns}) SELECT {columns} FROM moved AS old WHERE {MISSING}) \
         SELECT COUNT(*) AS count, MAX(timestamp) AS last FROM moved",
        kept("moved")
    );
    let values: [Value; 3] = [metric_type.into(), from.into(), limit.into()];
    let row = transaction.query_optional(&WRITE.with_sql(sql), &values).await?;
    let last: Option<OffsetDateTime> = row.as_ref().map(|row| row.get("last")).transpose()?.flatten();
    Ok((count_in(row)?, last.unwrap_or(from)))
}

const BYTES: Statement = Statement::read(
    "metrics_snapshot_detached",
    "SELECT COALESCE(pg_total_relation_size(to_regclass($1)), 0) AS count",
);

/// One that was taken out before the table was distributed lies on the coordinator.
const BYTES_DISTRIBUTED: Statement = Statement::read(
    "metrics_snapshot_detached",
    "SELECT COALESCE(CASE WHEN EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = to_regclass($1)) \
       THEN citus_total_relation_size(to_regclass($1)) ELSE pg_total_relation_size(to_regclass($1)) END, 0) AS count",
);

/// What a detached partition takes on the disk, its indexes included, in bytes.
///
/// # Errors
/// What the database says.
pub async fn bytes(database: &Database, name: &str) -> Result<u64, DatabaseError> {
    let statement = match layout::find(database).await? {
        Layout::Whole => &BYTES,
        Layout::Distributed => &BYTES_DISTRIBUTED,
    };
    count_in(database.query_optional(statement, &[detached_table(name)?.into()]).await?)
}
