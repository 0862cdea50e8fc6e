//! A history that was left behind: one that this role wrote, further on in the search path.
//!
//! Only the first schema counts. Where that is another one than it was, because somebody made a schema or changed the
//! path, nothing seems to be applied, and everything would be applied once more. A path that the address itself names
//! (`?options=-c search_path=tenant_a,public`) is as deliberate as DATABASE_SCHEMA.

use foundation::database::{Backend, Connection, DatabaseError, Statement};

use crate::error::MigratorError;
use crate::history::Applied;
use crate::source::Catalog;

/// The schemas behind the first one with a history that belongs to this role. What another role wrote is of another
/// service.
const BEHIND: Statement = Statement::read(
    "pg_class",
    "SELECT quote_ident(n.nspname) AS schema, quote_ident(current_schema()) AS first
     FROM unnest(current_schemas(false)) WITH ORDINALITY AS path(name, place)
       JOIN pg_namespace n ON n.nspname = path.name JOIN pg_class c ON c.relnamespace = n.oid
     WHERE path.place > 1 AND c.relname = 'refinery_schema_history' AND c.relkind = 'r'
       AND pg_has_role(c.relowner, 'USAGE')
       AND (SELECT source FROM pg_settings WHERE name = 'search_path') <> 'client'
     ORDER BY path.place",
);

const HISTORY: Statement = Statement::read("refinery_schema_history", "");

/// Refuses to take a schema for an empty one where migrations of this release are applied in one behind it.
///
/// # Errors
/// [`MigratorError::Schema`] with the ways out.
pub(crate) async fn refuse(connection: &mut Connection, catalog: &Catalog) -> Result<(), MigratorError> {
    if connection.backend() == Backend::Sqlite {
        return Ok(());
    }
    for row in connection.query(&BEHIND, &[]).await? {
        let (schema, first): (String, String) = (row.get("schema")?, row.get("first")?);
        if applied(connection, &schema).await?.iter().any(|it| is_known(catalog, it)) {
            return Err(MigratorError::Schema(vec![format!(
                "nothing is applied in the schema {first}, to which the search_path leads first, and migrations of this release are applied in {schema}, further on: name the schema that is meant in DATABASE_SCHEMA ({schema} to go on there, {first} to begin anew), or let the search_path lead to it"
            )]));
        }
    }
    Ok(())
}

async fn applied(connection: &mut Connection, schema: &str) -> Result<Vec<Applied>, DatabaseError> {
    let sql = format!(
        "SELECT CAST(version AS BIGINT) AS version, name, applied_on, checksum FROM {schema}.refinery_schema_history"
    );
    let rows = connection.query(&HISTORY.clone().with_sql(sql), &[]).await?;
    rows.iter().map(Applied::from_row).collect()
}

fn is_known(catalog: &Catalog, applied: &Applied) -> bool {
    catalog.get(applied.version).is_some_and(|migration| applied.is(migration))
}
