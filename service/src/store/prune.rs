//! The SQL that deletes what is over, a batch at a time. Each batch is a transaction of its own, found through
//! an index on the time.

use foundation::database::{Database, DatabaseError, Statement};
use time::OffsetDateTime;

/// What grows and is pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pruned {
    /// Sessions, by their absolute end.
    Sessions,
    /// Tokens for programs, by their end.
    ApiTokens,
    /// Failed logins, by the last one.
    LoginFailures,
    /// Answers of idempotent requests, by when they were written.
    IdempotencyKeys,
    /// Audit events, by when they happened.
    AuditEvents,
}

const SESSIONS: Statement = Statement::write(
    "session",
    "DELETE FROM session WHERE id IN (SELECT id FROM session WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
);

const API_TOKENS: Statement = Statement::write(
    "api_token",
    "DELETE FROM api_token WHERE id IN (SELECT id FROM api_token WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
);

const LOGIN_FAILURES: Statement = Statement::write(
    "login_failure",
    "DELETE FROM login_failure WHERE subject IN \
     (SELECT subject FROM login_failure WHERE last_failed_at <= $1 ORDER BY last_failed_at LIMIT $2)",
);

const IDEMPOTENCY_KEYS: Statement = Statement::write(
    "idempotency_key",
    "DELETE FROM idempotency_key WHERE (caller, method, path, key) IN \
     (SELECT caller, method, path, key FROM idempotency_key WHERE created_at <= $1 ORDER BY created_at LIMIT $2)",
);

const AUDIT_EVENTS: Statement = Statement::write(
    "audit_event",
    "DELETE FROM audit_event WHERE id IN \
     (SELECT id FROM audit_event WHERE occurred_at <= $1 ORDER BY occurred_at LIMIT $2)",
);

impl Pruned {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Sessions, Self::ApiTokens, Self::LoginFailures, Self::IdempotencyKeys, Self::AuditEvents];

    /// How they are called in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::ApiTokens => "API tokens",
            Self::LoginFailures => "login failures",
            Self::IdempotencyKeys => "idempotency keys",
            Self::AuditEvents => "audit events",
        }
    }

    const fn statement(self) -> Statement {
        match self {
            Self::Sessions => SESSIONS,
            Self::ApiTokens => API_TOKENS,
            Self::LoginFailures => LOGIN_FAILURES,
            Self::IdempotencyKeys => IDEMPOTENCY_KEYS,
            Self::AuditEvents => AUDIT_EVENTS,
        }
    }
}

/// Deletes those that were over at `until`, the oldest `limit` of them, and says how many there were.
///
/// # Errors
/// What the database says.
pub async fn delete_batch(
    database: &Database,
    what: Pruned,
    until: OffsetDateTime,
    limit: u32,
) -> Result<u64, DatabaseError> {
    database.execute(&what.statement(), &[until.into(), limit.into()]).await
}
