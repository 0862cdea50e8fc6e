//! The tokens for programs of whoever asks.

use foundation::clock::truncate_to_microseconds;
use foundation::database::DatabaseErrorKind;
use foundation::settings::Secret;
use serde_json::{Value, json};
use time::UtcOffset;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::idempotency::Kept;
use super::sessions::current;
use super::{ActionError, Actions, Origin};
use crate::access::{make_token, token_hash};
use crate::domain::access::{Caller, Credential};
use crate::domain::api_tokens::{ApiToken, MAX_TOKENS, NewApiToken};
use crate::domain::audit::{Actor, Change, Target};
use crate::domain::idempotency::{Answer, KeyedRequest};
use crate::store::{api_tokens, audit_events, sessions, users};

/// A token that was made.
#[derive(Clone, Debug)]
pub struct CreatedToken {
    /// What is kept of it, which may be told again.
    pub row: ApiToken,
    /// Its text, which is told this once.
    pub token: Secret,
}

/// How making a token ended.
#[derive(Clone, Debug)]
pub enum Creation {
    /// It was made.
    Made(Box<CreatedToken>),
    /// The same request had made one before, and was answered so.
    Replayed(Answer),
}

/// Makes a token of the caller's. `render` writes the answer that is kept where the request has a key,
/// which must not have the token in it.
///
/// # Errors
/// [`ActionError::Invalid`]; [`ActionError::Conflict`]: the name is taken, or there are too many;
/// [`ActionError::IdempotencyMismatch`]; [`ActionError::SignedOut`]: the session was ended meanwhile.
pub async fn create(
    actions: &Actions,
    caller: &Caller,
    wanted: NewApiToken,
    keyed: Option<&KeyedRequest>,
    render: impl Fn(&ApiToken) -> serde_json::Result<Answer>,
    origin: &Origin,
) -> Result<Creation, ActionError> {
    let session = current(caller)?;
    if let Some(answer) = actions.replay(keyed).await? {
        return Ok(Creation::Replayed(answer));
    }
    let now = actions.clock.now();
    let expires_at =
        wanted.expires_at(now, actions.settings.token_max_lifetime).map_err(ActionError::Invalid)?;
    let token = make_token(&actions.entropy);
    let row = ApiToken {
        id: actions.entropy.uuid_v7(now),
        user_id: caller.user.id,
        name: wanted.name,
        scopes: wanted.scopes,
        created_at: now,
        expires_at: truncate_to_microseconds(expires_at.to_offset(UtcOffset::UTC)),
        last_used_at: None,
    };
    let change = Change { before: None, after: Some(told(&row)) };
    let event = actions.event("api_token.created", Actor::from(caller), target(row.id), change, origin);
    let answer = render(&row)?;
    let mut transaction = actions.database.begin().await?;
    // One after the other for one user, so that the tokens that are counted are all there are.
    users::lock(&mut transaction, caller.user.id).await?;
    // Whoever ends the sessions and revokes the tokens holds the user meanwhile, and none is made afterwards.
    if !sessions::goes_on(&mut transaction, session, caller.user.id).await? {
        return Err(ActionError::SignedOut);
    }
    let mut transaction = match actions.keep(transaction, keyed, &answer).await? {
        Kept::Now(transaction) => transaction,
        Kept::Before(answer) => return Ok(Creation::Replayed(answer)),
    };
    let in_the_way = |detail: String| ActionError::Conflict { pointer: "/body/name", detail };
    if api_tokens::count(&mut transaction, caller.user.id).await? >= MAX_TOKENS {
        return Err(in_the_way(format!("there are {MAX_TOKENS} tokens already; revoke one")));
    }
    match api_tokens::insert(&mut transaction, &row, token_hash(token.expose())).await {
        Err(error) if error.kind() == DatabaseErrorKind::UniqueViolation => {
            return Err(in_the_way("there is a token of this name already".to_owned()));
        }
        other => other?,
    }
    audit_events::insert(&mut transaction, &event).await?;
    transaction.commit().await?;
    Ok(Creation::Made(Box::new(CreatedToken { row, token })))
}

/// Revokes a token of the caller's. A token revokes itself alone: whoever found it may end it, and nothing else.
///
/// # Errors
/// [`ActionError::NotFound`]: the caller has no such token. [`ActionError::Forbidden`]: it is a token that asks, for
/// another one.
pub async fn revoke(
    actions: &Actions,
    caller: &Caller,
    id: Uuid,
    origin: &Origin,
) -> Result<(), ActionError> {
    if !matches!(caller.credential, Credential::ApiToken { id: own, .. } if own == id) {
        current(caller)?;
    }
    let mut transaction = actions.database.begin().await?;
    let revoked = api_tokens::delete(&mut transaction, id, caller.user.id).await?;
    let revoked = revoked.ok_or(ActionError::NotFound("token"))?;
    let change = Change { before: Some(told(&revoked)), after: None };
    let event = actions.event("api_token.revoked", Actor::from(caller), target(id), change, origin);
    audit_events::insert(&mut transaction, &event).await?;
    Ok(transaction.commit().await?)
}

fn target(id: Uuid) -> Target {
    Target { kind: "api_token".to_owned(), id: Some(id.to_string()) }
}

/// What events tell of a token.
fn told(token: &ApiToken) -> Value {
    json!({
        "user_id": token.user_id,
        "name": token.name,
        "scopes": token.scopes.0.iter().map(|it| it.name()).collect::<Vec<_>>(),
        "expires_at": token.expires_at.format(&Rfc3339).unwrap_or_default(),
    })
}
