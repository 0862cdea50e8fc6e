//! Figures of the numbers in snapshots, over buckets of time.

use std::collections::BTreeMap;

use poem_openapi::param::Query;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;

use super::authorize::{Authorized, ReadMetrics};
use super::conventions::{Nullable, Refused, Statuses, check_range, statuses};
use super::metrics_snapshots::check_names;
use super::payload::JsonBytes;
use super::problem::Failure;
use super::tags::Tag;
use crate::actions::ActionError;
use crate::actions::metrics_snapshots::Snapshots;
use crate::domain::aggregates::{
    Aggregation, Bucket, Figure, Found, MAX_BUCKETS, MAX_PATHS, MAX_SORTED, Path, Step,
};
use crate::store::aggregates::{self, AggregateError};

/// What is told of the numbers at a path: what was asked for, and null where there is no such figure.
#[derive(Default, Object)]
#[oai(rename = "AggregateFigures")]
pub struct FiguresBody {
    /// Their mean.
    pub avg: Option<Nullable<f64>>,
    /// The smallest.
    pub min: Option<Nullable<f64>>,
    /// The largest.
    pub max: Option<Nullable<f64>>,
    /// Their sum.
    pub sum: Option<Nullable<f64>>,
    /// How many they are.
    pub count: Option<Nullable<u64>>,
    /// The median; between two numbers, in proportion.
    pub p50: Option<Nullable<f64>>,
    /// What 95 % of them are not above.
    pub p95: Option<Nullable<f64>>,
    /// What 99 % of them are not above.
    pub p99: Option<Nullable<f64>>,
    /// The first.
    pub first: Option<Nullable<f64>>,
    /// The last.
    pub last: Option<Nullable<f64>>,
    /// From the first to the last, per second.
    pub rate: Option<Nullable<f64>>,
}

/// A bucket: with its figures where one path was asked for, else with those of each path.
#[derive(Object)]
#[oai(rename = "AggregateBucket", example)]
pub struct BucketBody {
    /// When it begins.
    pub start: OffsetDateTime,
    /// The figures, where one path was asked for.
    #[oai(flatten)]
    pub figures: FiguresBody,
    /// The figures of each path, where several were asked for.
    #[oai(skip_serializing_if_is_none)]
    pub paths: Option<BTreeMap<String, FiguresBody>>,
}

/// Buckets in the order of time.
#[derive(Object)]
#[oai(rename = "Aggregate", example)]
pub struct AggregateBody {
    /// The buckets.
    pub buckets: Vec<BucketBody>,
}

/// The answer.
#[derive(ApiResponse)]
pub enum Aggregated {
    /// The buckets that have snapshots; with `fill`, all that the range touches.
    #[oai(status = 200)]
    Buckets(JsonBytes<AggregateBody>),
}

statuses! {
    /// Of figures.
    OfAggregate = 400, 401, 403, 422, 500, 503;
}

/// The routes of figures.
pub struct MetricsAggregatesApi {
    /// What they call.
    pub snapshots: Snapshots,
}

#[OpenApi(tag = "Tag::Metrics")]
impl MetricsAggregatesApi {
    /// Tells figures of the numbers in snapshots, over buckets of time
    ///
    /// Buckets begin at multiples of `step` since 1970-01-01T00:00:00Z; the first and the last have what lies in
    /// the range. What is no number at the path does not count. A figure of no numbers, or one that no double
    /// precision float holds, is null. `sum` and `avg` are those of the numbers as they are written, exactly, and
    /// rounded once to the next double precision float; the others are of the floats that are next to the numbers,
    /// and no zero has a sign. The times are of the years 0001 to 9999 in UTC. `rate` is the difference of the last and the first number, divided by the
    /// seconds between them: negative where a counter began anew, and of use for one `source`. Percentiles are
    /// told of a million numbers in a bucket at most.
    #[oai(path = "/api/v1/metrics/aggregate", method = "get", operation_id = "aggregate_metrics")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the query")]
    async fn aggregate(
        &self,
        _caller: Authorized<ReadMetrics>,
        /// What was measured.
        #[oai(validator(min_length = 1, max_length = 50))]
        metric_type: Query<String>,
        /// Only what came from this host or agent.
        #[oai(validator(min_length = 1, max_length = 255))]
        source: Query<Option<String>>,
        /// Only what was measured at this time or later.
        from: Query<OffsetDateTime>,
        /// Only what was measured before this time.
        to: Query<OffsetDateTime>,
        /// How long a bucket is: `3600s`, `60m`, `1h`, `1d`; from `1s` to `366d`, and at most 2,000 buckets.
        #[oai(validator(pattern = "^[0-9]{1,8}[smhd]$"))]
        step: Query<String>,
        /// Where the numbers are: keys with dots between them, such as `value`, `cpu.total` or `disks.0.used`,
        /// where digits are a place in an array or a key of an object. Up to 8, with commas between them.
        /// `value` when it is not given.
        #[oai(validator(min_length = 1, max_length = 2000))]
        path: Query<Option<String>>,
        /// What to tell, with commas between them: `avg`, `min`, `max`, `sum`, `count`, `p50`, `p95`, `p99`,
        /// `first`, `last`, `rate`. `avg` when it is not given.
        #[oai(name = "fn", validator(pattern = "^[a-z0-9]{1,8}(,[a-z0-9]{1,8}){0,19}$"))]
        figures: Query<Option<String>>,
        /// Whether buckets without snapshots are shown too; false when it is not given.
        fill: Query<Option<bool>>,
    ) -> Result<Aggregated, Refused<OfAggregate>> {
        check_names(Some(&metric_type.0), source.0.as_deref())?;
        check_range(Some(from.0), Some(to.0))?;
        let aggregation = Aggregation {
            metric_type: metric_type.0,
            source: source.0,
            from: from.0,
            to: to.0,
            step: read_step(&step)?,
            paths: read_paths(path.0.as_deref().unwrap_or("value"))?,
            figures: read_figures(figures.0.as_deref().unwrap_or("avg"))?,
        };
        let asked = aggregation.buckets();
        let count = asked.end.saturating_sub(asked.start);
        if count > MAX_BUCKETS {
            let rule = format!(
                "the range has {count} buckets of this step; {MAX_BUCKETS} are shown at most, so take a longer step"
            );
            return Err(ActionError::Invalid(vec![("/query/step".to_owned(), rule)]).into());
        }
        let database = &self.snapshots.actions.database;
        let layout = self.snapshots.layout.get(database).await.map_err(Failure::Database)?;
        let found = aggregates::buckets(database, &aggregation, layout, MAX_SORTED).await;
        let mut buckets = match found {
            Ok(buckets) => buckets,
            Err(AggregateError::Database(error)) => return Err(Failure::Database(error).into()),
            Err(AggregateError::TooManyNumbers(error)) => {
                let rule = ("/query/step".to_owned(), error.to_string());
                return Err(ActionError::Invalid(vec![rule]).into());
            }
        };
        if fill.0.unwrap_or(false) {
            buckets = filled(buckets, &aggregation);
        }
        Ok(Aggregated::Buckets(write(&buckets, &aggregation)?.into()))
    }
}

