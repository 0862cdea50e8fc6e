//! One part of a file: run, recorded, and taken up again where a run was interrupted.

use foundation::database::{Backend, Connection, DatabaseError};

use super::effect::{Effect, Trace};
use super::units::{Mode, Unit};
use crate::error::{MigratorError, is_refused_in_transaction};
use crate::locks;
use crate::progress::{Known, Piece};
use crate::session::{Change, Guard, Patience, Session, Work};

/// Why a statement outside of a transaction did not end well.
struct Failed {
    error: MigratorError,
    /// Whether it was sent: the settings before it may have failed.
    was_sent: bool,
}

impl Failed {
    /// Whether something of it may have been done. What the server does not understand, it names by its place in
    /// what was sent, and does not begin.
    fn has_run(&self) -> bool {
        match &self.error {
            MigratorError::FailedInPart { source, .. } => self.was_sent && source.position().is_none(),
            _ => self.was_sent,
        }
    }
}

/// Runs a statement outside of a transaction with the settings of its file, which end with it. It has `patience` with
/// those who are in its way, unless it locks others out.
async fn alone(
    session: &mut Session,
    title: &str,
    settings: &str,
    sql: &str,
    patience: Patience,
) -> Result<(), Failed> {
    let not_sent = |error| Failed { error, was_sent: false };
    let sent = |error| Failed { error, was_sent: true };
    // Whoever writes to a SQLite file locks all others out.
    let in_turns = match session.backend() {
        Backend::Postgres => locks::locks_others_out(sql),
        Backend::Sqlite => true,
    };
    // A limit that the file sets for itself comes later and holds.
    let settings = session.limits(if in_turns { Patience::OneTurn } else { patience }) + settings;
    session.begin_parts().await.map_err(not_sent)?;
    let set = match settings.as_str() {
        "" => Ok(()),
        settings => Box::pin(session.perform_without_transaction(title, settings)).await,
    };
    let done = match set {
        Ok(()) if in_turns => session.perform_in_turns(title, sql).await.map_err(sent),
        Ok(()) => Box::pin(session.perform_without_transaction(title, sql)).await.map_err(sent),
        Err(error) => Err(not_sent(error)),
    };
    let returned = session.end_parts().await.map_err(sent);
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
            return Box::pin(session.perform_in_turns(&self.title, self.unit.part.sql)).await;
        }
        if known.is_some() {
            return Box::pin(self.resume(session)).await;
        }
        if matches!(self.unit.mode, Mode::Transaction | Mode::Block) {
            let sql = format!("{}{}", self.settings, self.unit.part.sql);
            match self.record(session, vec![Work::File { sql }, Work::Finish(self.piece.clone())]).await {
                Err(MigratorError::Failed { source, .. })
                    if self.unit.mode == Mode::Transaction && is_refused_in_transaction(&source) => {}
                performed => return performed,
            }
        }
        Box::pin(self.alone(session)).await
    }

    async fn alone(&self, session: &mut Session) -> Result<(), MigratorError> {
        // What is there before it has run is somebody else's: the server says what it thinks of that, and no later
        // run may take it for what this statement did.
        let is_there = match self.trace(session).await? {
            Trace::Finished => true,
            // An index that is not valid.
            Trace::Again(left) => !left.is_empty() && Effect::of(self.unit.part.sql).is_index(),
            Trace::Finish(_) | Trace::Unknown => false,
        };
        if !is_there {
            self.record(session, vec![Work::Begin(self.piece.clone())]).await?;
        }
        Box::pin(self.again(session)).await
    }

    /// What the catalog says of it.
    async fn trace(&self, session: &mut Session) -> Result<Trace, MigratorError> {
        match session.backend() {
            Backend::Postgres => {
                Box::pin(self.as_set(session, async |connection, effect| effect.trace(connection).await))
                    .await
            }
            // VACUUM alone is run outside of a transaction.
            Backend::Sqlite => Ok(Trace::Again(Vec::new())),
        }
    }

    /// Asks the catalog of PostgreSQL what the statement made, with the settings of its file: names mean there what
    /// they mean in it.
    async fn as_set<T>(
        &self,
        session: &mut Session,
        ask: impl AsyncFnOnce(&mut Connection, &Effect) -> Result<T, DatabaseError>,
    ) -> Result<T, MigratorError> {
        let effect = Effect::of(self.unit.part.sql);
        if self.settings.is_empty() {
            return Ok(ask(session.connection(), &effect).await?);
        }
        session.begin_parts().await?;
        let asked = match Box::pin(session.perform_without_transaction(&self.title, self.settings)).await {
            Ok(()) => ask(session.connection(), &effect).await.map_err(MigratorError::from),
            Err(error) => Err(error),
        };
        let returned = session.end_parts().await;
        asked.and_then(|answer| returned.map(|()| answer))
    }

    async fn again(&self, session: &mut Session) -> Result<(), MigratorError> {
        let sql = self.unit.part.sql;
        let is_traceable = Effect::of(sql).is_traceable();
        let patience = if is_traceable { Patience::Deadline } else { Patience::Endless };
        let done = alone(session, &self.title, self.settings, sql, patience).await;
        if let Err(failed) = done {
            let leaves_something = match &failed.error {
                MigratorError::FailedInPart { .. } => true,
                // Whoever writes to a SQLite file would keep this from it for another deadline, and nothing is left.
                MigratorError::Locked { .. } => session.backend() == Backend::Postgres,
                _ => false,
            };
            if leaves_something && let Err(error) = Box::pin(self.clean_up(session, &failed)).await {
                tracing::warn!(error = %error, "what the statement left is seen to by the next run");
            }
            return Err(failed.error);
        }
        if session.backend() == Backend::Postgres
            && Box::pin(self.as_set(session, async |connection, effect| effect.is_invalid(connection).await))
                .await?
        {
            return Err(MigratorError::Schema(vec![format!(
                "{}: the index at line {} was there already and is INVALID, so nothing was made; drop it (DROP INDEX CONCURRENTLY) and run this again",
                self.title, self.unit.part.line
            )]));
        }
        self.finish(session).await
    }

    /// After a failure: nothing is left of it, so that the file may be mended.
    async fn clean_up(&self, session: &mut Session, failed: &Failed) -> Result<(), MigratorError> {
        match self.trace(session).await? {
            // A partition that waits to be detached, for example: the next run finishes it.
            Trace::Finish(_) | Trace::Finished => return Ok(()),
            // A procedure may have committed a part before it failed: the next run asks.
            Trace::Unknown if failed.has_run() => return Ok(()),
            Trace::Again(left) => {
                if matches!(failed.error, MigratorError::Locked { .. }) {
                    // Who was in its way may be in the way of this too, and the deadline has passed.
                    let limits = session.limits(Patience::OneTurn);
                    Box::pin(session.perform_without_transaction(&self.title, &limits)).await?;
                }
                for drop in left {
                    Box::pin(session.perform_without_transaction(&self.title, &drop)).await?;
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
        let trace = self.trace(session).await?;
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
                alone(session, &self.title, self.settings, &rest, Patience::Deadline)
                    .await
                    .map_err(|failed| failed.error)?;
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
                    alone(session, &self.title, "", &drop, Patience::Deadline)
                        .await
                        .map_err(|failed| failed.error)?;
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
            MigratorError::Locked { what, waited, .. } => {
                MigratorError::Locked { what, waited, in_part: true }
            }
            error => error,
        }
    }
}
