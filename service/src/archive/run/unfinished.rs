//! What a run begins with: the files that a killed one left in the middle, and those whose rows were in the
//! table again for a time that is over.

use std::collections::HashSet;

use foundation::database::Backend;

use super::work::Work;
use crate::archive::ArchiveError;
use crate::archive::files::verify;
use crate::domain::archive_files::{ArchiveFile, FileState};
use crate::store::{archive_files, partitions};

/// Files that are looked at together.
const PAGE: u32 = 1_000;

impl Work<'_> {
    /// Finishes the files whose rows are not where they belong.
    pub(super) async fn finish_files(&mut self) -> Result<(), ArchiveError> {
        let mut left = HashSet::new();
        let detached: HashSet<String> = match self.backend() {
            Backend::Postgres => {
                partitions::detached(self.database()).await?.into_iter().map(|it| it.name).collect()
            }
            Backend::Sqlite => HashSet::new(),
        };
        loop {
            let files = archive_files::unfinished(self.database(), self.now, PAGE).await?;
            let files: Vec<_> = files.into_iter().filter(|file| !left.contains(&file.id)).collect();
            if files.is_empty() {
                return Ok(());
            }
            for file in files {
                let lies_aside = file.detached.as_ref().is_some_and(|it| detached.contains(it));
                if file.state == FileState::Verified && lies_aside {
                    // It is finished with its partition.
                    left.insert(file.id);
                    continue;
                }
                let finished = self.finish_file(&file).await;
                if self.tolerate(finished)?.is_none() {
                    left.insert(file.id);
                }
            }
        }
    }

    async fn finish_file(&mut self, file: &ArchiveFile) -> Result<(), ArchiveError> {
        match file.state {
            FileState::Writing => {
                let objects = self.objects().await?;
                self.forget(&objects, file).await
            }
            FileState::Verified if file.detached.is_some() => {
                // Its partition is gone, and nothing else had the rows.
                let mut transaction = self.begin_record().await?;
                archive_files::archived(&mut transaction, file.id, self.now).await?;
                self.commit(transaction).await
            }
            FileState::Verified => {
                self.verify_again(file).await?;
                let rows = Box::pin(self.delete_rows_of(file, true)).await?;
                self.note(Some(&file.metric_type), "archive", file.range, rows, 0);
                Ok(())
            }
            FileState::Restored => {
                self.verify_again(file).await?;
                let rows = Box::pin(self.delete_rows_of(file, false)).await?;
                self.note(Some(&file.metric_type), "delete_restored", file.range, rows, 0);
                Ok(())
            }
            FileState::Archived => Ok(()),
        }
    }

    /// Sees to it that the file is still what it was: its rows in the table are all there is otherwise.
    async fn verify_again(&mut self, file: &ArchiveFile) -> Result<(), ArchiveError> {
        let objects = self.objects().await?;
        let Some(contents) = &file.contents else { return Ok(()) };
        Box::pin(verify(&objects, &file.location, contents)).await
    }
}
