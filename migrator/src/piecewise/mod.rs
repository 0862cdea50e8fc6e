//! A file that runs outside of a transaction, piece by piece, so that a run that was killed goes on where it
//! was.
//!
//! What its database allows in a transaction runs in one of its own, together with its record in the journal:
//! it is done and recorded, or neither. What is not allowed there is recorded when it begins and when it has
//! ended; where the end is missing, the catalog says what became of it.

mod effect;
mod units;

use foundation::database::Backend;

use crate::error::MigratorError;
use crate::history;
use crate::progress::{self, Known, Piece};
use crate::session::{Change, Guard, Performed, Session, Work};
use crate::source::Migration;
use crate::statements::undo_runs_in_parts;
use effect::{Effect, Trace};
use units::{Mode, Unit};

/// PostgreSQL's words for a statement that refuses to run in a transaction, and for one that ends the
/// transaction in which it runs.
const NOT_IN_A_TRANSACTION: [&str; 2] = ["25001", "2D000"];

/// Runs what of the file is not finished yet. Whether it is the one that has to record the migration.
pub(crate) async fn run(session: &mut Session, migration: &Migration) -> Result<Performed, MigratorError> {
    let ran = Box::pin(run_parts(session, migration)).await;
    settled(session, ran).await
}

/// Whatever came of the parts of a file, what runs next in this session finds it as it was before them.
async fn settled<T>(session: &mut Session, ran: Result<T, MigratorError>) -> Result<T, MigratorError> {
    // The connection of a run that is stopped may not answer any more, and nothing follows on it.
    if matches!(ran, Err(MigratorError::Stopped)) {
        return ran;
    }
    match (ran, session.end_file().await) {
        (Ok(ran), settled) => settled.map(|()| ran),
        (Err(error), Ok(())) => Err(error),
        (Err(error), Err(left)) => {
            tracing::debug!(error = %left, "the session is not as it was before the file");
            Err(error)
        }
    }
}

async fn run_parts(session: &mut Session, migration: &Migration) -> Result<Performed, MigratorError> {
    let refused = |reason| MigratorError::Schema(vec![format!("{}: {reason}", migration.display())]);
    let units = units::units(session.dialect(), migration.sql()).map_err(refused)?;
    let numbered = |unit: &Unit<'_>, number| Piece::of(migration, number, &unit.part);
    let pieces: Vec<Piece> = units.iter().zip(1..).map(|(unit, number)| numbered(unit, number)).collect();
    let known = progress::read(session.connection(), migration.version()).await?;
    for (number, known) in &known {
        let piece = pieces.iter().find(|piece| piece.number == *number);
        if piece.is_none_or(|piece| piece.checksum != known.checksum) {
            return Err(refused(format!(
                "it was begun, and statement {number} of it is another one now; restore the file as it was, let it finish, and write a new migration"
            )));
        }
    }
    let mut settings = String::new();
    for (unit, piece) in units.iter().zip(pieces) {
        if unit.is_setting(session.dialect()) {
            settings.push_str(&unit.as_prefix());
            continue;
        }
        let known = known.get(&piece.number);
        if known.is_some_and(|it| it.finished) {
            continue;
        }
        // SQLite has no lock that outlives a transaction, so another migrator may have done it all by now.
        if history::contains(session.connection(), piece.version).await? {
            return Ok(Performed::Skipped);
        }
        let step = Step { title: migration.display(), unit, piece, settings: &settings };
        // On the heap, as in `step`: without optimisation these frames are large.
        Box::pin(step.run(session, known)).await.map_err(|error| step.explain(error))?;
    }
    Ok(Performed::Done)
}

/// Takes a migration back. Where its undo cannot run in one transaction, its statements run one by one before
/// the history is told; one that is killed in between begins anew.
pub(crate) async fn take_back(session: &mut Session, change: &Change) -> Result<Performed, MigratorError> {
    let dialect = session.dialect();
    let in_parts = |work: &Work| matches!(work, Work::File { sql } if undo_runs_in_parts(dialect, sql));
    if !change.work.iter().any(in_parts) {
        return session.perform(change).await;
    }
    let mut rest = change.clone();
    rest.work.retain(|work| !in_parts(work));
    let ran = Box::pin(take_back_parts(session, change)).await;
    settled(session, ran).await?;
    session.perform(&rest).await
}

async fn take_back_parts(session: &mut Session, change: &Change) -> Result<(), MigratorError> {
    let dialect = session.dialect();
    let in_parts = |work: &Work| matches!(work, Work::File { sql } if undo_runs_in_parts(dialect, sql));
    for work in change.work.iter().filter(|work| in_parts(work)) {
        let Work::File { sql } = work else { continue };
        let refused = |reason| MigratorError::Schema(vec![format!("{}: {reason}", change.title)]);
        let mut settings = String::new();
        for unit in units::units(dialect, sql).map_err(refused)? {
            if unit.is_setting(dialect) {
                settings.push_str(&unit.as_prefix());
            } else if unit.mode == Mode::Transaction {
                let sql = format!("{settings}{}", unit.part.sql);
                session.perform(&Change { work: vec![Work::File { sql }], ..change.clone() }).await?;
            } else {
                alone(session, &change.title, &settings, unit.part.sql).await?;
            }
        }
    }
    Ok(())
}

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

struct Step<'a> {
    title: String,
    unit: &'a Unit<'a>,
    piece: Piece,
    /// What the file has set for this session before it.
    settings: &'a str,
}

impl Step<'_> {
    async fn run(&self, session: &mut Session, known: Option<&Known>) -> Result<(), MigratorError> {
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
            "WHERE version = {} AND statement = {} AND outcome = 'started'",
            self.piece.version, self.piece.number
        );
        format!(
            "{}: the statement at line {} was begun by a run that was interrupted, and nothing tells whether it has finished; look, and then say so: it has: UPDATE migrator_journal SET outcome = 'applied' {row}; it has to run again: DELETE FROM migrator_journal {row}",
            self.title, self.unit.part.line
        )
    }

    async fn record(&self, session: &mut Session, work: Vec<Work>) -> Result<(), MigratorError> {
        let guard = Guard::NotFinished(self.piece.version, self.piece.number);
        // Skipped: another migrator was there first, which only SQLite allows.
        let change = Change { title: self.title.clone(), guard, work };
        Box::pin(session.perform(&change)).await.map(drop)
    }

    /// Says the line of the file, and that what was finished before stays.
    fn explain(&self, error: MigratorError) -> MigratorError {
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
