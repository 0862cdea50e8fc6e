//! Runs of the archive policies.

mod bodies;

use poem_openapi::param::{Path, Query};
use poem_openapi::{ApiResponse, OpenApi};
use uuid::Uuid;

pub use self::bodies::{
    ArchiveRunBody, ArchiveRunDetailBody, ArchiveRunPageBody, NewArchiveRunBody, RunReasonName, RunStateName,
};
use super::authorize::{Authorized, ReadArchive, WriteArchive};
use super::conventions::{JsonBody, Refused, Statuses, cursors, statuses};
use super::payload::JsonBytes;
use super::tags::Tag;
use crate::actions::{ActionError, Actions, Asker, Origin, archive_runs};
use crate::archive::Archiving;
use crate::lifecycle::Lifecycle;
use crate::store;

/// What the cursors of this list are for.
const LIST: &str = "archive-runs";

/// The answer of a run that begins.
#[derive(ApiResponse)]
pub enum ArchiveRunAccepted {
    /// The run has begun and works behind the requests.
    #[oai(status = 202)]
    Accepted(
        JsonBytes<ArchiveRunBody>,
        /// Its path: ask there how far it is.
        #[oai(header = "Location")]
        String,
    ),
}

/// The answer of one run.
#[derive(ApiResponse)]
pub enum OneArchiveRun {
    /// The run.
    #[oai(status = 200)]
    Found(JsonBytes<ArchiveRunBody>),
}

/// The answer of a list.
#[derive(ApiResponse)]
pub enum ArchiveRunList {
    /// A page.
    #[oai(status = 200)]
    Page(JsonBytes<ArchiveRunPageBody>),
}

statuses! {
    /// Of beginning a run.
    OfBegin = 400, 401, 403, 408, 409, 413, 415, 500, 503;
    /// Of a list.
    OfList = 400, 401, 403, 500, 503;
    /// Of one run.
    OfGet = 400, 401, 403, 404, 500, 503;
}

/// The routes of runs.
pub struct ArchiveRunsApi {
    /// What they call.
    pub actions: Actions,
    /// What runs stand on.
    pub archiving: Archiving,
    /// The stage of the process: a run ends with it.
    pub lifecycle: Lifecycle,
}

#[OpenApi(tag = "Tag::Archive")]
impl ArchiveRunsApi {
    /// Runs the archive policies
    ///
    /// Whatever is older than its policy keeps it is deleted, or archived first: partitions in which nothing
    /// is kept as a whole, other rows in small batches. The run works behind the requests; there is one at a
    /// time, of all replicas together. A dry run says what would go and changes nothing.
    #[oai(path = "/api/v1/archive-policies/runs", method = "post", operation_id = "start_archive_run")]
    async fn begin(
        &self,
        caller: Authorized<WriteArchive>,
        origin: Origin,
        body: JsonBody<NewArchiveRunBody>,
    ) -> Result<ArchiveRunAccepted, Refused<OfBegin>> {
        let asker = Asker { caller: &caller, origin: &origin };
        let run = archive_runs::begin(&self.actions, &self.archiving, asker, body.value.dry_run).await?;
        let (body, id) = (JsonBytes::of(&ArchiveRunBody::from(run.record()))?, run.record().id);
        let lifecycle = self.lifecycle.clone();
        tokio::spawn(async move { run.work(&lifecycle).await });
        Ok(ArchiveRunAccepted::Accepted(body, format!("/api/v1/archive-policies/runs/{id}")))
    }

    /// Lists runs of the archive policies
    ///
    /// The newest first. They are kept for `ARCHIVE_RUN_RETENTION`.
    #[oai(path = "/api/v1/archive-policies/runs", method = "get", operation_id = "list_archive_runs")]
    async fn list(
        &self,
        _caller: Authorized<ReadArchive>,
        /// How many runs a page has.
        #[oai(default = "cursors::default_limit", validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<u16>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<ArchiveRunList, Refused<OfList>> {
        let keys = &self.actions.keys;
        let before = cursors::open(keys, LIST, cursor.0.as_deref())?;
        let mut runs =
            store::archive_runs::page(&self.actions.database, before, u32::from(limit.0) + 1).await?;
        let next_cursor = cursors::cut(keys, LIST, &mut runs, limit.0.into(), |it| it.id)?;
        let items = runs.iter().map(ArchiveRunBody::from).collect();
        Ok(ArchiveRunList::Page(JsonBytes::of(&ArchiveRunPageBody { items, next_cursor })?))
    }

    /// Shows a run of the archive policies
    ///
    /// Its figures grow while it works.
    #[oai(path = "/api/v1/archive-policies/runs/:id", method = "get", operation_id = "get_archive_run")]
    async fn get(
        &self,
        _caller: Authorized<ReadArchive>,
        /// The run.
        id: Path<Uuid>,
    ) -> Result<OneArchiveRun, Refused<OfGet>> {
        let run = store::archive_runs::find(&self.actions.database, id.0).await?;
        let run = run.ok_or(ActionError::NotFound("archive run"))?;
        Ok(OneArchiveRun::Found(JsonBytes::of(&ArchiveRunBody::from(&run))?))
    }
}
