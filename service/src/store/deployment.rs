//! The SQL of what there is one of: the name of this deployment, and the clock that its processes have in common.

use foundation::database::{Backend, Database, DatabaseError, DatabaseErrorKind, Statement};
use time::OffsetDateTime;

const ID: Statement = Statement::read("deployment", "SELECT id FROM deployment");

/// The name of this deployment, made at random once: 32 hexadecimal digits.
///
/// # Errors
/// What the database says.
pub async fn id(database: &Database) -> Result<String, DatabaseError> {
    let row = database.query_optional(&ID, &[]).await?;
    let missing = || DatabaseError::new(DatabaseErrorKind::Conversion, "deployment has no row".to_owned());
    row.ok_or_else(missing)?.get("id")
}

const NOW: [Statement; 2] = [
    Statement::read("clock", "SELECT clock_timestamp() AS now"),
    Statement::read("clock", "SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000 AS now"),
];

/// The time by the clock of the database.
///
/// # Errors
/// What the database says.
pub async fn now(database: &Database) -> Result<OffsetDateTime, DatabaseError> {
    let statement = match database.backend() {
        Backend::Postgres => &NOW[0],
        Backend::Sqlite => &NOW[1],
    };
    let row = database.query_optional(statement, &[]).await?;
    let missing = || DatabaseError::new(DatabaseErrorKind::Conversion, "the clock says nothing".to_owned());
    row.ok_or_else(missing)?.get("now")
}
