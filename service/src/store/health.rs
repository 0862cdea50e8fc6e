//! The SQL of health.

use foundation::database::{Database, DatabaseError, Statement};

/// Asks the database for an answer, through the pool as every request does.
///
/// # Errors
/// The pool or the database has none to give.
pub async fn ping(database: &Database) -> Result<(), DatabaseError> {
    // A standby that answers says nothing of the server that is written to.
    database.primary().query(&Statement::read("health", "SELECT 1 AS one"), &[]).await.map(drop)
}