fn read_step(text: &str) -> Result<Step, ActionError> {
    Step::parse(text).ok_or_else(|| {
        let rule = "it is a number of seconds, minutes, hours or days, such as 3600s or 1h, from 1s to 366d";
        ActionError::Invalid(vec![("/query/step".to_owned(), rule.to_owned())])
    })
}

fn read_paths(text: &str) -> Result<Vec<Path>, ActionError> {
    let invalid = |rule: &str| ActionError::Invalid(vec![("/query/path".to_owned(), rule.to_owned())]);
    let mut paths: Vec<Path> = Vec::new();
    for word in text.split(',') {
        let path =
            Path::parse(word).ok_or_else(|| invalid("it is keys with dots between them, at most 16"))?;
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    if paths.len() > MAX_PATHS { Err(invalid("at most 8 are taken at once")) } else { Ok(paths) }
}

fn read_figures(text: &str) -> Result<Vec<Figure>, ActionError> {
    let mut figures = Vec::new();
    for word in text.split(',') {
        let figure = Figure::named(word).ok_or_else(|| {
            let rule = format!("none of them is called {word:?}");
            ActionError::Invalid(vec![("/query/fn".to_owned(), rule)])
        })?;
        if !figures.contains(&figure) {
            figures.push(figure);
        }
    }
    Ok(figures)
}

/// With the buckets that have no snapshots between them.
fn filled(buckets: Vec<Bucket>, aggregation: &Aggregation) -> Vec<Bucket> {
    let mut found = buckets.into_iter().peekable();
    let starts = aggregation.buckets().filter_map(|it| aggregation.step.start(it));
    let bucket = |start: OffsetDateTime| {
        found.next_if(|it| it.start == start).unwrap_or_else(|| Bucket::empty(start, aggregation))
    };
    starts.map(bucket).collect()
}

fn write(buckets: &[Bucket], aggregation: &Aggregation) -> poem::Result<String> {
    let figures = |found: &[Found]| {
        let value = |found: &Found| match found {
            Found::Count(count) => Value::from(*count),
            Found::Number(number) => Value::from(*number),
        };
        let names = aggregation.figures.iter().map(|it| it.name().to_owned());
        names.zip(found.iter().map(value)).collect::<Map<_, _>>()
    };
    let mut written = Vec::with_capacity(buckets.len());
    for bucket in buckets {
        let start = bucket.start.format(&Rfc3339).map_err(poem::error::InternalServerError)?;
        let mut body = Map::from_iter([("start".to_owned(), Value::from(start))]);
        match bucket.figures.as_slice() {
            [of_one] => body.extend(figures(of_one)),
            of_several => {
                let names = aggregation.paths.iter().map(|it| it.text.clone());
                let of_paths = of_several.iter().map(|it| Value::Object(figures(it)));
                body.insert("paths".to_owned(), Value::Object(names.zip(of_paths).collect()));
            }
        }
        written.push(Value::Object(body));
    }
    Ok(Value::Object(Map::from_iter([("buckets".to_owned(), Value::Array(written))])).to_string())
}

impl Example for BucketBody {
    fn example() -> Self {
        let (avg, max) = (Some(Nullable(Some(12.5))), Some(Nullable(Some(20.0))));
        let figures = FiguresBody { avg, max, count: Some(Nullable(Some(360))), ..FiguresBody::default() };
        Self { start: datetime!(2026-01-31 12:00:00 UTC), figures, paths: None }
    }
}

impl Example for AggregateBody {
    fn example() -> Self {
        Self { buckets: vec![BucketBody::example()] }
    }
}
