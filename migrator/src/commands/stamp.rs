//! `stamp`: says what is applied without running it.

use foundation::database::Connection;

use super::Migrator;
use crate::error::MigratorError;
use crate::history::{self, Action, Applied, Entry};
use crate::report::StampReport;
use crate::session::{Change, Guard, READING, Session, Work};
use crate::snapshot;
use crate::source::Version;

impl Migrator {
    /// Makes the history say that exactly the migrations up to and with `version` are applied, without
    /// running anything; 0 empties it. For a database that was brought to that schema in another way: one that is
    /// missing is not made.
    ///
    /// # Errors
    /// [`MigratorError::Usage`] when there is no such version, [`MigratorError::Settings`] when there is no such file
    /// or schema, and what the database says.
    pub async fn stamp(&self, version: Version) -> Result<StampReport, MigratorError> {
        if version != 0 && self.catalog.get(version).is_none() {
            return Err(MigratorError::Usage(format!(
                "there is no migration with the version {version}; `migrator status` lists them"
            )));
        }
        let mut session = Session::open(&self.context, false).await?;
        let reading = async |connection: &mut Connection| {
            let applied = history::read(connection).await?.unwrap_or_default();
            self.not_elsewhere(connection, &applied).await.map(|()| applied)
        };
        session.ask(READING, reading).await?;
        session.lock().await?;
        let applied = session.ask(READING, reading).await?;
        let mut work = Vec::new();
        for row in applied.iter().filter(|it| it.version > version || !self.knows(it)) {
            work.push(Work::Forget(row.version));
            work.push(Work::Journal(Entry::gone(row, Action::Unstamp)));
        }
        for migration in self.catalog.iter().filter(|it| it.version() <= version) {
            if applied.iter().any(|it| it.version == migration.version() && self.knows(it)) {
                continue;
            }
            work.push(Work::Remember(Box::new(migration.clone())));
            work.push(Work::Journal(Entry::of(migration, Action::Stamp)));
        }
        let changed = !work.is_empty();
        if changed {
            let title = format!("the stamp {version}");
            session.perform(&Change { title, guard: Guard::None, work }).await?;
            snapshot::record(&mut session).await;
        }
        Ok(StampReport::new(&self.context.url, version, changed))
    }

    /// Whether the row stands for the migration as this release has it.
    fn knows(&self, applied: &Applied) -> bool {
        self.catalog.get(applied.version).is_some_and(|migration| applied.is(migration))
    }
}
