//! Runs that go on with what the ones before them left, whatever hour it is.

use foundation::database::{Backend, DatabaseError};

use super::{Archiving, Asked, LEASE, Run};
use crate::archive::ArchiveError;
use crate::domain::archive_runs::{Following, PastRun, RunReason};
use crate::store::{archive_files, archive_runs, partitions};

impl Archiving {
    /// Begins a run in the place of one that did not come to its end, or that failed and left something in the
    /// middle; nothing when there is none, when its time has not come, or when another process has the duty.
    ///
    /// # Errors
    /// What the database says.
    pub async fn make_up(&self) -> Result<Option<Run>, ArchiveError> {
        // It is asked for the duty only where it may be needed, and looked at once more with it.
        if !self.has_to_make_up().await? {
            self.abandon_dry_runs().await?;
            return Ok(None);
        }
        let Some(guard) = self.leases.acquire(LEASE).await? else { return Ok(None) };
        if !self.has_to_make_up().await? {
            guard.release().await;
            return Ok(None);
        }
        let asked =
            Asked { reason: RunReason::Schedule, requested_by: None, is_dry_run: false, unless_since: None };
        Ok(Some(self.begin_with(guard, &asked, |_| None).await?))
    }

    /// Marks the dry runs that nobody is at any more. None follows those, so it is done where nothing else is.
    async fn abandon_dry_runs(&self) -> Result<(), ArchiveError> {
        if !archive_runs::is_dry_run_running(&self.database).await? {
            return Ok(());
        }
        let Some(guard) = self.leases.acquire(LEASE).await? else { return Ok(()) };
        let now = self.now().await?;
        let mut transaction = self.database.begin().await?;
        archive_runs::abandon(&mut transaction, guard.fencing(), now).await?;
        guard.confirm(&mut transaction).await?;
        transaction.commit().await?;
        guard.release().await;
        Ok(())
    }

    async fn has_to_make_up(&self) -> Result<bool, DatabaseError> {
        match PastRun::following(&archive_runs::past(&self.database).await?) {
            Following::Nothing => Ok(false),
            Following::From(from) => Ok(from <= self.now().await?),
            Following::UnfinishedFrom(from) => {
                Ok(from <= self.now().await? && self.has_unfinished_work().await?)
            }
        }
    }

    /// Whether a run that is due may begin, or is to wait because one after the other did not come to its end.
    pub(in crate::archive) async fn may_begin(&self) -> Result<bool, DatabaseError> {
        match PastRun::following(&archive_runs::past(&self.database).await?) {
            Following::From(from) => Ok(from <= self.now().await?),
            Following::Nothing | Following::UnfinishedFrom(_) => Ok(true),
        }
    }

    /// Whether rows lie where nobody sees them, or in two places.
    async fn has_unfinished_work(&self) -> Result<bool, DatabaseError> {
        let is_detached = self.database.backend() == Backend::Postgres
            && !partitions::detached(&self.database).await?.is_empty();
        Ok(is_detached || archive_files::is_any_unfinished(&self.database).await?)
    }
}
