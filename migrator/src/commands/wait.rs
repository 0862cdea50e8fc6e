//! `wait`: returns when the database, or its schema, is there.

use std::time::Duration;

use foundation::database::{DatabaseError, DatabaseErrorKind, DatabaseUrl};
use tokio::time::{Instant, timeout};

use super::Migrator;
use crate::error::MigratorError;
use crate::schema;

/// What `wait` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Awaited {
    /// The database answers.
    Database,
    /// The migrations of this release are applied.
    Schema,
}

/// How often is asked.
const INTERVAL: Duration = Duration::from_millis(500);

impl Migrator {
    /// Asks until the answer is yes. Changes nothing, and makes no file.
    ///
    /// # Errors
    /// [`MigratorError::TimedOut`] with the last reason, and at once what waiting does not mend: wrong
    /// settings, a schema that diverges or is too new.
    pub async fn wait(&self, awaited: Awaited, limit: Duration) -> Result<(), MigratorError> {
        let deadline = Instant::now() + limit;
        loop {
            // A question takes a moment even when no time is left: `--timeout 0s` asks once.
            let left = deadline.saturating_duration_since(Instant::now()).max(INTERVAL);
            let reason = match timeout(left, self.ask(awaited)).await {
                Ok(Ok(None)) => return Ok(()),
                Ok(Ok(Some(reason))) => reason,
                Ok(Err(error)) => return Err(error),
                Err(_) => "the database does not answer".to_owned(),
            };
            if Instant::now() + INTERVAL > deadline {
                return Err(MigratorError::TimedOut(reason));
            }
            tracing::info!(reason, "waiting");
            self.context.pause(INTERVAL).await?;
        }
    }

    /// Why it is not there yet, or nothing when it is.
    async fn ask(&self, awaited: Awaited) -> Result<Option<String>, MigratorError> {
        if let DatabaseUrl::Sqlite(path) = &self.context.url
            && !path.exists()
        {
            return Ok(Some(format!("there is no file {}", path.display())));
        }
        let mut connection = match self.context.connect(Duration::ZERO).await {
            Ok(connection) => connection,
            Err(MigratorError::Database(error)) if may_come(&error) => return Ok(Some(error.to_string())),
            Err(error) => return Err(error),
        };
        if awaited == Awaited::Database {
            return Ok(None);
        }
        match schema::inspect_as(&mut connection, &self.catalog, self.context.settings.out_of_order).await {
            Ok(report) => match report.state {
                schema::SchemaState::Divergent(reasons) => Err(MigratorError::Schema(reasons)),
                schema::SchemaState::TooNew(reason) => Err(MigratorError::Schema(vec![reason])),
                _ => Ok(report.refusal()),
            },
            Err(error) if may_come(&error) => Ok(Some(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }
}

/// The migrator may be about to make the database and to give the rights.
fn may_come(error: &DatabaseError) -> bool {
    error.is_transient()
        || matches!(
            error.kind(),
            DatabaseErrorKind::MissingDatabase | DatabaseErrorKind::InsufficientPrivilege
        )
}
