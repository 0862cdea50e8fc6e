//! Signing in with a password.

use std::fmt;

use foundation::database::Transaction;
use foundation::settings::Secret;
use serde_json::json;
use time::OffsetDateTime;

use super::{ActionError, Actions, Origin};
use crate::access::{make_token, token_hash};
use crate::domain::audit::{Actor, ActorKind, Change, Target};
use crate::domain::login_limits::{Subject, delay, network};
use crate::domain::sessions::Session;
use crate::domain::users::{User, UserType};
use crate::store::passwords::Account;
use crate::store::{audit_events, login_failures, passwords, sessions};

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
/// # Errors
/// [`ActionError::TooManyAttempts`] before any work; [`ActionError::Busy`]; [`ActionError::Blocked`];
/// otherwise [`ActionError::InvalidCredentials`].
pub async fn login(
    actions: &Actions,
    credentials: Credentials,
    origin: &Origin,
) -> Result<Login, ActionError> {
    let key = key_of(&credentials.username);
    // No account has the empty name.
    let account = passwords::find_by_name(&actions.database, key.as_deref().unwrap_or_default()).await?;
    let limits = Limits {
        account: key.map(Subject::Account),
        address: origin.address.map(Subject::address),
        user: account.as_ref().map(|it| it.user.clone()),
    };
    limits.check(actions, origin).await?;
    let hash = account.as_ref().and_then(|it| it.password_hash.clone());
    let verdict = actions.passwords.verify(credentials.password.clone(), hash).await?;
    let attempt = Attempt { actions, username: &credentials.username, origin, limits: &limits };
    match account {
        None => attempt.fail(None, Reason::UnknownUser).await,
        Some(Account { user, password_hash: Some(hash) }) if verdict.matches => {
            if !user.is_active || user.user_type == UserType::EveSso {
                return attempt.fail(Some(&user), Reason::Inactive).await;
            }
            if user.is_blocked {
                return attempt.fail(Some(&user), Reason::Blocked).await;
            }
            // Meanwhile, others may have failed so often that a guess among theirs must not count.
            limits.check(actions, origin).await?;
            let new_hash = if verdict.needs_rehash {
                attempt.renew(credentials.password.clone(), &hash).await
            } else {
                hash.clone()
            };
            attempt.succeed(user, &hash, &new_hash).await
        }
        Some(Account { user, .. }) => attempt.fail(Some(&user), Reason::WrongPassword).await,
    }
}

/// The name as accounts are found by it; nothing where no account can have it.
fn key_of(username: &str) -> Option<String> {
    let possible = (1..=MAX_NAME).contains(&username.chars().count()) && !username.contains('\0');
    possible.then(|| username.to_ascii_lowercase())
}

/// What the failures of an attempt are counted by.
pub(super) struct Limits {
    pub(super) account: Option<Subject>,
    pub(super) address: Option<Subject>,
    pub(super) user: Option<User>,
}

impl Limits {
    /// Refuses the attempt while it is locked by its address, or by its account and comes from where the
    /// account is not signed in.
    pub(super) async fn check(&self, actions: &Actions, origin: &Origin) -> Result<(), ActionError> {
        let now = actions.clock.now();
        let (account, address) = (self.account.as_ref(), self.address.as_ref());
        let locks = login_failures::locks(&actions.database, account, address, now).await?;
        let address = address.map(ToString::to_string);
        let mut until: Option<OffsetDateTime> = None;
        for (subject, end) in locks {
            let is_of_address = address.as_deref() == Some(&*subject);
            if is_of_address || !self.is_signed_in_there(actions, origin, now).await? {
                until = until.max(Some(end));
            }
        }
        let Some(until) = until else { return Ok(()) };
        Err(ActionError::TooManyAttempts { retry_after: (until - now).unsigned_abs() })
    }

    async fn is_signed_in_there(
        &self,
        actions: &Actions,
        origin: &Origin,
        now: OffsetDateTime,
    ) -> Result<bool, ActionError> {
        let (Some(user), Some(address)) = (&self.user, origin.address) else { return Ok(false) };
        let idle_since = now - actions.settings.session_idle_lifetime;
        let sessions = sessions::list(&actions.database, user.id, now, idle_since).await?;
        let addresses = sessions.iter().filter_map(|it| it.address.as_deref()?.parse().ok());
        Ok(addresses.map(network).any(|it| it == network(address)))
    }

    /// Counts a failure by account and by address, in this order everywhere, so that two transactions
    /// never wait for each other.
    pub(super) async fn count(
        &self,
        actions: &Actions,
        transaction: &mut Transaction,
    ) -> Result<(), ActionError> {
        let now = actions.clock.now();
        let (settings, limits) = (&actions.settings, actions.live.current());
        for subject in [&self.account, &self.address].into_iter().flatten() {
            let forgotten = now - settings.failure_retention;
            let failures = login_failures::count(transaction, subject, now, forgotten).await?;
            let delay = delay(&limits, subject, failures);
            if !delay.is_zero() {
                login_failures::lock(transaction, subject, now + delay).await?;
            }
        }
        Ok(())
    }
}

/// An attempt whose password was compared.
struct Attempt<'a> {
    actions: &'a Actions,
    username: &'a str,
    origin: &'a Origin,
    limits: &'a Limits,
}

impl Attempt<'_> {
    /// A right password of a blocked account is no guess, so it is not counted.
    async fn fail(&self, user: Option<&User>, reason: Reason) -> Result<Login, ActionError> {
        let Self { actions, origin, .. } = self;
        let is_blocked = matches!(reason, Reason::Blocked);
        let target = Target { kind: "user".to_owned(), id: user.map(|it| it.id.to_string()) };
        // What no database stores stands for itself no more.
        let username: String = self.username.replace('\0', "\u{fffd}").chars().take(MAX_NAME).collect();
        let after = Some(json!({ "username": username, "reason": reason.to_string() }));
        let change = Change { before: None, after };
        let event = actions.event("login.failed", Actor::ANONYMOUS, target, change, origin);
        let mut transaction = actions.database.begin().await?;
        if !is_blocked {
            self.limits.count(actions, &mut transaction).await?;
        }
        audit_events::insert(&mut transaction, &event).await?;
        transaction.commit().await?;
        Err(if is_blocked { ActionError::Blocked } else { ActionError::InvalidCredentials })
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

    async fn succeed(&self, user: User, hash: &str, new_hash: &str) -> Result<Login, ActionError> {
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
        let after = Some(json!({
            "username": user.username,
            "session_id": session.id,
            "password_rehashed": hash != new_hash,
        }));
        let actor = Actor { id: Some(user.id), kind: ActorKind::Session };
        let change = Change { before: None, after };
        let event = actions.event("login.succeeded", actor, Target::user(user.id), change, origin);
        let mut transaction = actions.database.begin().await?;
        if let Some(account) = &self.limits.account {
            login_failures::clear(&mut transaction, account).await?;
        }
        if !passwords::sign_in(&mut transaction, user.id, now, hash, new_hash).await? {
            // The user was changed since the password was compared.
            return Err(ActionError::InvalidCredentials);
        }
        sessions::insert(&mut transaction, &session, token_hash(token.expose())).await?;
        audit_events::insert(&mut transaction, &event).await?;
        transaction.commit().await?;
        Ok(Login { token, session, user: User { last_login: Some(now), ..user } })
    }
}
