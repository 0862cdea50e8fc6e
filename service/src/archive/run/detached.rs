//! Partitions that were taken out of the table: their rows are archived or put back, and then they are dropped.

use foundation::database::DatabaseErrorKind;

use super::work::{Patience, Work};
use crate::archive::ArchiveError;
use crate::domain::archive_files::ArchiveFile;
use crate::domain::archive_policies::ArchiveAction;
use crate::domain::archive_runs::Figures;
use crate::domain::partitions::{Detached, Range};
use crate::store::{archive_files, archive_rows, partitions};

/// In how many parts rows are put back, so that none takes longer than a statement may.
const PARTS: i32 = 24;

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
            self.tolerate(finished)?;
        }
        Ok(())
    }

    /// Archives what is to be archived, puts back what is to be kept, and drops the rest.
    pub(super) async fn finish_one(&mut self, detached: &Detached) -> Result<(), ArchiveError> {
        self.refresh_rules().await?;
        let mut plan = self.plan(detached).await?;
        for name in std::mem::take(&mut plan.archive) {
            plan.files.extend(Box::pin(self.archive(&name, detached.range, Some(&detached.name))).await?);
        }
        if !plan.put_back.is_empty() {
            partitions::ensure(self.database(), detached.range).await?;
        }
        let mut deleted = Vec::new();
        for name in &plan.delete {
            let rows = match archive_rows::count_detached(self.database(), &detached.name, name).await {
                // The number is for people, and a partition may be too large to count in time.
                Err(error) if is_too_slow(error.kind()) => 0,
                counted => counted?,
            };
            deleted.push((name, rows));
        }
        let bytes = archive_rows::bytes_of_detached(self.database(), &detached.name).await?;
        let mut figures = self.figures;
        figures.rows_deleted += deleted.iter().map(|(_, rows)| rows).sum::<u64>();
        figures.rows_archived += plan.files.iter().map(rows_of).sum::<u64>();
        figures.partitions_dropped += 1;
        figures.bytes_freed += bytes;
        let mut patience = Patience::default();
        let put_back = loop {
            match self.drop_detached(detached, &plan, figures).await {
                Ok(put_back) => break put_back,
                Err(error) => patience.bear(error).await?,
            }
        };
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

    /// In one transaction: what is to be kept is in the table again, the partition is gone, and what was
    /// archived from it is in the archive alone. Says how many rows of which types were put back.
    async fn drop_detached(
        &mut self,
        detached: &Detached,
        plan: &Plan,
        figures: Figures,
    ) -> Result<Vec<(String, u64)>, ArchiveError> {
        let mut transaction = self.begin().await?;
        let mut put_back = Vec::new();
        for name in &plan.put_back {
            let mut rows = 0;
            for part in parts(detached.range) {
                rows += archive_rows::put_back(&mut transaction, &detached.name, name, part).await?;
            }
            put_back.push((name.clone(), rows));
        }
        if !partitions::drop_detached(&mut transaction, &detached.name).await? {
            // It is gone: an attempt before this one was committed although it seemed to fail.
            return Ok(Vec::new());
        }
        for file in &plan.files {
            archive_files::archived(&mut transaction, file.id, self.archiving.clock.now()).await?;
        }
        self.commit_with(transaction, figures).await?;
        Ok(put_back)
    }

    /// What is to be done, by the policies of this moment. What a file has already stays there.
    async fn plan(&self, detached: &Detached) -> Result<Plan, ArchiveError> {
        let files = archive_files::of_detached(self.database(), &detached.name).await?;
        let mut plan = Plan { files, ..Plan::default() };
        for name in archive_rows::types_of_detached(self.database(), &detached.name).await? {
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

/// The range in parts, one after the other.
fn parts(range: Range) -> impl Iterator<Item = Range> {
    let step = (range.upper - range.lower) / PARTS;
    (0..PARTS).map(move |part| Range {
        lower: range.lower + step * part,
        upper: if part + 1 == PARTS { range.upper } else { range.lower + step * (part + 1) },
    })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn parts_cover_the_range_once() {
        let range = Range { lower: datetime!(2026-01-01 0:00 UTC), upper: datetime!(2026-01-08 0:01 UTC) };
        let parts: Vec<_> = parts(range).collect();
        assert_eq!((parts[0].lower, parts[23].upper), (range.lower, range.upper));
        assert!(parts.windows(2).all(|pair| pair[0].upper == pair[1].lower && pair[0].lower < pair[0].upper));
    }
}
