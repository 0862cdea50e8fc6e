//! How long snapshots are kept.

mod answers;
mod bodies;

use poem::Request;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use uuid::Uuid;

pub use self::answers::{ArchivePolicyCreated, ArchivePolicyDeleted, ArchivePolicyList, OneArchivePolicy};
use self::answers::{OfCreate, OfDelete, OfGet, OfList, OfPatch};
pub use self::bodies::{
    ArchiveActionName, ArchivePolicyBody, ArchivePolicyPageBody, ArchivePolicyPatchBody, NewArchivePolicyBody,
};
use super::authorize::{Authorized, ReadArchive, WriteArchive};
use super::conventions::{IdempotencyKey, IfMatch, JsonBody, MergePatch, Refused, cursors, idempotency};
use super::payload::JsonBytes;
use super::tags::Tag;
use crate::actions::archive_policies::{self, NOT_FOUND};
use crate::actions::{Actions, Asker, Origin};
use crate::store;

/// What the cursors of this list are for.
const LIST: &str = "archive-policies";

/// The routes of archive policies.
pub struct ArchivePoliciesApi {
    /// What they call.
    pub actions: Actions,
    /// Whether there is a place to archive to.
    pub can_archive: bool,
}

#[OpenApi(tag = "Tag::Archive")]
impl ArchivePoliciesApi {
    /// Makes an archive policy
    ///
    /// Snapshots of its type that are older than `retention_days` are deleted by the next run, or archived
    /// first. A type has one policy; `*` is that of all types without one of their own, enabled or not. With
    /// an `Idempotency-Key`, the same request sent again is answered as the first time.
    #[oai(path = "/api/v1/archive-policies", method = "post", operation_id = "create_archive_policy")]
    async fn create(
        &self,
        caller: Authorized<WriteArchive>,
        origin: Origin,
        request: &Request,
        /// Chosen by the client for this request: 1 to 255 visible characters.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: IdempotencyKey,
        body: JsonBody<NewArchivePolicyBody>,
    ) -> Result<ArchivePolicyCreated, Refused<OfCreate>> {
        let keyed = idempotency::keyed(request, &caller, idempotency_key, body.bytes);
        let (asker, new) = (Asker { caller: &caller, origin: &origin }, body.value.into());
        let (can_archive, keyed) = (self.can_archive, keyed.as_ref());
        let created = answers::created;
        let outcome =
            archive_policies::create(&self.actions, asker, new, can_archive, keyed, created).await?;
        Ok(outcome.into())
    }

    /// Lists archive policies
    ///
    /// In the order of their making.
    #[oai(path = "/api/v1/archive-policies", method = "get", operation_id = "list_archive_policies")]
    async fn list(
        &self,
        _caller: Authorized<ReadArchive>,
        /// How many policies a page has.
        #[oai(default = "cursors::default_limit", validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<u16>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<ArchivePolicyList, Refused<OfList>> {
        let keys = &self.actions.keys;
        let after = cursors::open(keys, LIST, cursor.0.as_deref())?;
        let mut policies =
            store::archive_policies::page(&self.actions.database, after, u32::from(limit.0) + 1).await?;
        let next_cursor = cursors::cut(keys, LIST, &mut policies, limit.0.into(), |it| it.id)?;
        let items = policies.iter().map(ArchivePolicyBody::from).collect();
        Ok(ArchivePolicyList::Page(JsonBytes::of(&ArchivePolicyPageBody { items, next_cursor })?))
    }

    /// Shows an archive policy
    #[oai(path = "/api/v1/archive-policies/:id", method = "get", operation_id = "get_archive_policy")]
    async fn get(
        &self,
        _caller: Authorized<ReadArchive>,
        /// The policy.
        id: Path<Uuid>,
    ) -> Result<OneArchivePolicy, Refused<OfGet>> {
        let policy = store::archive_policies::find(&self.actions.database, id.0).await?;
        Ok(OneArchivePolicy::of(&policy.ok_or(NOT_FOUND)?)?)
    }

    /// Changes an archive policy
    ///
    /// A JSON merge patch (RFC 7396), meant for the version in `If-Match`. The type stays: another one has
    /// another policy.
    #[oai(path = "/api/v1/archive-policies/:id", method = "patch", operation_id = "patch_archive_policy")]
    async fn patch(
        &self,
        caller: Authorized<WriteArchive>,
        origin: Origin,
        /// The policy.
        id: Path<Uuid>,
        /// The `ETag` of the version that the change is meant for; without it the answer is 428.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        body: MergePatch<ArchivePolicyPatchBody>,
    ) -> Result<OneArchivePolicy, Refused<OfPatch>> {
        let expected = if_match.required()?;
        let asker = Asker { caller: &caller, origin: &origin };
        let (patch, can_archive) = (body.0.into(), self.can_archive);
        let policy =
            archive_policies::patch(&self.actions, asker, id.0, &expected, &patch, can_archive).await?;
        Ok(OneArchivePolicy::of(&policy)?)
    }

    /// Deletes an archive policy
    ///
    /// What it governed is kept for ever, unless the policy `*` has it now. What is in the archive stays
    /// there.
    #[oai(path = "/api/v1/archive-policies/:id", method = "delete", operation_id = "delete_archive_policy")]
    async fn delete(
        &self,
        caller: Authorized<WriteArchive>,
        origin: Origin,
        /// The policy.
        id: Path<Uuid>,
        /// The `ETag` of the version that is to be deleted; without it, whichever there is.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
    ) -> Result<ArchivePolicyDeleted, Refused<OfDelete>> {
        let expected = if_match.or_any();
        let asker = Asker { caller: &caller, origin: &origin };
        archive_policies::delete(&self.actions, asker, id.0, &expected).await?;
        Ok(ArchivePolicyDeleted::Deleted)
    }
}
