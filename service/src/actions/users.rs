//! Accounts: made, changed, deleted.

use foundation::database::{DatabaseError, DatabaseErrorKind, Transaction};
use serde_json::json;
use uuid::Uuid;

use super::idempotency::Kept;
use super::sessions::current;
use super::{ActionError, Actions, Asker};
use crate::domain::access::{Caller, Refusal};
use crate::domain::audit::{Change, Target};
use crate::domain::idempotency::{Answer, KeyedRequest, Outcome};
use crate::domain::users::{NewUser, User, UserPatch, UserType};
use crate::domain::versions::Expected;
use crate::store::{sessions, users};

const NOT_FOUND: ActionError = ActionError::NotFound("user");

impl Asker<'_> {
    /// Others than administrators know of nobody but themselves.
    fn must_know_of(self, id: Uuid) -> Result<(), ActionError> {
        if self.caller.user.is_admin || self.caller.is(id) { Ok(()) } else { Err(NOT_FOUND) }
    }

    fn must_be_admin(self) -> Result<(), ActionError> {
        if self.caller.user.is_admin { Ok(()) } else { Err(ActionError::Forbidden(Refusal::NeedsAdmin)) }
    }

    /// No token makes an administrator, nor lets one in again: it would sign in with a password of its own
    /// choice, and then do all that its scopes keep from it.
    fn must_be_signed_in(self) -> Result<(), ActionError> {
        current(self.caller).map(drop)
    }
}

/// The account with this id, which `find` finds.
///
/// # Errors
/// [`ActionError::NotFound`]: there is none, or none that the caller may know of.
pub async fn get(
    caller: &Caller,
    id: Uuid,
    find: impl Future<Output = Result<Option<User>, DatabaseError>>,
) -> Result<User, ActionError> {
    if caller.is(id) {
        // The door has just read it.
        return Ok(caller.user.clone());
    }
    if !caller.user.is_admin {
        return Err(NOT_FOUND);
    }
    find.await?.ok_or(NOT_FOUND)
}

/// Makes an account. `render` writes the answer, which is kept where the request has a key.
///
/// # Errors
/// [`ActionError::Forbidden`], [`ActionError::Invalid`], [`ActionError::Conflict`] or
/// [`ActionError::IdempotencyMismatch`].
pub async fn create(
    actions: &Actions,
    asker: Asker<'_>,
    new: NewUser,
    keyed: Option<&KeyedRequest>,
    render: impl Fn(&User) -> serde_json::Result<Answer>,
) -> Result<Outcome, ActionError> {
    asker.must_be_admin()?;
    if new.is_admin {
        asker.must_be_signed_in()?;
    }
    if let Some(answer) = actions.replay(keyed).await? {
        return Ok(Outcome::Replayed(answer));
    }
    let now = actions.clock.now();
    let user = new.user(actions.entropy.uuid_v7(now), now);
    let mut broken = user.broken_rules();
    broken.extend(new.broken_password_rule());
    if !broken.is_empty() {
        return Err(ActionError::Invalid(broken));
    }
    let hash = match new.password {
        Some(password) => Some(actions.passwords.hash(password).await?),
        None => None,
    };
    let answer = render(&user)?;
    let transaction = actions.database.begin().await?;
    let mut transaction = match actions.keep(transaction, keyed, &answer).await? {
        Kept::Now(transaction) => transaction,
        Kept::Before(answer) => return Ok(Outcome::Replayed(answer)),
    };
    users::insert(&mut transaction, &user, hash).await.map_err(taken)?;
    record(actions, asker, &mut transaction, "user.created", None, Some(&user)).await?;
    transaction.commit().await?;
    Ok(Outcome::Done(answer))
}

/// Changes an account.
///
/// # Errors
/// [`ActionError::NotFound`], [`ActionError::ForbiddenFields`], [`ActionError::Forbidden`],
/// [`ActionError::Stale`], [`ActionError::Invalid`], [`ActionError::Conflict`] or [`ActionError::LastAdmin`].
pub async fn patch(
    actions: &Actions,
    asker: Asker<'_>,
    id: Uuid,
    expected: &Expected,
    patch: &UserPatch,
) -> Result<User, ActionError> {
    asker.must_know_of(id)?;
    let forbidden = patch.admin_fields();
    if !asker.caller.user.is_admin && !forbidden.is_empty() {
        return Err(ActionError::ForbiddenFields(forbidden));
    }
    change(actions, asker, id, expected, ("user.updated", patch)).await
}

/// Blocks an account, or lets it in again.
///
/// # Errors
/// [`ActionError::NotFound`], [`ActionError::Forbidden`], [`ActionError::Stale`] or
/// [`ActionError::LastAdmin`].
pub async fn set_blocked(
    actions: &Actions,
    asker: Asker<'_>,
    id: Uuid,
    expected: &Expected,
    is_blocked: bool,
) -> Result<User, ActionError> {
    asker.must_be_admin()?;
    let action = if is_blocked { "user.blocked" } else { "user.unblocked" };
    let patch = UserPatch { is_blocked: Some(is_blocked), ..UserPatch::default() };
    change(actions, asker, id, expected, (action, &patch)).await
}

