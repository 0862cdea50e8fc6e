//! `down`: takes migrations back, newest first.

use foundation::database::Connection;
use tokio::time::Instant;
use tracing::Instrument;

use super::{Migrator, nothing_in_part};
use crate::error::MigratorError;
use crate::history::{self, Action, Applied, Entry, JournalEntry};
use crate::past::Past;
use crate::piecewise;
use crate::report::{AppliedNow, DownReport, Progress};
use crate::session::{Change, Guard, Performed, READING, Session, Work};
use crate::snapshot;
use crate::source::Version;

/// How far `down` goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// Takes back the newest, that many.
    Steps(usize),
    /// Takes back everything above the version; 0 is back to the base. What a newer release applied is above all that
    /// this one has, whatever its version.
    To(Version),
}

impl Migrator {
    /// Takes migrations back, newest first, each in one transaction with its row of the history.
    ///
    /// # Errors
    /// [`MigratorError::Usage`] when the version is not applied, and every other [`MigratorError`]. A migration that
    /// says it is irreversible stops the run before anything is taken back.
    pub async fn down(&self, down: Down) -> Result<DownReport, MigratorError> {
        let mut report = DownReport::new(&self.context.url);
        Box::pin(self.down_telling(down, &mut report)).await.map(|()| report)
    }

    /// Does it, and tells in the report what was done, also when that is not all.
    pub(crate) async fn down_telling(
        &self,
        down: Down,
        report: &mut DownReport,
    ) -> Result<(), MigratorError> {
        let mut session = Session::open(&self.context, false).await?;
        // Where nothing was ever done, which may be the wrong database, nothing is made either.
        let reading = async |connection: &mut Connection| {
            let past = Past::read_whole(connection).await?;
            self.not_elsewhere(connection, &past.applied).await.map(|()| past)
        };
        let past = session.ask(READING, reading).await?;
        if past.applied.is_empty() && past.begun.is_empty() && self.undone(&past, down)?.is_empty() {
            return Ok(());
        }
        session.lock().await?;
        let past = session.ask(READING, reading).await?;
        nothing_in_part(&past.begun)?;
        let undone = self.undone(&past, down)?;
        let changes: Result<Vec<_>, String> =
            undone.iter().rev().map(|it| self.undo(it, &past.journal)).collect();
        let changes = changes.map_err(|reason| MigratorError::Schema(vec![reason]))?;
        report.current_version = past.newest();
        let progress = Progress::new(changes.len());
        for (change, applied) in changes.iter().zip(undone.iter().rev()) {
            let started = Instant::now();
            progress.begin(&change.title);
            let span = tracing::info_span!(
                target: "bedplate::span::migration", "migration",
                otel.name = %format_args!("undo {}", change.title), migration = change.title,
                migration.rows = tracing::field::Empty, migration.lock_waits = tracing::field::Empty,
                migration.lock_wait_ms = tracing::field::Empty,
            );
            session.take_tally();
            let performed =
                Box::pin(piecewise::take_back(&mut session, change, applied)).instrument(span.clone()).await;
            session.take_tally().record(&span);
            let performed = match performed {
                Ok(performed) => performed,
                Err(error) => {
                    Box::pin(self.keep_what_is_done(&mut session, !report.undone.is_empty(), &error)).await;
                    return Err(error);
                }
            };
            let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
            progress.end(&change.title, milliseconds, performed == Performed::Done);
            if performed == Performed::Done {
                let name = applied.name.clone();
                report.undone.push(AppliedNow { version: applied.version, name, milliseconds });
                let is_left = |it: &&Applied| report.undone.iter().all(|gone| gone.version != it.version);
                report.current_version = past.applied.iter().rfind(is_left).map(|it| it.version);
            }
        }
        snapshot::record(&mut session).await;
        let left = history::read(session.connection()).await?.unwrap_or_default();
        report.current_version = left.last().map(|it| it.version);
        Ok(())
    }

    /// Those that are taken back, oldest first.
    pub(super) fn undone<'a>(&self, past: &'a Past, down: Down) -> Result<Vec<&'a Applied>, MigratorError> {
        let mut applied = self.plan_of(past).in_order(past);
        let kept = match down {
            Down::Steps(steps) => applied.len().saturating_sub(steps),
            Down::To(0) => 0,
            Down::To(version) => {
                let position = applied.iter().position(|it| it.version == version);
                position.map(|it| it + 1).ok_or_else(|| {
                    MigratorError::Usage(format!(
                        "the version {version} is not applied; `migrator status` lists what is"
                    ))
                })?
            }
        };
        Ok(applied.split_off(kept))
    }

    /// The change that takes one migration back, by this release's file, or by what the journal kept of
    /// one that this release does not know.
    pub(super) fn undo(&self, applied: &Applied, journal: &[JournalEntry]) -> Result<Change, String> {
        let title = applied.display();
        let sql = match self.catalog.get(applied.version) {
            Some(migration) if !applied.is(migration) => {
                return Err(format!(
                    "{title} was changed after it was applied, so its undo file may not fit it; restore both as they were, or let `migrator repair {}` record them as they are",
                    applied.version
                ));
            }
            Some(migration) => match (&migration.instructions().irreversible, migration.undo()) {
                (Some(why), _) => return Err(format!("{title} cannot be taken back: {why}")),
                (None, Some(undo)) => undo.sql.clone(),
                (None, None) => return Err(format!("{title} has no undo file")),
            },
            None => history::last_applied(journal, applied.version)
                .and_then(|it| it.undo_sql.clone())
                .ok_or_else(|| {
                    format!("{title} is not known to this release and the journal has no undo of it")
                })?,
        };
        let entry = Entry::gone(applied, Action::Down);
        let mut work = vec![Work::File { sql }];
        work.extend(self.context.grant());
        work.extend([Work::Forget(applied.version), Work::Journal(entry)]);
        Ok(Change { title: format!("the undo of {title}"), guard: Guard::Applied(applied.version), work })
    }
}
