//! The sessions of whoever asks.

use serde_json::json;
use uuid::Uuid;

use super::{ActionError, Actions, Asker, Origin};
use crate::domain::access::{Caller, Credential, Refusal};
use crate::domain::audit::{Change, Target};
use crate::domain::sessions::Session;
use crate::store::sessions;

/// The session by which the caller is known.
///
/// # Errors
/// It is a token by which they are known.
pub fn current(caller: &Caller) -> Result<Uuid, ActionError> {
    match caller.credential {
        Credential::Session { id } => Ok(id),
        Credential::ApiToken { .. } => Err(ActionError::Forbidden(Refusal::NeedsSession)),
    }
}

/// The caller's sessions that go on, newest first.
///
/// # Errors
/// What the database says.
pub async fn list(actions: &Actions, caller: &Caller) -> Result<Vec<Session>, ActionError> {
    let now = actions.clock.now();
    let idle_since = now - actions.settings.session_idle_lifetime;
    Ok(sessions::list(&actions.database, caller.user.id, now, idle_since).await?)
}

/// Ends the session by which the caller is known.
///
/// # Errors
/// What the database says.
pub async fn logout(actions: &Actions, caller: &Caller, origin: &Origin) -> Result<(), ActionError> {
    match end(actions, caller, current(caller)?, origin).await {
        // Another request ended it meanwhile.
        Err(ActionError::NotFound(_)) => Ok(()),
        other => other,
    }
}

/// Ends a session of the caller.
///
/// # Errors
/// [`ActionError::NotFound`]: the caller has no such session.
pub async fn end(actions: &Actions, caller: &Caller, id: Uuid, origin: &Origin) -> Result<(), ActionError> {
    let mut transaction = actions.database.begin().await?;
    let ended = sessions::delete(&mut transaction, id, caller.user.id).await?;
    let ended = ended.ok_or(ActionError::NotFound("session"))?;
    let target = Target { kind: "session".to_owned(), id: Some(id.to_string()) };
    let before = json!({ "user_id": ended.user_id, "address": ended.address });
    let change = Change { before: Some(before), after: None };
    actions.record(&mut transaction, "session.ended", Asker { caller, origin }, target, change).await?;
    Ok(transaction.commit().await?)
}
