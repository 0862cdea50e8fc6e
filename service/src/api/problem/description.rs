//! What each error comes to: its status, its code and its words.

use std::time::Duration;

use foundation::database::{DatabaseError, DatabaseErrorKind};
use poem::error::{
    MethodNotAllowedError, NotFoundError, ParseJsonError, ParsePathError, ParseQueryError, ReadBodyError,
};
use poem::http::StatusCode;
use poem_openapi::error as openapi;

use super::{Failure, FieldError};
use crate::actions::ActionError;
use crate::api::conventions::bodies::bounded;
use crate::domain::access::Refusal;

/// What an error comes to for the client.
pub(super) struct Description {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) detail: String,
    pub(super) errors: Vec<FieldError>,
    pub(super) retry_after: Option<Duration>,
}

impl Description {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), errors: Vec::new(), retry_after: None }
    }

    /// A part of the request that cannot be read.
    fn invalid(pointer: String, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let sentence = format!("{pointer} of the request is not valid: {detail}");
        let invalid = Self::new(StatusCode::BAD_REQUEST, "invalid_request", sentence);
        Self { errors: vec![FieldError { pointer, detail }], ..invalid }
    }

    fn internal() -> Self {
        let detail = "something went wrong inside of the service; its log has it under the request id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", detail)
    }
}

/// What is wrong with each part, in one sentence.
pub(super) fn told(errors: &[FieldError]) -> String {
    let words = errors.iter().map(|it| format!("{}: {}", it.pointer, it.detail));
    words.collect::<Vec<_>>().join("; ")
}

pub(super) fn describe_failure(failure: &Failure) -> Description {
    match failure {
        Failure::BodyTooLarge(limit) => {
            let detail = format!("the body of a request may have {limit} bytes at most");
            Description::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
        }
        Failure::TimedOut => {
            let detail = "the request took longer than it may; try again";
            Description::new(StatusCode::SERVICE_UNAVAILABLE, "request_timeout", detail)
        }
        Failure::BodyTimedOut => {
            let detail = "the body of the request did not come in time";
            Description::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail)
        }
        // The time says which of the limits it was.
        Failure::BodySilent(time) => {
            let detail = format!("nothing more of the body came for {time:?}");
            Description::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail)
        }
        Failure::Panicked(_) | Failure::NoGate => Description::internal(),
        Failure::Unauthenticated => describe_status(StatusCode::UNAUTHORIZED),
        Failure::Forbidden(refusal) => describe_refusal(*refusal),
        Failure::Database(error) => describe_database_error(error),
        Failure::Action(error) => describe_action_error(error),
        Failure::Unreadable(pointer, detail) => Description::invalid((*pointer).to_owned(), detail.as_str()),
        Failure::Parameters(wrong) => {
            let (errors, detail) = (wrong.clone(), told(wrong));
            let invalid = Description::new(StatusCode::BAD_REQUEST, "invalid_request", detail);
            Description { errors, ..invalid }
        }
        Failure::NoPrecondition => describe_status(StatusCode::PRECONDITION_REQUIRED),
        Failure::Body(error) => describe_broken_body(error),
        Failure::Incomplete(failure, stored) => {
            let told = describe_failure(failure);
            let detail = format!("{}; {stored} of the stream are stored", told.detail);
            Description { detail, ..told }
        }
    }
}

