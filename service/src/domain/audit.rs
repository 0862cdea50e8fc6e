//! Who did what, when, and from where.

use std::str::FromStr;

use foundation::clock::Clock;
use foundation::entropy::Entropy;
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use super::config::Key;

/// How whoever did something was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorKind {
    /// By a session.
    Session,
    /// By a token for programs.
    ApiToken,
    /// An operator with a shell.
    CommandLine,
    /// Nobody who is known.
    Anonymous,
}

impl ActorKind {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Session, Self::ApiToken, Self::CommandLine, Self::Anonymous];

    /// The word for it in the API and in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::ApiToken => "api_token",
            Self::CommandLine => "command_line",
            Self::Anonymous => "anonymous",
        }
    }
}

/// A word that is none of [`ActorKind::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no kind of actor")]
pub struct UnknownActorKind;

impl FromStr for ActorKind {
    type Err = UnknownActorKind;

    fn from_str(word: &str) -> Result<Self, UnknownActorKind> {
        Self::ALL.iter().copied().find(|it| it.name() == word).ok_or(UnknownActorKind)
    }
}

/// Everything that events are written down of.
pub const ACTIONS: &[&str] = &[
    "api_token.created",
    "api_token.revoked",
    "api_tokens.revoked",
    "archive.restored",
    "archive_policy.created",
    "archive_policy.deleted",
    "archive_policy.updated",
    "archive_run.started",
    "config.reset",
    "config.updated",
    "login.failed",
    "login.succeeded",
    "password.changed",
    "password.refused",
    "password.reset",
    "session.ended",
    "sessions.ended",
    "user.blocked",
    "user.created",
    "user.deleted",
    "user.unblocked",
    "user.updated",
];

/// Whoever did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The user, where they are known.
    pub id: Option<Uuid>,
    /// How they were known.
    pub kind: ActorKind,
    /// By which session or token, where it was one. Its id signs in nowhere.
    pub credential: Option<Uuid>,
}

impl Actor {
    /// Nobody who is known.
    pub const ANONYMOUS: Self = Self { id: None, kind: ActorKind::Anonymous, credential: None };
    /// An operator with a shell.
    pub const COMMAND_LINE: Self = Self { id: None, kind: ActorKind::CommandLine, credential: None };
}

/// What it was done to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// For example `user`.
    pub kind: String,
    /// Its id.
    pub id: Option<String>,
}

impl Target {
    /// A user.
    #[must_use]
    pub fn user(id: Uuid) -> Self {
        Self { kind: "user".to_owned(), id: Some(id.to_string()) }
    }

    /// A setting that is changed while the service runs.
    #[must_use]
    pub fn config(key: Key) -> Self {
        Self { kind: "config".to_owned(), id: Some(key.name().to_owned()) }
    }
}

/// What was changed, without secrets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// The fields before.
    pub before: Option<Value>,
    /// The fields after.
    pub after: Option<Value>,
}

/// A field and its value.
pub type Fact = (&'static str, Value);

impl Change {
    /// What is different between two states, whose fields are in the same order; all of the one where the
    /// other is missing.
    #[must_use]
    pub fn between(before: Option<&[Fact]>, after: Option<&[Fact]>) -> Self {
        Self { before: other_than(before, after), after: other_than(after, before) }
    }
}

fn other_than(facts: Option<&[Fact]>, others: Option<&[Fact]>) -> Option<Value> {
    let is_other = |index: usize, fact: &Fact| others.and_then(|it| it.get(index)) != Some(fact);
    let facts = facts?.iter().enumerate().filter(|(index, fact)| is_other(*index, fact));
    Some(facts.map(|(_, (name, value))| (*name, value.clone())).collect())
}

/// Something that was done.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEvent {
    /// Version 7: the order of ids is the order of events.
    pub id: Uuid,
    /// When, in UTC.
    pub occurred_at: OffsetDateTime,
    /// What, for example `user.updated` or `login.failed`.
    pub action: String,
    /// By whom.
    pub actor: Actor,
    /// To what.
    pub target: Target,
    /// From which address.
    pub address: Option<String>,
    /// In which request.
    pub request_id: Option<String>,
    /// What was changed.
    pub change: Change,
}

impl AuditEvent {
    /// The event of something that is being done now, by no request.
    #[must_use]
    pub fn new(
        clock: &Clock,
        entropy: &Entropy,
        action: &str,
        actor: Actor,
        target: Target,
        change: Change,
    ) -> Self {
        let now = clock.now();
        Self {
            id: entropy.uuid_v7(now),
            occurred_at: now,
            action: action.to_owned(),
            actor,
            target,
            address: None,
            request_id: None,
            change,
        }
    }
}

/// Which events are asked for: those that all of it holds for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Those of this actor.
    pub actor_id: Option<Uuid>,
    /// Those of this session or token.
    pub credential_id: Option<Uuid>,
    /// Those that were done to this type of thing.
    pub target_type: Option<String>,
    /// Those that were done to the thing with this id.
    pub target_id: Option<String>,
    /// Those of this kind.
    pub action: Option<String>,
    /// Those from this moment on.
    pub from: Option<OffsetDateTime>,
    /// Those before this moment.
    pub to: Option<OffsetDateTime>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_has_what_is_different() {
        let (old, new) = ([("a", json!(1)), ("b", json!(null))], [("a", json!(1)), ("b", json!(2))]);
        let change = |before, after| Change { before, after };
        let different = change(Some(json!({ "b": null })), Some(json!({ "b": 2 })));
        assert_eq!(Change::between(Some(&old), Some(&new)), different);
        assert_eq!(Change::between(None, Some(&new)), change(None, Some(json!({ "a": 1, "b": 2 }))));
        assert_eq!(Change::between(Some(&old), None), change(Some(json!({ "a": 1, "b": null })), None));
    }
}
