//! The SQL of figures over buckets of time.

use std::collections::BTreeSet;

use foundation::database::{Backend, Database, DatabaseError, Row, Statement, Value};
use futures_util::StreamExt as _;
use time::OffsetDateTime;

use super::layout::Layout;
use crate::domain::aggregates::numbers::{Counting, finite, rate};
use crate::domain::aggregates::sums::ExactSum;
use crate::domain::aggregates::{Aggregation, Bucket, Figure, Found, Path, TooManyNumbers};
use crate::domain::metrics_snapshots::first_kept;

const SELECT: Statement = Statement::read("metrics_snapshot", "");

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum AggregateError {
    /// What the database says.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A percentile of too many numbers is asked for.
    #[error(transparent)]
    TooManyNumbers(#[from] TooManyNumbers),
}

/// The buckets that have snapshots, in the order of time. Percentiles are told of at most `most` numbers of a
/// bucket and path, on both databases alike.
///
/// # Errors
/// There are more of them, or what the database says.
pub async fn buckets(
    database: &Database,
    aggregation: &Aggregation,
    layout: Layout,
    most: u64,
) -> Result<Vec<Bucket>, AggregateError> {
    match database.backend() {
        Backend::Postgres => {
            let (statement, values) = postgres(aggregation, layout);
            let rows = database.query(&statement, &values).await?;
            rows.iter().map(|row| bucket(row, aggregation, most)).collect()
        }
        // It has neither percentiles nor an exact sum; its rows come at once, and only the
        // numbers of one bucket are kept.
        Backend::Sqlite => {
            let mut sql = Sql::default();
            let snapshots = sql.snapshots("timestamp, metric_data", aggregation);
            let statement = SELECT.with_sql(format!("{snapshots} ORDER BY timestamp, id"));
            let mut rows = database.query_stream(&statement, &sql.values).await?;
            let mut counting = Counting::new(aggregation, most);
            while let Some(row) = rows.next().await {
                let row = row?;
                counting.add(row.get("timestamp")?, &row.get::<String>("metric_data")?)?;
            }
            Ok(counting.finish())
        }
    }
}

/// A text that is being put together, and what is bound to it.
#[derive(Default)]
struct Sql {
    values: Vec<Value>,
}

impl Sql {
    fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }

    fn snapshots(&mut self, columns: &str, asked: &Aggregation) -> String {
        let metric_type = self.bind(asked.metric_type.as_str());
        let source = asked.source.as_deref().map(|it| format!(" AND source = {}", self.bind(it)));
        let (from, to) = (self.bind(first_kept(asked.from)), self.bind(first_kept(asked.to)));
        format!(
            "SELECT {columns} FROM metrics_snapshot WHERE metric_type = {metric_type}{} \
             AND timestamp >= {from} AND timestamp < {to}",
            source.unwrap_or_default()
        )
    }

    /// What a path leads to. `->` takes a text for a key alone and `#>` one of digits for either, negative ones
    /// too.
    fn at(&mut self, path: &Path) -> String {
        path.steps.iter().fold("metric_data".to_owned(), |from, step| {
            let key = self.bind(step.key.as_str());
            match step.index {
                None => format!("{from} -> CAST({key} AS text)"),
                Some(_) => format!("({from}) #> ARRAY[CAST({key} AS text)]"),
            }
        })
    }
}

/// A `numeric` as the float that is next to it: nothing where it is too large for one. PostgreSQL would make an error
/// of what is rounded to infinity or to zero; that begins half-way beyond the largest float, 2^1024 - 2^970, and
/// below the smallest, 2^-1075.
fn float(numeric: &str) -> String {
    format!(
        "CASE WHEN abs({numeric}) >= 1.79769313486231580793728971405303e308 THEN NULL \
         WHEN abs({numeric}) <= 2.47032822920623272088284396434111e-324 THEN 0 \
         ELSE CAST({numeric} AS float8) END"
    )
}

/// The statement for PostgreSQL. Numbers stay `numeric` as long as possible: making a float of each, by its
/// text, costs more than adding it up. `OFFSET 0` keeps the planner from looking a number up in its document
/// once for each figure; of snapshots that are distributed it would have the coordinator fetch every document, so there
/// each machine adds up its own.
#[must_use]
pub fn postgres(asked: &Aggregation, layout: Layout) -> (Statement, Vec<Value>) {
    let mut sql = Sql::default();
    #[expect(clippy::cast_precision_loss, reason = "it is a whole number of seconds, at most 366 days")]
    let step = sql.bind(Value::Float(asked.step.seconds() as f64));
    let needs_time = asked.asks_for(&[Figure::First, Figure::Last, Figure::Rate]);
    let time =
        if needs_time { ", extract(epoch FROM timestamp) AS moment, CAST(id AS numeric) AS id" } else { "" };
    let passed = if needs_time { ", moment, id" } else { "" };
    let (mut found, mut numbers, mut figures) = (String::new(), String::new(), String::new());
    for (place, path) in asked.paths.iter().enumerate() {
        found += &format!(", {} AS j{place}", sql.at(path));
        numbers += &format!(
            ", CASE WHEN jsonb_typeof(j{place}) = 'number' THEN CAST(j{place} AS numeric) END AS v{place}"
        );
        for (name, expression) in columns(asked, place) {
            figures += &format!(", {expression} AS {name}{place}");
        }
    }
    let columns = format!(
        "date_bin(CAST({step} AS float8) * interval '1 second', timestamp, timestamptz 'epoch') AS start{time}{found}"
    );
    let snapshots = sql.snapshots(&columns, asked);
    let fence = match layout {
        Layout::Whole => " OFFSET 0",
        Layout::Distributed => "",
    };
    let text = format!(
        "SELECT start{figures} FROM (\
           SELECT start{passed}{numbers} FROM ({snapshots}{fence}) AS documents{fence}\
         ) AS numbers GROUP BY start ORDER BY start"
    );
    (SELECT.with_sql(text), sql.values)
}

