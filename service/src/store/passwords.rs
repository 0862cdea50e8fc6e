//! The SQL of signing in: the only place that reads and writes hashes of passwords.

use std::sync::LazyLock;

use foundation::database::{Database, DatabaseError, Row, Statement, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

use super::users;
use crate::domain::users::User;

/// A user, with the hash of their password where they have one.
#[derive(Clone)]
pub struct Account {
    /// The user.
    pub user: User,
    /// The hash. Never shown.
    pub password_hash: Option<String>,
}

static BY_NAME: LazyLock<Statement> = LazyLock::new(|| by("username_key"));
static BY_ID: LazyLock<Statement> = LazyLock::new(|| by("id"));

fn by(column: &str) -> Statement {
    let columns = users::COLUMNS;
    Statement::lookup("users", "")
        .with_sql(format!("SELECT {columns}, users.password_hash FROM users WHERE users.{column} = $1"))
}

/// Only while the user is who they were when the password was compared.
const SIGN_IN: Statement = Statement::write(
    "users",
    "UPDATE users SET last_login = $1, password_hash = $2 \
     WHERE id = $3 AND password_hash = $4 AND is_active = $5 AND is_blocked = $6",
);

const CHANGE: Statement = Statement::write(
    "users",
    "UPDATE users SET password_hash = $1, updated_at = $2, version = version + 1 \
     WHERE id = $3 AND password_hash = $4",
);

/// The account of that name in lower case.
///
/// # Errors
/// What the database says.
pub async fn find_by_name(database: &Database, key: &str) -> Result<Option<Account>, DatabaseError> {
    database.query_optional(&BY_NAME, &[key.into()]).await?.as_ref().map(from_row).transpose()
}

/// The account with that id.
///
/// # Errors
/// What the database says.
pub async fn find_by_id(database: &Database, id: Uuid) -> Result<Option<Account>, DatabaseError> {
    database.query_optional(&BY_ID, &[id.into()]).await?.as_ref().map(from_row).transpose()
}

fn from_row(row: &Row) -> Result<Account, DatabaseError> {
    Ok(Account { user: users::from_row(row)?, password_hash: row.get("password_hash")? })
}

/// Notes a login, and perhaps a new hash of the same password. False where the user was changed meanwhile
/// so that they may not sign in with it any more. Not an edit: the version stays.
///
/// # Errors
/// What the database says.
pub async fn sign_in(
    transaction: &mut Transaction,
    id: Uuid,
    now: OffsetDateTime,
    verified_hash: &str,
    new_hash: &str,
) -> Result<bool, DatabaseError> {
    let values = [now.into(), new_hash.into(), id.into(), verified_hash.into(), true.into(), false.into()];
    Ok(transaction.execute(&SIGN_IN, &values).await? == 1)
}

/// Gives the user another password. False where it was changed meanwhile.
///
/// # Errors
/// What the database says.
pub async fn change(
    transaction: &mut Transaction,
    id: Uuid,
    now: OffsetDateTime,
    verified_hash: &str,
    new_hash: &str,
) -> Result<bool, DatabaseError> {
    let values = [new_hash.into(), now.into(), id.into(), verified_hash.into()];
    Ok(transaction.execute(&CHANGE, &values).await? == 1)
}
