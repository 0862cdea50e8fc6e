//! What the role of the service may do: read and write the tables, run the functions that were made for it,
//! and nothing about the schema.

use foundation::database::{Backend, Connection, DatabaseError, DatabaseErrorKind, Statement};

use crate::error::MigratorError;
use crate::session::{Change, Guard, Session, Work, no_schema};

/// What gives the role what it lacks on the schema, its tables and sequences, and on the functions that the migrator's
/// role made for others and that PUBLIC may not run. It may read what is the migrator's own.
macro_rules! lacking {
    ($of_relations:literal, $of_routines:literal) => {
        concat!(
            "WITH role AS (SELECT rolname AS name FROM pg_roles WHERE rolname = $1),
       relation AS (
         SELECT c.oid, c.relkind, c.relname, n.nspname, c.relispartition,
           c.relname = 'refinery_schema_history' OR c.relname ^@ 'migrator_' AS own
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
           -- Who made a foreign table says who may use what is elsewhere.
           AND (c.relkind <> 'f' OR pg_get_userbyid(c.relowner) = current_user)
           -- What belongs to an extension has the rights that its author gave.
           AND (SELECT count(*) FROM pg_depend d
             WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') = 0",
            $of_relations, ")
     SELECT sql FROM (
       SELECT 1 AS part, '' AS name, format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), role.name) AS sql
       FROM role WHERE NOT has_schema_privilege(role.name, current_schema(), 'USAGE')
       UNION ALL
       SELECT 2, relname, format('GRANT %s ON %I.%I TO %I',
           CASE WHEN own THEN 'SELECT' ELSE 'SELECT, INSERT, UPDATE, DELETE' END, nspname, relname, role.name)
       FROM relation CROSS JOIN role
       WHERE relkind <> 'S' AND NOT relispartition
         -- Partitions on their way out are read only, and may be gone at any moment.
         AND relname !~ '^metrics_snapshot_detached_[0-9]+$'
         AND NOT CASE WHEN own OR relkind IN ('v', 'm') THEN has_table_privilege(role.name, oid, 'SELECT')
           ELSE has_table_privilege(role.name, oid, 'SELECT') AND has_table_privilege(role.name, oid, 'INSERT')
             AND has_table_privilege(role.name, oid, 'UPDATE') AND has_table_privilege(role.name, oid, 'DELETE') END
       UNION ALL
       SELECT 3, relname, format('GRANT USAGE, SELECT ON SEQUENCE %I.%I TO %I', nspname, relname, role.name)
       FROM relation CROSS JOIN role
       -- CASE, because AND has no order and the function refuses what is no sequence.
       WHERE CASE WHEN relkind = 'S' THEN NOT has_sequence_privilege(role.name, oid, 'USAGE') ELSE false END
         -- Counted, because EXISTS reads all of both catalogs first.
         AND (SELECT count(*) FROM pg_depend d JOIN pg_class t ON t.oid = d.refobjid
           WHERE d.classid = 'pg_class'::regclass AND d.objid = relation.oid AND d.deptype IN ('i', 'a')
             AND (t.relname = 'refinery_schema_history' OR t.relname ^@ 'migrator_')) = 0
       UNION ALL
       SELECT 4, p.proname, format('GRANT EXECUTE ON ROUTINE %s TO %I', CAST(p.oid AS regprocedure), role.name)
       FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace CROSS JOIN role
       WHERE n.nspname = current_schema() AND pg_get_userbyid(p.proowner) = current_user
         AND NOT has_function_privilege(role.name, p.oid, 'EXECUTE')
         AND (SELECT count(*) FROM pg_depend d
           WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e') = 0",
            $of_routines, "
     ) AS lacking ORDER BY part, name, sql"
        )
    };
}

const LACKING: Statement = Statement::read("pg_class", lacking!("", ""));

/// The same of what this transaction has made or changed; what a later one did may be among it. After a migration
/// nothing else has to be looked at, however many tables there are.
const LACKING_NOW: Statement =
    Statement::read("pg_class", lacking!(" AND age(c.xmin) <= 0", " AND age(p.xmin) <= 0"));

const ROLE: Statement = Statement::read(
    "pg_roles",
    "SELECT current_schema() IS NOT NULL AS has_schema FROM pg_roles WHERE rolname = $1",
);

/// The change that gives the role what it lacks; nothing when it lacks nothing, or no role is named.
pub(crate) async fn missing(session: &mut Session) -> Result<Option<Change>, MigratorError> {
    let Some(role) = session.context().settings.grant_to.clone() else { return Ok(None) };
    if session.backend() == Backend::Sqlite {
        return Ok(None);
    }
    let no_schema = no_schema(session.context());
    let asking = async |connection: &mut Connection| lacked(connection, &role, no_schema).await;
    let sql = session.ask("looking for missing rights", asking).await?;
    let title = format!("the grants for {role}");
    Ok((!sql.is_empty()).then(|| Change { title, guard: Guard::None, work: vec![Work::File { sql }] }))
}

/// What gives the role what it lacks on everything.
async fn lacked(
    connection: &mut Connection,
    role: &str,
    no_schema: MigratorError,
) -> Result<String, MigratorError> {
    let Some(found) = connection.query_optional(&ROLE, &[role.into()]).await? else {
        return Err(MigratorError::Settings(format!(
            "MIGRATOR_GRANT_TO names the role {role}, which does not exist; make it (deploy/postgres has a script) or correct the name"
        )));
    };
    if !found.get::<bool>("has_schema")? {
        return Err(no_schema);
    }
    Ok(lacking(connection, &LACKING, role).await?)
}

/// Gives the role what it lacks on what this transaction has made: the service, which goes on meanwhile, is never
/// without its rights. Where the transaction has no file in it, because its statements ran in parts before, on
/// everything. Whether it lacked anything.
pub(crate) async fn give(
    connection: &mut Connection,
    role: &str,
    has_file: bool,
) -> Result<bool, DatabaseError> {
    if connection.backend() == Backend::Sqlite {
        return Ok(false);
    }
    let statement = if has_file { &LACKING_NOW } else { &LACKING };
    let sql = lacking(connection, statement, role).await?;
    if !sql.is_empty() {
        connection.batch(&sql).await?;
    }
    Ok(!sql.is_empty())
}

/// The statements that give the role what it lacks.
async fn lacking(
    connection: &mut Connection,
    statement: &Statement,
    role: &str,
) -> Result<String, DatabaseError> {
    let rows = connection.query(statement, &[role.into()]).await?;
    let statements: Vec<String> = rows.iter().map(|row| row.get("sql")).collect::<Result<_, _>>()?;
    Ok(statements.join(";\n"))
}

/// Says who may give rights on a table.
pub(crate) fn explain(error: MigratorError) -> MigratorError {
    match error {
        MigratorError::Failed { source, .. } if source.kind() == DatabaseErrorKind::InsufficientPrivilege => {
            not_allowed(&source)
        }
        error => error,
    }
}

/// What is said where they may not be given.
pub(crate) fn not_allowed(error: &DatabaseError) -> MigratorError {
    MigratorError::Settings(format!(
        "the rights of MIGRATOR_GRANT_TO cannot be given, because the migrator's role does not own every table of the schema: {error}"
    ))
}
