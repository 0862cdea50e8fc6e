//! Runs of the archive policies: begun, and looked at.

use serde_json::json;
use uuid::Uuid;

use super::{ActionError, Actions, Asker};
use crate::archive::{Archiving, Asked, Run};
use crate::domain::archive_runs::RunReason;
use crate::domain::audit::{Change, Target};
use crate::leases::LeaseError;

/// Begins a run, which does nothing before it is told to work.
///
/// # Errors
/// [`ActionError::Conflict`]: there is one under way.
pub async fn begin(
    actions: &Actions,
    archiving: &Archiving,
    asker: Asker<'_>,
    is_dry_run: bool,
) -> Result<Run, ActionError> {
    let event = |id: Uuid| {
        let target = Target { kind: "archive_run".to_owned(), id: Some(id.to_string()) };
        let change = Change { before: None, after: Some(json!({ "is_dry_run": is_dry_run })) };
        Some(actions.event("archive_run.started", asker.caller.into(), target, change, asker.origin))
    };
    let asked = Asked {
        reason: RunReason::Request,
        requested_by: Some(asker.caller.user.id),
        is_dry_run,
        unless_since: None,
    };
    let under_way = || ActionError::Conflict {
        pointer: "/body",
        detail: "a run is under way, or something is being restored; wait for its end".to_owned(),
    };
    match archiving.begin(&asked, event).await {
        Ok(Some(run)) => Ok(run),
        Ok(None) | Err(LeaseError::Lost(_)) => Err(under_way()),
        Err(LeaseError::Database(error)) => Err(error.into()),
    }
}
