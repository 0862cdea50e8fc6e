//! Signing in with a password.

use std::fmt;
use std::time::Duration;

use foundation::settings::Secret;
use serde_json::json;

use super::login_limits::Limits;
use super::to_its_end::to_its_end;
use super::{ActionError, Actions, Origin};
use crate::access::{make_token, token_hash};
use crate::domain::audit::{Actor, ActorKind, Change, Target};
use crate::domain::login_limits;
use crate::domain::sessions::Session;
use crate::domain::users::{User, UserType};
use crate::store::passwords::Account;
use crate::store::{audit_events, passwords, sessions};

/// How often a password is compared anew because its account is changed at the same time, at most.
const ROUNDS: usize = 3;

/// The longest name of an account, in characters.
const MAX_NAME: usize = 255;

/// What somebody signs in with.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The name, in any case.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// A login that succeeded.
#[derive(Clone, Debug)]
pub struct Login {
    /// The token of the session, which is told this once.
    pub token: Secret,
    /// The session.
    pub session: Session,
    /// Who signed in.
    pub user: User,
}

/// Why nobody was signed in, as the audit events say it. The client does not learn it.
#[derive(Clone, Copy, Debug)]
enum Reason {
    UnknownUser,
    WrongPassword,
    Inactive,
    Blocked,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::UnknownUser => "unknown_user",
            Self::WrongPassword => "wrong_password",
            Self::Inactive => "inactive",
            Self::Blocked => "blocked",
        })
    }
}

/// Signs somebody in. Whoever may not is refused after the same work in the same words, whether there is
/// such a user or not; only after a right password one is told that the account is blocked.
///
/// An attempt that is refused because of earlier ones is no event of its own: it costs nothing, so it must
/// not fill a table either. Those that led to it are events.
///
/// An attempt that is let through comes to its end, whether or not its client waits for it: otherwise one that
/// hangs up early would guess without being counted. A session of which nobody heard the token ends as others
/// do.
///
/// # Errors
/// [`ActionError::TooManyAttempts`]; [`ActionError::Busy`]; [`ActionError::Blocked`]; otherwise
/// [`ActionError::InvalidCredentials`].
pub async fn login(
    actions: &Actions,
    credentials: Credentials,
    origin: &Origin,
) -> Result<Login, ActionError> {
    let attempt = actions.passwords.attempt().await?;
    let (actions, origin) = (actions.clone(), origin.clone());
    to_its_end(attempt, async move {
        for _ in 0..ROUNDS {
            if let Some(login) = compare(&actions, &credentials, &origin).await? {
                return Ok(login);
            }
        }
        Err(ActionError::Busy { retry_after: Duration::from_secs(1) })
    })
    .await
}

/// Signs somebody in, unless the account is changed while the password is compared: by another login that
/// renews its hash, or by an administrator. Then it has to be compared with what is there now.
async fn compare(
    actions: &Actions,
    credentials: &Credentials,
    origin: &Origin,
) -> Result<Option<Login>, ActionError> {
    let key = key_of(&credentials.username);
    // No account has the empty name.
    let account = passwords::find_by_name(&actions.database, key.as_deref().unwrap_or_default()).await?;
    let counted = match &account {
        Some(account) => Some(login_limits::Account::Known(account.user.id)),
        None => key.map(login_limits::Account::Unknown),
    };
    let mut limits = Limits::new(counted, origin);
    limits.admit(actions, origin).await?;
    let outcome = compare_admitted(actions, credentials, origin, account, &mut limits).await;
    if !matches!(outcome, Ok(Some(_)) | Err(ActionError::InvalidCredentials)) {
        // The password was neither taken nor counted as a wrong one.
        limits.give_back(actions).await?;
    }
    outcome
}

