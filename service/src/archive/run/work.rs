//! What the steps of a run have in common.

use foundation::database::{Backend, Database, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Archiving;
use super::counts::Counted;
use super::patience::is_of_one_piece;
use crate::archive::ArchiveError;
use crate::archive::objects::Objects;
use crate::domain::archive_files::probe_location;
use crate::domain::archive_policies::ArchiveAction;
use crate::domain::archive_rules::{Rule, Rules};
use crate::domain::archive_runs::{ArchiveRun, Detail, Details, Figures};
use crate::domain::partitions::Range;
use crate::leases::LeaseGuard;
use crate::store::{archive_policies, archive_rows, archive_runs, deployment};

/// Rows that one transaction deletes, at most: it is over before anybody waits for it.
pub(super) const BATCH: u32 = 1_000;

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
    deployment: Option<String>,
    /// Whether the place could be written when it was tried.
    can_archive: bool,
    /// Whether it could not be used since: this run leaves it alone then, because each try may take minutes.
    is_away: bool,
    /// The oldest file that was found in the place.
    pub(super) seen: Option<Uuid>,
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
            deployment: None,
            can_archive: false,
            is_away: false,
            seen: None,
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
                self.is_away = probed.is_err();
                self.tolerate(probed).await?;
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

    /// Whether rows of these types before `upper` still go this way. Nobody changes a policy before the
    /// transaction ends, so that it is decided last: whoever is told that one is disabled is obeyed.
    pub(super) async fn is_still_so(
        &mut self,
        transaction: &mut Transaction,
        action: ArchiveAction,
        types: &[String],
        upper: OffsetDateTime,
    ) -> Result<bool, ArchiveError> {
        if types.is_empty() {
            return Ok(true);
        }
        let policies = archive_policies::hold_all(transaction, self.backend()).await?;
        self.rules = Rules::new(&policies, self.now);
        let is_so = |rule: Rule| rule.action == action && upper <= rule.cutoff;
        Ok(types.iter().all(|name| self.rules.of(name).is_some_and(is_so)))
    }

    async fn probe(&mut self) -> Result<(), ArchiveError> {
        let location = probe_location(&self.deployment().await?);
        self.objects().await?.probe(&location).await?;
        self.can_archive = true;
        Ok(())
    }

    /// What the archive says, and what the database says of one piece, does not keep the rest from being done.
    pub(super) async fn tolerate<T>(
        &mut self,
        result: Result<T, ArchiveError>,
    ) -> Result<Option<T>, ArchiveError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if is_of_one_piece(&error) => {
                tracing::warn!(run = %self.run_id, error = &error as &dyn std::error::Error, "archive run: a part is left for the next");
                self.is_away = match error {
                    // It may be another place, which a probe does not notice: a folder is made where it is missing.
                    ArchiveError::Missing(_) => true,
                    // It may be this file alone that cannot be used, or all of the place.
                    ArchiveError::Storage(_) | ArchiveError::Io(_) if !self.is_away => {
                        self.probe().await.is_err()
                    }
                    _ => self.is_away,
                };
                self.problem.get_or_insert(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The place that archives lie at, opened when it is needed first.
    ///
    /// # Errors
    /// [`ArchiveError::Away`] when it could not be used before in this run.
    pub(super) async fn objects(&mut self) -> Result<Objects, ArchiveError> {
        if self.is_away {
            return Err(ArchiveError::Away);
        }
        if let Some(objects) = &self.objects {
            return Ok(objects.clone());
        }
        let place = self.archiving.place.as_ref().ok_or(ArchiveError::NoPlace)?;
        let secret = self.archiving.live.current().archive_secret_access_key.clone();
        let objects = Objects::open(place, secret.as_ref()).await?;
        Ok(self.objects.insert(objects).clone())
    }

    /// The folder of this deployment in the place that archives lie at.
    pub(super) async fn deployment(&mut self) -> Result<String, ArchiveError> {
        if let Some(deployment) = &self.deployment {
            return Ok(deployment.clone());
        }
        let id = deployment::id(self.database()).await?;
        Ok(self.deployment.insert(id).clone())
    }

    /// Whether the place could be written when it was tried last: a run does not try it again for each day.
    pub(super) const fn can_archive(&self) -> bool {
        self.can_archive && !self.is_away
    }

    /// Whether the place could not be used.
    pub(super) const fn is_away(&self) -> bool {
        self.is_away
    }

    /// Waits a moment until what was sent of files that were not finished is taken back.
    pub(super) async fn settle(&self) {
        if let Some(objects) = &self.objects {
            objects.settle().await;
        }
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
        self.note_rows(metric_type, action, range, Counted::all(rows), bytes);
    }

    /// The same of rows that may not all be counted.
    pub(super) fn note_rows(
        &mut self,
        metric_type: Option<&str>,
        action: &str,
        range: Range,
        counted: Counted,
        bytes: u64,
    ) {
        self.details.add(Detail {
            metric_type: metric_type.map(str::to_owned),
            action: action.to_owned(),
            from: range.lower,
            to: range.upper,
            rows: counted.rows,
            bytes,
            note: counted.note.map(str::to_owned),
        });
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
