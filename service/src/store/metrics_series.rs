//! The SQL of series: which types and sources there are. Each is found from the one before it by the key, so
//! that it does not matter how many snapshots a series has.

use foundation::database::{Backend, Database, DatabaseError, Row, Statement, Value};

use super::pages::{self, PageLimits};
use crate::domain::metrics_snapshots::{Series, SeriesFilter, SeriesKey, Snapshot};

const SELECT: Statement = Statement::read("metrics_snapshot", "");

/// What is asked.
#[derive(Clone, Debug)]
pub struct Query {
    /// The statement.
    pub statement: Statement,
    /// Its values.
    pub values: Vec<Value>,
}

/// The snapshots of one of the series.
const OF_SERIES: &str =
    "FROM metrics_snapshot AS m WHERE m.metric_type = series.metric_type AND m.source = series.source";

impl Query {
    /// The first and the last time of the series behind one, at most `limit` of them.
    #[must_use]
    pub fn series(backend: Backend, filter: &SeriesFilter, after: Option<&SeriesKey>, limit: u32) -> Self {
        let columns = format!(
            "(SELECT min(m.timestamp) {OF_SERIES}) AS first_time, (SELECT max(m.timestamp) {OF_SERIES}) AS last_time"
        );
        Self::new(backend, filter, after, limit, &columns)
    }

    /// The newest snapshot of the series behind one, at most `limit` of them.
    #[must_use]
    pub fn latest(backend: Backend, filter: &SeriesFilter, after: Option<&SeriesKey>, limit: u32) -> Self {
        let newest = |column: &str| {
            format!(
                "(SELECT m.{column} {OF_SERIES} ORDER BY m.timestamp DESC, m.id DESC LIMIT 1) AS {column}"
            )
        };
        let columns = ["id", "timestamp", "metric_data"].map(newest).join(", ");
        Self::new(backend, filter, after, limit, &columns)
    }

    /// As [`series`](Self::series) of snapshots that are distributed, where there is no way from one to the next:
    /// each machine looks through its index.
    #[must_use]
    pub fn series_distributed(filter: &SeriesFilter, after: Option<&SeriesKey>, limit: u32) -> Self {
        let columns = "metric_type, source, min(timestamp) AS first_time, max(timestamp) AS last_time";
        let (sql, values) = grouped(columns, filter, after, limit);
        Self { statement: SELECT.with_sql(sql), values }
    }

    /// As [`latest`](Self::latest) of snapshots that are distributed.
    #[must_use]
    pub fn latest_distributed(filter: &SeriesFilter, after: Option<&SeriesKey>, limit: u32) -> Self {
        let (grouped, values) =
            grouped("metric_type, source, max(timestamp) AS newest", filter, after, limit);
        let sql = format!(
            "SELECT DISTINCT ON (m.metric_type, m.source) m.metric_type, m.source, m.id, m.timestamp, m.metric_data \
             FROM ({grouped}) AS series JOIN metrics_snapshot AS m ON m.metric_type = series.metric_type \
               AND m.source = series.source AND m.timestamp = series.newest \
             ORDER BY m.metric_type, m.source, m.id DESC"
        );
        Self { statement: SELECT.with_sql(sql), values }
    }

