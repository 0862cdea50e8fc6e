//! Partitions in which no policy keeps any row: taken out of the table and dropped whole.

use std::time::Duration;

use super::patience::Patience;
use super::work::Work;
use crate::archive::ArchiveError;
use crate::domain::archive_policies::ArchiveAction;
use crate::domain::partitions::{Detached, Partition, Range};
use crate::store::{archive_files, archive_rows, partitions};

/// The least time that taking a partition out is given, however short the wait for its locks may be.
const LEAST_TIME: Duration = Duration::from_millis(50);

impl Work<'_> {
    /// Drops the partitions that are expired; a dry run says which.
    pub(super) async fn drop_partitions(&mut self) -> Result<(), ArchiveError> {
        let Some(latest) = self.rules.latest_cutoff() else { return Ok(()) };
        for partition in partitions::list(self.database()).await? {
            if partition.range.upper > latest {
                break;
            }
            self.refresh_rules().await?;
            let types = archive_rows::types_in(self.database(), partition.range).await?;
            if !self.goes(&partition, &types).await? {
                continue;
            }
            if self.is_dry_run {
                let foreseen = self.foresee(&partition, &types).await;
                self.tolerate(foreseen).await?;
                continue;
            }
            let detached = self.detach(&partition).await;
            match self.tolerate(detached).await? {
                Some(Some(detached)) => {
                    let dropped = self.finish_one(&detached).await;
                    self.tolerate(dropped).await?;
                }
                // It went between two looks.
                Some(None) => self.note(None, "skip", partition.range, 0, partition.bytes),
                None => {
                    self.note(None, "skip", partition.range, 0, partition.bytes);
                    self.left_alone.push(partition.range);
                }
            }
        }
        Ok(())
    }

    async fn goes(&mut self, partition: &Partition, types: &[String]) -> Result<bool, ArchiveError> {
        let archives =
            |name: &String| self.rules.of(name).is_some_and(|it| it.action == ArchiveAction::Archive);
        if !self.rules.expire(types, partition.range.upper) {
            return Ok(false);
        }
        if types.is_empty() && partition.is_new(self.now) {
            return Ok(false);
        }
        if !self.is_dry_run && !self.can_archive() && types.iter().any(archives) {
            return Ok(false);
        }
        Ok(archive_files::held(self.database(), None, partition.range).await?.is_none())
    }

    async fn foresee(&mut self, partition: &Partition, types: &[String]) -> Result<(), ArchiveError> {
        for name in types {
            let Some(rule) = self.rules.of(name) else { continue };
            let counted = self.foresee_rows(name, partition.range).await?;
            self.figures.count(rule.action, counted.rows);
            self.note_rows(Some(name), rule.action.name(), partition.range, counted, 0);
        }
        self.figures.partitions_dropped += 1;
        self.figures.bytes_freed += partition.bytes;
        self.note(None, "drop", partition.range, 0, partition.bytes);
        self.left_alone.push(partition.range);
        Ok(())
    }

    /// Takes a partition out of the table. Whoever uses the table waits behind this for its locks: all of it
    /// takes no longer than one wait may.
    async fn detach(&self, partition: &Partition) -> Result<Option<Detached>, ArchiveError> {
        let mut patience = Patience::default();
        loop {
            match self.try_to_detach(partition.range).await {
                Ok(detached) => return Ok(detached),
                Err(error) => patience.bear(error).await?,
            }
        }
    }

    async fn try_to_detach(&self, range: Range) -> Result<Option<Detached>, ArchiveError> {
        let lock_timeout = self.archiving.settings.lock_timeout;
        let mut transaction = self.database().begin().await?;
        let whole = Some(lock_timeout.max(LEAST_TIME));
        archive_rows::bound_waiting(&mut transaction, self.backend(), lock_timeout, whole).await?;
        let name = partitions::detach(&mut transaction, range, lock_timeout).await?;
        // Confirmed last: the renewal of the lease waits for a transaction that has confirmed it.
        self.commit(transaction).await?;
        Ok(name.map(|name| Detached { name, range }))
    }
}
