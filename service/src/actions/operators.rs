//! What an operator with a shell does to accounts, with or without a service that runs.

use foundation::clock::Clock;
use foundation::database::{Database, DatabaseError, DatabaseErrorKind, Transaction};
use foundation::entropy::Entropy;
use foundation::exit::Exit;
use foundation::passwords::check as check_password;
use foundation::settings::Secret;
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::audit::{Actor, AuditEvent, Change, Target};
use crate::domain::login_limits::Account::Known;
use crate::domain::login_limits::Subject;
use crate::domain::users::{NewUser, User, UserType};
use crate::passwords::{Scheme, SchemeError};
use crate::store::{audit_events, login_failures, operators, users};

/// What ended with a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How many sessions.
    pub sessions: u64,
    /// How many tokens for programs, where they were to be revoked.
    pub tokens: Option<usize>,
}

/// What operators' actions stand on.
#[derive(Clone, Debug)]
pub struct Operators {
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// How passwords are hashed.
    pub scheme: Scheme,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// There is no account of that name.
    #[error("there is no user called {0:?}")]
    UnknownUser(String),
    /// What was given breaks a rule.
    #[error("{0}")]
    Refused(String),
    /// The schema is not that of this release.
    #[error("the database is not up to date: run `migrator up` first ({0})")]
    NotUpToDate(DatabaseError),
    /// The password cannot be hashed.
    #[error("the password cannot be hashed: {0}")]
    Hash(SchemeError),
    /// What the database says.
    #[error(transparent)]
    Database(DatabaseError),
}

impl From<DatabaseError> for OperatorError {
    fn from(error: DatabaseError) -> Self {
        match error.kind() {
            DatabaseErrorKind::UndefinedTable => Self::NotUpToDate(error),
            DatabaseErrorKind::UniqueViolation => {
                Self::Refused("an account with that name or mail address exists already".to_owned())
            }
            DatabaseErrorKind::CheckViolation => {
                Self::Refused("the name or the mail address is not one that an account can have".to_owned())
            }
            _ => Self::Database(error),
        }
    }
}

impl OperatorError {
    /// What the program ends with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::UnknownUser(_) | Self::Refused(_) => Exit::Usage,
            Self::NotUpToDate(_) => Exit::Schema,
            Self::Hash(_) => Exit::Configuration,
            Self::Database(error) => error.exit(),
        }
    }
}

impl Operators {
    /// Makes an active administrator with a password, and says which id they got.
    ///
    /// # Errors
    /// The name is taken, or something given breaks a rule.
    pub async fn create_admin(
        &self,
        database: &Database,
        username: String,
        email: Option<String>,
        password: &Secret,
    ) -> Result<Uuid, OperatorError> {
        let now = self.clock.now();
        let id = self.entropy.uuid_v7(now);
        let user = check(&NewUser::admin(username.clone(), email.clone(), password.clone()), id, now)?;
        let password_hash = self.hash(password, &username)?;
        let after = json!({ "username": username, "email": email, "user_type": "local", "is_admin": true });
        let mut transaction = database.begin().await?;
        users::insert(&mut transaction, &user, Some(password_hash)).await?;
        self.write_down(&mut transaction, "user.created", id, after).await?;
        transaction.commit().await?;
        Ok(id)
    }

