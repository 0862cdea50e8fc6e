//! The SQL of sessions, but for finding one by its token, which `credentials` does.

use foundation::database::{Database, DatabaseError, Row, Statement, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

use super::credentials::TokenHash;
use crate::domain::sessions::{MAX_SESSIONS, Session};

const INSERT: Statement = Statement::write(
    "session",
    "INSERT INTO session (id, user_id, token_hash, created_at, last_used_at, expires_at, address, user_agent) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
);

const TRIM: Statement = Statement::write(
    "session",
    "DELETE FROM session WHERE user_id = $1 \
     AND id NOT IN (SELECT id FROM session WHERE user_id = $1 ORDER BY id DESC LIMIT $2)",
);

const LIST: Statement = Statement::current(
    "session",
    "SELECT id, user_id, created_at, last_used_at, expires_at, address, user_agent FROM session \
     WHERE user_id = $1 AND expires_at > $2 AND last_used_at >= $3 ORDER BY id DESC LIMIT $4",
);

const GOES_ON: Statement =
    Statement::write("session", "SELECT 1 AS one FROM session WHERE id = $1 AND user_id = $2");

const DELETE: Statement = Statement::write(
    "session",
    "DELETE FROM session WHERE id = $1 AND user_id = $2 \
     RETURNING id, user_id, created_at, last_used_at, expires_at, address, user_agent",
);

const DELETE_OTHERS: Statement =
    Statement::write("session", "DELETE FROM session WHERE user_id = $1 AND id <> $2");

/// Writes a session down, and ends the oldest of the user where there are too many: returns how many.
///
/// # Errors
/// What the database says.
pub async fn insert(
    transaction: &mut Transaction,
    session: &Session,
    token_hash: TokenHash,
) -> Result<u64, DatabaseError> {
    let values = [
        session.id.into(),
        session.user_id.into(),
        token_hash.to_vec().into(),
        session.created_at.into(),
        session.last_used_at.into(),
        session.expires_at.into(),
        session.address.clone().into(),
        session.user_agent.clone().into(),
    ];
    transaction.execute(&INSERT, &values).await?;
    transaction.execute(&TRIM, &[session.user_id.into(), MAX_SESSIONS.into()]).await
}

/// The sessions of a user that go on at `now` and were used since `idle_since`, newest first.
///
/// # Errors
/// What the database says.
pub async fn list(
    database: &Database,
    user: Uuid,
    now: OffsetDateTime,
    idle_since: OffsetDateTime,
) -> Result<Vec<Session>, DatabaseError> {
    let values = [user.into(), now.into(), idle_since.into(), MAX_SESSIONS.into()];
    database.query(&LIST, &values).await?.iter().map(from_row).collect()
}

/// Whether nobody has ended this session of the user.
///
/// # Errors
/// What the database says.
pub async fn goes_on(transaction: &mut Transaction, id: Uuid, user: Uuid) -> Result<bool, DatabaseError> {
    Ok(transaction.query_optional(&GOES_ON, &[id.into(), user.into()]).await?.is_some())
}

/// Ends a session of the user, and returns it.
///
/// # Errors
/// What the database says.
pub async fn delete(
    transaction: &mut Transaction,
    id: Uuid,
    user: Uuid,
) -> Result<Option<Session>, DatabaseError> {
    let row = transaction.query_optional(&DELETE, &[id.into(), user.into()]).await?;
    row.as_ref().map(from_row).transpose()
}

/// Ends all sessions of the user but one, and returns their number. A nil id spares none.
///
/// # Errors
/// What the database says.
pub async fn delete_others(
    transaction: &mut Transaction,
    user: Uuid,
    spared: Uuid,
) -> Result<u64, DatabaseError> {
    transaction.execute(&DELETE_OTHERS, &[user.into(), spared.into()]).await
}

fn from_row(row: &Row) -> Result<Session, DatabaseError> {
    Ok(Session {
        id: row.get("id")?,
        user_id: row.get("user_id")?,
        created_at: row.get("created_at")?,
        last_used_at: row.get("last_used_at")?,
        expires_at: row.get("expires_at")?,
        address: row.get("address")?,
        user_agent: row.get("user_agent")?,
    })
}
