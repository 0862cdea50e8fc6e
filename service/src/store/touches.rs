//! The SQL that writes down when a session or a token was used last.

use foundation::database::{Database, DatabaseError, Statement};
use time::OffsetDateTime;
use uuid::Uuid;

const SESSION: Statement =
    Statement::write("session", "UPDATE session SET last_used_at = $1 WHERE id = $2 AND last_used_at <= $3");

const API_TOKEN: Statement = Statement::write(
    "api_token",
    "UPDATE api_token SET last_used_at = $1 WHERE id = $2 AND (last_used_at IS NULL OR last_used_at <= $3)",
);

/// Notes that it was used at `now`, unless somebody noted a use after `not_since` already.
///
/// # Errors
/// What the database says.
pub async fn write(
    database: &Database,
    id: Uuid,
    is_session: bool,
    now: OffsetDateTime,
    not_since: OffsetDateTime,
) -> Result<(), DatabaseError> {
    let statement = if is_session { &SESSION } else { &API_TOKEN };
    database.execute(statement, &[now.into(), id.into(), not_since.into()]).await.map(drop)
}
