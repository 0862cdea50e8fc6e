//! The SQL by which rows of snapshots go into the archive and come back.

use foundation::database::{
    Backend, Database, DatabaseError, DatabaseErrorKind, Row, RowStream, Statement, Transaction, Value,
};
use serde_json::json;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::layout::{self, Layout};
use crate::domain::archive_rows::ArchivedRow;
use crate::domain::metrics_snapshots::document::on_one_line;
use crate::domain::partitions::Range;

const READ: Statement = Statement::read("metrics_snapshot", "");
const WRITE: Statement = Statement::write("metrics_snapshot", "");

/// Jumps from one type to the next in the index, instead of reading all rows of each. Where the table is
/// distributed there is no way to do so.
pub(super) fn types_sql(table: &str, condition: &str, layout: Layout) -> String {
    if layout == Layout::Distributed {
        return format!("SELECT DISTINCT metric_type FROM {table} WHERE {condition} ORDER BY metric_type");
    }
    format!(
        "WITH RECURSIVE found (metric_type) AS ( \
           SELECT (SELECT metric_type FROM {table} WHERE {condition} ORDER BY metric_type LIMIT 1) \
           UNION ALL \
           SELECT (SELECT {table}.metric_type FROM {table} WHERE {condition} \
                   AND {table}.metric_type > found.metric_type ORDER BY {table}.metric_type LIMIT 1) \
           FROM found WHERE found.metric_type IS NOT NULL) \
         SELECT metric_type FROM found WHERE metric_type IS NOT NULL"
    )
}

pub(super) fn names(rows: &[Row]) -> Result<Vec<String>, DatabaseError> {
    rows.iter().map(|row| row.get("metric_type")).collect()
}

/// The types that there are.
///
/// # Errors
/// What the database says.
pub async fn types(database: &Database) -> Result<Vec<String>, DatabaseError> {
    let sql = types_sql("metrics_snapshot", "1 = 1", layout::find(database).await?);
    names(&database.query(&READ.with_sql(sql), &[]).await?)
}

/// The types of the rows in a range of time, for one that is the range of a partition.
///
/// # Errors
/// What the database says.
pub async fn types_in(database: &Database, range: Range) -> Result<Vec<String>, DatabaseError> {
    let condition = "metrics_snapshot.timestamp >= $1 AND metrics_snapshot.timestamp < $2";
    let sql = types_sql("metrics_snapshot", condition, layout::find(database).await?);
    names(&database.query(&READ.with_sql(sql), &[range.lower.into(), range.upper.into()]).await?)
}

const FIRST: Statement = Statement::read(
    "metrics_snapshot",
    "SELECT timestamp FROM metrics_snapshot WHERE metric_type = $1 AND timestamp >= $2 AND timestamp < $3 \
     ORDER BY timestamp LIMIT 1",
);

/// The time of the first row of a type in a range.
///
/// # Errors
/// What the database says.
pub async fn first(
    database: &Database,
    metric_type: &str,
    range: Range,
) -> Result<Option<OffsetDateTime>, DatabaseError> {
    let row = database.query_optional(&FIRST, &of(metric_type, range)).await?;
    row.map(|row| row.get("timestamp")).transpose()
}

fn of(metric_type: &str, range: Range) -> [Value; 3] {
    [metric_type.into(), range.lower.into(), range.upper.into()]
}

const COUNT: Statement = Statement::read(
    "metrics_snapshot",
    "SELECT COUNT(*) AS count FROM metrics_snapshot WHERE metric_type = $1 AND timestamp >= $2 AND timestamp < $3",
);

pub(super) fn count_in(row: Option<Row>) -> Result<u64, DatabaseError> {
    Ok(row.map(|row| row.get::<i64>("count")).transpose()?.map_or(0, i64::unsigned_abs))
}

/// How many rows a type has in a range.
///
/// # Errors
/// What the database says.
pub async fn count(database: &Database, metric_type: &str, range: Range) -> Result<u64, DatabaseError> {
    count_in(database.query_optional(&COUNT, &of(metric_type, range)).await?)
}

const ESTIMATE: Statement = Statement::read(
    "metrics_snapshot",
    "EXPLAIN (FORMAT JSON) SELECT FROM metrics_snapshot \
     WHERE metric_type = $1 AND timestamp >= $2 AND timestamp < $3",
);

/// How many rows a type has in a range by what PostgreSQL knows without looking; nothing where it does not say.
///
/// # Errors
/// What the database says.
pub async fn estimate(
    database: &Database,
    metric_type: &str,
    range: Range,
) -> Result<Option<u64>, DatabaseError> {
    if database.backend() == Backend::Sqlite || layout::find(database).await? == Layout::Distributed {
        return Ok(None);
    }
    let Some(row) = database.query_optional(&ESTIMATE, &of(metric_type, range)).await? else {
        return Ok(None);
    };
    let plan: serde_json::Value = serde_json::from_str(&row.get::<String>("QUERY PLAN")?).unwrap_or_default();
    Ok(plan.pointer("/0/Plan/Plan Rows").and_then(serde_json::Value::as_u64))
}

