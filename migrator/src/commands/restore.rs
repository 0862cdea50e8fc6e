//! `restore`: puts a database back to what a backup has.

use std::path::Path;
use std::time::Duration;

use foundation::database::{Backend, DatabaseUrl, Statement};

use super::Migrator;
use super::emptying::drop_everything;
use super::restore_point::Before;
use crate::error::MigratorError;
use crate::history;
use crate::past::Past;
use crate::programs::postgres as tools;
use crate::report::RestoreReport;
use crate::session::Session;
use crate::structure::names::quote_name;

/// Whether anything is in the database, or in the schema of this name, that a backup could bring too; what
/// belongs to an extension is not.
const ANYTHING_ON_POSTGRES: Statement = Statement::read(
    "pg_class",
    "SELECT 1 AS it WHERE EXISTS (
       SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND CAST($1 AS text) IN ('', n.nspname)
          AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))
     OR EXISTS (
       SELECT 1 FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND CAST($1 AS text) IN ('', n.nspname)
          AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'))
     OR EXISTS (
       SELECT 1 FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND CAST($1 AS text) IN ('', n.nspname) AND t.typtype IN ('e', 'd')
          AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'))",
);

const ANYTHING_IN_SQLITE: Statement = Statement::read(
    "sqlite_schema",
    "SELECT 1 AS it FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' LIMIT 1",
);

/// Every schema but those that each database has, and in which an extension lives: one of those stays, because
/// the extension does.
const SCHEMAS: Statement = Statement::read(
    "pg_namespace",
    "SELECT nspname::text AS name, format('DROP SCHEMA IF EXISTS %I CASCADE', nspname) AS drop,
       EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
         OR EXISTS (SELECT 1 FROM pg_extension e WHERE e.extnamespace = n.oid) AS is_of_extension
     FROM pg_namespace n WHERE nspname <> 'information_schema' AND nspname !~ '^pg_' AND nspname <> 'public'
     ORDER BY nspname",
);

/// How long dropping what is there waits for those who use it, before the restore is given up.
const LOCK_TIMEOUT: &str = "30s";

impl Migrator {
    /// Puts the database back to what `file` has, as [`backup`](Self::backup) made it, or `pg_dump
    /// --format=custom`. All of it or nothing: until it is done the database is what it was. Other migrators
    /// wait meanwhile. With `replace`, what is there is replaced, after a restore point was made of it.
    ///
    /// Whatever the backup says of rights is restored, and the roles that it names have to exist; what it has
    /// belongs to the role that restores it.
    ///
    /// # Errors
    /// [`MigratorError::Usage`] when there is something in the database and `replace` is not said, or there is
    /// no `file`; [`MigratorError::Backup`] when the programs of PostgreSQL are missing or too old, or `file` is
    /// no backup; [`MigratorError::BackupFailed`] when they fail.
    pub async fn restore(&self, file: &Path, replace: bool) -> Result<RestoreReport, MigratorError> {
        let shown = file.display();
        if !file.is_file() {
            return Err(MigratorError::Usage(format!("there is no backup {shown}")));
        }
        let is_postgres = matches!(self.context.url, DatabaseUrl::Postgres(_));
        if is_postgres {
            for name in ["pg_restore", "psql"] {
                tools::version(&self.context, name).await?;
            }
            tools::read_back(&self.context, file).await.map_err(tools::lasting)?;
        }
        let mut session = Session::open_without_schema(&self.context, true).await?;
        if is_postgres {
            for name in ["pg_restore", "psql"] {
                tools::not_older(&self.context, session.connection(), name).await?;
            }
        }
        session.lock_alone().await?;
        let restore_point = self.make_room(&mut session, file, replace).await?;
        if is_postgres {
            let sql = self.emptying(&mut session, file).await?;
            tools::restore(session.context(), file, &sql).await?;
        } else {
            session.connection().replace_by(file).await?;
        }
        tracing::info!(file = %shown, "restored");
        if restore_point.is_some() {
            self.forget_oldest_copies(Some(file));
        }
        let mut report = RestoreReport {
            database: self.context.url.to_string(),
            file: shown.to_string(),
            current_version: None,
            pending: 0,
            restore_point,
            problems: Vec::new(),
        };
        match self.restored().await {
            Ok(past) => {
                let plan = self.plan_of(&past);
                report.current_version = past.newest();
                report.pending = plan.pending.len();
                report.problems = plan.reasons();
            }
            Err(error) => report.problems.push(format!("it is restored, and cannot be read: {error}")),
        }
        Ok(report)
    }

    /// What is applied afterwards, as whoever connects next finds it.
    async fn restored(&self) -> Result<Past, MigratorError> {
        let mut connection = self.context.for_writing().connect(Duration::ZERO).await?;
        Ok(Past::read(&mut connection, &self.catalog).await?)
    }

    /// Refuses a database with something in it, or makes the way back to that.
    async fn make_room(
        &self,
        session: &mut Session,
        file: &Path,
        replace: bool,
    ) -> Result<Option<String>, MigratorError> {
        let schema = self.context.database.schema.as_deref().unwrap_or_default();
        let anything = match session.backend() {
            Backend::Postgres => {
                session.connection().query_optional(&ANYTHING_ON_POSTGRES, &[schema.into()]).await?
            }
            Backend::Sqlite => session.connection().query_optional(&ANYTHING_IN_SQLITE, &[]).await?,
        };
        if anything.is_none() {
            return Ok(None);
        }
        if !replace {
            return Err(MigratorError::Usage(format!(
                "there is something in {} already, and it would be gone: name an empty database, or say --replace",
                self.context.url
            )));
        }
        let applied = history::read(session.connection()).await?.unwrap_or_default();
        self.restore_point(session, Before::new(&applied, None, "restore").sparing(file)).await
    }

    /// What stands before the backup in its transaction: everything goes that is where the backup belongs. Others
    /// keep their schemas: where the settings name one it is that alone, and otherwise those that the backup
    /// makes, and what is in the current one. `public` is emptied and stays, with its owner and its rights.
    async fn emptying(&self, session: &mut Session, file: &Path) -> Result<String, MigratorError> {
        let mut sql = "BEGIN;\n".to_owned();
        if let Some(role) = &self.context.settings.role {
            // As the sessions of the migrator do, so that what is made belongs to it.
            sql.push_str(&format!("SET LOCAL ROLE \"{}\";\n", role.replace('"', "\"\"")));
        }
        sql.push_str(&format!(
            "SET LOCAL lock_timeout = '{LOCK_TIMEOUT}';\nSET LOCAL client_min_messages = warning;\n"
        ));
        let named = self.context.database.schema.as_deref();
        let mut made = match named {
            Some(_) => Vec::new(),
            None => tools::made(&self.context, file).await?,
        };
        // Event triggers first, which would see the rest go.
        made.sort_by_key(|it| it.kind != "EVENT TRIGGER");
        for it in made.iter().filter(|it| it.kind != "SCHEMA") {
            sql.push_str(&format!("DROP {} IF EXISTS {} CASCADE;\n", it.kind, quote_name(&it.name)));
        }
        let is_made = |name: &str| made.iter().any(|it| it.kind == "SCHEMA" && it.name == name);
        for row in session.connection().query(&SCHEMAS, &[]).await? {
            let name: String = row.get("name")?;
            if !(named == Some(&name) || is_made(&name)) {
                continue;
            }
            if !row.get::<bool>("is_of_extension")? {
                sql.push_str(&format!("{};\n", row.get::<String>("drop")?));
            } else if named.is_some() {
                return Err(MigratorError::Settings(format!(
                    "an extension lives in the schema {name}, which would go with it and is not in its backup; move it elsewhere (ALTER EXTENSION ... SET SCHEMA), and restore again"
                )));
            }
        }
        if named.is_none_or(|it| it == "public") {
            let drops = drop_everything(session.connection()).await?;
            if !drops.is_empty() {
                sql.push_str(&format!("{drops};\n"));
            }
        }
        Ok(sql)
    }
}