fn describe_action_error(error: &ActionError) -> Description {
    let at = |status, code, pointer: &str, detail: &str| {
        let errors = vec![FieldError { pointer: pointer.to_owned(), detail: detail.to_owned() }];
        Description { errors, ..Description::new(status, code, detail) }
    };
    let detail = error.to_string();
    match error {
        ActionError::NotFound(_) => Description::new(StatusCode::NOT_FOUND, "not_found", detail),
        ActionError::Conflict { pointer, detail } => at(StatusCode::CONFLICT, "conflict", pointer, detail),
        ActionError::Invalid(rules) => {
            let field = |(pointer, detail): &(String, String)| FieldError {
                pointer: pointer.clone(),
                detail: detail.clone(),
            };
            let errors: Vec<_> = rules.iter().map(field).collect();
            let invalid = Description::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", told(&errors));
            Description { errors, ..invalid }
        }
        ActionError::Stale => describe_status(StatusCode::PRECONDITION_FAILED),
        ActionError::SignedOut => describe_status(StatusCode::UNAUTHORIZED),
        ActionError::LastAdmin => Description::new(StatusCode::CONFLICT, "last_admin", detail),
        ActionError::Forbidden(refusal) => describe_refusal(*refusal),
        ActionError::ForbiddenFields(fields) => {
            let told = Description::new(StatusCode::FORBIDDEN, "admin_only", detail.as_str());
            let field = |it: &&str| FieldError { pointer: (*it).to_owned(), detail: detail.clone() };
            Description { errors: fields.iter().map(field).collect(), ..told }
        }
        ActionError::Unwritable(_) => Description::internal(),
        ActionError::InvalidCredentials => {
            Description::new(StatusCode::UNAUTHORIZED, "invalid_credentials", detail)
        }
        ActionError::Blocked => Description::new(StatusCode::FORBIDDEN, "blocked", detail),
        ActionError::TooManyAttempts { retry_after } => {
            let detail = format!("{detail}; try again in {} s", seconds(*retry_after));
            let told = Description::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", detail);
            Description { retry_after: Some(*retry_after), ..told }
        }
        ActionError::Busy { retry_after } => {
            let told = Description::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail);
            Description { retry_after: Some(*retry_after), ..told }
        }
        ActionError::IdempotencyMismatch => {
            at(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_mismatch", "/header/idempotency-key", &detail)
        }
        ActionError::Database(error) => describe_database_error(error),
    }
}

/// Whole seconds, never less than the time.
pub(super) fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

fn describe_refusal(refusal: Refusal) -> Description {
    let (code, detail) = match refusal {
        Refusal::LacksScope(scope) => {
            ("missing_scope", format!("the token lacks the scope {}", scope.name()))
        }
        Refusal::NeedsAdmin => ("admin_only", "only an administrator may do this".to_owned()),
        Refusal::NeedsSession => ("session_only", "no token may do this; sign in with a password".to_owned()),
    };
    Description::new(StatusCode::FORBIDDEN, code, detail)
}

fn describe_database_error(error: &DatabaseError) -> Description {
    use DatabaseErrorKind as Kind;
    let conflict = |detail| Description::new(StatusCode::CONFLICT, "conflict", detail);
    match error.kind() {
        Kind::UniqueViolation => conflict("something with the same unique value exists already"),
        Kind::ForeignKeyViolation => {
            conflict("something that this refers to, or that refers to this, is in the way")
        }
        // Nothing of it was done, and nothing is wrong with it.
        Kind::SerializationFailure | Kind::LockNotAvailable => {
            let detail = "something else writes the same at the moment; try again";
            Description::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
        }
        Kind::Unreachable | Kind::Timeout | Kind::PoolTimeout | Kind::QueryCanceled | Kind::ReadOnly => {
            let detail = "the database has no answer at the moment; try again";
            Description::new(StatusCode::SERVICE_UNAVAILABLE, "database_unavailable", detail)
        }
        _ => Description::internal(),
    }
}

fn describe_body_error(error: &ReadBodyError) -> Description {
    match error {
        ReadBodyError::PayloadTooLarge => {
            Description::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the body is too large")
        }
        ReadBodyError::Io(cause) => describe_broken_body(cause),
        ReadBodyError::Utf8(_) => Description::invalid("/body".to_owned(), "it is not UTF-8"),
        ReadBodyError::BodyHasBeenTaken => Description::internal(),
    }
}

fn describe_broken_body(error: &std::io::Error) -> Description {
    match failure_in(error) {
        Some(failure) => describe_failure(failure),
        None => Description::invalid("/body".to_owned(), "it ended early"),
    }
}