/// The columns that the figures of a path are made of, each once.
fn columns(asked: &Aggregation, place: usize) -> Vec<(&'static str, String)> {
    let value = format!("v{place}");
    // Arrays are compared element by element.
    let end =
        |which: &str| format!("({which}(ARRAY[moment, id, {value}]) FILTER (WHERE {value} IS NOT NULL))");
    let microseconds = |which: &str| format!("CAST({}[1] * 1000000 AS bigint)", end(which));
    let mut known = BTreeSet::new();
    let mut columns = Vec::new();
    let mut add = |name: &'static str, expression: String| {
        if known.insert(name) {
            columns.push((name, expression));
        }
    };
    if asked.sorts() {
        add("count", format!("count({value})"));
    }
    for figure in &asked.figures {
        let name = figure.name();
        // Zeros at its end, of which somebody may have written thousands, say nothing.
        let sum = format!("CAST(trim_scale(sum({value})) AS text)");
        match figure {
            Figure::Count => add(name, format!("count({value})")),
            Figure::Min | Figure::Max => add(name, float(&format!("{name}({value})"))),
            // The exact sum, of which either figure is made as on SQLite.
            Figure::Avg => {
                add("sum", sum);
                add("count", format!("count({value})"));
            }
            Figure::Sum => add("sum", sum),
            Figure::P50 | Figure::P95 | Figure::P99 => {
                let fraction = figure.fraction().unwrap_or_default();
                let value = float(&value);
                add(name, format!("percentile_cont({fraction}) WITHIN GROUP (ORDER BY {value})"));
            }
            Figure::First => add("first", float(&format!("{}[3]", end("min")))),
            Figure::Last => add("last", float(&format!("{}[3]", end("max")))),
            Figure::Rate => {
                add("first", float(&format!("{}[3]", end("min"))));
                add("last", float(&format!("{}[3]", end("max"))));
                add("begin", microseconds("min"));
                add("end", microseconds("max"));
            }
        }
    }
    columns
}

fn bucket(row: &Row, asked: &Aggregation, most: u64) -> Result<Bucket, AggregateError> {
    for place in 0..asked.paths.len() {
        if asked.sorts() && row.get::<i64>(&format!("count{place}"))?.unsigned_abs() > most {
            return Err(TooManyNumbers(most).into());
        }
    }
    let number = |name: &str, place: usize| row.get::<Option<f64>>(&format!("{name}{place}"));
    let time = |name: &str, place: usize| row.get::<Option<i64>>(&format!("{name}{place}"));
    let count =
        |place: usize| Ok::<_, DatabaseError>(row.get::<i64>(&format!("count{place}"))?.unsigned_abs());
    let sum = |place: usize| {
        let text = row.get::<Option<String>>(&format!("sum{place}"))?;
        Ok::<_, DatabaseError>(text.and_then(|it| ExactSum::parse(&it)))
    };
    let found = |figure: Figure, place: usize| {
        Ok(match figure {
            Figure::Count => Found::Count(count(place)?),
            Figure::Sum => Found::Number(finite(sum(place)?.map(|it| it.total()))),
            Figure::Avg => {
                let count = count(place)?;
                Found::Number(finite(sum(place)?.and_then(|it| it.mean(count))))
            }
            Figure::Rate => {
                let end = |at: &str, value: &str| {
                    let microseconds = time(at, place)?.map(|it| i128::from(it) * 1000);
                    let at = microseconds.and_then(|it| OffsetDateTime::from_unix_timestamp_nanos(it).ok());
                    Ok::<_, DatabaseError>(at.zip(number(value, place)?))
                };
                Found::Number(finite(rate(end("begin", "first")?, end("end", "last")?)))
            }
            _ => Found::Number(finite(number(figure.name(), place)?)),
        })
    };
    let of_path = |place| asked.figures.iter().map(|figure| found(*figure, place)).collect();
    let figures = (0..asked.paths.len()).map(of_path).collect::<Result<Vec<Vec<Found>>, DatabaseError>>()?;
    Ok(Bucket { start: row.get("start")?, figures })
}
