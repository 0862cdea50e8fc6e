//! Why something that was asked for was not done. No HTTP: `api::problem` chooses the statuses.

use std::time::Duration;

use foundation::database::DatabaseError;

use crate::domain::access::Refusal;

/// Why something that was asked for was not done.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// There is no such thing, or none that the caller may know of.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// Something else is in the way: which part of the request, and what about it.
    #[error("{detail}")]
    Conflict {
        /// A pointer such as `/body/username`.
        pointer: &'static str,
        /// What is in the way.
        detail: String,
    },
    /// Parts of the request break a rule: pointers such as `/body/username`, and what is wrong with each.
    #[error("{} of the request break a rule", .0.len())]
    Invalid(Vec<(String, String)>),
    /// It was changed since the caller read it.
    #[error("it was changed meanwhile")]
    Stale,
    /// Nobody who could sign in as an administrator would be left.
    #[error("the last active administrator has to stay one")]
    LastAdmin,
    /// The caller's session was ended meanwhile.
    #[error("the session was ended meanwhile")]
    SignedOut,
    /// The caller may not do this.
    #[error("the caller may not do this: {0:?}")]
    Forbidden(Refusal),
    /// The caller may not change these: pointers such as `/body/is_admin`.
    #[error("only an administrator may change this")]
    ForbiddenFields(Vec<&'static str>),
    /// The name or the password is wrong, or there is no such user, or they are inactive.
    #[error("the name or the password is wrong")]
    InvalidCredentials,
    /// The password is right and the account blocked.
    #[error("the account is blocked")]
    Blocked,
    /// Too many failures.
    #[error("there were too many failures")]
    TooManyAttempts {
        /// How long to wait.
        retry_after: Duration,
    },
    /// More is asked at once than can be done.
    #[error("too much is asked at once")]
    Busy {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The idempotency key was used with another request.
    #[error("the idempotency key was used with another query or body")]
    IdempotencyMismatch,
    /// The answer has no form in JSON: a defect.
    #[error("the answer cannot be written")]
    Unwritable(#[from] serde_json::Error),
    /// The database has no answer.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}
