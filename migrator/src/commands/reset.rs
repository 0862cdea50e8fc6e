//! `reset`: empties the database and applies everything again.

use foundation::database::{Backend, Connection};

use super::Migrator;
use super::emptying::{beyond_schema, drop_everything};
use super::made::Thing;
use super::restore_point::Before;
use crate::error::MigratorError;
use crate::records::Records;
use crate::report::UpReport;
use crate::session::{Change, Guard, READING, Session, Work};

impl Migrator {
    /// Drops every table, view, sequence, type and routine of the schema and what else migrations have made anew in
    /// the database (schemas, extensions), then applies all migrations. What they made only where it was missing
    /// stays, and roles and rights do. A SQLite file is emptied, never unlinked, so that programs that have it open
    /// see the same file.
    ///
    /// # Errors
    /// [`MigratorError::Schema`], with nothing dropped, where a migration made what is not its database's alone, or
    /// what somebody else's depends on, or where one is not written yet; and every other [`MigratorError`].
    pub async fn reset(&self) -> Result<UpReport, MigratorError> {
        let mut report = UpReport::new(&self.context.url);
        Box::pin(self.reset_telling(&mut report)).await.map(|()| report)
    }

    /// Does it, and tells in the report what was done, also when that is not all.
    pub(crate) async fn reset_telling(&self, report: &mut UpReport) -> Result<(), MigratorError> {
        let mut session = Session::open(&self.context, true).await?;
        // Nothing is deleted by a run that could not bring it back.
        self.check_settings(&mut session).await?;
        self.written(&self.catalog.iter().collect::<Vec<_>>())?;
        // Before the tables of the migrator are made.
        let reading = async |connection: &mut Connection| {
            let records = Records::read(connection).await?;
            self.not_elsewhere(connection, &records.applied).await.map(|()| records)
        };
        session.ask(READING, reading).await?;
        session.lock().await?;
        let records = session.ask(READING, reading).await?;
        let beyond = Box::pin(beyond_schema(&mut session, &records, &self.catalog)).await?;
        let applied = records.applied;
        let before = Before::new(&applied, None, "reset");
        let restore_point = self.restore_point(&mut session, before).await?;
        let mut sql = drop_everything(session.connection()).await?;
        for Thing { kind, name } in beyond {
            let before = if sql.is_empty() { "" } else { ";\n" };
            sql.push_str(&format!("{before}DROP {kind} IF EXISTS {name} CASCADE"));
        }
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
        let migrator = self.without_restore_points();
        // On the heap, as in `step`: without optimisation these frames are large.
        let applied = Box::pin(migrator.up_telling(None, report)).await;
        report.restore_point = restore_point;
        applied?;
        if report.restore_point.is_some() {
            self.forget_oldest_copies(None);
        }
        Ok(())
    }
}