async fn compare_admitted(
    actions: &Actions,
    credentials: &Credentials,
    origin: &Origin,
    account: Option<Account>,
    limits: &mut Limits,
) -> Result<Option<Login>, ActionError> {
    let hash = account.as_ref().and_then(|it| it.password_hash.clone());
    let verdict = actions.passwords.verify(credentials.password.clone(), hash).await?;
    // Meanwhile, others may have failed so often that a guess among theirs must not count, nor be told
    // from the wrong ones by its answer.
    limits.admit(actions, origin).await?;
    let attempt = Attempt { actions, username: &credentials.username, origin, limits };
    match account {
        None => Err(attempt.fail(None, Reason::UnknownUser).await?),
        Some(Account { user, password_hash: Some(hash) }) if verdict.matches => {
            if !user.is_active || user.user_type == UserType::EveSso {
                return Err(attempt.fail(Some(&user), Reason::Inactive).await?);
            }
            if user.is_blocked {
                return Err(attempt.fail(Some(&user), Reason::Blocked).await?);
            }
            let new_hash = if verdict.needs_rehash {
                attempt.renew(credentials.password.clone(), &hash).await
            } else {
                hash.clone()
            };
            attempt.succeed(user, &hash, &new_hash).await
        }
        Some(Account { user, .. }) => Err(attempt.fail(Some(&user), Reason::WrongPassword).await?),
    }
}

/// The name as accounts are found by it; nothing where no account can have it.
fn key_of(username: &str) -> Option<String> {
    let possible = (1..=MAX_NAME).contains(&username.chars().count()) && !username.contains('\0');
    possible.then(|| username.to_ascii_lowercase())
}

/// An attempt whose password was compared.
struct Attempt<'a> {
    actions: &'a Actions,
    username: &'a str,
    origin: &'a Origin,
    limits: &'a Limits,
}

impl Attempt<'_> {
    /// Writes down that nobody is signed in, and returns what is told of it. A right password of a blocked
    /// account is no guess, so it delays nobody at the account; its address it does.
    async fn fail(&self, user: Option<&User>, reason: Reason) -> Result<ActionError, ActionError> {
        let Self { actions, origin, .. } = self;
        let is_blocked = matches!(reason, Reason::Blocked);
        let target = Target { kind: "user".to_owned(), id: user.map(|it| it.id.to_string()) };
        // What no database stores stands for itself no more.
        let username: String = self.username.replace('\0', "\u{fffd}").chars().take(MAX_NAME).collect();
        let after = Some(json!({ "username": username, "reason": reason.to_string() }));
        let change = Change { before: None, after };
        let event = actions.event("login.failed", Actor::ANONYMOUS, target, change, origin);
        let mut transaction = actions.database.begin().await?;
        if is_blocked {
            self.limits.count_address(actions, &mut transaction).await?;
        } else {
            self.limits.count(actions, &mut transaction).await?;
        }
        audit_events::insert(&mut transaction, &event).await?;
        transaction.commit().await?;
        Ok(if is_blocked { ActionError::Blocked } else { ActionError::InvalidCredentials })
    }

    /// The hash of today's parameters, or the old one while there is no time to make another.
    async fn renew(&self, password: Secret, hash: &str) -> String {
        match self.actions.passwords.hash(password).await {
            Ok(new) => new,
            Err(error) => {
                tracing::debug!(%error, "the hash of a password is renewed at a later login");
                hash.to_owned()
            }
        }
    }

    /// Begins a session; none where the user was changed since the password was compared.
    async fn succeed(&self, user: User, hash: &str, new_hash: &str) -> Result<Option<Login>, ActionError> {
        let Self { actions, origin, .. } = self;
        let now = actions.clock.now();
        let token = make_token(&actions.entropy);
        let session = Session {
            id: actions.entropy.uuid_v7(now),
            user_id: user.id,
            created_at: now,
            last_used_at: now,
            expires_at: now + actions.settings.session_lifetime,
            address: origin.address.map(|it| it.to_string()),
            user_agent: origin.user_agent.clone(),
        };
        let mut transaction = actions.database.begin().await?;
        self.limits.clear(&mut transaction).await?;
        if !passwords::sign_in(&mut transaction, user.id, now, hash, new_hash).await? {
            return Ok(None);
        }
        let ended = sessions::insert(&mut transaction, &session, token_hash(token.expose())).await?;
        let after = Some(json!({
            "username": user.username,
            "session_id": session.id,
            "password_rehashed": hash != new_hash,
            "sessions_ended": ended,
        }));
        let actor = Actor { id: Some(user.id), kind: ActorKind::Session, credential: Some(session.id) };
        let change = Change { before: None, after };
        let event = actions.event("login.succeeded", actor, Target::user(user.id), change, origin);
        audit_events::insert(&mut transaction, &event).await?;
        transaction.commit().await?;
        Ok(Some(Login { token, session, user: User { last_login: Some(now), ..user } }))
    }
}
