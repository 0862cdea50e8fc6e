//! One migration, applied by refinery.
//!
//! refinery's `Runner` says what is run for a migration: its SQL and the row of the history. It takes no
//! lock and would run the two apart on SQLite, so it is given a [`Step`] instead of a driver, which makes
//! one transaction of both, under the lock, with the journal's row.

use std::fmt;

use refinery_core::traits::r#async::{AsyncQuery, AsyncTransaction};
use refinery_core::{AsyncMigrate, Runner};

use crate::error::MigratorError;
use crate::history::{Action, Entry};
use crate::piecewise;
use crate::session::{Change, Guard, Performed, Session, Work};
use crate::source::Migration;

/// Applies one migration, unless somebody else has done it meanwhile.
pub(crate) async fn apply(session: &mut Session, migration: &Migration) -> Result<Performed, MigratorError> {
    let mut step = Step { session, migration, performed: Performed::Skipped, failure: None };
    let runner = Runner::new(std::slice::from_ref(migration.as_refinery()));
    match (runner.run_async(&mut step).await, step.failure) {
        (Ok(_), None) => Ok(step.performed),
        (_, Some(failure)) => Err(failure),
        (Err(error), None) => Err(MigratorError::Schema(vec![error.to_string()])),
    }
}

struct Step<'a> {
    session: &'a mut Session,
    migration: &'a Migration,
    performed: Performed,
    failure: Option<MigratorError>,
}

/// Stands in for the failure, which is kept in the step as it is.
#[derive(Debug)]
struct StepFailed;

impl fmt::Display for StepFailed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the migration failed")
    }
}

impl std::error::Error for StepFailed {}

impl Step<'_> {
    async fn run(&mut self, queries: &[String]) -> Result<Performed, MigratorError> {
        let title = self.migration.display();
        let mut files = queries;
        if self.migration.instructions().no_transaction
            && let Some((_, rest)) = queries.split_first()
        {
            if Box::pin(piecewise::run(self.session, self.migration)).await? == Performed::Skipped {
                return Ok(Performed::Skipped);
            }
            files = rest;
        }
        // The last of them is the row of the history.
        let mut work: Vec<Work> = Vec::new();
        if let Some((record, files)) = files.split_last() {
            work.extend(files.iter().map(|sql| Work::File { sql: sql.clone() }));
            work.extend(self.session.context().grant());
            work.push(Work::Journal(Entry::of(self.migration, Action::Up)));
            work.push(Work::Record { sql: record.clone() });
        }
        let guard = Guard::NotApplied(self.migration.version());
        self.session.perform(&Change { title, guard, work }).await
    }
}

impl AsyncTransaction for Step<'_> {
    type Error = StepFailed;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, StepFailed> {
        let queries: Vec<String> = queries.filter(|query| !query.is_empty()).map(str::to_owned).collect();
        if queries.is_empty() {
            return Ok(0);
        }
        // On the heap: each of the callers would have it in a frame of its own, and without optimisation all of
        // them together fill the stack of a thread.
        match Box::pin(self.run(&queries)).await {
            Ok(performed) => {
                self.performed = performed;
                Ok(queries.len())
            }
            Err(failure) => {
                self.failure = Some(failure);
                Err(StepFailed)
            }
        }
    }
}

impl AsyncQuery<Vec<refinery_core::Migration>> for Step<'_> {
    /// refinery asks what is applied. This step's migration is not: whether that is still so is asked
    /// again inside of its transaction, which is the only place where the answer cannot be stale.
    async fn query(&mut self, _: &str) -> Result<Vec<refinery_core::Migration>, StepFailed> {
        Ok(Vec::new())
    }
}

impl AsyncMigrate for Step<'_> {
    /// The tables of the migrator are made when the lock is taken, once for all migrations.
    fn assert_migrations_table_query(_: &str) -> String {
        String::new()
    }
}
