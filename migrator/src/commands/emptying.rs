//! What drops everything that migrations have made.

use foundation::database::{Backend, Connection, DatabaseError, Statement};
use squawk_syntax::ast::{AstNode, CreateSchemaTarget, Stmt};
use squawk_syntax::{SourceFile, SyntaxNode};

use crate::correction;
use crate::error::MigratorError;
use crate::progress::Begun;
use crate::records::Records;
use crate::session::Session;
use crate::source::{Catalog, Dialect};
use crate::statements::split;

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

/// Everything of the file; a table takes its indexes and triggers along.
const EVERYTHING_IN_SQLITE: Statement = Statement::read(
    "sqlite_schema",
    "SELECT 'DROP ' || upper(type) || ' IF EXISTS \"' || replace(name, '\"', '\"\"') || '\"' AS \"drop\" FROM sqlite_schema
     WHERE type IN ('view', 'table') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type DESC",
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

const HAS_OBJECTS: Statement = Statement::read(
    "pg_class",
    "SELECT 1 AS it FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = (parse_ident($1))[1] AND n.nspname <> current_schema() LIMIT 1",
);

/// What a statement makes that lies in no schema.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Made {
    /// Anew, or it would have failed: this drops it.
    Anew(String),
    /// A schema of this name, where it was missing.
    SchemaWhereMissing(String),
    /// Something that other databases of the server have too.
    OfServer,
}

/// The statements that drop what the applied migrations have made beside the current schema.
///
/// # Errors
/// [`MigratorError::Schema`] with what nobody but a person can decide on.
pub(super) async fn drops_beyond_schema(
    session: &mut Session,
    records: &Records,
    catalog: &Catalog,
) -> Result<Vec<String>, MigratorError> {
    let (mut drops, mut problems) = (Vec::new(), Vec::new());
    if session.backend() == Backend::Sqlite {
        return Ok(drops);
    }
    for migration in &records.applied {
        let kept = correction::applied_sql(session.connection(), migration).await?;
        let file = catalog.get(migration.version).map(|it| it.sql().to_owned());
        let Some(sql) = kept.or(file) else { continue };
        for part in split(Dialect::Postgres, &sql) {
            let place = format!("{} line {}", migration.display(), part.line);
            problems.push(match made(part.sql) {
                None => continue,
                Some(Made::Anew(drop)) => {
                    drops.push(drop);
                    continue;
                }
                Some(Made::SchemaWhereMissing(name)) if !has_objects(session.connection(), &name).await? => continue,
                Some(Made::SchemaWhereMissing(name)) => format!(
                    "{place} works in the schema {name}, which others may have made and use: when nobody does, drop it (DROP SCHEMA {name} CASCADE) and reset again"
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
    if problems.is_empty() { Ok(drops) } else { Err(MigratorError::Schema(problems)) }
}

fn makes_beyond_schema(catalog: &Catalog, begun: &Begun) -> bool {
    let file = catalog.get(begun.version).map(|it| it.sql()).unwrap_or_default();
    split(Dialect::Postgres, file).iter().any(|part| made(part.sql).is_some())
}

async fn has_objects(connection: &mut Connection, schema: &str) -> Result<bool, DatabaseError> {
    Ok(connection.query_optional(&HAS_OBJECTS, &[schema.into()]).await?.is_some())
}

fn made(sql: &str) -> Option<Made> {
    let text = |node: &SyntaxNode| node.text().to_string().trim().to_owned();
    let anew = |kind: &str, name: Option<SyntaxNode>| {
        name.map(|name| Made::Anew(format!("DROP {kind} IF EXISTS {} CASCADE", text(&name))))
    };
    let statement = SourceFile::parse(sql).tree().stmts().next()?;
    match &statement {
        Stmt::CreateSchema(schema) => {
            let name = match schema.create_schema_target()? {
                CreateSchemaTarget::NamedSchema(named) => named.schema()?.syntax().clone(),
                CreateSchemaTarget::AuthorizationSchema(of_role) => of_role.role()?.syntax().clone(),
            };
            match schema.if_not_exists() {
                Some(_) => Some(Made::SchemaWhereMissing(text(&name))),
                None => anew("SCHEMA", Some(name)),
            }
        }
        Stmt::CreateExtension(it) if it.if_not_exists().is_none() => {
            anew("EXTENSION", it.extension().map(|it| it.syntax().clone()))
        }
        Stmt::CreateServer(it) if it.if_not_exists().is_none() => {
            anew("SERVER", it.server().map(|it| it.syntax().clone()))
        }
        Stmt::CreateForeignDataWrapper(it) => {
            anew("FOREIGN DATA WRAPPER", it.foreign_data_wrapper().map(|it| it.syntax().clone()))
        }
        Stmt::CreatePublication(it) => anew("PUBLICATION", it.publication().map(|it| it.syntax().clone())),
        Stmt::CreateEventTrigger(it) => {
            anew("EVENT TRIGGER", it.event_trigger().map(|it| it.syntax().clone()))
        }
        Stmt::CreateRole(_)
        | Stmt::CreateUser(_)
        | Stmt::CreateGroup(_)
        | Stmt::CreateDatabase(_)
        | Stmt::CreateTablespace(_)
        | Stmt::CreateSubscription(_) => Some(Made::OfServer),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_no_schema_is_found() {
        let anew = |drop: &str| Some(Made::Anew(drop.to_owned()));
        for (sql, expected) in [
            ("CREATE SCHEMA \"My s\"", anew("DROP SCHEMA IF EXISTS \"My s\" CASCADE")),
            ("create schema authorization joe", anew("DROP SCHEMA IF EXISTS joe CASCADE")),
            ("CREATE SCHEMA IF NOT EXISTS s", Some(Made::SchemaWhereMissing("s".to_owned()))),
            ("CREATE EXTENSION pgcrypto WITH SCHEMA s", anew("DROP EXTENSION IF EXISTS pgcrypto CASCADE")),
            ("CREATE EXTENSION IF NOT EXISTS pgcrypto", None),
            ("CREATE PUBLICATION p FOR ALL TABLES", anew("DROP PUBLICATION IF EXISTS p CASCADE")),
            ("CREATE ROLE reader NOLOGIN", Some(Made::OfServer)),
            ("CREATE TABLE s.t (id bigint)", None),
        ] {
            assert_eq!(made(sql), expected, "{sql}");
        }
    }
}