    /// Gives an account another password, ends its sessions and forgets its failed logins; where it is asked
    /// for, revokes its tokens too. Says how many there were of either.
    ///
    /// # Errors
    /// There is no such account, it signs in without a password, or the password breaks a rule.
    pub async fn reset_password(
        &self,
        database: &Database,
        username: &str,
        password: &Secret,
        revoke_tokens: bool,
    ) -> Result<Ended, OperatorError> {
        let password_hash = self.hash(password, username)?;
        let mut transaction = database.begin().await?;
        let user = find(&mut transaction, username).await?;
        if user.user_type == UserType::EveSso.name() {
            let refused = format!("{username:?} signs in with an EVE character and has no password");
            return Err(OperatorError::Refused(refused));
        }
        // First, as a login does it: so neither waits for the other for ever.
        login_failures::clear(&mut transaction, &Subject::Account(Known(user.id))).await?;
        operators::set_password(&mut transaction, user.id, password_hash, self.clock.now()).await?;
        let sessions = operators::end_sessions(&mut transaction, user.id).await?;
        let after = json!({ "sessions_ended": sessions });
        self.write_down(&mut transaction, "password.reset", user.id, after).await?;
        let mut tokens = None;
        if revoke_tokens {
            tokens = Some(self.revoke(&mut transaction, user.id).await?);
        }
        transaction.commit().await?;
        Ok(Ended { sessions, tokens })
    }

    /// Revokes every token of an account, and says how many there were.
    ///
    /// # Errors
    /// There is no such account.
    pub async fn revoke_tokens(&self, database: &Database, username: &str) -> Result<usize, OperatorError> {
        let mut transaction = database.begin().await?;
        let user = find(&mut transaction, username).await?;
        let revoked = self.revoke(&mut transaction, user.id).await?;
        transaction.commit().await?;
        Ok(revoked)
    }

    async fn revoke(&self, transaction: &mut Transaction, user: Uuid) -> Result<usize, OperatorError> {
        // Whoever makes a token holds the row of the user: one that is being made is revoked as well.
        users::lock(transaction, user).await?;
        let revoked = operators::revoke_tokens(transaction, user).await?;
        let tokens: Vec<_> = revoked.iter().map(|(id, name)| json!({ "id": id, "name": name })).collect();
        let after = json!({ "api_tokens_revoked": tokens.len(), "api_tokens": tokens });
        self.write_down(transaction, "api_tokens.revoked", user, after).await?;
        Ok(revoked.len())
    }

    /// Ends every session of an account, and says how many there were.
    ///
    /// # Errors
    /// There is no such account.
    pub async fn end_sessions(&self, database: &Database, username: &str) -> Result<u64, OperatorError> {
        let mut transaction = database.begin().await?;
        let user = find(&mut transaction, username).await?;
        let ended = operators::end_sessions(&mut transaction, user.id).await?;
        let after = json!({ "sessions_ended": ended });
        self.write_down(&mut transaction, "sessions.ended", user.id, after).await?;
        transaction.commit().await?;
        Ok(ended)
    }

    fn hash(&self, password: &Secret, username: &str) -> Result<String, OperatorError> {
        check_password(password.expose(), username)
            .map_err(|wrong| OperatorError::Refused(wrong.to_owned()))?;
        self.scheme.hash(password.expose().as_bytes(), self.entropy.bytes()).map_err(OperatorError::Hash)
    }

    async fn write_down(
        &self,
        transaction: &mut Transaction,
        action: &str,
        user: Uuid,
        after: serde_json::Value,
    ) -> Result<(), DatabaseError> {
        let (actor, target) = (Actor::COMMAND_LINE, Target::user(user));
        let change = Change { before: None, after: Some(after) };
        let event = AuditEvent::new(&self.clock, &self.entropy, action, actor, target, change);
        audit_events::insert(transaction, &event).await
    }
}

/// The account, by the same rules as those of the API, which has to be able to change it.
fn check(new: &NewUser, id: Uuid, now: OffsetDateTime) -> Result<User, OperatorError> {
    let user = new.user(id, now);
    let mut broken = user.broken_rules();
    broken.extend(new.broken_password_rule());
    let rules: Vec<String> = broken.into_iter().map(|(_, rule)| rule).collect();
    if rules.is_empty() { Ok(user) } else { Err(OperatorError::Refused(rules.join("; "))) }
}

async fn find(transaction: &mut Transaction, username: &str) -> Result<operators::Known, OperatorError> {
    operators::find(transaction, username)
        .await?
        .ok_or_else(|| OperatorError::UnknownUser(username.to_owned()))
}
