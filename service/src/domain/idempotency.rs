//! Requests that are done once, however often they are sent.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A request with a key: the same caller, method, path and key are the same request, which has the same query
/// and the same body each time.
#[derive(Clone, Debug)]
pub struct KeyedRequest {
    /// The user who asks.
    pub caller: Uuid,
    /// Its method.
    pub method: &'static str,
    /// Its path.
    pub path: String,
    /// Its query, where it has one.
    pub query: Option<String>,
    /// Its `Idempotency-Key`.
    pub key: String,
    /// Its body.
    pub body: bytes::Bytes,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Which version of what was made, and where it is.
    pub headers: AnswerHeaders,
    /// The body, without any secret.
    pub body: String,
}

/// The headers of an answer that belong to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerHeaders {
    /// `ETag`.
    pub etag: Option<String>,
    /// `Location`.
    pub location: Option<String>,
}

/// How a request with a key ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done(Answer),
    /// It had been done before.
    Replayed(Answer),
}
