//! What the role of the service may do: read and write the tables, run the functions that were made for it,
//! and nothing about the schema.

use foundation::database::{Backend, DatabaseErrorKind, Row, Statement};

use crate::error::MigratorError;
use crate::session::{Change, Guard, Session, Work, no_schema};

/// The tables of the schema on which the role lacks something. It may read what is the migrator's own.
const MISSING: Statement = Statement::read(
    "pg_class",
    "SELECT quote_ident(n.nspname) AS schema, quote_ident(c.relname) AS name,
       (c.relname = 'refinery_schema_history' OR c.relname ^@ 'migrator_') AS own
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition
       -- Partitions on their way out are read only, and may be gone at any moment.
       AND c.relname !~ '^metrics_snapshot_detached_[0-9]+$'
       AND NOT CASE WHEN c.relname = 'refinery_schema_history' OR c.relname ^@ 'migrator_' OR c.relkind IN ('v', 'm')
         THEN has_table_privilege($1, c.oid, 'SELECT')
         ELSE has_table_privilege($1, c.oid, 'SELECT') AND has_table_privilege($1, c.oid, 'INSERT')
           AND has_table_privilege($1, c.oid, 'UPDATE') AND has_table_privilege($1, c.oid, 'DELETE') END
     ORDER BY c.relname",
);

const MISSING_SEQUENCES: Statement = Statement::read(
    "pg_class",
    "SELECT quote_ident(n.nspname) AS schema, quote_ident(c.relname) AS name
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = current_schema()
       -- CASE, because AND has no order and the function refuses what is no sequence.
       AND CASE WHEN c.relkind = 'S' THEN NOT has_sequence_privilege($1, c.oid, 'USAGE') ELSE false END
       AND NOT EXISTS (SELECT 1 FROM pg_depend d JOIN pg_class t ON t.oid = d.refobjid WHERE d.objid = c.oid
         AND d.deptype IN ('i', 'a') AND (t.relname = 'refinery_schema_history' OR t.relname ^@ 'migrator_'))
     ORDER BY c.relname",
);

/// The functions that the migrator's role made for others and that PUBLIC may not run.
const MISSING_ROUTINES: Statement = Statement::read(
    "pg_proc",
    "SELECT CAST(CAST(p.oid AS regprocedure) AS text) AS signature
     FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname = current_schema() AND pg_get_userbyid(p.proowner) = current_user
       AND NOT has_function_privilege($1, p.oid, 'EXECUTE')
       AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
     ORDER BY 1",
);

const QUOTED: Statement = Statement::read(
    "pg_roles",
    "SELECT quote_ident(rolname) AS role, quote_ident(current_schema()) AS schema,
       has_schema_privilege(rolname, current_schema(), 'USAGE') AS usable FROM pg_roles WHERE rolname = $1",
);

/// The change that gives the role what it lacks; nothing when it lacks nothing, or no role is named.
pub(crate) async fn missing(session: &mut Session) -> Result<Option<Change>, MigratorError> {
    let Some(role) = session.context().settings.grant_to.clone() else { return Ok(None) };
    if session.backend() == Backend::Sqlite {
        return Ok(None);
    }
    let named = [role.as_str().into()];
    let Some(quoted) = session.connection().query_optional(&QUOTED, &named).await? else {
        return Err(MigratorError::Settings(format!(
            "MIGRATOR_GRANT_TO names the role {role}, which does not exist; make it (deploy/postgres has a script) or correct the name"
        )));
    };
    let role: String = quoted.get("role")?;
    let Some(schema) = quoted.get::<Option<String>>("schema")? else {
        return Err(no_schema(session.context()));
    };
    let mut statements = Vec::new();
    if !quoted.get::<bool>("usable")? {
        statements.push(format!("GRANT USAGE ON SCHEMA {schema} TO {role}"));
    }
    let qualified = |row: &Row| {
        Ok::<_, MigratorError>(format!("{}.{}", row.get::<String>("schema")?, row.get::<String>("name")?))
    };
    for row in session.connection().query(&MISSING, &named).await? {
        let rights = if row.get("own")? { "SELECT" } else { "SELECT, INSERT, UPDATE, DELETE" };
        statements.push(format!("GRANT {rights} ON {} TO {role}", qualified(&row)?));
    }
    for row in session.connection().query(&MISSING_SEQUENCES, &named).await? {
        statements.push(format!("GRANT USAGE, SELECT ON SEQUENCE {} TO {role}", qualified(&row)?));
    }
    for row in session.connection().query(&MISSING_ROUTINES, &named).await? {
        let signature: String = row.get("signature")?;
        statements.push(format!("GRANT EXECUTE ON ROUTINE {signature} TO {role}"));
    }
    if statements.is_empty() {
        return Ok(None);
    }
    let sql = statements.join(";\n");
    let title = format!("the grants for {role}");
    Ok(Some(Change { title, guard: Guard::None, work: vec![Work::File { sql }] }))
}

/// Says who may give rights on a table.
pub(crate) fn explain(error: MigratorError) -> MigratorError {
    match error {
        MigratorError::Failed { source, .. } if source.kind() == DatabaseErrorKind::InsufficientPrivilege => {
            MigratorError::Settings(format!(
                "the rights of MIGRATOR_GRANT_TO cannot be given, because the migrator's role does not own every table of the schema: {source}"
            ))
        }
        error => error,
    }
}
