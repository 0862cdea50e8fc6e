//! The answers of the routes of archive policies.

use poem_openapi::ApiResponse;

use super::bodies::{ArchivePolicyBody, ArchivePolicyPageBody};
use crate::api::conventions::versions::etag;
use crate::api::conventions::{Statuses, idempotency, statuses};
use crate::api::payload::JsonBytes;
use crate::domain::archive_policies::ArchivePolicy;
use crate::domain::idempotency::{Answer, AnswerHeaders, Outcome};

/// The answer of a policy that is made.
#[derive(ApiResponse)]
pub enum ArchivePolicyCreated {
    /// The policy was made, now or when the same request was sent before.
    #[oai(status = 201)]
    Created(
        JsonBytes<ArchivePolicyBody>,
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

/// The answer that makes a policy, as it is kept.
///
/// # Errors
/// The policy has no form in JSON.
pub(super) fn created(policy: &ArchivePolicy) -> serde_json::Result<Answer> {
    let location = Some(format!("/api/v1/archive-policies/{}", policy.id));
    let headers = AnswerHeaders { etag: Some(etag(policy.version)), location };
    Ok(Answer { status: 201, headers, body: serde_json::to_string(&ArchivePolicyBody::from(policy))? })
}

impl From<Outcome> for ArchivePolicyCreated {
    fn from(outcome: Outcome) -> Self {
        let (answer, replayed) = idempotency::parts(outcome);
        let AnswerHeaders { etag, location } = answer.headers;
        Self::Created(answer.body.into(), etag.unwrap_or_default(), location.unwrap_or_default(), replayed)
    }
}

/// The answer of one policy.
#[derive(ApiResponse)]
pub enum OneArchivePolicy {
    /// The policy.
    #[oai(status = 200)]
    Found(
        JsonBytes<ArchivePolicyBody>,
        /// Its version, for `If-Match`.
        #[oai(header = "ETag")]
        String,
    ),
}

impl OneArchivePolicy {
    /// The answer of this policy.
    ///
    /// # Errors
    /// It has no form in JSON.
    pub fn of(policy: &ArchivePolicy) -> poem::Result<Self> {
        Ok(Self::Found(JsonBytes::of(&ArchivePolicyBody::from(policy))?, etag(policy.version)))
    }
}

/// The answer of a list.
#[derive(ApiResponse)]
pub enum ArchivePolicyList {
    /// A page.
    #[oai(status = 200)]
    Page(JsonBytes<ArchivePolicyPageBody>),
}

/// The answer of a policy that is deleted.
#[derive(ApiResponse)]
pub enum ArchivePolicyDeleted {
    /// It is gone. What it governed is kept for ever, unless the policy `*` has it now.
    #[oai(status = 204)]
    Deleted,
}

statuses! {
    /// Of making a policy.
    OfCreate = 400, 401, 403, 408, 409, 413, 415, 422, 500, 503;
    /// Of a list.
    OfList = 400, 401, 403, 500, 503;
    /// Of one policy.
    OfGet = 400, 401, 403, 404, 500, 503;
    /// Of changing a policy.
    OfPatch = 400, 401, 403, 404, 408, 412, 413, 415, 422, 428, 500, 503;
    /// Of deleting a policy.
    OfDelete = 400, 401, 403, 404, 412, 500, 503;
}