/// The error of ours that reading failed with, however often it was wrapped on its way.
fn failure_in(error: &std::io::Error) -> Option<&Failure> {
    let inner = error.get_ref()?;
    inner.downcast_ref().or_else(|| failure_in(inner.downcast_ref()?))
}

fn describe_json_error(error: &ParseJsonError) -> Description {
    match error {
        ParseJsonError::InvalidContentType(_) | ParseJsonError::ContentTypeRequired => {
            unsupported_media_type()
        }
        other => Description::invalid("/body".to_owned(), bounded(&other.to_string())),
    }
}

fn unsupported_media_type() -> Description {
    let detail = "the body is of a media type that is not understood here; send application/json";
    Description::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
}

/// What the status alone says.
pub(super) fn describe_status(status: StatusCode) -> Description {
    let (code, detail) = match status {
        StatusCode::BAD_REQUEST => ("invalid_request", "the request cannot be understood"),
        StatusCode::UNAUTHORIZED => ("unauthorized", "this needs a signed-in user"),
        StatusCode::FORBIDDEN => ("forbidden", "this user may not do that"),
        StatusCode::NOT_FOUND => ("not_found", "there is nothing at this path"),
        StatusCode::METHOD_NOT_ALLOWED => {
            ("method_not_allowed", "this path does not know the method; Allow names those that it knows")
        }
        StatusCode::NOT_ACCEPTABLE => ("not_acceptable", "none of the accepted media types can be given"),
        StatusCode::CONFLICT => ("conflict", "the request conflicts with the present state"),
        StatusCode::PRECONDITION_FAILED => (
            "precondition_failed",
            "it has been changed meanwhile; get it again, and send the change with the ETag that it has now",
        ),
        StatusCode::PRECONDITION_REQUIRED => (
            "precondition_required",
            "send the ETag of what is to be changed in If-Match, so that no other change is lost",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => ("body_too_large", "the body is too large"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => return unsupported_media_type(),
        StatusCode::UNPROCESSABLE_ENTITY => {
            ("unprocessable", "the request is understood, but cannot be done")
        }
        StatusCode::TOO_MANY_REQUESTS => {
            ("too_many_requests", "there were too many requests; try again later")
        }
        StatusCode::SERVICE_UNAVAILABLE => ("unavailable", "this cannot be done at the moment; try again"),
        _ if status.is_server_error() => return Description { status, ..Description::internal() },
        _ => ("failed", status.canonical_reason().unwrap_or("the request failed")),
    };
    Description::new(status, code, detail)
}

pub(super) fn describe(error: &poem::Error) -> Description {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        describe_failure(failure)
    } else if let Some(error) = error.downcast_ref::<ReadBodyError>() {
        describe_body_error(error)
    } else if let Some(error) = error.downcast_ref::<ParseJsonError>() {
        describe_json_error(error)
    } else if error.is::<openapi::ContentTypeError>() {
        unsupported_media_type()
    } else if let Some(error) = error.downcast_ref::<openapi::ParseParamError>() {
        // Parameters of the query are in lower case; headers are written as HTTP writes them.
        let is_header = error.name.starts_with(|first: char| first.is_ascii_uppercase());
        let part = if is_header { "header" } else { "query" };
        Description::invalid(format!("/{part}/{}", error.name.to_ascii_lowercase()), &error.reason)
    } else if let Some(error) = error.downcast_ref::<openapi::ParseRequestPayloadError>() {
        Description::invalid("/body".to_owned(), &error.reason)
    } else if let Some(error) = error.downcast_ref::<ParseQueryError>() {
        Description::invalid("/query".to_owned(), error.to_string())
    } else if let Some(error) = error.downcast_ref::<ParsePathError>() {
        Description::invalid("/path".to_owned(), error.to_string())
    } else if error.is::<NotFoundError>() {
        describe_status(StatusCode::NOT_FOUND)
    } else if error.is::<MethodNotAllowedError>() {
        describe_status(StatusCode::METHOD_NOT_ALLOWED)
    } else {
        describe_status(error.status())
    }
}
