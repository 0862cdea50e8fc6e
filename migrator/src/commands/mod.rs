//! What the migrator can do, one file for each command that changes something.

mod backup;
mod down;
mod lint;
mod plan;
mod reset;
mod stamp;
mod up;
mod wait;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use foundation::clock::Clock;
use foundation::database::{Backend, DatabaseUrl};
use foundation::entropy::Entropy;

use crate::error::MigratorError;
use crate::history::{self, Applied, JournalEntry};
use crate::plan::Plan;
use crate::report::StatusReport;
use crate::session::{Context, Session};
use crate::settings::{AdminSettings, Settings};
use crate::source::{Catalog, Dialect, Migration, Version, embedded};
use crate::stop::Stop;

pub use plan::{PlanReport, PlannedMigration};
pub use wait::Awaited;

/// Brings one database to one set of migrations, and back.
#[derive(Clone, Debug)]
pub struct Migrator {
    context: Context,
    catalog: Cow<'static, Arc<Catalog>>,
    /// The administrator that is made with the embedded migrations; other sets know no users.
    admin: Option<AdminSettings>,
    production: bool,
}

impl Migrator {
    /// With the migrations that this release embeds.
    #[must_use]
    pub fn new(settings: &Settings, clock: Clock, entropy: Entropy, stop: Stop) -> Self {
        let dialect = match settings.url() {
            DatabaseUrl::Postgres(_) => Dialect::Postgres,
            DatabaseUrl::Sqlite(_) => Dialect::Sqlite,
        };
        let context = Context {
            url: settings.url().clone(),
            database: settings.foundation.database.clone(),
            settings: settings.migrator.clone(),
            clock,
            entropy,
            stop,
        };
        Self {
            context,
            catalog: Cow::Owned(Arc::new(embedded(dialect).clone())),
            admin: Some(settings.admin.clone()),
            production: settings.is_production(),
        }
    }

    /// With other migrations, for which no administrator is made.
    #[must_use]
    pub fn with_catalog(mut self, catalog: Catalog) -> Self {
        self.catalog = Cow::Owned(Arc::new(catalog));
        self.admin = None;
        self
    }

    /// The migrations.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// How what is applied goes together with the migrations. Needs SELECT only.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn status(&self) -> Result<StatusReport, MigratorError> {
        let mut connection = self.existing().await?;
        let applied = history::read(&mut connection).await?.unwrap_or_default();
        let plan = Plan::new(&self.catalog, &applied);
        let journal =
            if plan.newer.is_empty() { Vec::new() } else { history::read_journal(&mut connection).await? };
        Ok(StatusReport::new(&self.context.url, &self.catalog, &applied, &plan, &journal))
    }

    /// What runs did, oldest first. Needs SELECT only.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn history(&self) -> Result<Vec<JournalEntry>, MigratorError> {
        Ok(history::read_journal(&mut self.existing().await?).await?)
    }

    /// A connection for reading. A SQLite file that is missing is not made by looking at it.
    async fn existing(&self) -> Result<foundation::database::Connection, MigratorError> {
        self.context.require_file()?;
        self.context.connect(Duration::ZERO).await
    }

    /// What is applied, or why it does not go together with the migrations.
    async fn applied(&self, session: &mut Session) -> Result<Vec<Applied>, MigratorError> {
        let applied = history::read(session.connection()).await?.unwrap_or_default();
        let has_newer = !Plan::new(&self.catalog, &applied).newer.is_empty();
        let journal = if has_newer { history::read_journal(session.connection()).await? } else { Vec::new() };
        self.compatible(&applied, &journal)?;
        Ok(applied)
    }

    /// What is pending, or why what is applied does not go together with the migrations.
    fn compatible<'a>(
        &'a self,
        applied: &[Applied],
        journal: &[JournalEntry],
    ) -> Result<Vec<&'a Migration>, MigratorError> {
        let plan = Plan::new(&self.catalog, applied);
        if !plan.conflicts.is_empty() {
            return Err(MigratorError::Schema(plan.conflicts));
        }
        match plan.incompatibility(&self.catalog, journal) {
            Some(reason) => Err(MigratorError::Schema(vec![reason])),
            None => Ok(plan.pending),
        }
    }

    /// Refuses a version that no migration has.
    fn require_known(&self, version: Option<Version>) -> Result<(), MigratorError> {
        match version {
            Some(version) if self.catalog.get(version).is_none() => Err(MigratorError::Usage(format!(
                "there is no migration with the version {version}; `migrator status` lists them"
            ))),
            _ => Ok(()),
        }
    }
}

impl From<Backend> for Dialect {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Postgres => Self::Postgres,
            Backend::Sqlite => Self::Sqlite,
        }
    }
}
