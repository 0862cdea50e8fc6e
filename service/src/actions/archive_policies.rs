//! Archive policies: made, changed, deleted.

use foundation::database::{DatabaseError, DatabaseErrorKind, Transaction};
use uuid::Uuid;

use super::idempotency::Kept;
use super::{ActionError, Actions, Asker};
use crate::domain::archive_policies::{ArchivePolicy, ArchivePolicyPatch, NewArchivePolicy};
use crate::domain::audit::{Change, Target};
use crate::domain::idempotency::{Answer, KeyedRequest, Outcome};
use crate::domain::versions::Expected;
use crate::store::archive_policies;

/// There is no such policy.
pub const NOT_FOUND: ActionError = ActionError::NotFound("archive policy");

fn check(policy: &ArchivePolicy, can_archive: bool) -> Result<(), ActionError> {
    let broken = policy.broken_rules(can_archive);
    if broken.is_empty() { Ok(()) } else { Err(ActionError::Invalid(broken)) }
}

/// Makes a policy. `render` writes the answer, which is kept where the request has a key.
///
/// # Errors
/// [`ActionError::Invalid`], [`ActionError::Conflict`] or [`ActionError::IdempotencyMismatch`].
pub async fn create(
    actions: &Actions,
    asker: Asker<'_>,
    new: NewArchivePolicy,
    can_archive: bool,
    keyed: Option<&KeyedRequest>,
    render: impl Fn(&ArchivePolicy) -> serde_json::Result<Answer>,
) -> Result<Outcome, ActionError> {
    if let Some(answer) = actions.replay(keyed).await? {
        return Ok(Outcome::Replayed(answer));
    }
    let now = actions.clock.now();
    let policy = new.policy(actions.entropy.uuid_v7(now), now);
    check(&policy, can_archive)?;
    let answer = render(&policy)?;
    let transaction = actions.database.begin().await?;
    let mut transaction = match actions.keep(transaction, keyed, &answer).await? {
        Kept::Now(transaction) => transaction,
        Kept::Before(answer) => return Ok(Outcome::Replayed(answer)),
    };
    archive_policies::insert(&mut transaction, &policy).await.map_err(taken)?;
    record(actions, asker, &mut transaction, "archive_policy.created", None, Some(&policy)).await?;
    transaction.commit().await?;
    Ok(Outcome::Done(answer))
}

/// Changes a policy.
///
/// # Errors
/// [`ActionError::NotFound`], [`ActionError::Stale`] or [`ActionError::Invalid`].
pub async fn patch(
    actions: &Actions,
    asker: Asker<'_>,
    id: Uuid,
    expected: &Expected,
    patch: &ArchivePolicyPatch,
    can_archive: bool,
) -> Result<ArchivePolicy, ActionError> {
    let mut transaction = actions.database.begin().await?;
    let before = archive_policies::lock(&mut transaction, id).await?.ok_or(NOT_FOUND)?;
    if !expected.contains(before.version) {
        return Err(ActionError::Stale);
    }
    let mut after = patch.apply(&before);
    check(&after, can_archive)?;
    if after == before {
        return Ok(before);
    }
    after.version += 1;
    after.updated_at = actions.clock.now();
    archive_policies::update(&mut transaction, &after).await?;
    record(actions, asker, &mut transaction, "archive_policy.updated", Some(&before), Some(&after)).await?;
    transaction.commit().await?;
    Ok(after)
}

/// Deletes a policy: what it governed is kept for ever, unless the policy for all others has it now.
///
/// # Errors
/// [`ActionError::NotFound`] or [`ActionError::Stale`].
pub async fn delete(
    actions: &Actions,
    asker: Asker<'_>,
    id: Uuid,
    expected: &Expected,
) -> Result<(), ActionError> {
    let mut transaction = actions.database.begin().await?;
    let policy = archive_policies::lock(&mut transaction, id).await?.ok_or(NOT_FOUND)?;
    if !expected.contains(policy.version) {
        return Err(ActionError::Stale);
    }
    archive_policies::delete(&mut transaction, id).await?;
    record(actions, asker, &mut transaction, "archive_policy.deleted", Some(&policy), None).await?;
    Ok(transaction.commit().await?)
}

/// Writes the event of a change: what is different, before and after.
async fn record(
    actions: &Actions,
    asker: Asker<'_>,
    transaction: &mut Transaction,
    action: &'static str,
    before: Option<&ArchivePolicy>,
    after: Option<&ArchivePolicy>,
) -> Result<(), ActionError> {
    let Some(policy) = after.or(before) else { return Ok(()) };
    let (before, after) = (before.map(ArchivePolicy::facts), after.map(ArchivePolicy::facts));
    let change = Change::between(before.as_ref().map(|it| &it[..]), after.as_ref().map(|it| &it[..]));
    let target = Target { kind: "archive_policy".to_owned(), id: Some(policy.id.to_string()) };
    Ok(actions.record(transaction, action, asker, target, change).await?)
}

/// A type has one policy.
fn taken(error: DatabaseError) -> ActionError {
    if error.kind() != DatabaseErrorKind::UniqueViolation {
        return error.into();
    }
    let detail = "this type has a policy; change that one".to_owned();
    ActionError::Conflict { pointer: "/body/metric_type", detail }
}
