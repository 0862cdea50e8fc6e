//! Changing one's own password.

use std::time::Duration;

use foundation::passwords::check;
use foundation::settings::Secret;
use serde_json::json;
use uuid::Uuid;

use super::login_limits::Limits;
use super::sessions::current;
use super::to_its_end::to_its_end;
use super::{ActionError, Actions, Asker, Origin};
use crate::domain::access::Caller;
use crate::domain::audit::{Actor, Change, Target};
use crate::domain::login_limits::Account;
use crate::store::{audit_events, passwords, sessions};

/// A password that is to be changed.
#[derive(Clone, Debug)]
pub struct PasswordChange {
    /// The one that it is.
    pub current: Secret,
    /// The one that it is to be.
    pub new: Secret,
}

/// Changes the caller's password and ends all of their sessions but this one. Tokens for programs stay:
/// they were never made from the password, and are revoked one by one.
///
/// Wrong present passwords are counted as failed logins are, so that a session that fell into other hands
/// is no way to guess it, and come to their end as those do.
///
/// # Errors
/// [`ActionError::Invalid`]: the present password is not right, or the new one is not taken.
/// [`ActionError::TooManyAttempts`]; [`ActionError::Busy`].
pub async fn change(
    actions: &Actions,
    caller: &Caller,
    wanted: PasswordChange,
    origin: &Origin,
) -> Result<(), ActionError> {
    let session = current(caller)?;
    let user = &caller.user;
    check(wanted.new.expose(), &user.username).map_err(|rule| invalid("/body/new_password", rule))?;
    let attempt = actions.passwords.attempt().await?;
    let (actions, caller, origin) = (actions.clone(), caller.clone(), origin.clone());
    to_its_end(attempt, async move {
        let mut limits = Limits::new(Some(Account::Known(caller.user.id)), &origin);
        limits.admit(&actions, &origin).await?;
        let outcome = change_admitted(&actions, &caller, session, wanted, &origin, &mut limits).await;
        if !matches!(outcome, Ok(()) | Err(ActionError::Invalid(_))) {
            // The present password was neither taken nor counted as a wrong one.
            limits.give_back(&actions).await?;
        }
        outcome
    })
    .await
}

async fn change_admitted(
    actions: &Actions,
    caller: &Caller,
    session: Uuid,
    wanted: PasswordChange,
    origin: &Origin,
    limits: &mut Limits,
) -> Result<(), ActionError> {
    let user = &caller.user;
    let account = passwords::find_by_id(&actions.database, user.id).await?;
    let hash = account.and_then(|it| it.password_hash);
    let verdict = actions.passwords.verify(wanted.current, hash.clone()).await?;
    // Meanwhile, others may have failed so often that a guess among theirs must not count, nor be told
    // from the wrong ones by its answer.
    limits.admit(actions, origin).await?;
    let (true, Some(hash)) = (verdict.matches, hash) else {
        let change = Change::default();
        let event =
            actions.event("password.refused", Actor::from(caller), Target::user(user.id), change, origin);
        let mut transaction = actions.database.begin().await?;
        limits.count(actions, &mut transaction).await?;
        audit_events::insert(&mut transaction, &event).await?;
        transaction.commit().await?;
        return Err(invalid("/body/current_password", "it is not the password"));
    };
    let new_hash = actions.passwords.hash(wanted.new).await?;
    let now = actions.clock.now();
    let mut transaction = actions.database.begin().await?;
    limits.clear(&mut transaction).await?;
    if !passwords::change(&mut transaction, user.id, now, &hash, &new_hash).await? {
        // Another request changed it since it was compared, perhaps only its hash.
        return Err(ActionError::Busy { retry_after: Duration::from_secs(1) });
    }
    let ended = sessions::delete_others(&mut transaction, user.id, session).await?;
    let change = Change { before: None, after: Some(json!({ "sessions_ended": ended })) };
    let asker = Asker { caller, origin };
    actions.record(&mut transaction, "password.changed", asker, Target::user(user.id), change).await?;
    Ok(transaction.commit().await?)
}

fn invalid(pointer: &str, rule: &str) -> ActionError {
    ActionError::Invalid(vec![(pointer.to_owned(), rule.to_owned())])
}
