//! Rows of types with a shorter life than others of their partition, and all rows on SQLite: a day of a type at a
//! time, deleted in small batches.

use time::macros::datetime;
use time::{Duration, OffsetDateTime, Time};

use super::counts::Counted;
use super::files::Archived;
use super::patience::Patience;
use super::work::{BATCH, Work};
use crate::archive::ArchiveError;
use crate::domain::archive_policies::ArchiveAction;
use crate::domain::archive_rules::Rule;
use crate::domain::partitions::Range;
use crate::store::{archive_files, archive_rows};

/// No row is from before this: no time of it could be written.
const FIRST: OffsetDateTime = datetime!(0000-01-01 0:00 UTC);

impl Work<'_> {
    /// Deletes what is expired in the table, or archives it; a dry run says how much that is.
    pub(super) async fn delete_slices(&mut self) -> Result<(), ArchiveError> {
        for name in archive_rows::types(self.database()).await? {
            let mut from = FIRST;
            loop {
                self.refresh_rules().await?;
                let Some(rule) = self.rules.of(&name) else { break };
                let needs_place = !self.is_dry_run && rule.action == ArchiveAction::Archive;
                if needs_place && !self.can_archive() {
                    break;
                }
                let range = Range { lower: from, upper: rule.cutoff };
                let Some(slice) = self.next_slice(&name, range).await? else { break };
                let done = self.delete_slice(&name, rule, slice).await;
                // What is left of it goes by the policies as they are now.
                let is_left = self.tolerate(done).await? == Some(false);
                from = if is_left { slice.lower } else { slice.upper };
            }
        }
        Ok(())
    }

    /// The next day, or part of one, that has rows of the type and that nothing keeps.
    async fn next_slice(&self, name: &str, range: Range) -> Result<Option<Range>, ArchiveError> {
        let mut from = range.lower;
        'search: loop {
            let left = Range { lower: from, upper: range.upper };
            if left.lower >= left.upper {
                return Ok(None);
            }
            let Some(first) = archive_rows::first(self.database(), name, left).await? else {
                return Ok(None);
            };
            let day = first.replace_time(Time::MIDNIGHT);
            let end = day.checked_add(Duration::DAY).unwrap_or(range.upper);
            let mut slice = Range { lower: day.max(from), upper: end.min(range.upper) };
            while let Some(kept) = self.obstacle(name, slice).await? {
                if kept.lower <= slice.lower {
                    from = kept.upper;
                    continue 'search;
                }
                slice.upper = kept.lower;
            }
            return Ok(Some(slice));
        }
    }

    /// A range that overlaps the slice and is left alone: what was restored, what a file has that is not
    /// finished, and partitions of which this run is done.
    async fn obstacle(&self, name: &str, slice: Range) -> Result<Option<Range>, ArchiveError> {
        if let Some(range) = self.left_alone.iter().find(|range| range.overlaps(&slice)) {
            return Ok(Some(*range));
        }
        Ok(archive_files::held(self.database(), Some(name), slice).await?)
    }

    /// Says whether it was done with; not when the policies became others meanwhile.
    async fn delete_slice(&mut self, name: &str, rule: Rule, slice: Range) -> Result<bool, ArchiveError> {
        let mut is_done = true;
        let counted = if self.is_dry_run {
            let counted = self.foresee_rows(name, slice).await?;
            self.figures.count(rule.action, counted.rows);
            counted
        } else if rule.action == ArchiveAction::Archive {
            Counted::all(match Box::pin(self.archive(name, slice, None)).await? {
                Archived::Nothing => 0,
                Archived::PolicyChanged => {
                    is_done = false;
                    0
                }
                Archived::File(archived) => {
                    let (file, verified) = *archived;
                    Box::pin(self.delete_rows_of(&file, &verified, true)).await?
                }
            })
        } else {
            let (rows, is_all) = self.delete_in_batches(name, slice).await?;
            is_done = is_all;
            Counted::all(rows)
        };
        if counted.rows > 0 || counted.note.is_some() {
            self.note_rows(Some(name), rule.action.name(), slice, counted, 0);
        }
        Ok(is_done)
    }

    /// Says how many rows it deleted, and whether they were all: not when the policies became others meanwhile.
    async fn delete_in_batches(&mut self, name: &str, slice: Range) -> Result<(u64, bool), ArchiveError> {
        let (mut left, mut deleted) = (slice, 0);
        loop {
            let mut patience = Patience::default();
            let batch = loop {
                match self.delete_oldest(name, left).await {
                    Ok(batch) => break batch,
                    Err(error) => patience.bear(error).await?,
                }
            };
            let Some((gone, lower)) = batch else { return Ok((deleted, false)) };
            deleted += gone;
            left.lower = lower;
            if gone < u64::from(BATCH) {
                return Ok((deleted, true));
            }
        }
    }

    /// Nothing, when the policies are others now.
    async fn delete_oldest(
        &mut self,
        name: &str,
        range: Range,
    ) -> Result<Option<(u64, OffsetDateTime)>, ArchiveError> {
        let mut transaction = self.begin().await?;
        let backend = self.backend();
        let gone = archive_rows::delete_oldest(&mut transaction, backend, name, range, BATCH).await?;
        let types = [name.to_owned()];
        if !self.is_still_so(&mut transaction, ArchiveAction::Delete, &types, range.upper).await? {
            return Ok(None);
        }
        let mut figures = self.figures;
        figures.rows_deleted += gone.0;
        self.commit_with(transaction, figures).await?;
        Ok(Some(gone))
    }
}
