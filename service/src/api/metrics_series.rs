//! Which series of snapshots there are, and the newest of each.

use poem_openapi::param::Query;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;
use time::OffsetDateTime;
use time::macros::datetime;

use super::authorize::{Authorized, ReadMetrics};
use super::conventions::{Nullable, Refused, Statuses, cursors, statuses};
use super::metrics_snapshots::bodies::{SnapshotPageBody, write_page};
use super::metrics_snapshots::check_names;
use super::payload::JsonBytes;
use super::problem::Failure;
use super::tags::Tag;
use crate::actions::metrics_snapshots::Snapshots;
use crate::domain::metrics_snapshots::{Series, SeriesFilter, SeriesKey, Snapshot};
use crate::store::layout::Layout;
use crate::store::metrics_series;

/// How many series a page has when nobody says.
const DEFAULT_LIMIT: u32 = 100;

/// A series.
#[derive(Object, Serialize)]
#[oai(rename = "MetricSeries", example)]
pub struct SeriesBody {
    /// What was measured.
    pub metric_type: String,
    /// The host or agent that it came from.
    pub source: String,
    /// The time of its first snapshot.
    #[serde(with = "time::serde::rfc3339")]
    pub first: OffsetDateTime,
    /// The time of its last snapshot.
    #[serde(with = "time::serde::rfc3339")]
    pub last: OffsetDateTime,
}

/// A page of series.
#[derive(Object, Serialize)]
#[oai(rename = "MetricSeriesPage", example)]
pub struct SeriesPageBody {
    /// The series.
    pub items: Vec<SeriesBody>,
    /// Pass it as `cursor`, with the same filters, for the page behind this one. Null: this is the last.
    pub next_cursor: Nullable<String>,
}

/// The answer of a list of series.
#[derive(ApiResponse)]
pub enum SeriesList {
    /// A page.
    #[oai(status = 200)]
    Page(JsonBytes<SeriesPageBody>),
}

/// The answer of the newest snapshots.
#[derive(ApiResponse)]
pub enum LatestList {
    /// A page.
    #[oai(status = 200)]
    Page(JsonBytes<SnapshotPageBody>),
}

statuses! {
    /// Of reading.
    OfSeries = 400, 401, 403, 500, 503;
}

/// The routes of series.
pub struct MetricsSeriesApi {
    /// What they call.
    pub snapshots: Snapshots,
}

#[OpenApi(tag = "Tag::Metrics")]
impl MetricsSeriesApi {
    /// Lists series
    ///
    /// Which types there are, from which sources, and from when to when. By type and source, in the order of
    /// their bytes.
    #[oai(path = "/api/v1/metrics/series", method = "get", operation_id = "list_metrics_series")]
    async fn series(
        &self,
        _caller: Authorized<ReadMetrics>,
        /// Only series of this type.
        #[oai(validator(min_length = 1, max_length = 50))]
        metric_type: Query<Option<String>>,
        /// Only series of this host or agent.
        #[oai(validator(min_length = 1, max_length = 255))]
        source: Query<Option<String>>,
        /// How many series a page has at most; 100 when it is not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u32>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<SeriesList, Refused<OfSeries>> {
        let asked = self.asked("series", (metric_type.0, source.0), limit.0, cursor.0.as_deref())?;
        let database = &self.snapshots.actions.database;
        let PageQuery { list, filter, after, limit } = &asked;
        let layout = self.snapshots.layout.get(database).await.map_err(Failure::Database)?;
        let query = match layout {
            Layout::Whole => {
                metrics_series::Query::series(database.backend(), filter, after.as_ref(), limit + 1)
            }
            Layout::Distributed => {
                metrics_series::Query::series_distributed(filter, after.as_ref(), limit + 1)
            }
        };
        let rows = metrics_series::rows(database, &query).await.map_err(Failure::Database)?;
        let found: Result<Vec<Series>, _> = rows.iter().map(metrics_series::series).collect();
        let mut found = found.map_err(Failure::Database)?;
        let keys = &self.snapshots.actions.keys;
        let next_cursor =
            cursors::cut(keys, list, &mut found, *limit, |it| key(&it.metric_type, &it.source))?;
        let items = found.into_iter().map(SeriesBody::from).collect();
        Ok(SeriesList::Page(JsonBytes::of(&SeriesPageBody { items, next_cursor })?))
    }

