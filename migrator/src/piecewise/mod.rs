//! A file that runs outside of a transaction, piece by piece, so that a run that was killed goes on where it
//! was.
//!
//! What its database allows in a transaction runs in one of its own, together with its record in the journal:
//! it is done and recorded, or neither. What is not allowed there is recorded when it begins and when it has
//! ended; where the end is missing, the catalog says what became of it. An undo is a file like any other.

mod effect;
mod step;
mod units;

use crate::error::MigratorError;
use crate::history::{self, Action, Applied};
use crate::progress::{self, Piece};
use crate::session::{Change, ForeignKeys, Performed, Session, Work};
use crate::source::{Migration, Version};
use crate::statements::undo_runs_in_parts;
use step::Step;

/// A file of a migration: the one that applies it, or its undo.
struct File<'a> {
    title: String,
    version: Version,
    name: &'a str,
    action: Action,
    sql: &'a str,
}

/// Runs what of the file is not finished yet. Whether it is the one that has to record the migration.
pub(crate) async fn run(session: &mut Session, migration: &Migration) -> Result<Performed, MigratorError> {
    let file = File {
        title: migration.display(),
        version: migration.version(),
        name: migration.name(),
        action: Action::Up,
        sql: migration.sql(),
    };
    run_file(session, &file).await
}

/// Takes a migration back. Where its undo cannot run in one transaction, its statements run one by one before
/// the history is told.
pub(crate) async fn take_back(
    session: &mut Session,
    change: &Change,
    applied: &Applied,
) -> Result<Performed, MigratorError> {
    let dialect = session.dialect();
    let Some(sql) = change.file().filter(|sql| undo_runs_in_parts(dialect, sql)) else {
        return session.perform(change).await;
    };
    let (title, version, name) = (change.title.clone(), applied.version, applied.name.as_str());
    let file = File { title, version, name, action: Action::Down, sql };
    if run_file(session, &file).await? == Performed::Skipped {
        return Ok(Performed::Skipped);
    }
    let mut rest = change.clone();
    rest.work.retain(|work| !matches!(work, Work::File { .. }));
    session.perform(&rest).await
}

/// Whatever comes of it, what runs next in this session finds it as it was before.
async fn run_file(session: &mut Session, file: &File<'_>) -> Result<Performed, MigratorError> {
    let ran = Box::pin(run_parts(session, file)).await;
    // The connection of a run that is stopped may not answer any more, and nothing follows on it.
    if matches!(ran, Err(MigratorError::Stopped)) {
        return ran;
    }
    match (ran, session.end_file().await) {
        (Ok(performed), ended) => ended.map(|()| performed),
        (Err(error), Ok(())) => Err(error),
        (Err(error), Err(left)) => {
            tracing::debug!(error = %left, "the session is not as it was before the file");
            Err(error)
        }
    }
}

async fn run_parts(session: &mut Session, file: &File<'_>) -> Result<Performed, MigratorError> {
    let dialect = session.dialect();
    let refused = |reason| MigratorError::Schema(vec![format!("{}: {reason}", file.title)]);
    let units = units::units(dialect, file.sql).map_err(refused)?;
    // Before what is done of it is read: where nothing is, none of it had run by then.
    let foreign_keys = ForeignKeys::read(session.connection()).await;
    let known = progress::read(session.connection(), file.action, file.version).await?;
    let pieces: Vec<Piece> = units
        .iter()
        .zip(1..)
        .map(|(unit, number)| Piece::of(file.version, file.name, file.action, number, &unit.part))
        .collect();
    for (number, known) in &known {
        let piece = pieces.iter().find(|piece| piece.number == *number);
        if piece.is_none_or(|piece| piece.checksum != known.checksum) {
            return Err(refused(format!(
                "it was begun, and statement {number} of it is another one now; restore the file as it was, let it finish, and write a new migration; or put the schema right by hand and then forget what is done of it: {}",
                progress::forgetting(file.version, file.action)
            )));
        }
    }
    let foreign_keys = if known.is_empty() { foreign_keys } else { ForeignKeys::Unknown };
    let mut settings = String::new();
    for (unit, piece) in units.iter().zip(pieces) {
        if unit.is_setting(dialect) {
            settings.push_str(&unit.as_prefix());
            continue;
        }
        let known = known.get(&piece.number);
        if known.is_some_and(|it| it.finished) {
            continue;
        }
        // SQLite has no lock that outlives a transaction, so another migrator may have done it all by now.
        let is_applied = history::contains(session.connection(), file.version).await?;
        if is_applied != (file.action == Action::Down) {
            return Ok(Performed::Skipped);
        }
        let step = Step { title: file.title.clone(), unit, piece, settings: &settings };
        // On the heap, as in `step`: without optimisation these frames are large.
        Box::pin(step.run(session, known)).await.map_err(|error| step.explain(error))?;
    }
    foreign_keys.compare(session.connection(), &file.title).await?;
    Ok(Performed::Done)
}
