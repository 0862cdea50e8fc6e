//! The SQL that finds who a token stands for: a session's or an API token's, with the user, in one question.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use foundation::database::{Database, DatabaseError, DatabaseErrorKind, Row, Statement, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use super::together::{AT_ONCE, LookUp, fill};
use super::users;
use crate::domain::access::{Caller, Credential, Scopes};

/// The SHA-256 of a token.
pub type TokenHash = [u8; 32];

/// Who a token stands for, and until when.
#[derive(Clone, Debug)]
pub struct Found {
    /// The user and how they are known. Whether they may sign in is still to be looked at.
    pub caller: Caller,
    /// The absolute end.
    pub expires_at: OffsetDateTime,
    /// When it was used last, as far as it was written down.
    pub last_used_at: Option<OffsetDateTime>,
}

static ONE: LazyLock<Statement> = LazyLock::new(|| statement(1));
static MANY: LazyLock<Statement> = LazyLock::new(|| statement(AT_ONCE));

/// What is asked for so many tokens, and how many values it has.
#[must_use]
pub fn find_statement(hashes: usize) -> (&'static Statement, usize) {
    if hashes == 1 { (&ONE, 1) } else { (&MANY, AT_ONCE) }
}

fn statement(count: usize) -> Statement {
    let places: Vec<String> = (1..=count).map(|number| format!("${number}")).collect();
    let (places, columns) = (places.join(", "), users::COLUMNS);
    Statement::lookup("session", "").with_sql(format!(
        "SELECT credential.token_hash, credential.id AS credential_id, NULL AS scopes, credential.expires_at, \
           credential.last_used_at, {columns} \
         FROM session credential JOIN users ON users.id = credential.user_id WHERE credential.token_hash IN ({places}) \
         UNION ALL \
         SELECT credential.token_hash, credential.id, credential.scopes, credential.expires_at, \
           credential.last_used_at, {columns} \
         FROM api_token credential JOIN users ON users.id = credential.user_id WHERE credential.token_hash IN ({places})"
    ))
}

/// Who tokens stand for, found by their hashes. Those that this release cannot read stand for nobody.
pub enum Tokens {}

impl LookUp for Tokens {
    type Key = TokenHash;
    // Many who wait for the same token share the answer.
    type Found = Arc<Found>;

    async fn find(
        database: &Database,
        hashes: &[TokenHash],
    ) -> Result<HashMap<TokenHash, Arc<Found>>, DatabaseError> {
        let (statement, places) = find_statement(hashes.len());
        let values: Vec<Value> = fill(hashes, places).map(|hash| hash.to_vec().into()).collect();
        Ok(database.query(statement, &values).await?.iter().filter_map(readable).collect())
    }
}

/// A row that this release does not understand, perhaps one of a newer release, stands for nobody. It must
/// not keep those out who are looked up together with it.
fn readable(row: &Row) -> Option<(TokenHash, Arc<Found>)> {
    from_row(row)
        .inspect_err(|error| tracing::warn!(%error, "a session or token is none of this release"))
        .ok()
}

fn from_row(row: &Row) -> Result<(TokenHash, Arc<Found>), DatabaseError> {
    let hash: Vec<u8> = row.get("token_hash")?;
    let hash = TokenHash::try_from(hash)
        .map_err(|_| DatabaseError::new(DatabaseErrorKind::Conversion, "the column token_hash"))?;
    let id: Uuid = row.get("credential_id")?;
    let credential = match row.get::<Option<String>>("scopes")? {
        None => Credential::Session { id },
        Some(words) => Credential::ApiToken { id, scopes: Scopes::known(&words) },
    };
    let caller = Caller { user: users::from_row(row)?, credential };
    let (expires_at, last_used_at) = (row.get("expires_at")?, row.get("last_used_at")?);
    Ok((hash, Arc::new(Found { caller, expires_at, last_used_at })))
}