    /// From a series the way goes to the next source of its type; when there is none, its source is null, and
    /// the way goes to the next type, whose source is empty as no source is. So they come in their order.
    fn new(
        backend: Backend,
        filter: &SeriesFilter,
        after: Option<&SeriesKey>,
        limit: u32,
        columns: &str,
    ) -> Self {
        // The order of bytes, which is that of the columns on PostgreSQL and of everything on SQLite.
        let order = match backend {
            Backend::Postgres => " COLLATE \"C\"",
            Backend::Sqlite => "",
        };
        let begin = match (after, &filter.metric_type) {
            (Some(after), _) => (Value::from(after.metric_type.as_str()), Value::from(after.source.as_str())),
            (None, Some(metric_type)) => (metric_type.as_str().into(), "".into()),
            (None, None) => ("".into(), Value::Null),
        };
        let mut values = vec![begin.0, begin.1, limit.into()];
        let next_type = if filter.metric_type.is_some() {
            "NULL"
        } else {
            "(SELECT min(m.metric_type) FROM metrics_snapshot AS m WHERE m.metric_type > series.metric_type)"
        };
        let mut of_source = String::new();
        if let Some(source) = &filter.source {
            values.push(source.as_str().into());
            of_source = format!(" AND m.source = ${}", values.len());
        }
        // The way begins at the one before.
        let behind = match after {
            Some(_) => " AND NOT (series.metric_type = $1 AND series.source = $2)",
            None => "",
        };
        let sql = format!(
            "WITH RECURSIVE series (metric_type, source) AS (\
               SELECT CAST($1 AS text){order}, CAST($2 AS text){order} \
               UNION ALL \
               SELECT \
                 CASE WHEN series.source IS NULL THEN {next_type} ELSE series.metric_type END, \
                 CASE WHEN series.source IS NULL THEN '' ELSE (\
                   SELECT min(m.source) FROM metrics_snapshot AS m \
                   WHERE m.metric_type = series.metric_type AND m.source > series.source{of_source}) END \
               FROM series WHERE series.metric_type IS NOT NULL\
             ) \
             SELECT series.metric_type, series.source, {columns} FROM series \
             WHERE series.metric_type IS NOT NULL AND series.source <> ''{behind} \
             LIMIT $3"
        );
        Self { statement: SELECT.with_sql(sql), values }
    }
}

/// A row for each of the series behind one, at most `limit` of them.
fn grouped(
    columns: &str,
    filter: &SeriesFilter,
    after: Option<&SeriesKey>,
    limit: u32,
) -> (String, Vec<Value>) {
    let (mut conditions, mut values) = (Vec::new(), Vec::new());
    let mut demand = |comparison: &str, value: &str| {
        values.push(value.into());
        conditions.push(format!("{comparison} ${}", values.len()));
    };
    if let Some(metric_type) = &filter.metric_type {
        demand("metric_type =", metric_type);
    }
    if let Some(source) = &filter.source {
        demand("source =", source);
    }
    if let Some(after) = after {
        demand("metric_type >=", &after.metric_type);
        values.extend([after.metric_type.as_str().into(), after.source.as_str().into()]);
        let count = values.len();
        conditions.push(format!("(metric_type, source) > (${}, ${count})", count - 1));
    }
    let demanded = if conditions.is_empty() { "" } else { " WHERE " };
    let conditions = conditions.join(" AND ");
    values.push(limit.into());
    let sql = format!(
        "SELECT {columns} FROM metrics_snapshot{demanded}{conditions} \
         GROUP BY metric_type, source ORDER BY metric_type, source LIMIT ${}",
        values.len()
    );
    (sql, values)
}

/// The rows that a query finds.
///
/// # Errors
/// What the database says.
pub async fn rows(database: &Database, query: &Query) -> Result<Vec<Row>, DatabaseError> {
    database.query(&query.statement, &query.values).await
}

/// The snapshots that [`Query::latest`] finds, as many as a page has, and whether there are more. It asks for one
/// more than `limits` has.
///
/// # Errors
/// What the database says.
pub async fn page(
    database: &Database,
    query: &Query,
    limits: PageLimits,
) -> Result<(Vec<Row>, bool), DatabaseError> {
    pages::rows(database, &query.statement, &query.values, limits).await
}

/// The series in a row of [`Query::series`].
///
/// # Errors
/// The row is not one of this release.
pub fn series(row: &Row) -> Result<Series, DatabaseError> {
    Ok(Series {
        metric_type: row.get("metric_type")?,
        source: row.get("source")?,
        first: row.get("first_time")?,
        last: row.get("last_time")?,
    })
}

/// The snapshot in a row of [`Query::latest`].
///
/// # Errors
/// The row is not one of this release.
pub fn latest(row: &Row) -> Result<Snapshot<'_>, DatabaseError> {
    Ok(Snapshot {
        id: row.get("id")?,
        timestamp: row.get("timestamp")?,
        source: row.text("source")?,
        metric_type: row.text("metric_type")?,
        metric_data: row.text("metric_data")?,
    })
}
