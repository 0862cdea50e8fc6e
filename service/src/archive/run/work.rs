//! What the steps of a run have in common.

use std::time::Duration;

use foundation::database::{Backend, Database, DatabaseErrorKind, Transaction};
use futures_util::StreamExt as _;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Archiving;
use crate::archive::ArchiveError;
use crate::archive::files::{FileReader, FileWriter, verify, write_manifest};
use crate::archive::objects::Objects;
use crate::domain::archive_files::{ArchiveFile, Contents, FileState, location};
use crate::domain::archive_rows::ArchivedRow;
use crate::domain::archive_rules::Rules;
use crate::domain::archive_runs::{ArchiveRun, Detail, Details, Figures};
use crate::domain::partitions::Range;
use crate::leases::{LeaseError, LeaseGuard};
use crate::store::{archive_files, archive_policies, archive_rows, archive_runs};

/// Rows that one transaction deletes, at most: it is over before anybody waits for it.
pub(super) const BATCH: u32 = 1_000;

/// How often something is tried that others are in the way of, and the first pause, doubled each time.
const ATTEMPTS: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Runs that one run prunes, at most.
const PRUNED_RUNS: u32 = 10_000;

/// A run that works.
pub(super) struct Work<'a> {
    pub(super) archiving: &'a Archiving,
    pub(super) guard: &'a LeaseGuard,
    pub(super) run_id: Uuid,
    pub(super) is_dry_run: bool,
    pub(super) now: OffsetDateTime,
    pub(super) rules: Rules,
    pub(super) figures: Figures,
    pub(super) details: Details,
    /// What is left alone by this run: partitions that others used all the time; for a dry run those that
    /// would be gone.
    pub(super) left_alone: Vec<Range>,
    objects: Option<Objects>,
    /// Whether the place could be written when it was tried last.
    can_archive: bool,
    /// The first thing that went wrong without keeping the rest from being done.
    problem: Option<ArchiveError>,
}

impl<'a> Work<'a> {
    pub(super) fn new(archiving: &'a Archiving, guard: &'a LeaseGuard, record: &ArchiveRun) -> Self {
        Self {
            archiving,
            guard,
            run_id: record.id,
            is_dry_run: record.is_dry_run,
            now: record.started_at,
            rules: Rules::default(),
            figures: Figures::default(),
            details: Details::default(),
            left_alone: Vec::new(),
            objects: None,
            can_archive: false,
            problem: None,
        }
    }

    pub(super) fn database(&self) -> &Database {
        &self.archiving.database
    }

    pub(super) fn backend(&self) -> Backend {
        self.archiving.database.backend()
    }

    /// Does everything, and says what went wrong first. The steps lie on the heap: all of them in one value would
    /// be large for a stack.
    pub(super) async fn everything(&mut self) -> Result<(), ArchiveError> {
        self.refresh_rules().await?;
        if !self.is_dry_run {
            if self.rules.archive() {
                // Better known before anything is taken apart.
                let probed = self.probe().await;
                self.tolerate(probed)?;
            }
            Box::pin(self.finish_files()).await?;
        }
        if self.backend() == Backend::Postgres {
            if !self.is_dry_run {
                Box::pin(self.finish_detached()).await?;
            }
            Box::pin(self.drop_partitions()).await?;
        }
        Box::pin(self.delete_slices()).await?;
        if !self.is_dry_run {
            self.close().await?;
        }
        self.problem.take().map_or(Ok(()), Err)
    }

    /// Reads the policies again: a run may take long, and one that was disabled meanwhile is obeyed no more.
    pub(super) async fn refresh_rules(&mut self) -> Result<(), ArchiveError> {
        let policies = archive_policies::all(self.database()).await?;
        self.rules = Rules::new(&policies, self.now);
        Ok(())
    }

    async fn probe(&mut self) -> Result<(), ArchiveError> {
        self.objects().await?.probe().await?;
        self.can_archive = true;
        Ok(())
    }

