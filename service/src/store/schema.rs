//! What is applied to the schema. Its tables are the migrator's, and so is the SQL.

use foundation::database::{Database, DatabaseError};
use migrator::history::Applied;
use migrator::schema::{self, SchemaReport};

/// How the schema goes together with this release, and what is applied in the order of versions.
///
/// # Errors
/// What the database says.
pub async fn inspect(database: &Database) -> Result<(SchemaReport, Vec<Applied>), DatabaseError> {
    schema::inspect_through(database).await
}
