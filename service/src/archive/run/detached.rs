//! Partitions that were taken out of the table: their rows are archived or put back, and then they are dropped.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foundation::database::{DatabaseError, DatabaseErrorKind};
use time::OffsetDateTime;
use uuid::Uuid;

use super::counts::Counted;
use super::files::Archived;
use super::patience::Patience;
use super::work::{BATCH, Work};
use crate::archive::ArchiveError;
use crate::archive::reader::Verified;
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

    /// Archives what is to be archived, puts back what is to be kept, and drops the rest. It takes its time, and
    /// the policies may become others meanwhile: what is to be done is planned anew after each step.
    pub(super) async fn finish_one(&mut self, detached: &Detached) -> Result<(), ArchiveError> {
        if archive_files::is_writing_detached(self.database(), &detached.name).await? {
            // What became of that file could not be found out, which was told: the next run tries again. It may
            // be whole, and its rows are archived once.
            self.note(None, "skip", detached.range, 0, 0);
            return Ok(());
        }
        let mut verified = HashMap::new();
        loop {
            self.refresh_rules().await?;
            let plan = self.plan(detached).await?;
            if !self.verify_all(&plan.files, &mut verified).await? {
                continue;
            }
            if let Some(name) = plan.archive.first() {
                match Box::pin(self.archive(name, detached.range, Some(&detached.name))).await? {
                    Archived::File(archived) => drop(verified.insert(archived.0.id, archived.1)),
                    Archived::PolicyChanged => {}
                    // Nobody but this process has anything to do with them: they cannot have gone.
                    Archived::Nothing => return Err(vanished(name, &detached.name).into()),
                }
                continue;
            }
            for (name, rows) in self.put_back(detached, &plan.put_back).await? {
                self.note(Some(&name), "put_back", detached.range, rows, 0);
            }
            for file in plan.files.iter().filter_map(|file| verified.get(&file.id)) {
                file.is_unchanged(&self.objects().await?).await?;
            }
            if self.drop_with_rows(detached, &plan).await? {
                return Ok(());
            }
        }
    }

    /// Sees to it that the files of a partition that is still there are what they were, each once. One that is not
    /// is forgotten: none of its rows went anywhere. Says whether there was none of those.
    async fn verify_all(
        &mut self,
        files: &[ArchiveFile],
        verified: &mut HashMap<Uuid, Verified>,
    ) -> Result<bool, ArchiveError> {
        for file in files {
            let Entry::Vacant(entry) = verified.entry(file.id) else { continue };
            match self.verify_again(file).await {
                Ok(found) => {
                    entry.insert(found);
                }
                Err(error @ ArchiveError::Damaged { .. }) => {
                    tracing::warn!(run = %self.run_id, %error, "archive run: the rows of a file are archived once more");
                    self.discard(file).await?;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Drops the partition with the rows that no policy keeps. Says whether it is gone: not when the policies
    /// are others now.
    async fn drop_with_rows(&mut self, detached: &Detached, plan: &Plan) -> Result<bool, ArchiveError> {
        let mut deleted = Vec::new();
        for name in &plan.delete {
            let counted = detached_rows::count(self.database(), &detached.name, name).await;
            deleted.push((name, Counted::of(counted)?));
        }
        let bytes = detached_rows::bytes(self.database(), &detached.name).await?;
        let mut figures = self.figures;
        figures.rows_deleted += deleted.iter().map(|(_, counted)| counted.rows).sum::<u64>();
        figures.rows_archived += plan.files.iter().map(rows_of).sum::<u64>();
        figures.partitions_dropped += 1;
        figures.bytes_freed += bytes;
        let mut patience = Patience::default();
        let is_gone = loop {
            match self.drop_detached(detached, plan, figures).await {
                Ok(is_gone) => break is_gone,
                Err(error) => patience.bear(error).await?,
            }
        };
        if is_gone {
            for (name, counted) in deleted {
                self.note_rows(Some(name), "delete", detached.range, counted, 0);
            }
            for file in &plan.files {
                self.note(Some(&file.metric_type), "archive", detached.range, rows_of(file), 0);
            }
            self.note(None, "drop", detached.range, 0, bytes);
        }
        Ok(is_gone)
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

    /// In one transaction: the partition is gone, and what was archived from it is in the archive alone. Says
    /// whether that is so: not when the policies are others now, which is looked at last, so that nobody who
    /// changes one waits while this waits for others.
    async fn drop_detached(
        &mut self,
        detached: &Detached,
        plan: &Plan,
        figures: Figures,
    ) -> Result<bool, ArchiveError> {
        let mut transaction = self.begin().await?;
        if !partitions::drop_detached(&mut transaction, &detached.name).await? {
            // It is gone: an attempt before this one was committed although it seemed to fail.
            return Ok(true);
        }
        for file in &plan.files {
            archive_files::archived(&mut transaction, file.id, self.archiving.clock.now()).await?;
        }
        let (delete, upper) = (ArchiveAction::Delete, detached.range.upper);
        if !self.is_still_so(&mut transaction, delete, &plan.delete, upper).await? {
            return Ok(false);
        }
        self.commit_with(transaction, figures).await?;
        Ok(true)
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

fn vanished(metric_type: &str, name: &str) -> DatabaseError {
    let message = format!("rows of the type {metric_type:?} in {name} were found and could not be read");
    DatabaseError::new(DatabaseErrorKind::Conversion, message)
}

fn rows_of(file: &ArchiveFile) -> u64 {
    file.contents.as_ref().map_or(0, |it| it.rows)
}
