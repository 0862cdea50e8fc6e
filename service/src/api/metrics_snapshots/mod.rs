//! Snapshots of metrics.

mod answers;
pub mod bodies;
mod input;
mod items;
mod lines;

use poem::http::header::{ACCEPT, HeaderMap};
use poem::{Body, Request};
use poem_openapi::OpenApi;
use poem_openapi::param::Query;
use time::OffsetDateTime;
use tokio::time::Instant;

use self::answers::{OfRead, OfWrite};
pub use self::answers::{SnapshotList, SnapshotsWritten};
use self::bodies::{OrderName, write_page};
pub use self::input::SnapshotsInput;
use self::items::{MAX_ITEMS, Sorted, read_item, read_items};
use self::lines::Outgoing;
use super::authorize::{Authorized, ReadMetrics, WriteMetrics};
use super::conventions::accepting::weight;
use super::conventions::{IdempotencyKey, Refused, check_range, cursors, idempotency};
use super::problem::Failure;
use super::streams::NDJSON;
use super::tags::Tag;
use crate::actions::ActionError;
use crate::actions::metrics_snapshots::Snapshots;
use crate::domain::access::Caller;
use crate::domain::idempotency::Outcome;
use crate::domain::metrics_snapshots::streams::{Encoding, Streamed};
use crate::domain::metrics_snapshots::{Order, Position, Rejection, SnapshotFilter, is_name};
use crate::store::metrics_snapshots;

/// Whether the caller wants lines: they are named, and wanted as much as a page at least.
fn accepts_lines(request: &HeaderMap) -> bool {
    let page = weight(request, &ACCEPT, &["application/json", "application/*", "*/*"]).unwrap_or(0.0);
    weight(request, &ACCEPT, &[NDJSON]).is_some_and(|lines| lines > 0.0 && lines >= page)
}

/// How many snapshots a page has when nobody says.
const DEFAULT_LIMIT: u32 = 100;

/// The snapshots' routes.
pub struct MetricsSnapshotsApi {
    /// What they call.
    pub snapshots: Snapshots,
}

#[OpenApi(tag = "Tag::Metrics")]
impl MetricsSnapshotsApi {
    /// Writes snapshots
    ///
    /// Those that are good are stored, also when others are not; with `atomic`, all or none. Times lie within
    /// `METRICS_WRITE_PAST` (7 days unless it is set) and `METRICS_WRITE_AHEAD` (an hour) of the service's clock:
    /// put one of now in the place of that of the example. In a document no object has a key twice, no text has
    /// `\u0000`, and every number is one that a double precision float holds, a zero with 16,383 digits behind the
    /// point at most; `METRICS_DATA_LIMIT`, `METRICS_DATA_DEPTH` and `METRICS_DATA_KEYS` bound it.
    ///
    /// As `application/x-ndjson`, a snapshot on each line, plain or with `Content-Encoding: gzip` or `zstd`, there
    /// may be any number of them. They are stored in batches while further ones come, about a second after they
    /// came at the latest: where a stream breaks off, what is stored stays. An `atomic` stream may have 16 MiB. The
    /// window of zstd may have 8 MiB, as everywhere in HTTP: `zstd --long=23` is the most.
    #[oai(path = "/api/v1/metrics/snapshots", method = "post", operation_id = "write_metrics_snapshots")]
    async fn write(
        &self,
        caller: Authorized<WriteMetrics>,
        request: &Request,
        /// Whether nothing is stored when anything cannot be; false when it is not given.
        atomic: Query<Option<bool>>,
        /// Chosen by the client for this request: 1 to 255 visible characters.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: IdempotencyKey,
        body: SnapshotsInput,
    ) -> Result<SnapshotsWritten, Refused<OfWrite>> {
        let atomic = atomic.0.unwrap_or(false);
        match body {
            SnapshotsInput::Json(json) => {
                self.write_json(request, &caller, idempotency_key, json, atomic).await
            }
            SnapshotsInput::Lines(body, encoding) => {
                if idempotency_key.0.is_some() {
                    let detail = "a stream is not kept to be known again; send it without a key".to_owned();
                    return Err(Failure::Unreadable("/header/idempotency-key", detail).into());
                }
                self.write_lines(body, encoding, atomic).await
            }
        }
    }

