//! The SQL of what operators do to an account from the command line.

use foundation::database::{DatabaseError, Statement, Transaction, Value};
use time::OffsetDateTime;
use uuid::Uuid;

const FIND: Statement = Statement::write("users", "SELECT id, user_type FROM users WHERE username_key = $1");

const SET_PASSWORD: Statement = Statement::write(
    "users",
    "UPDATE users SET password_hash = $1, updated_at = $2, version = version + 1 WHERE id = $3",
);

const END_SESSIONS: Statement = Statement::write("session", "DELETE FROM session WHERE user_id = $1");

const REVOKE_TOKENS: Statement =
    Statement::write("api_token", "DELETE FROM api_token WHERE user_id = $1 RETURNING id, name");

/// An account, as far as operators have to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its id.
    pub id: Uuid,
    /// How it signs in.
    pub user_type: String,
}

/// The account of that name, whatever its case.
///
/// # Errors
/// What the database says.
pub async fn find(transaction: &mut Transaction, username: &str) -> Result<Option<Known>, DatabaseError> {
    let values = [Value::from(username.to_ascii_lowercase())];
    let Some(row) = transaction.query_optional(&FIND, &values).await? else { return Ok(None) };
    Ok(Some(Known { id: row.get("id")?, user_type: row.get("user_type")? }))
}

/// Changes the password of an account.
///
/// # Errors
/// What the database says.
pub async fn set_password(
    transaction: &mut Transaction,
    id: Uuid,
    password_hash: String,
    now: OffsetDateTime,
) -> Result<(), DatabaseError> {
    transaction.execute(&SET_PASSWORD, &[password_hash.into(), now.into(), id.into()]).await.map(drop)
}

/// Ends every session of an account, and says how many there were.
///
/// # Errors
/// What the database says.
pub async fn end_sessions(transaction: &mut Transaction, id: Uuid) -> Result<u64, DatabaseError> {
    transaction.execute(&END_SESSIONS, &[id.into()]).await
}

/// Revokes every token of an account: the id and the name of each. Whether this release knows what a token may
/// do makes no difference.
///
/// # Errors
/// What the database says.
pub async fn revoke_tokens(
    transaction: &mut Transaction,
    id: Uuid,
) -> Result<Vec<(Uuid, String)>, DatabaseError> {
    let rows = transaction.query(&REVOKE_TOKENS, &[id.into()]).await?;
    rows.iter().map(|row| Ok((row.get("id")?, row.get("name")?))).collect()
}
