//! Requests that are done once, however often they are sent.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A request with a key: the same caller, method, path and key are the same request, which has the same query
/// and the same body each time.
#[derive(Clone)]
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

impl fmt::Debug for KeyedRequest {
    /// Without the body, which may have a password in it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KeyedRequest")
            .field("caller", &self.caller)
            .field("method", &self.method)
            .field("path", &self.path)
            .field("query", &self.query)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        let request = KeyedRequest {
            caller: Uuid::nil(),
            method: "POST",
            path: "/api/v1/users".to_owned(),
            query: None,
            key: "a key".to_owned(),
            body: bytes::Bytes::from_static(br#"{"password":"hunter2"}"#),
        };
        let shown = format!("{request:?}");
        assert!(shown.contains("a key") && !shown.contains("hunter2"), "{shown}");
    }
}
