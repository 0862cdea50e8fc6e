//! The tries of one change: each gives up a lock that is not given in time, so that nobody queues behind it.

use std::time::Duration;

use foundation::database::DatabaseError;
use tokio::time::Instant;

use super::blockers::Blockers;
use super::{Context, Tally};
use crate::error::MigratorError;

/// How long a statement that is run outside of a transaction waits for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Of what locks others out: it is tried again.
    OneTurn,
    /// Of what builds an index CONCURRENTLY, for example: it keeps nobody from reading or writing while it waits, and
    /// what it leaves behind when it is given up is dropped.
    Deadline,
    /// Of what leaves nothing by which it is known how far it came, so that giving up would leave the next run
    /// without a way to go on. Who is in its way is named meanwhile.
    Endless,
}

/// The tries of one change, until its deadline.
pub(super) struct Turns<'a> {
    context: Context,
    title: &'a str,
    started: Instant,
    waited_before: Duration,
    pauses: Box<dyn Iterator<Item = Duration> + Send>,
    /// Who was seen in its way.
    pub(super) blockers: Blockers,
}

impl<'a> Turns<'a> {
    /// Of the session that the server calls `pid`, whose waits count into `tally`.
    pub(super) fn new(context: &Context, title: &'a str, pid: Option<i64>, tally: &Tally) -> Self {
        Self {
            context: context.clone(),
            title,
            started: Instant::now(),
            waited_before: tally.lock_wait,
            pauses: Box::new(context.pauses(Duration::from_millis(100), Duration::from_secs(2))),
            blockers: Blockers::new(context, pid),
        }
    }

    /// Before a try.
    ///
    /// # Errors
    /// The run is to stop.
    pub(super) fn begin(&self) -> Result<(), MigratorError> {
        if self.context.stop.is_requested() { Err(MigratorError::Stopped) } else { Ok(()) }
    }

    /// After one that was not given its lock: waits for the next.
    ///
    /// # Errors
    /// The deadline would have passed by then, or the run is to stop.
    pub(super) async fn wait(
        &mut self,
        tally: &mut Tally,
        error: &DatabaseError,
    ) -> Result<(), MigratorError> {
        let waited = self.started.elapsed();
        tally.lock_waits += 1;
        tally.lock_wait = self.waited_before + waited;
        let (migration, blockers) = (self.title, self.blockers.names());
        tracing::warn!(migration, blockers, reason = %error, "a lock was not given in time; rolled back, trying again");
        let pause = self.pauses.next().unwrap_or_default();
        if waited + pause > self.context.settings.deadline {
            return Err(self.blockers.give_up(migration, waited));
        }
        self.context.pause(pause).await
    }
}