    /// Shows the newest snapshot of each series
    ///
    /// By type and source, in the order of their bytes. A page ends before `limit` where its documents would have
    /// more than 4 MiB together.
    #[oai(path = "/api/v1/metrics/latest", method = "get", operation_id = "list_latest_metrics")]
    async fn latest(
        &self,
        _caller: Authorized<ReadMetrics>,
        /// Only series of this type.
        #[oai(validator(min_length = 1, max_length = 50))]
        metric_type: Query<Option<String>>,
        /// Only series of this host or agent.
        #[oai(validator(min_length = 1, max_length = 255))]
        source: Query<Option<String>>,
        /// How many series a page has at most; 100 when it is not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u32>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<LatestList, Refused<OfSeries>> {
        let asked = self.asked("latest", (metric_type.0, source.0), limit.0, cursor.0.as_deref())?;
        let database = &self.snapshots.actions.database;
        let PageQuery { list, filter, after, limit } = &asked;
        let layout = self.snapshots.layout.get(database).await.map_err(Failure::Database)?;
        let query = match layout {
            Layout::Whole => {
                metrics_series::Query::latest(database.backend(), filter, after.as_ref(), limit + 1)
            }
            Layout::Distributed => {
                metrics_series::Query::latest_distributed(filter, after.as_ref(), limit + 1)
            }
        };
        let limits = self.snapshots.page_limits(*limit);
        let page = metrics_series::page(database, &query, limits).await;
        let (rows, has_more) = page.map_err(Failure::Database)?;
        let found: Result<Vec<Snapshot<'_>>, _> = rows.iter().map(metrics_series::latest).collect();
        let found = found.map_err(Failure::Database)?;
        let last = found.last().filter(|_| has_more);
        let keys = &self.snapshots.actions.keys;
        let next_cursor =
            last.map(|it| cursors::seal(keys, list, &key(it.metric_type, it.source))).transpose()?;
        let json = write_page(&found, next_cursor.as_deref()).map_err(poem::error::InternalServerError)?;
        Ok(LatestList::Page(json.into()))
    }
}

/// Which series, and from where on.
struct PageQuery {
    list: String,
    filter: SeriesFilter,
    after: Option<SeriesKey>,
    limit: u32,
}

impl MetricsSeriesApi {
    fn asked(
        &self,
        what: &str,
        (metric_type, source): (Option<String>, Option<String>),
        limit: Option<u32>,
        cursor: Option<&str>,
    ) -> Result<PageQuery, Failure> {
        check_names(metric_type.as_deref(), source.as_deref())?;
        let filter = SeriesFilter { metric_type, source };
        let list = format!("metrics-{what} {filter:?}");
        let keys = &self.snapshots.actions.keys;
        let after = cursors::open(keys, &list, cursor)?;
        Ok(PageQuery { list, filter, after, limit: limit.unwrap_or(DEFAULT_LIMIT) })
    }
}

/// What is behind this series begins the next page.
fn key(metric_type: &str, source: &str) -> SeriesKey {
    SeriesKey { metric_type: metric_type.to_owned(), source: source.to_owned() }
}

impl From<Series> for SeriesBody {
    fn from(series: Series) -> Self {
        let Series { metric_type, source, first, last } = series;
        Self { metric_type, source, first, last }
    }
}

impl Example for SeriesBody {
    fn example() -> Self {
        Self {
            metric_type: "cpu".to_owned(),
            source: "host-01".to_owned(),
            first: datetime!(2026-01-01 00:00:00 UTC),
            last: datetime!(2026-01-31 12:00:00 UTC),
        }
    }
}

impl Example for SeriesPageBody {
    fn example() -> Self {
        Self { items: vec![SeriesBody::example()], next_cursor: Nullable(None) }
    }
}
