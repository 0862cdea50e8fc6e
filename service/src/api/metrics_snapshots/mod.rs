//! Snapshots of metrics.

mod answers;
pub mod bodies;
mod input;

use poem::Request;
use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Query};
use time::OffsetDateTime;

use self::answers::{OfRead, OfWrite};
pub use self::answers::{SnapshotList, SnapshotsWritten};
use self::bodies::{MAX_ITEMS, OrderName, Sorted, read_items, write_page};
pub use self::input::{Encoding, SnapshotsInput};
use super::authorize::{Authorized, ReadMetrics, WriteMetrics};
use super::conventions::{Refused, cursors, idempotency};
use super::problem::Failure;
use super::tags::Tag;
use crate::actions::ActionError;
use crate::actions::metrics_snapshots::Snapshots;
use crate::domain::access::Caller;
use crate::domain::idempotency::Outcome;
use crate::domain::metrics_snapshots::{Position, SnapshotFilter, is_name};

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
    /// `METRICS_WRITE_PAST` and `METRICS_WRITE_AHEAD` of the service's clock. In a document no object has a key
    /// twice, no text has `\u0000`, and every number is one that a double precision float holds;
    /// `METRICS_DATA_LIMIT`, `METRICS_DATA_DEPTH` and `METRICS_DATA_KEYS` bound it.
    #[oai(path = "/api/v1/metrics/snapshots", method = "post", operation_id = "write_metrics_snapshots")]
    async fn write(
        &self,
        caller: Authorized<WriteMetrics>,
        request: &Request,
        /// Whether nothing is stored when anything cannot be; false when it is not given.
        atomic: Query<Option<bool>>,
        /// Chosen by the client for this request: 1 to 255 visible characters.
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 255))]
        idempotency_key: Header<Option<String>>,
        body: SnapshotsInput,
    ) -> Result<SnapshotsWritten, Refused<OfWrite>> {
        let SnapshotsInput::Json(json) = body else {
            return Err(Failure::Unreadable("/body", "no streams yet".to_owned()).into());
        };
        self.write_json(request, &caller, idempotency_key.0, json, atomic.0.unwrap_or(false)).await
    }

    /// Lists snapshots of a type
    ///
    /// In the order of time; of the same time, in that of ids.
    #[oai(path = "/api/v1/metrics/snapshots", method = "get", operation_id = "list_metrics_snapshots")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the query")]
    async fn list(
        &self,
        _caller: Authorized<ReadMetrics>,
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
        let after = cursor.0.map(|it| position(&cursors::open(keys, &list, &it)?)).transpose()?;
        let page = self.snapshots.page(&filter, order, after, limit.0.unwrap_or(DEFAULT_LIMIT)).await;
        let page = page.map_err(Failure::Database)?;
        let next_cursor = page.next.map(|it| cursors::seal(keys, &list, &it.encode()));
        let json = write_page(&page.snapshots, next_cursor.as_deref());
        Ok(SnapshotList::Page(json.map_err(poem::error::InternalServerError)?.into()))
    }
}

impl MetricsSnapshotsApi {
    async fn write_json(
        &self,
        request: &Request,
        caller: &Caller,
        key: Option<String>,
        json: bytes::Bytes,
        atomic: bool,
    ) -> Result<SnapshotsWritten, Refused<OfWrite>> {
        let keyed = idempotency::keyed(request, caller, key, json.clone())?;
        if let Some(answer) = self.snapshots.actions.replay(keyed.as_ref()).await? {
            return Ok(Outcome::Replayed(answer).into());
        }
        let sorted = read_items(&json, &self.snapshots.rules());
        let Sorted { good, bad } = sorted
            .map_err(|error| Failure::Unreadable("/body", super::conventions::bodies::explain(&error)))?;
        let count = good.len() + bad.len();
        if !(1..=MAX_ITEMS).contains(&count) {
            let rule = format!("there are {count} of them; 1 to {MAX_ITEMS} are taken at once");
            return Err(ActionError::Invalid(vec![("/body/items".to_owned(), rule)]).into());
        }
        if atomic && !bad.is_empty() {
            let pointer = |index: &u64, field: &str| match field {
                "" => format!("/body/items/{index}"),
                field => format!("/body/items/{index}/{field}"),
            };
            let broken = bad.iter().map(|(index, it)| (pointer(index, it.field), it.detail.clone()));
            return Err(ActionError::Invalid(broken.collect()).into());
        }
        let answer =
            answers::written(good.len() as u64, bad.len() as u64, &bad).map_err(ActionError::from)?;
        Ok(self.snapshots.create(&good, keyed.as_ref(), &answer).await?.into())
    }
}

/// Which snapshots; the texts are ones that a database understands.
fn filter(
    metric_type: String,
    source: Option<String>,
    from: Option<OffsetDateTime>,
    to: Option<OffsetDateTime>,
) -> Result<SnapshotFilter, Failure> {
    for (pointer, text) in [("/query/metric_type", Some(&metric_type)), ("/query/source", source.as_ref())] {
        if text.is_some_and(|it| !is_name(it, usize::MAX)) {
            return Err(Failure::Unreadable(pointer, "it has no characters, or a NUL".to_owned()));
        }
    }
    Ok(SnapshotFilter { metric_type, source, from, to })
}

fn position(text: &str) -> Result<Position, Failure> {
    Position::decode(text).ok_or_else(cursors::wrong)
}
