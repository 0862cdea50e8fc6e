//! Which errors an operation may answer with, declared by a type so that its documentation lists them all.

use std::marker::PhantomData;

use foundation::database::DatabaseError;
use poem_openapi::ApiResponse;
use poem_openapi::payload::Payload as _;
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type as _;

use crate::actions::ActionError;
use crate::api::problem::{Failure, ProblemJson};

/// The statuses of the errors of an operation.
pub trait Statuses: Send + Sync + 'static {
    /// The statuses.
    const STATUSES: &'static [u16];
}

/// Names the statuses of the errors of operations, a type for each.
macro_rules! statuses {
    ($( $(#[doc = $doc:literal])* $Name:ident = $($status:literal),+; )*) => { $(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug)]
        pub(super) enum $Name {}

        impl Statuses for $Name {
            const STATUSES: &'static [u16] = &[$($status),+];
        }
    )* };
}

pub(crate) use statuses;

/// An error of an operation that has these statuses.
pub struct Refused<S> {
    error: poem::Error,
    of: PhantomData<fn() -> S>,
}

impl<S> From<Refused<S>> for poem::Error {
    fn from(refused: Refused<S>) -> Self {
        refused.error
    }
}

impl<S> From<poem::Error> for Refused<S> {
    fn from(error: poem::Error) -> Self {
        Self { error, of: PhantomData }
    }
}

impl<S> From<Failure> for Refused<S> {
    fn from(failure: Failure) -> Self {
        poem::Error::from(failure).into()
    }
}

impl<S> From<DatabaseError> for Refused<S> {
    fn from(error: DatabaseError) -> Self {
        Failure::from(error).into()
    }
}

impl<S> From<ActionError> for Refused<S> {
    fn from(error: ActionError) -> Self {
        Failure::from(error).into()
    }
}

impl<S: Statuses> ApiResponse for Refused<S> {
    fn meta() -> MetaResponses {
        let response = |status: &u16| MetaResponse {
            description: describe(*status),
            status: Some(*status),
            status_range: None,
            content: vec![MetaMediaType {
                content_type: ProblemJson::CONTENT_TYPE,
                schema: ProblemJson::schema_ref(),
            }],
            headers: retry_after(*status).into_iter().collect(),
        };
        MetaResponses { responses: S::STATUSES.iter().map(response).collect() }
    }

    fn register(registry: &mut Registry) {
        ProblemJson::register(registry);
    }
}

/// What an answer that asks for patience has beside it.
fn retry_after(status: u16) -> Option<MetaHeader> {
    matches!(status, 429 | 503).then(|| MetaHeader {
        name: "Retry-After".to_owned(),
        description: Some("After how many seconds to try again".to_owned()),
        required: true,
        deprecated: false,
        schema: u32::schema_ref(),
    })
}

/// What a status means, in the words of the documentation.
const fn describe(status: u16) -> &'static str {
    match status {
        400 => "The request cannot be read",
        401 => "There is no token that stands for anybody",
        403 => "The caller may not do this",
        404 => "There is no such thing, or none that the caller may know of",
        405 => "The path does not know the method",
        408 => "The body did not come in time",
        409 => "Something else is in the way",
        412 => "It was changed since the caller read it",
        413 => "The body is too large",
        415 => "The media type of the body is not understood",
        422 => "The request is understood and breaks a rule",
        428 => "The change does not say which version it is meant for",
        429 => "There were too many failures; Retry-After says when to come again",
        500 => "Something went wrong inside of the service",
        503 => {
            "This cannot be done at the moment, and nothing is wrong with the request; Retry-After says when to try again"
        }
        _ => "The request failed",
    }
}
