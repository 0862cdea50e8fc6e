//! `reset`: empties the database and applies everything again.

use foundation::database::{Backend, Connection, DatabaseError, Statement};

use super::Migrator;
use super::restore_point::Before;
use crate::error::MigratorError;
use crate::history;
use crate::report::UpReport;
use crate::session::{Change, Guard, Session, Work};

/// Everything of the current schema and what drops it, but for what belongs to an extension, or to a table
/// and goes with it (a sequence of a column). CASCADE takes along what hangs on something, so it may be
/// gone when its turn comes (IF EXISTS).
const EVERYTHING_ON_POSTGRES: Statement = Statement::read(
    "pg_class",
    "SELECT format('DROP %s IF EXISTS %I.%I CASCADE', kind, n.nspname, name) AS drop FROM (
       SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS kind,
         relnamespace AS namespace, relname::text AS name, 'pg_class'::regclass AS catalog, oid
         FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
       UNION ALL SELECT CASE typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, typnamespace, typname::text, 'pg_type'::regclass, oid
         FROM pg_type WHERE typtype IN ('e', 'd', 'r') OR (typtype = 'c' AND (SELECT relkind = 'c' FROM pg_class WHERE oid = typrelid))
     ) AS object JOIN pg_namespace n ON n.oid = object.namespace
     WHERE n.nspname = current_schema()
       AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = object.catalog AND d.objid = object.oid
         -- A column that a table is partitioned by depends on that table itself.
         AND d.objsubid = 0 AND d.deptype IN ('e', 'i', 'a'))
     UNION ALL
     SELECT format('DROP ROUTINE IF EXISTS %s CASCADE', p.oid::regprocedure) FROM pg_proc p
       JOIN pg_namespace n ON n.oid = p.pronamespace
       WHERE n.nspname = current_schema() AND p.prokind <> 'a'
         AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')",
);

/// Everything of the file; a table takes its indexes and triggers along.
const EVERYTHING_IN_SQLITE: Statement = Statement::read(
    "sqlite_schema",
    "SELECT 'DROP ' || upper(type) || ' IF EXISTS \"' || replace(name, '\"', '\"\"') || '\"' AS \"drop\" FROM sqlite_schema
     WHERE type IN ('view', 'table') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type DESC",
);

impl Migrator {
    /// Drops every table, view, sequence, type and routine of the schema, then applies all migrations.
    /// Extensions, roles and rights stay. A SQLite file is emptied, never unlinked, so that programs that
    /// have it open see the same file.
    ///
    /// # Errors
    /// Every [`MigratorError`].
    pub async fn reset(&self) -> Result<UpReport, MigratorError> {
        let mut session = Session::open(&self.context, true).await?;
        // Nothing is deleted by a run that could not bring it back.
        self.check_settings(&mut session).await?;
        session.lock().await?;
        let applied = history::read(session.connection()).await?.unwrap_or_default();
        let before = Before::new(&applied, None, "reset");
        let restore_point = self.restore_point(&mut session, before).await?;
        let sql = drop_everything(session.connection()).await?;
        if !sql.is_empty() {
            let title = "the reset".to_owned();
            let quiet = match session.backend() {
                Backend::Postgres => "SET LOCAL client_min_messages = warning;\n",
                Backend::Sqlite => "",
            };
            let sql = format!("{quiet}{sql}");
            session.perform(&Change { title, guard: Guard::None, work: vec![Work::File { sql }] }).await?;
        }
        if session.backend() == Backend::Sqlite
            && let Err(error) = session.perform_without_transaction("the reset", "VACUUM").await
        {
            tracing::warn!(error = %error, "the file keeps its size, because others use it");
        }
        drop(session);
        // There is nothing to come back to any more.
        let mut report = self.without_restore_points().up(None).await?;
        report.restore_point = restore_point;
        if report.restore_point.is_some() {
            self.forget_oldest_copies(None);
        }
        Ok(report)
    }
}

pub(super) async fn drop_everything(connection: &mut Connection) -> Result<String, DatabaseError> {
    let statement = match connection.backend() {
        Backend::Postgres => &EVERYTHING_ON_POSTGRES,
        Backend::Sqlite => &EVERYTHING_IN_SQLITE,
    };
    let rows = connection.query(statement, &[]).await?;
    let drops: Vec<String> = rows.iter().map(|row| row.get("drop")).collect::<Result<_, _>>()?;
    Ok(drops.join(";\n"))
}
