//! What drops everything that migrations have made.

use std::collections::BTreeSet;

use super::dependents;
use super::made::{Made, Thing, made};
use crate::correction;
use crate::error::MigratorError;
use crate::progress::Begun;
use crate::records::Records;
use crate::session::Session;
use crate::source::{Catalog, Dialect};
use crate::statements::split;
use foundation::database::{Backend, Connection, DatabaseError, Statement};

/// Everything of the current schema and what drops it: what hangs on a schema, as DROP SCHEMA finds it. What
/// belongs to an extension stays, and what belongs to another object goes with that (a column's sequence). CASCADE
/// takes along what hangs on something, so it may be gone when its turn comes (IF EXISTS).
const EVERYTHING_ON_POSTGRES: Statement = Statement::read(
    "pg_depend",
    "SELECT format('DROP %s IF EXISTS %s CASCADE',
         CASE WHEN type IN ('function', 'procedure', 'aggregate') THEN 'ROUTINE'
           WHEN type = 'statistics object' THEN 'STATISTICS' ELSE upper(type) END, identity) AS drop
       FROM pg_depend d CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0)
      WHERE d.refclassid = 'pg_namespace'::regclass AND d.deptype = 'n'
        AND d.refobjid = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
        AND type NOT IN ('extension', 'default acl', 'publication namespace')
        AND NOT EXISTS (SELECT 1 FROM pg_depend o WHERE o.classid = d.classid AND o.objid = d.objid
          -- A column that a table is partitioned by depends on that table itself.
          AND o.objsubid = 0 AND o.deptype IN ('e', 'i', 'a'))",
);

/// Everything of the file; a table takes its indexes and triggers along, and a virtual one the tables in which it
/// keeps what it has, without which it cannot be dropped. So those go first.
const EVERYTHING_IN_SQLITE: Statement = Statement::read(
    "sqlite_schema",
    "SELECT 'DROP ' || CASE type WHEN 'view' THEN 'VIEW' ELSE 'TABLE' END || ' IF EXISTS \"' || replace(name, '\"', '\"\"') || '\"' AS \"drop\"
     FROM pragma_table_list WHERE schema = 'main' AND type <> 'shadow' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
     ORDER BY CASE type WHEN 'virtual' THEN 1 WHEN 'view' THEN 2 ELSE 3 END",
);

/// The statements that empty the current schema, or the file.
pub(super) async fn drop_everything(connection: &mut Connection) -> Result<String, DatabaseError> {
    let statement = match connection.backend() {
        Backend::Postgres => &EVERYTHING_ON_POSTGRES,
        Backend::Sqlite => &EVERYTHING_IN_SQLITE,
    };
    let rows = connection.query(statement, &[]).await?;
    let drops: Vec<String> = rows.iter().map(|row| row.get("drop")).collect::<Result<_, _>>()?;
    Ok(drops.join(";\n"))
}

/// Whether something is in a schema, other than the current one, that belongs to no extension.
const HAS_OBJECTS: Statement = Statement::read(
    "pg_depend",
    "SELECT 1 AS it FROM pg_depend d JOIN pg_namespace n ON n.oid = d.refobjid
     WHERE n.nspname = (parse_ident($1))[1] AND n.nspname <> current_schema()
       AND d.refclassid = 'pg_namespace'::regclass AND d.deptype = 'n'
       AND d.classid NOT IN ('pg_extension'::regclass, 'pg_default_acl'::regclass)
       AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e')
     LIMIT 1",
);

/// What the applied migrations have made that lies in no schema, to be dropped with it.
///
/// # Errors
/// [`MigratorError::Schema`] with what nobody but a person can decide on.
pub(super) async fn beyond_schema(
    session: &mut Session,
    records: &Records,
    catalog: &Catalog,
) -> Result<Vec<Thing>, MigratorError> {
    let (mut things, mut problems): (Vec<Thing>, Vec<String>) = (Vec::new(), Vec::new());
    if session.backend() == Backend::Sqlite {
        return Ok(things);
    }
    // Each schema is decided on where it comes first: who makes it works in it afterwards.
    let mut schemas = BTreeSet::new();
    for migration in &records.applied {
        let kept = correction::applied_sql(session.connection(), migration).await?;
        let file = catalog.get(migration.version).map(|it| it.sql().to_owned());
        let Some(sql) = kept.or(file) else { continue };
        for part in split(Dialect::Postgres, &sql) {
            let place = format!("{} line {}", migration.display(), part.line);
            problems.push(match made(part.sql) {
                None => continue,
                Some(Made::Anew(thing)) => {
                    if thing.kind == "SCHEMA" {
                        schemas.insert(plain(&thing.name));
                    }
                    things.push(thing);
                    continue;
                }
                Some(Made::SchemaWhereMissing(name) | Made::InSchema(name))
                    if !schemas.insert(plain(&name)) || !has_objects(session.connection(), &name).await? => continue,
                Some(Made::SchemaWhereMissing(name)) => format!(
                    "{place} works in the schema {name}, which others may have made and use: when nobody does, drop it (DROP SCHEMA {name} CASCADE) and reset again"
                ),
                Some(Made::InSchema(name)) => format!(
                    "{place} works in the schema {name}, which no migration has made, so what is in it would be in the way of the next run: take the migrations back (`migrator down --to 0`) and apply them again instead, or drop what they have made there and reset again"
                ),
                Some(Made::OfServer) => format!(
                    "{place} makes what belongs to the whole server and cannot be made twice: take the migrations back (`migrator down --to 0`) and apply them again instead"
                ),
            });
        }
    }
    // Of what is applied in part a person has to see which of its statements are done.
    let in_part = records.begun.iter().filter(|it| !it.is_undo && makes_beyond_schema(catalog, it));
    problems.extend(in_part.map(Begun::reason));
    if problems.is_empty() {
        problems = dependents::outside(session.connection(), &things).await?;
    }
    if problems.is_empty() { Ok(things) } else { Err(MigratorError::Schema(problems)) }
}

/// The name without its quotes, as the catalog has it.
fn plain(name: &str) -> String {
    match name.strip_prefix('"') {
        Some(quoted) => quoted.trim_end_matches('"').replace("\"\"", "\""),
        None => name.to_lowercase(),
    }
}

fn makes_beyond_schema(catalog: &Catalog, begun: &Begun) -> bool {
    let file = catalog.get(begun.version).map(|it| it.sql()).unwrap_or_default();
    let is_beyond = |it: Made| !matches!(it, Made::InSchema(_));
    split(Dialect::Postgres, file).iter().any(|part| made(part.sql).is_some_and(is_beyond))
}

async fn has_objects(connection: &mut Connection, schema: &str) -> Result<bool, DatabaseError> {
    Ok(connection.query_optional(&HAS_OBJECTS, &[schema.into()]).await?.is_some())
}
