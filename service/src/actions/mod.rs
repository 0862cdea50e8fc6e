//! What happens when something is asked for: everything that belongs together in one transaction, with the
//! audit event of it. Handlers and the command line call these; SQL is the store's.

pub mod api_tokens;
pub mod archive_policies;
pub mod archive_runs;
pub mod config;
mod error;
pub mod idempotency;
mod login_limits;
pub mod logins;
pub mod metrics_snapshots;
pub mod operators;
pub mod passwords;
pub mod sessions;
mod to_its_end;
pub mod users;

pub use error::ActionError;

use std::net::IpAddr;
use std::sync::Arc;

use foundation::clock::Clock;
use foundation::database::{Database, DatabaseError, Transaction};
use foundation::entropy::Entropy;

use crate::domain::access::{Caller, Credential};
use crate::domain::audit::{Actor, ActorKind, AuditEvent, Change, Target};
use crate::keys::Keys;
use crate::live_settings::LiveSettings;
use crate::passwords::Passwords;
use crate::settings::AuthSettings;
use crate::store::audit_events;

/// What actions stand on. Cheap to clone.
#[derive(Clone)]
pub struct Actions {
    /// The pool.
    pub database: Database,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// What cursors and idempotent bodies are signed with.
    pub keys: Keys,
    /// How passwords are hashed.
    pub passwords: Passwords,
    /// How people sign in.
    pub settings: Arc<AuthSettings>,
    /// What is changed while the service runs.
    pub live: LiveSettings,
}

/// Where a request came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The client's address, behind the proxies that are trusted.
    pub address: Option<IpAddr>,
    /// What the log has the request under.
    pub request_id: Option<String>,
    /// What the client calls itself, cut to 255 characters.
    pub user_agent: Option<String>,
}

/// Who asks, and from where.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    /// Who.
    pub caller: &'a Caller,
    /// From where.
    pub origin: &'a Origin,
}

impl Actions {
    /// The event of something that is being done now.
    #[must_use]
    pub fn event(
        &self,
        action: &'static str,
        actor: Actor,
        target: Target,
        change: Change,
        origin: &Origin,
    ) -> AuditEvent {
        AuditEvent {
            address: origin.address.map(|it| it.to_string()),
            request_id: origin.request_id.clone(),
            ..AuditEvent::new(&self.clock, &self.entropy, action, actor, target, change)
        }
    }

    /// Writes the [`event`](Self::event) of something that is being done now.
    ///
    /// # Errors
    /// What the database says.
    pub async fn record(
        &self,
        transaction: &mut Transaction,
        action: &'static str,
        asker: Asker<'_>,
        target: Target,
        change: Change,
    ) -> Result<(), DatabaseError> {
        let event = self.event(action, asker.caller.into(), target, change, asker.origin);
        audit_events::insert(transaction, &event).await
    }
}

impl From<&Caller> for Actor {
    fn from(caller: &Caller) -> Self {
        let (kind, credential) = match caller.credential {
            Credential::Session { id } => (ActorKind::Session, id),
            Credential::ApiToken { id, .. } => (ActorKind::ApiToken, id),
        };
        Self { id: Some(caller.user.id), kind, credential: Some(credential) }
    }
}
