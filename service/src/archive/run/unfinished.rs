//! What a run begins with: the files that a killed one left in the middle, and those whose rows were in the
//! table again for a time that is over.

use std::collections::HashSet;

use foundation::database::Backend;
use uuid::Uuid;

use super::work::Work;
use crate::archive::ArchiveError;
use crate::domain::archive_files::{ArchiveFile, FileState};
use crate::store::{archive_files, partitions};

/// Files that are looked at together.
const PAGE: u32 = 1_000;

impl Work<'_> {
    /// Finishes the files whose rows are not where they belong, each tried once. Where the place cannot be used,
    /// only what needs none is done.
    pub(super) async fn finish_files(&mut self) -> Result<(), ArchiveError> {
        let detached: HashSet<String> = match self.backend() {
            Backend::Postgres => {
                partitions::detached(self.database()).await?.into_iter().map(|it| it.name).collect()
            }
            Backend::Sqlite => HashSet::new(),
        };
        let mut after = Uuid::nil();
        loop {
            let files = archive_files::unfinished(self.database(), self.now, after, PAGE).await?;
            let Some(last) = files.last() else { return Ok(()) };
            after = last.id;
            for mut file in files {
                let lies_aside = file.detached.as_ref().is_some_and(|it| detached.contains(it));
                let finished = self.finish_file(&mut file, lies_aside).await;
                self.tolerate(finished).await?;
            }
        }
    }

    async fn finish_file(&mut self, file: &mut ArchiveFile, lies_aside: bool) -> Result<(), ArchiveError> {
        let has_no_rows_left = |file: &ArchiveFile| file.detached.is_some() && !lies_aside;
        let needs_place = file.state != FileState::Verified || file.detached.is_none();
        if needs_place && self.is_away() {
            return Ok(());
        }
        if file.state == FileState::Writing && !self.keep_or_forget(file).await? {
            return Ok(());
        }
        match file.state {
            // It is finished with its partition.
            FileState::Verified if lies_aside => Ok(()),
            FileState::Verified if has_no_rows_left(file) => {
                // Its partition is gone, and nothing else had the rows.
                let mut transaction = self.begin_record().await?;
                archive_files::archived(&mut transaction, file.id, self.now).await?;
                self.commit(transaction).await
            }
            FileState::Verified | FileState::Restored => {
                let is_first = file.state == FileState::Verified;
                let verified = match self.verify_again(file).await {
                    Err(error @ ArchiveError::Damaged { .. }) => {
                        self.let_go(file).await?;
                        return Err(error);
                    }
                    found => found?,
                };
                let rows = Box::pin(self.delete_rows_of(file, &verified, is_first)).await?;
                let action = if is_first { "archive" } else { "delete_restored" };
                self.note(Some(&file.metric_type), action, file.range, rows, 0);
                Ok(())
            }
            FileState::Writing | FileState::Archived => Ok(()),
        }
    }
}
