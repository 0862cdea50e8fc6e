//! The way back: rows of the archive into the table, for a time.

use foundation::database::Backend;
use time::OffsetDateTime;
use uuid::Uuid;

use super::objects::Objects;
use super::reader::{FileReader, verify};
use super::{ArchiveError, Archiving, LEASE};
use crate::domain::archive_files::{ArchiveFile, Contents};
use crate::domain::audit::AuditEvent;
use crate::domain::partitions::Range;
use crate::leases::LeaseGuard;
use crate::partitions::Partitions;
use crate::store::archive_rows::INSERTED_AT_ONCE;
use crate::store::{archive_files, archive_rows, audit_events, detached_rows, partitions};

/// Files that are asked for together, statements of one transaction, at most.
const PAGE: u32 = 100;
const STATEMENTS: usize = 5;

/// What is to be brought back.
#[derive(Clone, Debug)]
pub struct Restore {
    /// The type.
    pub metric_type: String,
    /// The files that overlap this range, each whole.
    pub range: Range,
    /// Runs leave them alone until then.
    pub until: OffsetDateTime,
}

/// What was brought back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Files.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Those of the rows that were not in the table.
    pub inserted: u64,
}

impl Archiving {
    /// Brings rows back with their ids; what is there already stays as it is. Nothing, when another process
    /// runs the policies or brings something back. `event` tells of it, unless there is no file to bring back.
    ///
    /// # Errors
    /// [`ArchiveError::Unfinished`]: a run has to end first, and nothing was done. [`ArchiveError::Damaged`] and
    /// [`ArchiveError::Missing`]: all other files were brought back. A file cannot be read, or what the database
    /// says: what was brought back until then is there, and the same asked again brings the rest.
    pub async fn restore(
        &self,
        asked: &Restore,
        event: &AuditEvent,
    ) -> Result<Option<Restored>, ArchiveError> {
        let Some(guard) = self.leases.acquire(LEASE).await? else { return Ok(None) };
        let restored = tokio::select! {
            () = guard.lost() => Err(crate::leases::LeaseError::Lost(LEASE).into()),
            restored = self.restore_files(&guard, asked, event) => restored,
        };
        guard.release().await;
        restored.map(Some)
    }

    async fn restore_files(
        &self,
        guard: &LeaseGuard,
        asked: &Restore,
        event: &AuditEvent,
    ) -> Result<Restored, ArchiveError> {
        if self.is_unfinished(asked).await? {
            return Err(ArchiveError::Unfinished(asked.metric_type.clone()));
        }
        let (mut done, mut after) = (Restored::default(), Uuid::nil());
        let (mut objects, mut damaged) = (None, None);
        loop {
            let (metric_type, range) = (asked.metric_type.as_str(), asked.range);
            let files = archive_files::in_range(&self.database, metric_type, range, after, PAGE).await?;
            let Some(last) = files.last() else { return damaged.map_or(Ok(done), Err) };
            if after.is_nil() {
                let mut transaction = self.database.begin().await?;
                audit_events::insert(&mut transaction, event).await?;
                transaction.commit().await?;
            }
            after = last.id;
            for file in &files {
                let objects = match &objects {
                    Some(objects) => objects,
                    None => &*objects.insert(self.open().await?),
                };
                let Some(contents) = &file.contents else { continue };
                match self.restore_file(guard, objects, file, contents, asked.until).await {
                    Ok(inserted) => done.inserted += inserted,
                    Err(error @ (ArchiveError::Damaged { .. } | ArchiveError::Missing(_))) => {
                        tracing::warn!(%error, "a file is not brought back; the others are");
                        damaged.get_or_insert(error);
                        continue;
                    }
                    Err(error) => return Err(error),
                }
                done.rows += contents.rows;
                done.files += 1;
            }
        }
    }

    /// Whether a run left rows of what is asked for in the middle: those that it deleted would not come back, and
    /// the next run would delete the others, whatever was said to it.
    async fn is_unfinished(&self, asked: &Restore) -> Result<bool, ArchiveError> {
        let (database, metric_type) = (&self.database, asked.metric_type.as_str());
        if archive_files::is_unfinished(database, metric_type, asked.range).await? {
            return Ok(true);
        }
        if database.backend() == Backend::Sqlite {
            return Ok(false);
        }
        for detached in partitions::detached(database).await? {
            if detached.range.overlaps(&asked.range)
                && detached_rows::types(database, &detached.name).await?.iter().any(|it| it == metric_type)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn open(&self) -> Result<Objects, ArchiveError> {
        let place = self.place.as_ref().ok_or(ArchiveError::NoPlace)?;
        Objects::open(place, self.live.current().archive_secret_access_key.as_ref()).await
    }

    async fn restore_file(
        &self,
        guard: &LeaseGuard,
        objects: &Objects,
        file: &ArchiveFile,
        contents: &Contents,
        until: OffsetDateTime,
    ) -> Result<u64, ArchiveError> {
        let verified = verify(objects, &file.location, contents).await?;
        if let (Some(first), Some(last)) = (contents.first_at, contents.last_at) {
            // What was known of partitions may be out of date: runs drop them.
            let partitions = Partitions::new(self.database.clone(), self.width);
            partitions.ensure_between(first, last + time::Duration::MICROSECOND).await?;
        }
        // First this: rows in the table of a file that is only archived would be archived again.
        let mut transaction = self.database.begin().await?;
        archive_files::restored(&mut transaction, file.id, until, self.clock.now()).await?;
        guard.confirm(&mut transaction).await?;
        transaction.commit().await?;
        let mut reader = FileReader::open(objects, &verified)?;
        let mut inserted = 0;
        loop {
            let rows = reader.next_rows(INSERTED_AT_ONCE * STATEMENTS).await?;
            if rows.is_empty() {
                return Ok(inserted);
            }
            let mut transaction = self.database.begin().await?;
            for rows in rows.chunks(INSERTED_AT_ONCE) {
                inserted += archive_rows::insert(&mut transaction, self.database.backend(), rows).await?;
            }
            guard.confirm(&mut transaction).await?;
            transaction.commit().await?;
        }
    }
}