/// The rows of a type in a range as they come, in the order of time, all seen at one moment.
///
/// # Errors
/// What the database says.
pub async fn stream(
    database: &Database,
    metric_type: &str,
    range: Range,
) -> Result<RowStream<'static>, DatabaseError> {
    let condition = "metric_type = $1 AND timestamp >= $2 AND timestamp < $3";
    rows_of(database, "metrics_snapshot", condition, &of(metric_type, range)).await
}

/// The rows of a table or a detached partition that meet a condition, in the order of time.
pub(super) async fn rows_of(
    database: &Database,
    table: &str,
    condition: &str,
    values: &[Value],
) -> Result<RowStream<'static>, DatabaseError> {
    let sql = format!(
        "SELECT id, timestamp, source, metric_type, metric_data FROM {table} WHERE {condition} \
         ORDER BY timestamp, id"
    );
    // Whoever reads them has the next one wait as long as the archive takes, and watches the lease meanwhile.
    Ok(database.query_stream(&READ.with_sql(sql), values).await?.with_wait_limit(None))
}

/// A row as a file has it.
///
/// # Errors
/// It is none of this release.
pub fn from_row(row: &Row) -> Result<ArchivedRow, DatabaseError> {
    let document = on_one_line(row.text("metric_data")?).into_owned();
    let document = RawValue::from_string(document).map_err(|error| {
        DatabaseError::new(
            DatabaseErrorKind::Conversion,
            format!("the column metric_data is no JSON: {error}"),
        )
    })?;
    Ok(ArchivedRow {
        id: row.get("id")?,
        timestamp: row.get("timestamp")?,
        source: row.get("source")?,
        metric_type: row.get("metric_type")?,
        metric_data: document,
    })
}

const DELETE_KEYS: [Statement; 2] = [
    Statement::write(
        "metrics_snapshot",
        "DELETE FROM metrics_snapshot USING jsonb_to_recordset($1) AS old (source text, timestamp timestamptz, id bigint) \
         WHERE metrics_snapshot.metric_type = $2 AND metrics_snapshot.source = old.source \
           AND metrics_snapshot.timestamp = old.timestamp AND metrics_snapshot.id = old.id \
           AND metrics_snapshot.timestamp >= $3 AND metrics_snapshot.timestamp < $4",
    ),
    Statement::write(
        "metrics_snapshot",
        "DELETE FROM metrics_snapshot WHERE id IN (SELECT json_extract(value, '$.id') FROM json_each($1)) \
           AND metric_type = $2 AND timestamp >= $3 AND timestamp < $4",
    ),
];

/// Deletes these rows of a type and a range, as far as they are there, and says how many were.
///
/// # Errors
/// What the database says.
pub async fn delete_keys(
    transaction: &mut Transaction,
    backend: Backend,
    metric_type: &str,
    range: Range,
    rows: &[ArchivedRow],
) -> Result<u64, DatabaseError> {
    let keys = rows.iter().map(|row| {
        // A time of a row can always be written.
        let time = row.timestamp.format(&Rfc3339).unwrap_or_default();
        json!({ "source": row.source, "timestamp": time, "id": row.id })
    });
    let keys = Value::Json(serde_json::Value::Array(keys.collect()).to_string());
    let [of_type, lower, upper] = of(metric_type, range);
    let statement = match backend {
        Backend::Postgres => &DELETE_KEYS[0],
        Backend::Sqlite => &DELETE_KEYS[1],
    };
    transaction.execute(statement, &[keys, of_type, lower, upper]).await
}

/// PostgreSQL leaves what is deleted in its index for a while: each batch says where the next one begins.
const DELETE_OLDEST: [Statement; 2] = [
    Statement::write(
        "metrics_snapshot",
        "WITH old AS MATERIALIZED ( \
           SELECT source, timestamp, id FROM metrics_snapshot \
           WHERE metric_type = $1 AND timestamp >= $2 AND timestamp < $3 ORDER BY timestamp, id LIMIT $4), \
         gone AS ( \
           DELETE FROM metrics_snapshot USING old WHERE metrics_snapshot.metric_type = $1 \
             AND metrics_snapshot.source = old.source AND metrics_snapshot.timestamp = old.timestamp \
             AND metrics_snapshot.id = old.id AND metrics_snapshot.timestamp >= $2 AND metrics_snapshot.timestamp < $3 \
           RETURNING metrics_snapshot.timestamp) \
         SELECT COUNT(*) AS count, MAX(timestamp) AS last FROM gone",
    ),
    Statement::write(
        "metrics_snapshot",
        "DELETE FROM metrics_snapshot WHERE id IN ( \
           SELECT id FROM metrics_snapshot WHERE metric_type = $1 AND timestamp >= $2 AND timestamp < $3 \
           ORDER BY timestamp, id LIMIT $4)",
    ),
];

