//! `check`: whether the schema is the one that the applied migrations produce.

use serde::Serialize;
use time::OffsetDateTime;

use super::Migrator;
use crate::error::MigratorError;
use crate::history::Applied;
use crate::scratch;
use crate::snapshot;
use crate::source::{Migration, Version};
use crate::structure::names::quote_name;
use crate::structure::{Difference, Partitions, Structure, difference, mend};

/// What `check` found.
#[derive(Clone, Debug, Serialize)]
pub struct CheckReport {
    /// The database, its password redacted.
    pub database: String,
    /// What it was compared with, in words.
    pub compared_with: String,
    /// The newest applied version.
    pub current_version: Option<Version>,
    /// What is not as the applied migrations made it.
    pub differences: Vec<Difference>,
    /// The SQL that would mend it.
    pub sql: Vec<String>,
    /// What that SQL does not mend, and what to look at before it is run.
    pub remarks: Vec<String>,
    /// The migrations that are not applied.
    pub pending: Vec<String>,
}

impl CheckReport {
    /// Whether there is neither drift nor anything pending.
    #[must_use]
    pub fn clean(&self) -> bool {
        self.differences.is_empty() && self.pending.is_empty()
    }

    /// The same for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        if self.differences.is_empty() {
            lines.push(format!(
                "the schema is as the applied migrations made it (compared with {})",
                self.compared_with
            ));
        } else {
            lines.push(format!(
                "the schema is not as the applied migrations made it (compared with {}):",
                self.compared_with
            ));
            lines.extend(self.differences.iter().map(|it| format!("  {it}")));
        }
        if !self.sql.is_empty() {
            lines.push("what would mend it:".to_owned());
            lines.extend(self.sql.iter().map(|it| format!("  {};", it.replace('\n', "\n  "))));
        }
        lines.extend(self.remarks.iter().map(|it| format!("look at: {it}")));
        if !self.pending.is_empty() {
            lines.push(format!("pending: {}; `migrator up` applies them", self.pending.join(", ")));
        }
        lines.join("\n")
    }
}

impl Migrator {
    /// Compares the schema with the one that the last run left, or, with `against_scratch` and where no run
    /// left one, with what the applied migrations make of an empty scratch database. Changes nothing.
    ///
    /// # Errors
    /// Every [`MigratorError`]; drift and what is pending is told in the report.
    pub async fn check(&self, against_scratch: bool) -> Result<CheckReport, MigratorError> {
        let mut connection = self.existing().await?;
        let past = self.read_past(&mut connection).await?;
        let (plan, applied) = (self.plan_of(&past), &past.applied);
        if !plan.conflicts.is_empty() {
            return Err(MigratorError::Schema(plan.reasons()));
        }
        let snapshot = if against_scratch { None } else { snapshot::read(&mut connection, applied).await? };
        let mut found = Structure::read(&mut connection).await?;
        drop(connection);
        let (expected, compared_with) = match snapshot {
            Some(it) => (it.structure, format!("what the last run left on {}", at(it.recorded_at))),
            None => {
                let mut expected = self.rebuilt(applied).await?;
                for structure in [&mut found, &mut expected] {
                    self.leave_out_given_rights(structure);
                }
                (expected, "a scratch database".to_owned())
            }
        };
        let differences = difference(&found, &expected, Partitions::OfTheSchema);
        let way = if differences.is_empty() { Default::default() } else { mend(&found, &expected) };
        Ok(CheckReport {
            database: self.context.url.to_string(),
            compared_with,
            current_version: past.newest(),
            differences,
            sql: way.statements,
            remarks: [way.unsaid, way.warnings].concat(),
            pending: plan.pending.iter().map(|it| it.display()).collect(),
        })
    }

    /// What the applied migrations make of an empty database.
    async fn rebuilt(&self, applied: &[Applied]) -> Result<Structure, MigratorError> {
        let known = |it: &Applied| {
            self.catalog.get(it.version).ok_or_else(|| {
                MigratorError::Schema(vec![format!(
                    "{} is applied and this release does not know it, so the schema cannot be built anew; check with the release that has it",
                    it.display()
                )])
            })
        };
        let migrations: Vec<&Migration> = applied.iter().map(known).collect::<Result<_, _>>()?;
        scratch::with(&self.context, async |connection| {
            for migration in migrations {
                let nothing = &mut async |_: &mut foundation::database::Connection, _: &str| Ok(());
                Box::pin(scratch::run_migration(connection, migration, nothing)).await?;
            }
            Ok(Structure::read(connection).await?)
        })
        .await
    }

    /// The rights of MIGRATOR_GRANT_TO are no migration's.
    fn leave_out_given_rights(&self, structure: &mut Structure) {
        if let Some(role) = &self.context.settings.grant_to {
            structure.grants.retain(|it| it.to != *role && it.to != quote_name(role));
        }
    }
}

fn at(time: OffsetDateTime) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    time.to_utc().format(format).unwrap_or_default()
}
