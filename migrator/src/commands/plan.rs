//! `plan`: what `up` or `down` would do.

use foundation::database::{Connection, DatabaseErrorKind, DatabaseUrl};
use serde::Serialize;

use super::down::Down;
use super::{Migrator, nothing_in_part};
use crate::error::MigratorError;
use crate::lint::{self, Finding, Rules, Source};
use crate::locks::{self, PlannedStatement};
use crate::past::Past;
use crate::source::{Migration, Version};
use crate::statements::undo_runs_in_parts;

/// What a run would do.
#[derive(Clone, Debug, Serialize)]
pub struct PlanReport {
    /// The database, its password redacted.
    pub database: String,
    /// `up` or `down`.
    pub direction: &'static str,
    /// The newest applied version.
    pub current_version: Option<Version>,
    /// The one that would be the newest afterwards.
    pub target_version: Option<Version>,
    /// What would be applied or taken back, in order.
    pub migrations: Vec<PlannedMigration>,
}

/// A migration that would be applied or taken back.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedMigration {
    /// Its version.
    pub version: Version,
    /// Its name, without the version.
    pub name: String,
    /// Whether it is one transaction; otherwise its statements run one by one.
    pub in_transaction: bool,
    /// The file that would be run.
    pub sql: String,
    /// Its statements, with their locks.
    pub statements: Vec<PlannedStatement>,
    /// What is wrong or dangerous in it.
    pub findings: Vec<Finding>,
}

impl Migrator {
    /// What `up` would apply. Needs SELECT only; a database that is missing is one with nothing in it.
    ///
    /// # Errors
    /// Every reason for which `up` would refuse to begin.
    pub async fn plan_up(&self, to: Option<Version>) -> Result<PlanReport, MigratorError> {
        self.require_known(to)?;
        let past = self.present().await?;
        let mut pending = self.compatible(&past)?;
        pending.retain(|it| to.is_none_or(|to| it.version() <= to));
        self.whole(&past.begun, pending.is_empty())?;
        self.written(&pending)?;
        let migrations: Vec<PlannedMigration> = pending
            .into_iter()
            .map(|migration| {
                let in_transaction = !migration.instructions().no_transaction;
                self.planned(migration.version(), migration.name(), migration.sql(), in_transaction, false)
            })
            .collect();
        let current = past.newest();
        let target = migrations.last().map(|it| it.version).max(current);
        Ok(self.report("up", current, target, migrations))
    }

    /// What `down` would take back.
    ///
    /// # Errors
    /// Every reason for which `down` would refuse to begin.
    pub async fn plan_down(&self, down: Down) -> Result<PlanReport, MigratorError> {
        let past = self.present().await?;
        nothing_in_part(&past.begun)?;
        let undone = self.undone(&past, down)?;
        let mut migrations = Vec::new();
        for applied in undone.iter().rev() {
            let change =
                self.undo(applied, &past.journal).map_err(|reason| MigratorError::Schema(vec![reason]))?;
            let sql = change.file().unwrap_or_default();
            let in_transaction = !undo_runs_in_parts(self.catalog.dialect(), sql);
            migrations.push(self.planned(applied.version, &applied.name, sql, in_transaction, true));
        }
        let left = past
            .applied
            .iter()
            .map(|it| it.version)
            .filter(|it| migrations.iter().all(|gone| gone.version != *it));
        Ok(self.report("down", past.newest(), left.max(), migrations))
    }

    fn planned(
        &self,
        version: Version,
        name: &str,
        sql: &str,
        in_transaction: bool,
        is_undo: bool,
    ) -> PlannedMigration {
        let dialect = self.catalog.dialect();
        let read = self.catalog.get(version).filter(|it| it.file().is_some());
        let file = match (read.and_then(Migration::file), read.and_then(Migration::undo)) {
            (Some(file), _) if !is_undo => file.to_owned(),
            (Some(_), Some(undo)) => undo.file_name.clone(),
            _ => format!("{}{version}__{name}.sql", if is_undo { 'D' } else { 'V' }),
        };
        let findings = match self.catalog.get(version) {
            Some(migration) if !is_undo => lint::lint_migration(&file, dialect, migration, &Rules::default()),
            _ => {
                let no_transaction = read.is_some() && !in_transaction;
                let source = Source { file: &file, text: sql, dialect, is_undo, no_transaction };
                lint::lint(&source, &Rules::default())
            }
        };
        PlannedMigration {
            version,
            name: name.to_owned(),
            in_transaction,
            sql: sql.to_owned(),
            statements: locks::statements(dialect, sql, in_transaction),
            findings,
        }
    }

    fn report(
        &self,
        direction: &'static str,
        current_version: Option<Version>,
        target_version: Option<Version>,
        migrations: Vec<PlannedMigration>,
    ) -> PlanReport {
        let database = self.context.url.to_string();
        PlanReport { database, direction, current_version, target_version, migrations }
    }

    async fn present(&self) -> Result<Past, MigratorError> {
        if let DatabaseUrl::Sqlite(path) = &self.context.url
            && !path.exists()
        {
            return Ok(Past::default());
        }
        let mut connection: Connection = match self.context.connect(self.context.settings.wait_timeout).await
        {
            Ok(connection) => connection,
            Err(MigratorError::Database(error)) if error.kind() == DatabaseErrorKind::MissingDatabase => {
                return Ok(Past::default());
            }
            Err(error) => return Err(error),
        };
        let past = Past::read_whole(&mut connection).await?;
        self.not_elsewhere(&mut connection, &past.applied).await?;
        Ok(past)
    }
}
