//! The answers of the users' routes.

use poem_openapi::ApiResponse;

use super::bodies::{UserBody, UserPageBody};
use crate::api::conventions::versions::etag;
use crate::api::conventions::{Statuses, idempotency, statuses};
use crate::api::payload::JsonBytes;
use crate::domain::idempotency::{Answer, AnswerHeaders, Outcome};
use crate::domain::users::User;

/// The answer of an account that is made.
#[derive(ApiResponse)]
pub enum UserCreated {
    /// The account was made, now or when the same request was sent before.
    #[oai(status = 201)]
    Created(
        JsonBytes<UserBody>,
        /// Its version, for `If-Match`.
        #[oai(header = "ETag")]
        String,
        /// Its path.
        #[oai(header = "Location")]
        String,
        /// `true`: it was made before, and this is the answer of that time.
        #[oai(header = "Idempotent-Replayed")]
        Option<bool>,
    ),
}

/// The answer that makes an account, as it is kept.
///
/// # Errors
/// The account has no form in JSON.
pub(super) fn created(user: &User) -> serde_json::Result<Answer> {
    let location = Some(format!("/api/v1/users/{}", user.id));
    let headers = AnswerHeaders { etag: Some(etag(user.version)), location };
    Ok(Answer { status: 201, headers, body: serde_json::to_string(&UserBody::from(user.clone()))? })
}

impl From<Outcome> for UserCreated {
    fn from(outcome: Outcome) -> Self {
        let (answer, replayed) = idempotency::parts(outcome);
        let AnswerHeaders { etag, location } = answer.headers;
        Self::Created(answer.body.into(), etag.unwrap_or_default(), location.unwrap_or_default(), replayed)
    }
}

/// The answer of one account.
#[derive(ApiResponse)]
pub enum OneUser {
    /// The account.
    #[oai(status = 200)]
    Found(
        JsonBytes<UserBody>,
        /// Its version, for `If-Match`.
        #[oai(header = "ETag")]
        String,
    ),
}

impl OneUser {
    /// The answer of this account.
    ///
    /// # Errors
    /// It has no form in JSON.
    pub fn of(user: User) -> poem::Result<Self> {
        let etag = etag(user.version);
        Ok(Self::Found(JsonBytes::of(&UserBody::from(user))?, etag))
    }
}

/// The answer of a list.
#[derive(ApiResponse)]
pub enum UserList {
    /// A page.
    #[oai(status = 200)]
    Page(JsonBytes<UserPageBody>),
}

/// The answer of an account that is deleted.
#[derive(ApiResponse)]
pub enum UserDeleted {
    /// It is gone, with its sessions and tokens.
    #[oai(status = 204)]
    Deleted,
}

statuses! {
    /// Of making an account.
    OfCreate = 400, 401, 403, 408, 409, 413, 415, 422, 500, 503;
    /// Of a list.
    OfList = 400, 401, 403, 500, 503;
    /// Of one account.
    OfGet = 400, 401, 403, 404, 500, 503;
    /// Of changing an account.
    OfPatch = 400, 401, 403, 404, 408, 409, 412, 413, 415, 422, 428, 500, 503;
    /// Of deleting an account.
    OfDelete = 400, 401, 403, 404, 409, 412, 500, 503;
    /// Of blocking an account and of letting it in again.
    OfBlock = 400, 401, 403, 404, 409, 412, 500, 503;
}