    /// Lists snapshots of a type
    ///
    /// In the order of time; of the same time, in that of ids. With `Accept: application/x-ndjson`, where that has
    /// no less weight than `application/json`, they come as a stream, a line for each, and all of them unless
    /// `limit` is given. A page ends before `limit` where its documents would have more than 4 MiB together.
    #[oai(path = "/api/v1/metrics/snapshots", method = "get", operation_id = "list_metrics_snapshots")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the query")]
    async fn list(
        &self,
        _caller: Authorized<ReadMetrics>,
        request: &Request,
        /// What was measured.
        #[oai(validator(min_length = 1, max_length = 50))]
        metric_type: Query<String>,
        /// Only what came from this host or agent.
        #[oai(validator(min_length = 1, max_length = 255))]
        source: Query<Option<String>>,
        /// Only what was measured at this time or later.
        from: Query<Option<OffsetDateTime>>,
        /// Only what was measured before this time.
        to: Query<Option<OffsetDateTime>>,
        /// Which come first; the newest (`desc`) when it is not given.
        order: Query<Option<OrderName>>,
        /// How many snapshots a page has at most; 100 when it is not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u32>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<SnapshotList, Refused<OfRead>> {
        let filter = filter(metric_type.0, source.0, from.0, to.0)?;
        let order = order.0.map(Into::into).unwrap_or_default();
        let list = format!("metrics-snapshots {filter:?} {order:?}");
        let keys = &self.snapshots.actions.keys;
        let after = cursors::open(keys, &list, cursor.0.as_deref())?;
        if accepts_lines(request.headers()) {
            return self.list_lines(filter, order, after, limit.0).await;
        }
        let limits = self.snapshots.page_limits(limit.0.unwrap_or(DEFAULT_LIMIT));
        let database = &self.snapshots.actions.database;
        let page = metrics_snapshots::page(database, &filter, order, after, limits).await;
        let (rows, has_more) = page.map_err(Failure::Database)?;
        let last = rows.last().filter(|_| has_more);
        let next_cursor = last.map(|it| cursors::seal(keys, &list, &it.position)).transpose()?;
        let snapshots = rows.iter().map(|it| metrics_snapshots::from_row(&it.row, &filter.metric_type));
        let snapshots = snapshots.collect::<Result<Vec<_>, _>>().map_err(Failure::Database)?;
        let json = write_page(&snapshots, next_cursor.as_deref());
        Ok(SnapshotList::Page(json.map_err(poem::error::InternalServerError)?.into()))
    }
}

impl MetricsSnapshotsApi {
    async fn list_lines(
        &self,
        filter: SnapshotFilter,
        order: Order,
        after: Option<Position>,
        limit: Option<u32>,
    ) -> Result<SnapshotList, Refused<OfRead>> {
        let begun = Instant::now();
        let (rows, permit) = self.snapshots.stream(&filter, order, after, limit).await?;
        let settings = &self.snapshots.settings;
        let outgoing = Outgoing {
            rows,
            metric_type: filter.metric_type,
            patience: settings.stream_idle_timeout,
            until: begun + settings.stream_timeout,
            permit,
        };
        Ok(SnapshotList::Lines(outgoing.into_body().await.map_err(Failure::Database)?))
    }

    async fn write_lines(
        &self,
        body: Body,
        encoding: Encoding,
        atomic: bool,
    ) -> Result<SnapshotsWritten, Refused<OfWrite>> {
        let chunks = Box::pin(body.into_bytes_stream());
        let streamed = self.snapshots.store(chunks, encoding, read_item, atomic).await;
        let streamed = streamed.map_err(lines::failure)?;
        if atomic && streamed.rejected > 0 {
            return Err(refuse("/body", &streamed.errors).into());
        }
        let Streamed { accepted, rejected, errors } = streamed;
        let answer = answers::written(accepted, rejected, &errors).map_err(ActionError::from)?;
        Ok(Outcome::Done(answer).into())
    }

    async fn write_json(
        &self,
        request: &Request,
        caller: &Caller,
        key: IdempotencyKey,
        json: bytes::Bytes,
        atomic: bool,
    ) -> Result<SnapshotsWritten, Refused<OfWrite>> {
        let keyed = idempotency::keyed(request, caller, key, json.clone());
        if let Some(answer) = self.snapshots.actions.replay(keyed.as_ref()).await? {
            return Ok(Outcome::Replayed(answer).into());
        }
        let _turn = self.snapshots.turn().await;
        let sorted = read_items(&json, &self.snapshots.rules());
        let Sorted { good, bad } = sorted
            .map_err(|error| Failure::Unreadable("/body", super::conventions::bodies::explain(&error)))?;
        drop(json);
        let count = good.len() + bad.len();
        if !(1..=MAX_ITEMS).contains(&count) {
            let rule = format!("there are {count} of them; 1 to {MAX_ITEMS} are taken at once");
            return Err(ActionError::Invalid(vec![("/body/items".to_owned(), rule)]).into());
        }
        if atomic && !bad.is_empty() {
            return Err(refuse("/body/items", &bad).into());
        }
        let answer =
            answers::written(good.len() as u64, bad.len() as u64, &bad).map_err(ActionError::from)?;
        Ok(self.snapshots.create(&good, keyed.as_ref(), &answer).await?.into())
    }
}

/// That what is searched by is text that a database understands.
pub(super) fn check_names(metric_type: Option<&str>, source: Option<&str>) -> Result<(), Failure> {
    for (pointer, text) in [("/query/metric_type", metric_type), ("/query/source", source)] {
        if text.is_some_and(|it| !is_name(it, usize::MAX)) {
            return Err(Failure::Unreadable(pointer, "it has no characters, or a NUL".to_owned()));
        }
    }
    Ok(())
}

/// Which snapshots.
fn filter(
    metric_type: String,
    source: Option<String>,
    from: Option<OffsetDateTime>,
    to: Option<OffsetDateTime>,
) -> Result<SnapshotFilter, Failure> {
    check_names(Some(&metric_type), source.as_deref())?;
    check_range(from, to)?;
    Ok(SnapshotFilter { metric_type, source, from, to })
}

/// Nothing is stored, because of these.
fn refuse(within: &str, bad: &[(u64, Rejection)]) -> ActionError {
    let pointer = |index: u64, field: &str| match field {
        "" => format!("{within}/{index}"),
        field => format!("{within}/{index}/{field}"),
    };
    ActionError::Invalid(
        bad.iter().map(|(index, it)| (pointer(*index, it.field), it.detail.clone())).collect(),
    )
}
