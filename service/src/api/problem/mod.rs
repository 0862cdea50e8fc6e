//! Every error that leaves the service: its status, its code and its words are chosen here and nowhere
//! else. The client gets a sentence that is safe to show; the log gets the cause.

mod description;
mod json;

use std::time::Duration;

use foundation::database::DatabaseError;
use poem::http::StatusCode;
use poem::http::header::{ALLOW, CONNECTION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use poem::{IntoResponse as _, Response};

use self::description::{Description, describe, describe_failure, describe_status, seconds, told};
pub use self::json::{FieldError, Problem, ProblemJson};
use super::RouteFacts;
use crate::actions::ActionError;
use crate::domain::access::Refusal;

/// The errors of our own code; those of the framework are understood as they are.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The body is larger than this many bytes.
    #[error("the body may have {0} bytes at most")]
    BodyTooLarge(u64),
    /// The request took longer than it may.
    #[error("the request took longer than it may")]
    TimedOut,
    /// The body of the request did not come in that time.
    #[error("the body of the request did not come in time")]
    BodyTimedOut,
    /// Nothing more of a stream came for so long.
    #[error("nothing more of the body came for {0:?}")]
    BodySilent(Duration),
    /// A handler panicked, with this message.
    #[error("the handler panicked: {0}")]
    Panicked(String),
    /// The database has no answer.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// No token, or one that stands for nobody.
    #[error("there is no token that stands for anybody")]
    Unauthenticated,
    /// The caller is known and may not do this.
    #[error("the caller may not do this: {0:?}")]
    Forbidden(Refusal),
    /// The routes were put together without a door: a defect.
    #[error("the routes have no door")]
    NoGate,
    /// What was asked for was not done.
    #[error(transparent)]
    Action(#[from] ActionError),
    /// A part of the request, such as `/query/cursor`, that cannot be understood, and why.
    #[error("{0}: {1}")]
    Unreadable(&'static str, String),
    /// Parameters of the query that are not there, or cannot be read.
    #[error("the query cannot be understood: {}", told(.0))]
    Parameters(Vec<FieldError>),
    /// The change does not say which version it is meant for.
    #[error("the change names no version")]
    NoPrecondition,
    /// The body broke off.
    #[error("the body broke off: {0}")]
    Body(std::io::Error),
    /// A stream failed like this after so many things of it were stored.
    #[error("after {1}: {0}")]
    Incomplete(Box<Failure>, u64),
}

impl From<Failure> for poem::Error {
    fn from(failure: Failure) -> Self {
        let status = describe_failure(&failure).status;
        Self::new(failure, status)
    }
}

/// The request that a problem is about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Its path.
    pub path: &'a str,
    /// Its id.
    pub request_id: &'a str,
    /// What is known of its route.
    pub route: Option<&'a RouteFacts>,
}

/// The answer for an error of ours or of the framework. Logs what is the service's own fault.
#[must_use]
pub fn answer_error(error: &poem::Error, asked: About<'_>) -> Response {
    let description = describe(error);
    if description.status == StatusCode::INTERNAL_SERVER_ERROR {
        let cause = std::error::Error::source(error).and_then(std::error::Error::source);
        let cause = cause.map(ToString::to_string);
        tracing::error!(error = %error, cause, "a request failed");
    } else if description.status.is_server_error() {
        tracing::warn!(error = %error, "a request was given up");
    }
    respond(description, asked)
}

/// The answer in place of one that the framework made by itself, which is no problem document.
#[must_use]
pub fn answer_status(status: StatusCode, asked: About<'_>) -> Response {
    respond(describe_status(status), asked)
}

fn respond(description: Description, asked: About<'_>) -> Response {
    let Description { status, code, detail, errors, retry_after } = description;
    let problem = Problem {
        kind: "about:blank".to_owned(),
        title: status.canonical_reason().unwrap_or("Error").to_owned(),
        status: status.as_u16(),
        detail,
        instance: asked.path.to_owned(),
        code: code.to_owned(),
        request_id: asked.request_id.to_owned(),
        errors,
    };
    let mut response = ProblemJson(problem).into_response();
    let headers = response.headers_mut();
    match (status, asked.route) {
        (StatusCode::METHOD_NOT_ALLOWED, Some(route)) => {
            headers.insert(ALLOW, route.allow.clone());
        }
        (StatusCode::UNAUTHORIZED, _) => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        (StatusCode::REQUEST_TIMEOUT, _) => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        (StatusCode::SERVICE_UNAVAILABLE, _) => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    if let Some(retry_after) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds(retry_after)));
    }
    response
}