/// Deletes the oldest `limit` rows of a type and a range. Says how many there were, and where the range of
/// those that are left begins.
///
/// # Errors
/// What the database says.
pub async fn delete_oldest(
    transaction: &mut Transaction,
    backend: Backend,
    metric_type: &str,
    range: Range,
    limit: u32,
) -> Result<(u64, OffsetDateTime), DatabaseError> {
    let [of_type, lower, upper] = of(metric_type, range);
    let values = [of_type, lower, upper, limit.into()];
    if backend == Backend::Sqlite {
        return Ok((transaction.execute(&DELETE_OLDEST[1], &values).await?, range.lower));
    }
    let row = transaction.query_optional(&DELETE_OLDEST[0], &values).await?;
    let last: Option<OffsetDateTime> = row.as_ref().map(|row| row.get("last")).transpose()?.flatten();
    Ok((count_in(row)?, last.unwrap_or(range.lower)))
}

/// Has the statements of this transaction wait for a lock no longer than this, and end within `whole`. On
/// SQLite one process writes at a time, and waits as long as its pool says.
///
/// # Errors
/// What the database says.
pub async fn bound_waiting(
    transaction: &mut Transaction,
    backend: Backend,
    lock_timeout: std::time::Duration,
    whole: Option<std::time::Duration>,
) -> Result<(), DatabaseError> {
    if backend == Backend::Sqlite {
        return Ok(());
    }
    let set = Statement::write("settings", "SELECT set_config($1, $2, true)");
    let text = |it: std::time::Duration| Value::Text(format!("{}ms", it.as_millis()));
    transaction.execute(&set, &["lock_timeout".into(), text(lock_timeout)]).await?;
    if let Some(whole) = whole {
        transaction.execute(&set, &["statement_timeout".into(), text(whole)]).await?;
    }
    Ok(())
}

/// Rows that one statement inserts, at most.
pub const INSERTED_AT_ONCE: usize = 200;

/// Those of the rows in `old` that are in the table. No unique index of PostgreSQL would find them. They are joined,
/// not looked for row by row, which a table that is distributed does not know.
pub(super) fn kept(old: &str) -> String {
    format!(
        "kept AS MATERIALIZED (SELECT m.source, m.timestamp, m.id FROM {old} AS old JOIN metrics_snapshot AS m \
           ON m.metric_type = old.metric_type AND m.source = old.source AND m.timestamp = old.timestamp AND m.id = old.id)"
    )
}

/// Those that are not.
pub(super) const MISSING: &str = "NOT EXISTS (SELECT FROM kept WHERE kept.source = old.source \
    AND kept.timestamp = old.timestamp AND kept.id = old.id)";

/// Brings rows back with their ids, those that are not there, and says how many. At most
/// [`INSERTED_AT_ONCE`]. Whoever brings rows of a range back has to be the only one who does.
///
/// # Errors
/// What the database says: on PostgreSQL also that there is no partition for a time.
pub async fn insert(
    transaction: &mut Transaction,
    backend: Backend,
    rows: &[ArchivedRow],
) -> Result<u64, DatabaseError> {
    const COLUMNS: [(&str, &str); 5] = [
        ("id", "bigint"),
        ("timestamp", "timestamptz"),
        ("source", "varchar"),
        ("metric_type", "varchar"),
        ("metric_data", "jsonb"),
    ];
    let place = |row: usize, column: usize| match (backend, COLUMNS[column]) {
        (Backend::Postgres, (_, its_type)) => format!("CAST(${} AS {its_type})", row * 5 + column + 1),
        (Backend::Sqlite, _) => format!("${}", row * 5 + column + 1),
    };
    let places = (0..rows.len()).map(|row| {
        let places = (0..COLUMNS.len()).map(|column| place(row, column)).collect::<Vec<_>>();
        format!("({})", places.join(", "))
    });
    let (places, columns) = (places.collect::<Vec<_>>().join(", "), COLUMNS.map(|it| it.0).join(", "));
    let sql = match backend {
        Backend::Postgres => format!(
            "WITH old ({columns}) AS MATERIALIZED (VALUES {places}), {} \
             INSERT INTO metrics_snapshot ({columns}) SELECT {columns} FROM old WHERE {MISSING}",
            kept("old")
        ),
        Backend::Sqlite => {
            format!("INSERT INTO metrics_snapshot ({columns}) VALUES {places} ON CONFLICT DO NOTHING")
        }
    };
    let values: Vec<Value> = rows
        .iter()
        .flat_map(|row| -> [Value; 5] {
            [
                row.id.into(),
                row.timestamp.into(),
                row.source.as_str().into(),
                row.metric_type.as_str().into(),
                Value::Json(row.metric_data.get().to_owned()),
            ]
        })
        .collect();
    transaction.execute(&WRITE.with_sql(sql), &values).await
}
