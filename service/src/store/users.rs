//! The SQL of accounts.

use std::collections::HashMap;
use std::sync::LazyLock;

use foundation::database::{
    Backend, Database, DatabaseError, DatabaseErrorKind, Row, Statement, Transaction, Value,
};
use uuid::Uuid;

use super::together::{AT_ONCE, LookUp, fill};
use crate::domain::users::{User, UserType};

/// The columns of a [`User`], of a table or an alias called `users`.
pub const COLUMNS: &str = "users.id, users.username, users.email, users.user_type, users.eve_character_id, \
     users.is_active, users.is_blocked, users.is_admin, users.is_test_user, users.created_at, users.updated_at, \
     users.last_login, users.version";

/// The user in a row that has [`COLUMNS`].
///
/// # Errors
/// [`DatabaseErrorKind::Conversion`]: the row is not one of this release.
pub fn from_row(row: &Row) -> Result<User, DatabaseError> {
    Ok(User {
        id: row.get("id")?,
        username: row.get("username")?,
        email: row.get("email")?,
        user_type: row.text("user_type")?.parse().map_err(
            |error: crate::domain::users::UnknownUserType| {
                DatabaseError::new(DatabaseErrorKind::Conversion, format!("the column user_type: {error}"))
            },
        )?,
        eve_character_id: row.get("eve_character_id")?,
        is_active: row.get("is_active")?,
        is_blocked: row.get("is_blocked")?,
        is_admin: row.get("is_admin")?,
        is_test_user: row.get("is_test_user")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
        last_login: row.get("last_login")?,
        version: row.get("version")?,
    })
}

static ONE: LazyLock<Statement> = LazyLock::new(|| statement(1));
static MANY: LazyLock<Statement> = LazyLock::new(|| statement(AT_ONCE));

/// What is asked for so many ids, and how many values it has.
#[must_use]
pub fn find_statement(ids: usize) -> (&'static Statement, usize) {
    if ids == 1 { (&ONE, 1) } else { (&MANY, AT_ONCE) }
}

fn statement(count: usize) -> Statement {
    let places: Vec<String> = (1..=count).map(|number| format!("${number}")).collect();
    let places = places.join(", ");
    Statement::lookup("users", "")
        .with_sql(format!("SELECT {COLUMNS} FROM users WHERE users.id IN ({places})"))
}

/// Users, found by their ids.
pub enum ById {}

impl LookUp for ById {
    type Key = Uuid;
    type Found = User;

    async fn find(database: &Database, ids: &[Uuid]) -> Result<HashMap<Uuid, User>, DatabaseError> {
        let (statement, places) = find_statement(ids.len());
        let values: Vec<Value> = fill(ids, places).map(|id| Value::from(*id)).collect();
        let rows = database.query(statement, &values).await?;
        rows.iter().map(|row| from_row(row).map(|user| (user.id, user))).collect()
    }
}

/// An update that changes nothing is the one way to hold a row that both databases have.
static LOCK: LazyLock<Statement> = LazyLock::new(|| {
    let sql = format!("UPDATE users SET version = version WHERE users.id = $1 RETURNING {COLUMNS}");
    Statement::write("users", "").with_sql(sql)
});

/// The user with this id, whom nobody else changes before the transaction ends.
///
/// # Errors
/// What the database says.
pub async fn lock(transaction: &mut Transaction, id: Uuid) -> Result<Option<User>, DatabaseError> {
    transaction.query_optional(&LOCK, &[id.into()]).await?.as_ref().map(from_row).transpose()
}

const INSERT: Statement = Statement::write(
    "users",
    "INSERT INTO users (id, username, email, password_hash, user_type, eve_character_id, is_active, is_blocked, \
       is_admin, is_test_user, created_at, updated_at, version) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
);

/// Adds a user.
///
/// # Errors
/// What the database says; [`DatabaseErrorKind::UniqueViolation`] names what another user has.
pub async fn insert(
    transaction: &mut Transaction,
    user: &User,
    password_hash: Option<String>,
) -> Result<(), DatabaseError> {
    let values: [Value; 13] = [
        user.id.into(),
        user.username.as_str().into(),
        user.email.clone().into(),
        password_hash.into(),
        user.user_type.name().into(),
        user.eve_character_id.into(),
        user.is_active.into(),
        user.is_blocked.into(),
        user.is_admin.into(),
        user.is_test_user.into(),
        user.created_at.into(),
        user.updated_at.into(),
        user.version.into(),
    ];
    transaction.execute(&INSERT, &values).await.map(drop)
}

const UPDATE: Statement = Statement::write(
    "users",
    "UPDATE users SET username = $2, email = $3, user_type = $4, eve_character_id = $5, is_active = $6, \
       is_blocked = $7, is_admin = $8, is_test_user = $9, updated_at = $10, version = $11, \
       password_hash = CASE WHEN $12 THEN NULL ELSE password_hash END \
     WHERE id = $1",
);

/// Writes what can be edited of a user. The password of one who signs in with their character now is
/// forgotten.
///
/// # Errors
/// As [`insert`].
pub async fn update(transaction: &mut Transaction, user: &User) -> Result<(), DatabaseError> {
    let values: [Value; 12] = [
        user.id.into(),
        user.username.as_str().into(),
        user.email.clone().into(),
        user.user_type.name().into(),
        user.eve_character_id.into(),
        user.is_active.into(),
        user.is_blocked.into(),
        user.is_admin.into(),
        user.is_test_user.into(),
        user.updated_at.into(),
        user.version.into(),
        (user.user_type == UserType::EveSso).into(),
    ];
    transaction.execute(&UPDATE, &values).await.map(drop)
}

const DELETE: Statement = Statement::write("users", "DELETE FROM users WHERE id = $1");

/// Deletes a user, with their sessions and tokens.
///
/// # Errors
/// What the database says.
pub async fn delete(transaction: &mut Transaction, id: Uuid) -> Result<(), DatabaseError> {
    transaction.execute(&DELETE, &[id.into()]).await.map(drop)
}

/// PostgreSQL's name for the right to make an administrator one no longer: `bedadmin` in ASCII.
const ADMINS_LOCK: i64 = 0x6265_6461_646d_696e;

const LOCK_ADMINS: Statement = Statement::write("users", "SELECT pg_advisory_xact_lock($1)");

/// Waits until no other transaction may make an administrator one no longer, and lets none until this one
/// ends. Its first statement, so that those that follow see what the others did. On SQLite every transaction
/// is alone.
///
/// # Errors
/// What the database says.
pub async fn lock_admins(transaction: &mut Transaction, backend: Backend) -> Result<(), DatabaseError> {
    match backend {
        Backend::Postgres => transaction.execute(&LOCK_ADMINS, &[ADMINS_LOCK.into()]).await.map(drop),
        Backend::Sqlite => Ok(()),
    }
}

const OTHER_ADMIN: Statement = Statement::current(
    "users",
    "SELECT 1 AS one FROM users \
     WHERE is_admin AND is_active AND NOT is_blocked AND user_type <> 'eve_sso' AND id <> $1 LIMIT 1",
);

/// Whether anybody but this user can sign in as an administrator.
///
/// # Errors
/// What the database says.
pub async fn has_other_admin(transaction: &mut Transaction, id: Uuid) -> Result<bool, DatabaseError> {
    Ok(transaction.query_optional(&OTHER_ADMIN, &[id.into()]).await?.is_some())
}
