//! The answers of the snapshots' routes.

use bytes::Bytes;
use poem::http::header::{CONTENT_TYPE, HeaderValue, VARY};
use poem::{Body, IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type as _;

use super::bodies::{SnapshotBody, SnapshotErrorBody, SnapshotPageBody, SnapshotsWrittenBody};
use crate::api::conventions::{Statuses, idempotency, statuses};
use crate::api::payload::JsonBytes;
use crate::api::streams::NDJSON;
use crate::domain::idempotency::{Answer, AnswerHeaders, Outcome};
use crate::domain::metrics_snapshots::Rejection;

/// The answer of snapshots that were written.
#[derive(ApiResponse)]
pub enum SnapshotsWritten {
    /// What is good is stored, now or when the same request was sent before; what is not is named.
    #[oai(status = 200)]
    Written(
        JsonBytes<SnapshotsWrittenBody>,
        /// `true`: they were written before, and this is the answer of that time.
        #[oai(header = "Idempotent-Replayed")]
        Option<bool>,
    ),
}

/// The answer of so many snapshots, as it is kept.
///
/// # Errors
/// It has no form in JSON.
pub(super) fn written(accepted: u64, rejected: u64, bad: &[(u64, Rejection)]) -> serde_json::Result<Answer> {
    let errors = bad.iter().map(|(index, rejection)| SnapshotErrorBody::new(*index, rejection)).collect();
    let body = SnapshotsWrittenBody { accepted, rejected, errors };
    Ok(Answer { status: 200, headers: AnswerHeaders::default(), body: serde_json::to_string(&body)? })
}

impl From<Outcome> for SnapshotsWritten {
    fn from(outcome: Outcome) -> Self {
        let (answer, replayed) = idempotency::parts(outcome);
        Self::Written(answer.body.into(), replayed)
    }
}

/// The answer of a list of snapshots, in the form that the caller accepts.
pub enum SnapshotList {
    /// A page, in JSON.
    Page(Bytes),
    /// Any number of them, a line for each.
    Lines(Body),
}

impl ApiResponse for SnapshotList {
    fn meta() -> MetaResponses {
        let content = vec![
            MetaMediaType { content_type: "application/json", schema: SnapshotPageBody::schema_ref() },
            MetaMediaType { content_type: NDJSON, schema: SnapshotBody::schema_ref() },
        ];
        let response = MetaResponse {
            description: "The snapshots: a page, or with `Accept: application/x-ndjson` a line for each",
            status: Some(200),
            status_range: None,
            content,
            headers: Vec::new(),
        };
        MetaResponses { responses: vec![response] }
    }

    fn register(registry: &mut Registry) {
        SnapshotPageBody::register(registry);
        SnapshotBody::register(registry);
    }
}

impl IntoResponse for SnapshotList {
    fn into_response(self) -> Response {
        let (body, content_type) = match self {
            Self::Page(json) => (Body::from(json), "application/json"),
            Self::Lines(body) => (body, NDJSON),
        };
        let mut response = Response::from(body);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
        response
    }
}

statuses! {
    /// Of writing.
    OfWrite = 400, 401, 403, 408, 409, 413, 415, 422, 500, 503;
    /// Of reading.
    OfRead = 400, 401, 403, 422, 500, 503;
}
