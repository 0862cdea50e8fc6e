//! The SQL that deletes what is over, a batch at a time. Each batch is a transaction of its own, found through
//! an index on the time.

use foundation::database::{Database, DatabaseError, Statement};
use time::OffsetDateTime;

/// What grows and is pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pruned {
    /// Sessions, by their absolute end.
    Sessions,
    /// Sessions, by their last use.
    IdleSessions,
    /// Tokens for programs, by their end.
    ApiTokens,
    /// Failed logins, by the last one.
    LoginFailures,
    /// Answers of idempotent requests, by when they were written.
    IdempotencyKeys,
    /// Audit events, by when they happened.
    AuditEvents,
}

/// The statement that deletes the rows of `$table` whose `$time` is long ago. It looks at the time once more:
/// a row that another transaction renews while this one waits for it stays.
macro_rules! prune {
    ($table:literal, $key:literal, $columns:literal, $time:literal) => {
        Statement::write(
            $table,
            concat!(
                "DELETE FROM ",
                $table,
                " WHERE ",
                $key,
                " IN (SELECT ",
                $columns,
                " FROM ",
                $table,
                " WHERE ",
                $time,
                " <= $1 ORDER BY ",
                $time,
                " LIMIT $2) AND ",
                $time,
                " <= $1"
            ),
        )
    };
}

const SESSIONS: Statement = prune!("session", "id", "id", "expires_at");
const IDLE_SESSIONS: Statement = prune!("session", "id", "id", "last_used_at");
const API_TOKENS: Statement = prune!("api_token", "id", "id", "expires_at");
const LOGIN_FAILURES: Statement = prune!("login_failure", "subject", "subject", "last_failed_at");
const IDEMPOTENCY_KEYS: Statement =
    prune!("idempotency_key", "(caller, method, path, key)", "caller, method, path, key", "created_at");
const AUDIT_EVENTS: Statement = prune!("audit_event", "id", "id", "occurred_at");

impl Pruned {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Sessions,
        Self::IdleSessions,
        Self::ApiTokens,
        Self::LoginFailures,
        Self::IdempotencyKeys,
        Self::AuditEvents,
    ];

    /// How they are called in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::IdleSessions => "idle sessions",
            Self::ApiTokens => "API tokens",
            Self::LoginFailures => "login failures",
            Self::IdempotencyKeys => "idempotency keys",
            Self::AuditEvents => "audit events",
        }
    }

    const fn statement(self) -> Statement {
        match self {
            Self::Sessions => SESSIONS,
            Self::IdleSessions => IDLE_SESSIONS,
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