    /// What the archive says, and what the database says of one piece, does not keep the rest from being done.
    pub(super) fn tolerate<T>(&mut self, result: Result<T, ArchiveError>) -> Result<Option<T>, ArchiveError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if is_of_one_piece(&error) => {
                tracing::warn!(run = %self.run_id, error = &error as &dyn std::error::Error, "archive run: a part is left for the next");
                self.can_archive &= !matches!(error, ArchiveError::Storage(_) | ArchiveError::Io(_));
                self.problem.get_or_insert(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The place that archives lie at, opened when it is needed first.
    pub(super) async fn objects(&mut self) -> Result<Objects, ArchiveError> {
        if let Some(objects) = &self.objects {
            return Ok(objects.clone());
        }
        let place = self.archiving.place.as_ref().ok_or(ArchiveError::NoPlace)?;
        let secret = self.archiving.live.current().archive_secret_access_key.clone();
        let objects = Objects::open(place, secret.as_ref()).await?;
        Ok(self.objects.insert(objects).clone())
    }

    /// Whether the place could be written when it was tried last: a run does not try it again for each day.
    pub(super) const fn can_archive(&self) -> bool {
        self.can_archive
    }

    /// A transaction that waits for no lock longer than it may.
    pub(super) async fn begin(&self) -> Result<Transaction, ArchiveError> {
        let mut transaction = self.database().begin().await?;
        let lock_timeout = self.archiving.settings.lock_timeout;
        archive_rows::bound_waiting(&mut transaction, self.backend(), lock_timeout, None).await?;
        Ok(transaction)
    }

    /// A transaction that only writes down how far the run is: it is in nobody's way, and may wait.
    pub(super) async fn begin_record(&self) -> Result<Transaction, ArchiveError> {
        Ok(self.database().begin().await?)
    }

    /// Makes permanent what the transaction did, if this process still has the duty.
    pub(super) async fn commit(&self, mut transaction: Transaction) -> Result<(), ArchiveError> {
        self.guard.confirm(&mut transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// The same, with what the run has done then.
    pub(super) async fn commit_with(
        &mut self,
        mut transaction: Transaction,
        figures: Figures,
    ) -> Result<(), ArchiveError> {
        archive_runs::progress(&mut transaction, self.run_id, &figures).await?;
        self.commit(transaction).await?;
        self.figures = figures;
        Ok(())
    }

    /// Notes a piece of what was done.
    pub(super) fn note(
        &mut self,
        metric_type: Option<&str>,
        action: &str,
        range: Range,
        rows: u64,
        bytes: u64,
    ) {
        self.details.add(Detail {
            metric_type: metric_type.map(str::to_owned),
            action: action.to_owned(),
            from: range.lower,
            to: range.upper,
            rows,
            bytes,
            note: None,
        });
    }

    /// Writes the rows of a type to a file and reads it back. The file is verified then; nothing, when there
    /// are no rows.
    pub(super) async fn archive(
        &mut self,
        metric_type: &str,
        range: Range,
        detached: Option<&str>,
    ) -> Result<Option<ArchiveFile>, ArchiveError> {
        let objects = self.objects().await?;
        let now = self.archiving.clock.now();
        let id = self.archiving.entropy.uuid_v7(now);
        let mut file = ArchiveFile {
            id,
            run_id: self.run_id,
            metric_type: metric_type.to_owned(),
            range,
            detached: detached.map(str::to_owned),
            location: location(metric_type, range, id),
            state: FileState::Writing,
            contents: None,
        };
        let mut transaction = self.begin_record().await?;
        archive_files::insert(&mut transaction, &file, now).await?;
        self.commit(transaction).await?;
        let contents = Box::pin(self.write(&objects, &file)).await?;
        if contents.rows == 0 {
            self.forget(&objects, &file).await?;
            return Ok(None);
        }
        Box::pin(verify(&objects, &file.location, &contents)).await?;
        write_manifest(&objects, &file, &contents).await?;
        let mut transaction = self.begin_record().await?;
        let now = self.archiving.clock.now();
        if !archive_files::verified(&mut transaction, id, &contents, now).await? {
            return Err(LeaseError::Lost(super::LEASE).into());
        }
        self.commit(transaction).await?;
        (file.state, file.contents) = (FileState::Verified, Some(contents));
        Ok(Some(file))
    }

    async fn write(&self, objects: &Objects, file: &ArchiveFile) -> Result<Contents, ArchiveError> {
        let from = file
            .detached
            .as_deref()
            .map_or(archive_rows::From::Table(file.range), archive_rows::From::Detached);
        let mut rows = archive_rows::stream(self.database(), &file.metric_type, from).await?;
        let mut writer = FileWriter::begin(objects, &file.location)?;
        while let Some(row) = rows.next().await {
            writer.write(&archive_rows::from_row(&row?)?).await?;
        }
        writer.finish().await
    }

    /// Removes a file that was never verified, and forgets it. That it is none that was, and that this process
    /// has the duty, is made sure of before: a file may be all there is of its rows.
    pub(super) async fn forget(&self, objects: &Objects, file: &ArchiveFile) -> Result<(), ArchiveError> {
        let mut transaction = self.begin_record().await?;
        let now = self.archiving.clock.now();
        if !archive_files::is_being_written(&mut transaction, file.id, now).await? {
            return Err(LeaseError::Lost(super::LEASE).into());
        }
        self.commit(transaction).await?;
        objects.remove(&file.location).await?;
        let mut transaction = self.begin_record().await?;
        archive_files::forget(&mut transaction, file.id).await?;
        self.commit(transaction).await
    }

    /// Deletes exactly the rows that are in the file from the table, and says how many were there. The file is
    /// archived then.
    pub(super) async fn delete_rows_of(
        &mut self,
        file: &ArchiveFile,
        counts: bool,
    ) -> Result<u64, ArchiveError> {
        let objects = self.objects().await?;
        let mut reader = FileReader::open(&objects, &file.location).await?;
        let (mut read, mut deleted) = (0, 0);
        loop {
            let rows = reader.next_rows(BATCH as usize).await?;
            if rows.is_empty() {
                break;
            }
            read += rows.len() as u64;
            let mut patience = Patience::default();
            let gone = loop {
                match self.delete_batch_of(file, &rows, counts).await {
                    Ok(gone) => break gone,
                    Err(error) => patience.bear(error).await?,
                }
            };
            deleted += gone;
        }
        if file.contents.as_ref().is_none_or(|it| it.rows != read) {
            let detail = format!("it holds {read} rows, not as many as were written");
            return Err(ArchiveError::Damaged { location: file.location.clone(), detail });
        }
        let mut transaction = self.begin_record().await?;
        archive_files::archived(&mut transaction, file.id, self.archiving.clock.now()).await?;
        self.commit(transaction).await?;
        Ok(deleted)
    }

    async fn delete_batch_of(
        &mut self,
        file: &ArchiveFile,
        rows: &[ArchivedRow],
        counts: bool,
    ) -> Result<u64, ArchiveError> {
        let mut transaction = self.begin().await?;
        let (backend, metric_type, range) = (self.backend(), file.metric_type.as_str(), file.range);
        let gone = archive_rows::delete_keys(&mut transaction, backend, metric_type, range, rows).await?;
        let mut figures = self.figures;
        figures.rows_archived += if counts { gone } else { 0 };
        self.commit_with(transaction, figures).await?;
        Ok(gone)
    }

    /// Notes that the policies were obeyed, and forgets the runs of long ago.
    async fn close(&mut self) -> Result<(), ArchiveError> {
        let mut transaction = self.begin_record().await?;
        if self.problem.is_none() {
            archive_policies::obeyed(&mut transaction, self.now).await?;
        }
        let kept = time::Duration::try_from(self.archiving.settings.run_retention).ok();
        if let Some(before) = kept.and_then(|it| self.now.checked_sub(it)) {
            archive_runs::prune(&mut transaction, before, PRUNED_RUNS).await?;
        }
        self.commit(transaction).await
    }
}

/// How long a run goes on trying while others are in its way.
#[derive(Default)]
pub(super) struct Patience(u32);

impl Patience {
    /// Waits, each time longer, when the error says that others are in the way.
    ///
    /// # Errors
    /// [`ArchiveError::InUse`] when they stayed there, else the error itself.
    pub(super) async fn bear(&mut self, error: ArchiveError) -> Result<(), ArchiveError> {
        match error {
            ArchiveError::Database(error) | ArchiveError::Lease(LeaseError::Database(error))
                if is_in_use(error.kind()) =>
            {
                self.0 += 1;
                if self.0 >= ATTEMPTS {
                    return Err(ArchiveError::InUse(error));
                }
                tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(self.0 - 1)).await;
                Ok(())
            }
            other => Err(other),
        }
    }
}

const fn is_in_use(kind: DatabaseErrorKind) -> bool {
    use DatabaseErrorKind as Kind;
    matches!(kind, Kind::LockNotAvailable | Kind::QueryCanceled | Kind::Timeout | Kind::SerializationFailure)
}

/// Whether the error is one of a single partition, file or row, and not of the database as a whole.
fn is_of_one_piece(error: &ArchiveError) -> bool {
    use DatabaseErrorKind as Kind;
    match error {
        ArchiveError::Storage(_)
        | ArchiveError::Io(_)
        | ArchiveError::Damaged { .. }
        | ArchiveError::NoPlace
        | ArchiveError::InUse(_) => true,
        ArchiveError::Database(error) => matches!(
            error.kind(),
            Kind::QueryCanceled
                | Kind::Timeout
                | Kind::Conversion
                | Kind::UndefinedTable
                | Kind::InsufficientPrivilege
        ),
        _ => false,
    }
}
