//! The SQL of accounts.

use foundation::database::{DatabaseError, DatabaseErrorKind, Row};

use crate::domain::users::User;

/// The columns of a [`User`], of a table or an alias called `users`.
pub const COLUMNS: &str = "users.id, users.username, users.email, users.user_type, users.eve_character_id, \
     users.is_active, users.is_blocked, users.is_admin, users.is_test_user, users.created_at, users.updated_at, \
     users.last_login, users.version";

/// The user in a row that has [`COLUMNS`].
///
/// # Errors
/// [`DatabaseErrorKind::Conversion`]: the row is not one of this release.
pub fn from_row(row: &Row) -> Result<User, DatabaseError> {
    let user_type: String = row.get("user_type")?;
    Ok(User {
        id: row.get("id")?,
        username: row.get("username")?,
        email: row.get("email")?,
        user_type: user_type.parse().map_err(|error: crate::domain::users::UnknownUserType| {
            DatabaseError::new(DatabaseErrorKind::Conversion, format!("the column user_type: {error}"))
        })?,
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
