//! Runs of the archive policies: what is expired goes, whole partitions first, and whatever a killed run left
//! behind is finished before that.
//!
//! Each row is in the table, in a detached partition, or in one verified file, wherever a run is killed: a
//! file is written down before its first byte, counts from when it was read back whole, and only then its
//! rows are deleted, by their keys. Every transaction that destroys something confirms the lease.

mod counts;
mod detached;
mod files;
mod following;
mod partitions;
mod patience;
mod slices;
mod unfinished;
mod work;

use std::sync::Arc;

use foundation::clock::Clock;
use foundation::database::{Database, DatabaseError};
use foundation::entropy::Entropy;
use time::OffsetDateTime;
use uuid::Uuid;

use super::ArchiveError;
use crate::domain::archive_runs::{ArchiveRun, Details, Figures, RunReason, RunState};
use crate::domain::audit::AuditEvent;
use crate::domain::partitions::Width;
use crate::leases::{LeaseError, LeaseGuard, Leases};
use crate::lifecycle::{Lifecycle, Stage};
use crate::live_settings::LiveSettings;
use crate::prometheus::RetentionMetrics;
use crate::settings::{ArchivePlace, ArchiveSettings};
use crate::store::{archive_runs, audit_events, deployment};
use work::Work;

/// The duty of archiving: one process at a time does it.
pub const LEASE: &str = "archive";

/// What archiving stands on. Cheap to clone.
#[derive(Clone)]
pub struct Archiving {
    /// The pool.
    pub database: Database,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// Where the duty comes from.
    pub leases: Leases,
    /// What is changed while the service runs.
    pub live: LiveSettings,
    /// Where what was done is counted.
    pub metrics: RetentionMetrics,
    /// The width of the partitions that rows come back to.
    pub width: Width,
    /// How runs behave.
    pub settings: Arc<ArchiveSettings>,
    /// Where archives lie, if anywhere.
    pub place: Option<ArchivePlace>,
}

/// What kind of run is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Why.
    pub reason: RunReason,
    /// By whom.
    pub requested_by: Option<Uuid>,
    /// Whether it only says what it would do.
    pub is_dry_run: bool,
    /// Not if its hour had one since then.
    pub unless_since: Option<OffsetDateTime>,
}

/// A run that has the duty and is written down, and does nothing yet.
pub struct Run {
    archiving: Archiving,
    guard: LeaseGuard,
    record: ArchiveRun,
}

impl Archiving {
    /// The time that says what is over: this process's, or that of the database, which all have in common, when
    /// that is earlier. A clock that is ahead deletes nothing early.
    ///
    /// # Errors
    /// What the database says.
    pub async fn now(&self) -> Result<OffsetDateTime, DatabaseError> {
        Ok(self.clock.now().min(deployment::now(&self.database).await?))
    }

    /// Begins a run; nothing when another process, or another run of this one, has the duty. `event` makes
    /// the audit event of the run with this id.
    ///
    /// # Errors
    /// What the database says.
    pub async fn begin(
        &self,
        asked: &Asked,
        event: impl FnOnce(Uuid) -> Option<AuditEvent>,
    ) -> Result<Option<Run>, LeaseError> {
        let Some(guard) = self.leases.acquire(LEASE).await? else { return Ok(None) };
        if let Some(since) = asked.unless_since
            && archive_runs::was_scheduled_since(&self.database, since).await?
        {
            guard.release().await;
            return Ok(None);
        }
        self.begin_with(guard, asked, event).await.map(Some)
    }

    async fn begin_with(
        &self,
        guard: LeaseGuard,
        asked: &Asked,
        event: impl FnOnce(Uuid) -> Option<AuditEvent>,
    ) -> Result<Run, LeaseError> {
        let now = self.now().await?;
        let record = ArchiveRun {
            id: self.entropy.uuid_v7(now),
            reason: asked.reason,
            requested_by: asked.requested_by,
            is_dry_run: asked.is_dry_run,
            state: RunState::Running,
            fencing: guard.fencing(),
            started_at: now,
            finished_at: None,
            figures: Figures::default(),
            details: Vec::new(),
            error: None,
        };
        let mut transaction = self.database.begin().await?;
        let abandoned = archive_runs::abandon(&mut transaction, guard.fencing(), now).await?;
        archive_runs::insert(&mut transaction, &record).await?;
        if let Some(event) = event(record.id) {
            audit_events::insert(&mut transaction, &event).await?;
        }
        guard.confirm(&mut transaction).await?;
        transaction.commit().await?;
        if abandoned > 0 {
            tracing::warn!(
                abandoned,
                "a run of the archive policies was not finished; this one begins there"
            );
        }
        Ok(Run { archiving: self.clone(), guard, record })
    }
}

impl Run {
    /// The run as it begins.
    #[must_use]
    pub const fn record(&self) -> &ArchiveRun {
        &self.record
    }

    /// Does the work, until its end, that of the lease, or that of the process. Says how it ended.
    pub async fn work(self, lifecycle: &Lifecycle) -> ArchiveRun {
        let Self { archiving, guard, mut record } = self;
        tracing::info!(run = %record.id, reason = record.reason.name(), is_dry_run = record.is_dry_run, "archive run: begun");
        let mut work = Work::new(&archiving, &guard, &record);
        let result = tokio::select! {
            biased;
            () = guard.lost() => Err(LeaseError::Lost(LEASE).into()),
            () = lifecycle.reached(Stage::Draining) => Err(ArchiveError::Stopped),
            result = Box::pin(work.everything()) => result,
        };
        work.settle().await;
        (record.figures, record.details) = (work.figures, work.details.pieces().to_vec());
        let details = work.details;
        end(&archiving, &mut record, &details, result).await;
        guard.release().await;
        record
    }
}

/// Writes down how the run ended.
async fn end(
    archiving: &Archiving,
    record: &mut ArchiveRun,
    details: &Details,
    result: Result<(), ArchiveError>,
) {
    record.state = match &result {
        Ok(()) => RunState::Succeeded,
        Err(ArchiveError::Stopped | ArchiveError::Lease(LeaseError::Lost(_))) => RunState::Abandoned,
        Err(_) => RunState::Failed,
    };
    record.error = result.as_ref().err().map(ToString::to_string);
    // Others reckon with it by the clock of the database.
    let finished_at = archiving.now().await.unwrap_or_else(|_| archiving.clock.now()).max(record.started_at);
    record.finished_at = Some(finished_at);
    if !record.is_dry_run {
        archiving.metrics.archive_run(record.state, &record.figures);
    }
    let Figures { rows_deleted, rows_archived, partitions_dropped, bytes_freed } = record.figures;
    let state = record.state.name();
    match &result {
        Ok(()) => tracing::info!(
            run = %record.id, rows_deleted, rows_archived, partitions_dropped, bytes_freed, "archive run: done"
        ),
        Err(error) => tracing::error!(
            run = %record.id, rows_deleted, rows_archived, partitions_dropped, bytes_freed, state,
            error = error as &dyn std::error::Error, "archive run: not done; the next one goes on"
        ),
    }
    let end = archive_runs::End {
        figures: &record.figures,
        details,
        state: record.state,
        finished_at,
        error: record.error.clone(),
    };
    if let Err(error) = archive_runs::finish(&archiving.database, record.id, &end).await {
        tracing::warn!(%error, run = %record.id, "the end of the archive run was not written down");
    }
}