async fn change(
    actions: &Actions,
    asker: Asker<'_>,
    id: Uuid,
    expected: &Expected,
    (action, patch): (&'static str, &UserPatch),
) -> Result<User, ActionError> {
    let mut transaction = actions.database.begin().await?;
    if patch.may_end_admin() {
        users::lock_admins(&mut transaction, actions.database.backend()).await?;
    }
    let before = users::lock(&mut transaction, id).await?.ok_or(NOT_FOUND)?;
    if !expected.contains(before.version) {
        return Err(ActionError::Stale);
    }
    let mut after = patch.apply(&before);
    if after.gains_admin(&before) {
        asker.must_be_signed_in()?;
    }
    check_change(asker, patch, &before, &after)?;
    if after == before {
        return Ok(before);
    }
    if before.is_acting_admin() && !after.is_acting_admin() {
        keep_an_admin(&mut transaction, id).await?;
    }
    after.version += 1;
    after.updated_at = actions.clock.now();
    users::update(&mut transaction, &after).await.map_err(taken)?;
    record(actions, asker, &mut transaction, action, Some(&before), Some(&after)).await?;
    if !after.can_sign_in() {
        end_sessions(actions, asker, &mut transaction, id).await?;
    }
    transaction.commit().await?;
    Ok(after)
}

/// Ends the sessions of somebody who cannot sign in any more. Whoever can again signs in again: a session that
/// came back would be that of a thief too, for whose sake an account is blocked. Their tokens for programs stay,
/// because nobody makes those again by signing in; until the account is let in again they are refused, and before
/// that an operator revokes what was stolen.
async fn end_sessions(
    actions: &Actions,
    asker: Asker<'_>,
    transaction: &mut Transaction,
    id: Uuid,
) -> Result<(), ActionError> {
    let ended = sessions::delete_others(transaction, id, Uuid::nil()).await?;
    if ended == 0 {
        return Ok(());
    }
    let change = Change { before: None, after: Some(json!({ "sessions_ended": ended })) };
    Ok(actions.record(transaction, "sessions.ended", asker, Target::user(id), change).await?)
}

fn check_change(asker: Asker<'_>, patch: &UserPatch, before: &User, after: &User) -> Result<(), ActionError> {
    let mut broken = patch.broken_rules(before, after);
    if broken.is_empty() && !asker.caller.user.is_admin && !after.is_of_domain_of(before) {
        let detail = "only an administrator moves an account to another domain; the name in it may change";
        broken.push(("/body/username".to_owned(), detail.to_owned()));
    }
    if before.user_type == UserType::EveSso && after.user_type != UserType::EveSso {
        let detail = "an eve_sso account has no password to sign in with as another type; make a new account";
        broken.push(("/body/user_type".to_owned(), detail.to_owned()));
    }
    if broken.is_empty() { Ok(()) } else { Err(ActionError::Invalid(broken)) }
}

/// Deletes an account.
///
/// # Errors
/// [`ActionError::NotFound`], [`ActionError::Stale`] or [`ActionError::LastAdmin`].
pub async fn delete(
    actions: &Actions,
    asker: Asker<'_>,
    id: Uuid,
    expected: &Expected,
) -> Result<(), ActionError> {
    asker.must_be_admin()?;
    let mut transaction = actions.database.begin().await?;
    users::lock_admins(&mut transaction, actions.database.backend()).await?;
    let user = users::lock(&mut transaction, id).await?.ok_or(NOT_FOUND)?;
    if !expected.contains(user.version) {
        return Err(ActionError::Stale);
    }
    if user.is_acting_admin() {
        keep_an_admin(&mut transaction, id).await?;
    }
    users::delete(&mut transaction, id).await?;
    record(actions, asker, &mut transaction, "user.deleted", Some(&user), None).await?;
    Ok(transaction.commit().await?)
}

/// Refuses to go on without anybody who could sign in as an administrator.
async fn keep_an_admin(transaction: &mut Transaction, id: Uuid) -> Result<(), ActionError> {
    if users::has_other_admin(transaction, id).await? { Ok(()) } else { Err(ActionError::LastAdmin) }
}

/// Writes the event of a change: what is different, before and after.
async fn record(
    actions: &Actions,
    asker: Asker<'_>,
    transaction: &mut Transaction,
    action: &'static str,
    before: Option<&User>,
    after: Option<&User>,
) -> Result<(), ActionError> {
    let Some(user) = after.or(before) else { return Ok(()) };
    let (before, after) = (before.map(User::facts), after.map(User::facts));
    let change = Change::between(before.as_ref().map(|it| &it[..]), after.as_ref().map(|it| &it[..]));
    Ok(actions.record(transaction, action, asker, Target::user(user.id), change).await?)
}

/// What another account has already. PostgreSQL names the constraint, SQLite the column.
fn taken(error: DatabaseError) -> ActionError {
    if error.kind() != DatabaseErrorKind::UniqueViolation {
        return error.into();
    }
    let fields = [
        ("username", "/body/username", "another account has this name; case does not count"),
        ("email", "/body/email", "another account has this mail address; case does not count"),
        ("eve_character_id", "/body/eve_character_id", "another account has this character"),
    ];
    let constraint = error.constraint().unwrap_or_default();
    match fields.into_iter().find(|(column, ..)| constraint.contains(column)) {
        Some((_, pointer, detail)) => ActionError::Conflict { pointer, detail: detail.to_owned() },
        None => error.into(),
    }
}
