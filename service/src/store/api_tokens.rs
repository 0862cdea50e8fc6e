//! The SQL of tokens for programs, but for finding one by its text, which `credentials` does.

use std::sync::LazyLock;

use foundation::database::{Database, DatabaseError, Row, Statement, Transaction};
use uuid::Uuid;

use super::credentials::TokenHash;
use crate::domain::access::Scopes;
use crate::domain::api_tokens::{ApiToken, MAX_TOKENS};

const COLUMNS: &str = "id, user_id, name, scopes, created_at, expires_at, last_used_at";

const INSERT: Statement = Statement::write(
    "api_token",
    "INSERT INTO api_token (id, user_id, name, token_hash, scopes, created_at, expires_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7)",
);

const COUNT: Statement = Statement::write(
    "api_token",
    "SELECT CAST(count(*) AS BIGINT) AS count FROM api_token WHERE user_id = $1",
);

static LIST: LazyLock<Statement> = LazyLock::new(|| {
    Statement::current("api_token", "")
        .with_sql(format!("SELECT {COLUMNS} FROM api_token WHERE user_id = $1 ORDER BY id DESC LIMIT $2"))
});

static DELETE: LazyLock<Statement> = LazyLock::new(|| {
    Statement::write("api_token", "")
        .with_sql(format!("DELETE FROM api_token WHERE id = $1 AND user_id = $2 RETURNING {COLUMNS}"))
});

/// Writes a token down.
///
/// # Errors
/// What the database says; a unique violation where its owner has one of that name.
pub async fn insert(
    transaction: &mut Transaction,
    token: &ApiToken,
    token_hash: TokenHash,
) -> Result<(), DatabaseError> {
    let values = [
        token.id.into(),
        token.user_id.into(),
        token.name.as_str().into(),
        token_hash.to_vec().into(),
        token.scopes.to_string().into(),
        token.created_at.into(),
        token.expires_at.into(),
    ];
    transaction.execute(&INSERT, &values).await.map(drop)
}

/// How many tokens the user has, those included that are over and not yet pruned.
///
/// # Errors
/// What the database says.
pub async fn count(transaction: &mut Transaction, user: Uuid) -> Result<i64, DatabaseError> {
    let row = transaction.query_optional(&COUNT, &[user.into()]).await?;
    row.map_or(Ok(0), |row| row.get("count"))
}

/// The tokens of a user, newest first.
///
/// # Errors
/// What the database says.
pub async fn list(database: &Database, user: Uuid) -> Result<Vec<ApiToken>, DatabaseError> {
    database.query(&LIST, &[user.into(), MAX_TOKENS.into()]).await?.iter().map(from_row).collect()
}

/// Revokes a token of the user, and returns it.
///
/// # Errors
/// What the database says.
pub async fn delete(
    transaction: &mut Transaction,
    id: Uuid,
    user: Uuid,
) -> Result<Option<ApiToken>, DatabaseError> {
    let row = transaction.query_optional(&DELETE, &[id.into(), user.into()]).await?;
    row.as_ref().map(from_row).transpose()
}

fn from_row(row: &Row) -> Result<ApiToken, DatabaseError> {
    let scopes: String = row.get("scopes")?;
    Ok(ApiToken {
        id: row.get("id")?,
        user_id: row.get("user_id")?,
        name: row.get("name")?,
        scopes: Scopes::known(&scopes),
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
        last_used_at: row.get("last_used_at")?,
    })
}
