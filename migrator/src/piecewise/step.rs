//! One part of a file: run, recorded, and taken up again where a run was interrupted.

use foundation::database::Backend;

use super::effect::{Effect, Trace};
use super::units::{Mode, Unit};
use crate::error::MigratorError;
use crate::progress::{Known, Piece};
use crate::session::{Change, Guard, Session, Work};

/// PostgreSQL's words for a statement that refuses to run in a transaction, and for one that ends the
/// transaction in which it runs.
const NOT_IN_A_TRANSACTION: [&str; 2] = ["25001", "2D000"];

/// Runs a statement outside of a transaction with the settings of its file, which end with it.
async fn alone(session: &mut Session, title: &str, settings: &str, sql: &str) -> Result<(), MigratorError> {
    if settings.is_empty() {
        return session.perform_without_transaction(title, sql).await;
    }
    session.begin_parts().await?;
    let done = match session.perform_without_transaction(title, settings).await {
        Ok(()) => session.perform_without_transaction(title, sql).await,
        failed => failed,
    };
    let returned = session.end_parts().await;
    done.and(returned)
}

pub(super) struct Step<'a> {
    pub(super) title: String,
    pub(super) unit: &'a Unit<'a>,
    pub(super) piece: Piece,
    /// What the file has set for this session before it.
    pub(super) settings: &'a str,
}

impl Step<'_> {
    pub(super) async fn run(
        &self,
        session: &mut Session,
        known: Option<&Known>,
    ) -> Result<(), MigratorError> {
        if self.unit.mode == Mode::EachSession {
            return session.perform_without_transaction(&self.title, self.unit.part.sql).await;
        }
        if known.is_some() {
            return Box::pin(self.resume(session)).await;
        }
        if self.unit.mode == Mode::Transaction {
            let sql = format!("{}{}", self.settings, self.unit.part.sql);
            match self.record(session, vec![Work::File { sql }, Work::Finish(self.piece.clone())]).await {
                Err(MigratorError::Failed { source, .. })
                    if source.sqlstate().is_some_and(|state| NOT_IN_A_TRANSACTION.contains(&state)) => {}
                performed => return performed,
            }
        }
        Box::pin(self.alone(session)).await
    }

    async fn alone(&self, session: &mut Session) -> Result<(), MigratorError> {
        self.record(session, vec![Work::Begin(self.piece.clone())]).await?;
        Box::pin(self.again(session)).await
    }

    async fn again(&self, session: &mut Session) -> Result<(), MigratorError> {
        let done = alone(session, &self.title, self.settings, self.unit.part.sql).await;
        if let Err(error) = done {
            if matches!(error, MigratorError::FailedInPart { .. })
                && let Err(error) = Box::pin(self.clean_up(session)).await
            {
                tracing::warn!(error = %error, "what the statement left is seen to by the next run");
            }
            return Err(error);
        }
        if session.backend() == Backend::Postgres
            && Effect::of(self.unit.part.sql).is_invalid(session.connection()).await?
        {
            return Err(MigratorError::Schema(vec![format!(
                "{}: the index at line {} was there already and is INVALID, so nothing was made; drop it (DROP INDEX CONCURRENTLY) and run this again",
                self.title, self.unit.part.line
            )]));
        }
        self.finish(session).await
    }

    /// After a failure: nothing is left of it, so that the file may be mended.
    async fn clean_up(&self, session: &mut Session) -> Result<(), MigratorError> {
        let left = match session.backend() {
            Backend::Postgres => Effect::of(self.unit.part.sql).trace(session.connection()).await?,
            Backend::Sqlite => Trace::Unknown,
        };
        match left {
            // A partition that waits to be detached, for example: the next run finishes it.
            Trace::Finish(_) | Trace::Finished => return Ok(()),
            Trace::Again(left) => {
                for drop in left {
                    session.perform_without_transaction(&self.title, &drop).await?;
                }
            }
            Trace::Unknown => {}
        }
        self.record(session, vec![Work::Withdraw(self.piece.clone())]).await
    }

    async fn finish(&self, session: &mut Session) -> Result<(), MigratorError> {
        self.record(session, vec![Work::Finish(self.piece.clone())]).await
    }

    /// Goes on with a statement that was begun by a run that did not record its end.
    async fn resume(&self, session: &mut Session) -> Result<(), MigratorError> {
        let trace = match session.backend() {
            Backend::Postgres => Effect::of(self.unit.part.sql).trace(session.connection()).await?,
            // VACUUM alone comes here.
            Backend::Sqlite => Trace::Again(Vec::new()),
        };
        let (migration, line) = (&self.title, self.unit.part.line);
        match trace {
            Trace::Finished => {
                tracing::info!(
                    migration,
                    line,
                    "the statement was finished by a run that could not record it"
                );
                self.finish(session).await
            }
            Trace::Finish(rest) => {
                tracing::info!(migration, line, rest, "finishing a statement that was interrupted");
                session.perform_without_transaction(&self.title, &rest).await?;
                self.finish(session).await
            }
            Trace::Again(left) => {
                for drop in left {
                    tracing::warn!(
                        migration,
                        line,
                        drop,
                        "dropping the invalid index that an interrupted run left"
                    );
                    session.perform_without_transaction(&self.title, &drop).await?;
                }
                Box::pin(self.again(session)).await
            }
            Trace::Unknown => Err(MigratorError::Schema(vec![self.unknown()])),
        }
    }

    fn unknown(&self) -> String {
        let row = format!(
            "WHERE version = {} AND action = '{}' AND statement = {} AND outcome = 'started'",
            self.piece.version,
            self.piece.action.word(),
            self.piece.number
        );
        format!(
            "{}: the statement at line {} was begun by a run that was interrupted, and nothing tells whether it has finished; look, and then say so: it has: UPDATE migrator_journal SET outcome = 'applied' {row}; it has to run again: DELETE FROM migrator_journal {row}",
            self.title, self.unit.part.line
        )
    }

    async fn record(&self, session: &mut Session, work: Vec<Work>) -> Result<(), MigratorError> {
        let guard = Guard::NotFinished(self.piece.action, self.piece.version, self.piece.number);
        // Skipped: another migrator was there first, which only SQLite allows.
        let change = Change { title: self.title.clone(), guard, work };
        Box::pin(session.perform(&change)).await.map(drop)
    }

    /// Says the line of the file, and that what was finished before stays.
    pub(super) fn explain(&self, error: MigratorError) -> MigratorError {
        match error {
            MigratorError::Failed { migration, line, source }
            | MigratorError::FailedInPart { migration, line, source } => {
                let line = Some(line.unwrap_or(1) + self.unit.part.line - 1);
                MigratorError::FailedInPart { migration, line, source }
            }
            error => error,
        }
    }
}
