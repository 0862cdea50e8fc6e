//! Snapshots: written, and read.

mod chunks;
mod filling;
mod lines;
pub mod streams;

use std::sync::Arc;

use std::time::Duration;

use foundation::database::{DatabaseError, DatabaseErrorKind, RowStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::idempotency::Kept;
use super::{ActionError, Actions};
use crate::domain::idempotency::{Answer, KeyedRequest, Outcome};
use crate::domain::metrics_snapshots::{NewSnapshot, Order, Position, Rules, SnapshotFilter};
use crate::partitions::Partitions;
use crate::settings::MetricsSettings;
use crate::store::layout::KnownLayout;
use crate::store::metrics_snapshots;
use crate::store::pages::PageLimits;

/// Batches that are read and stored at the same time. More wait: they would wait for each other in the pages of
/// an index, which takes longer, and each would keep its rows in memory meanwhile.
const BATCHES: usize = 4;

/// How often a batch is tried, where the next try may be better.
const TRIES: usize = 5;

/// What snapshots are written and read with. Cheap to clone.
#[derive(Clone)]
pub struct Snapshots {
    /// What all actions stand on.
    pub actions: Actions,
    /// Where snapshots are put.
    pub partitions: Partitions,
    /// Which snapshots are taken.
    pub settings: Arc<MetricsSettings>,
    /// How those that are stored lie.
    pub layout: KnownLayout,
    /// Batches that may still be read and stored at the same time.
    batches: Arc<Semaphore>,
    /// Streams that may still be stored at the same time.
    writers: Arc<Semaphore>,
    /// Streams that may still be read at the same time.
    readers: Arc<Semaphore>,
}

impl Snapshots {
    /// Snapshots by these settings.
    #[must_use]
    pub fn new(actions: Actions, partitions: Partitions, settings: Arc<MetricsSettings>) -> Self {
        let slots = || Arc::new(Semaphore::new(usize::try_from(settings.streams.get()).unwrap_or(1)));
        let batches = Arc::new(Semaphore::new(BATCHES));
        let layout = KnownLayout::default();
        Self { batches, writers: slots(), readers: slots(), actions, partitions, settings, layout }
    }

    /// Waits until a batch may be read and stored; what is returned is to be kept until it is.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // Nobody closes it.
        self.batches.acquire().await.ok()
    }

    /// What a snapshot has to keep to at this moment.
    #[must_use]
    pub fn rules(&self) -> Rules {
        let MetricsSettings { write_past, write_ahead, .. } = *self.settings;
        Rules::new(self.actions.clock.now(), write_past, write_ahead, self.settings.document_limits())
    }

    /// How much is on a page of so many snapshots.
    #[must_use]
    pub fn page_limits(&self, rows: u32) -> PageLimits {
        PageLimits { rows, document: self.settings.document_limits().bytes }
    }

    /// Writes snapshots, all of them or none.
    ///
    /// # Errors
    /// What the database says.
    pub async fn write(&self, snapshots: &[NewSnapshot]) -> Result<(), ActionError> {
        let empty = || Answer { status: 200, headers: Default::default(), body: String::new() };
        self.create(snapshots, None, &empty()).await.map(drop)
    }

    /// Writes snapshots, all of them or none. `answer` is what the caller is told, and kept where the request
    /// has a key; whether it was done before is to be asked first ([`Actions::replay`]), because what was
    /// good then may be too old by now.
    ///
    /// # Errors
    /// [`ActionError::IdempotencyMismatch`] or [`ActionError::Conflict`]: the same key came at the same
    /// moment; or what the database says.
    pub async fn create(
        &self,
        snapshots: &[NewSnapshot],
        keyed: Option<&KeyedRequest>,
        answer: &Answer,
    ) -> Result<Outcome, ActionError> {
        if snapshots.is_empty() && keyed.is_none() {
            return Ok(Outcome::Done(answer.clone()));
        }
        let mut tries = 1;
        loop {
            match self.try_create(snapshots, keyed, answer).await {
                Err(ActionError::Database(error)) if tries < TRIES && self.may_be_better(&error) => {
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Whether the next try may be: a partition that was known was dropped meanwhile, and it is made again; or the
    /// database ended a deadlock by this transaction, as Citus does of those that write while partitions are made.
    fn may_be_better(&self, error: &DatabaseError) -> bool {
        self.partitions.forget_after(error) || error.kind() == DatabaseErrorKind::SerializationFailure
    }

    async fn try_create(
        &self,
        snapshots: &[NewSnapshot],
        keyed: Option<&KeyedRequest>,
        answer: &Answer,
    ) -> Result<Outcome, ActionError> {
        self.partitions.ensure(snapshots.iter().map(|it| it.timestamp)).await?;
        let transaction = self.actions.database.begin().await?;
        let mut transaction = match self.actions.keep(transaction, keyed, answer).await? {
            Kept::Now(transaction) => transaction,
            Kept::Before(answer) => return Ok(Outcome::Replayed(answer)),
        };
        if !snapshots.is_empty() {
            metrics_snapshots::insert(&mut transaction, snapshots).await?;
        }
        transaction.commit().await?;
        Ok(Outcome::Done(answer.clone()))
    }

    /// The rows of snapshots as they come, and what bounds the number of such streams: it is to be kept until
    /// the end.
    ///
    /// # Errors
    /// [`ActionError::Busy`], or what the database says.
    pub async fn stream(
        &self,
        filter: &SnapshotFilter,
        order: Order,
        after: Option<Position>,
        limit: Option<u32>,
    ) -> Result<(RowStream<'static>, OwnedSemaphorePermit), ActionError> {
        let busy = |_| ActionError::Busy { retry_after: Duration::from_secs(1) };
        let permit = Arc::clone(&self.readers).try_acquire_owned().map_err(busy)?;
        let query = metrics_snapshots::Query::new(filter, order, after, limit.map(u64::from));
        Ok((metrics_snapshots::stream(&self.actions.database, &query).await?, permit))
    }
}
