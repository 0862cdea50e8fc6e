//! Partitions that were taken out of the table: their rows are archived or put back, and then they are dropped.

use foundation::database::DatabaseErrorKind;
use time::OffsetDateTime;

use super::patience::Patience;
use super::work::{BATCH, Work};
use crate::archive::ArchiveError;
use crate::domain::archive_files::ArchiveFile;
use crate::domain::archive_policies::ArchiveAction;
use crate::domain::archive_runs::Figures;
use crate::domain::partitions::Detached;
use crate::store::{archive_files, detached_rows, partitions};

/// What is to be done with the rows of a detached partition.
#[derive(Default)]
struct Plan {
    /// Types whose rows are only here, and are to be archived.
    archive: Vec<String>,
    /// Types whose rows are deleted with it.
    delete: Vec<String>,
    /// Types whose rows belong into the table: their policy is another one now.
    put_back: Vec<String>,
    /// Files that have the rows of their type.
    files: Vec<ArchiveFile>,
}

impl Work<'_> {
    /// Finishes what a run that was killed left lying.
    pub(super) async fn finish_detached(&mut self) -> Result<(), ArchiveError> {
        for detached in partitions::detached(self.database()).await? {
            let finished = self.finish_one(&detached).await;
            self.tolerate(finished).await?;
        }
        Ok(())
    }

    /// Archives what is to be archived, puts back what is to be kept, and drops the rest.
    pub(super) async fn finish_one(&mut self, detached: &Detached) -> Result<(), ArchiveError> {
        if archive_files::is_writing_detached(self.database(), &detached.name).await? {
            // What became of that file could not be found out, which was told: the next run tries again. It may
            // be whole, and its rows are archived once.
            self.note(None, "skip", detached.range, 0, 0);
            return Ok(());
        }
        self.refresh_rules().await?;
        let mut plan = self.plan(detached).await?;
        let mut verified = Vec::new();
        for file in &plan.files {
            verified.push(self.verify_again(file).await?);
        }
        for name in std::mem::take(&mut plan.archive) {
            let archived = Box::pin(self.archive(&name, detached.range, Some(&detached.name))).await?;
            if let Some((file, as_written)) = archived {
                plan.files.push(file);
                verified.push(as_written);
            }
        }
        let put_back = self.put_back(detached, &plan.put_back).await?;
        let mut deleted = Vec::new();
        for name in &plan.delete {
            let rows = match detached_rows::count(self.database(), &detached.name, name).await {
                // The number is for people, and a partition may be too large to count in time.
                Err(error) if is_too_slow(error.kind()) => 0,
                counted => counted?,
            };
            deleted.push((name, rows));
        }
        let bytes = detached_rows::bytes(self.database(), &detached.name).await?;
        let mut figures = self.figures;
        figures.rows_deleted += deleted.iter().map(|(_, rows)| rows).sum::<u64>();
        figures.rows_archived += plan.files.iter().map(rows_of).sum::<u64>();
        figures.partitions_dropped += 1;
        figures.bytes_freed += bytes;
        for file in &verified {
            file.is_unchanged(&self.objects().await?).await?;
        }
        let mut patience = Patience::default();
        while let Err(error) = self.drop_detached(detached, &plan, figures).await {
            patience.bear(error).await?;
        }
        let range = detached.range;
        for (name, rows) in deleted {
            self.note(Some(name), "delete", range, rows, 0);
        }
        for file in &plan.files {
            self.note(Some(&file.metric_type), "archive", range, rows_of(file), 0);
        }
        for (name, rows) in put_back {
            self.note(Some(&name), "put_back", range, rows, 0);
        }
        self.note(None, "drop", range, 0, bytes);
        Ok(())
    }

    /// Moves rows that are to be kept into the table again, a batch at a time, and says how many of which types.
    /// Wherever this is killed, each row is in one of the two.
    async fn put_back(
        &mut self,
        detached: &Detached,
        types: &[String],
    ) -> Result<Vec<(String, u64)>, ArchiveError> {
        let mut put_back = Vec::new();
        if !types.is_empty() {
            partitions::ensure(self.database(), detached.range).await?;
        }
        for name in types {
            let (mut rows, mut from) = (0, detached.range.lower);
            loop {
                let mut patience = Patience::default();
                let (moved, last) = loop {
                    match self.put_batch_back(detached, name, from).await {
                        Ok(moved) => break moved,
                        Err(error) => patience.bear(error).await?,
                    }
                };
                (rows, from) = (rows + moved, last);
                if moved < u64::from(BATCH) {
                    break;
                }
            }
            put_back.push((name.clone(), rows));
        }
        Ok(put_back)
    }

    async fn put_batch_back(
        &mut self,
        detached: &Detached,
        metric_type: &str,
        from: OffsetDateTime,
    ) -> Result<(u64, OffsetDateTime), ArchiveError> {
        let mut transaction = self.begin().await?;
        let moved =
            detached_rows::put_back(&mut transaction, &detached.name, metric_type, from, BATCH).await?;
        self.commit(transaction).await?;
        Ok(moved)
    }

    /// In one transaction: the partition is gone, and what was archived from it is in the archive alone.
    async fn drop_detached(
        &mut self,
        detached: &Detached,
        plan: &Plan,
        figures: Figures,
    ) -> Result<(), ArchiveError> {
        let mut transaction = self.begin().await?;
        if !partitions::drop_detached(&mut transaction, &detached.name).await? {
            // It is gone: an attempt before this one was committed although it seemed to fail.
            return Ok(());
        }
        for file in &plan.files {
            archive_files::archived(&mut transaction, file.id, self.archiving.clock.now()).await?;
        }
        self.commit_with(transaction, figures).await
    }

    /// What is to be done, by the policies of this moment. What a file has already stays there.
    async fn plan(&self, detached: &Detached) -> Result<Plan, ArchiveError> {
        let files = archive_files::of_detached(self.database(), &detached.name).await?;
        let mut plan = Plan { files, ..Plan::default() };
        for name in detached_rows::types(self.database(), &detached.name).await? {
            if plan.files.iter().any(|file| file.metric_type == name) {
                continue;
            }
            let rule = self.rules.of(&name).filter(|rule| detached.range.upper <= rule.cutoff);
            let list = match rule.map(|it| it.action) {
                Some(ArchiveAction::Archive) => &mut plan.archive,
                Some(ArchiveAction::Delete) => &mut plan.delete,
                None => &mut plan.put_back,
            };
            list.push(name);
        }
        Ok(plan)
    }
}

const fn is_too_slow(kind: DatabaseErrorKind) -> bool {
    matches!(kind, DatabaseErrorKind::QueryCanceled | DatabaseErrorKind::Timeout)
}

fn rows_of(file: &ArchiveFile) -> u64 {
    file.contents.as_ref().map_or(0, |it| it.rows)
}
