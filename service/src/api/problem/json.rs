//! The document of a problem: `application/problem+json` (RFC 9457).

use poem::http::StatusCode;
use poem::http::header::{CONTENT_TYPE, HeaderValue};
use poem::{Body, IntoResponse, Response};
use poem_openapi::Object;
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use serde::Serialize;

/// What went wrong, as RFC 9457 writes it down.
#[derive(Clone, Debug, Object, Serialize)]
pub struct Problem {
    /// A URI for the kind of problem. `about:blank`: see `code`.
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    pub kind: String,
    /// The name of the status.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong this time, and what to do about it, in a sentence.
    pub detail: String,
    /// The path that was asked for.
    pub instance: String,
    /// The kind of problem in one word, for programs. Of those that pass by themselves, with 503 and `Retry-After`:
    /// `busy`, more is asked at once than can be done, or something else writes the same; `request_timeout`, it
    /// took too long; `database_unavailable`, the database has no answer.
    pub code: String,
    /// What the service's log has this request under.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request_id: String,
    /// What is wrong with which part of the request.
    #[oai(skip_serializing_if_is_empty, default)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// What is wrong with one part of a request.
#[derive(Clone, Debug, Object, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The part: `/path/id`, `/query/limit`, `/header/if-match`, or `/body` and a JSON pointer into it.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

/// A problem as the body of an answer.
#[derive(Clone, Debug)]
pub struct ProblemJson(pub Problem);

impl Payload for ProblemJson {
    const CONTENT_TYPE: &'static str = "application/problem+json";

    fn schema_ref() -> MetaSchemaRef {
        Problem::schema_ref()
    }

    fn register(registry: &mut Registry) {
        Problem::register(registry);
    }
}

impl IntoResponse for ProblemJson {
    fn into_response(self) -> Response {
        // A document of texts and numbers always has a form in JSON.
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = Response::from(Body::from(body));
        response.set_status(StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Self::CONTENT_TYPE));
        response
    }
}
