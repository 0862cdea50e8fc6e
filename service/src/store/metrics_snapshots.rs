//! The SQL of snapshots.

use foundation::database::{
    Database, DatabaseError, Row, RowStream, Statement, Transaction, Value, ValueType,
};

use super::pages::{self, PageLimits};
use crate::domain::metrics_snapshots::{NewSnapshot, Order, Position, Snapshot, SnapshotFilter, first_kept};

const COLUMNS: [&str; 4] = ["timestamp", "source", "metric_type", "metric_data"];

const TYPES: [ValueType; 4] = [ValueType::Timestamp, ValueType::Text, ValueType::Text, ValueType::Json];

/// Writes snapshots, as fast as the database takes them: those that are neighbours in its indexes one after the
/// other, which saves PostgreSQL some work. Those of the same type and time get their ids in the order given.
///
/// # Errors
/// What the database says.
pub async fn insert(transaction: &mut Transaction, snapshots: &[NewSnapshot]) -> Result<u64, DatabaseError> {
    let mut sorted: Vec<&NewSnapshot> = snapshots.iter().collect();
    sorted.sort_by_key(|it| (it.metric_type.as_str(), it.timestamp));
    let mut rows = transaction.insert_rows("metrics_snapshot", &COLUMNS, &TYPES).await?;
    let text = || Value::Text(String::new());
    // The texts of a row go where those of the row before were.
    let mut values = [Value::Null, text(), text(), Value::Json(String::new())];
    for snapshot in sorted {
        values[0] = snapshot.timestamp.into();
        let texts = [&snapshot.source, &snapshot.metric_type, &snapshot.metric_data];
        for (value, text) in values[1..].iter_mut().zip(texts) {
            if let Value::Text(kept) | Value::Json(kept) = value {
                kept.clone_from(text);
            }
        }
        rows.push(&values).await?;
    }
    rows.finish().await
}

const SELECT: Statement = Statement::read("metrics_snapshot", "");

/// What is asked for snapshots in the order of time.
#[derive(Clone, Debug)]
pub struct Query {
    /// The statement.
    pub statement: Statement,
    /// Its values.
    pub values: Vec<Value>,
}

impl Query {
    /// What is asked for the snapshots behind a place, at most `limit` of them. Either order is that of an
    /// index, and the times say which partitions it touches.
    #[must_use]
    pub fn new(filter: &SnapshotFilter, order: Order, after: Option<Position>, limit: Option<u64>) -> Self {
        Self::ordered(filter, order, after, limit, true)
    }

    /// The same without an order among those of the same time, which the index of PostgreSQL has not.
    #[must_use]
    pub fn by_time(
        filter: &SnapshotFilter,
        order: Order,
        after: Option<Position>,
        limit: Option<u64>,
    ) -> Self {
        Self::ordered(filter, order, after, limit, false)
    }

    fn ordered(
        filter: &SnapshotFilter,
        order: Order,
        after: Option<Position>,
        limit: Option<u64>,
        by_id: bool,
    ) -> Self {
        let mut values = vec![Value::from(filter.metric_type.as_str())];
        let mut sql =
            "SELECT id, timestamp, source, metric_data FROM metrics_snapshot WHERE metric_type = $1"
                .to_owned();
        let mut demand = |comparison: &str, value: Value| {
            values.push(value);
            sql += &format!(" AND {comparison} ${}", values.len());
        };
        if let Some(source) = &filter.source {
            demand("source =", source.as_str().into());
        }
        // The nearer bound alone: of two, SQLite would take the first for the index.
        let (mut from, mut to) = (filter.from, filter.to);
        let (behind, direction) = match order {
            Order::NewestFirst => ("<", "DESC"),
            Order::OldestFirst => (">", "ASC"),
        };
        if let Some(after) = after {
            match order {
                Order::NewestFirst => to = to.filter(|to| *to <= after.timestamp),
                Order::OldestFirst => from = from.filter(|from| *from > after.timestamp),
            }
            // No partition is ruled out by the pair.
            demand(&format!("timestamp {behind}="), after.timestamp.into());
        }
        if let Some(from) = from {
            demand("timestamp >=", first_kept(from).into());
        }
        if let Some(to) = to {
            demand("timestamp <", first_kept(to).into());
        }
        if let Some(after) = after {
            values.push(after.timestamp.into());
            values.push(after.id.into());
            let count = values.len();
            sql += &format!(" AND (timestamp, id) {behind} (${}, ${count})", count - 1);
        }
        sql += &format!(" ORDER BY timestamp {direction}");
        if by_id {
            sql += &format!(", id {direction}");
        }
        if let Some(limit) = limit {
            values.push(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
            sql += &format!(" LIMIT ${}", values.len());
        }
        Self { statement: SELECT.with_sql(sql), values }
    }
}

/// A row that was found, and its place.
#[derive(Debug)]
pub struct Placed {
    /// The row.
    pub row: Row,
    /// Its place.
    pub position: Position,
}

/// The rows behind a place in their order, as many as a page has, and whether there are more.
///
/// # Errors
/// What the database says.
pub async fn page(
    database: &Database,
    filter: &SnapshotFilter,
    order: Order,
    after: Option<Position>,
    limits: PageLimits,
) -> Result<(Vec<Placed>, bool), DatabaseError> {
    let count = limits.rows as usize;
    // One more than is shown says whether there is a next page.
    let wanted = Some(u64::from(limits.rows) + 1);
    if !limits.fit_at_once() {
        let Query { statement, values } = Query::new(filter, order, after, wanted);
        let (rows, has_more) = pages::rows(database, &statement, &values, limits).await?;
        return Ok((rows.into_iter().map(Placed::new).collect::<Result<_, _>>()?, has_more));
    }
    let mut placed = placed(database, &Query::by_time(filter, order, after, wanted)).await?;
    let at = |index: usize| placed.get(index).map(|it: &Placed| it.position.timestamp);
    if at(count).is_some() && count.checked_sub(1).and_then(at) == at(count) {
        // Which of those of this time belong to the page is a question of their ids.
        placed = self::placed(database, &Query::new(filter, order, after, wanted)).await?;
    }
    let key = |it: &Placed| (it.position.timestamp, it.position.id);
    match order {
        Order::NewestFirst => placed.sort_by_key(|it| std::cmp::Reverse(key(it))),
        Order::OldestFirst => placed.sort_by_key(key),
    }
    let has_more = pages::cut(&mut placed, limits, |it| &it.row)?;
    Ok((placed, has_more))
}

async fn placed(database: &Database, query: &Query) -> Result<Vec<Placed>, DatabaseError> {
    let rows = database.query(&query.statement, &query.values).await?;
    rows.into_iter().map(Placed::new).collect()
}

impl Placed {
    fn new(row: Row) -> Result<Self, DatabaseError> {
        let position = Position { id: row.get("id")?, timestamp: row.get("timestamp")? };
        Ok(Self { row, position })
    }
}

/// The rows as they come, however many they are.
///
/// # Errors
/// What the database says.
pub async fn stream(database: &Database, query: &Query) -> Result<RowStream<'static>, DatabaseError> {
    database.query_stream(&query.statement, &query.values).await
}

/// The snapshot in a row that one of the queries found, which is of this type.
///
/// # Errors
/// The row is not one of this release.
pub fn from_row<'a>(row: &'a Row, metric_type: &'a str) -> Result<Snapshot<'a>, DatabaseError> {
    Ok(Snapshot {
        id: row.get("id")?,
        timestamp: row.get("timestamp")?,
        source: row.text("source")?,
        metric_type,
        metric_data: row.text("metric_data")?,
    })
}
