//! Snapshots on their way into the next transaction.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::streams::StreamError;
use crate::domain::metrics_snapshots::NewSnapshot;
use crate::domain::metrics_snapshots::streams::Batch;

/// Snapshots that are stored in one transaction.
const BATCH_ROWS: usize = 2500;

/// The bytes of their lines, about.
const BATCH_BYTES: u64 = 1024 * 1024;

/// How long a snapshot waits for others: a stream may be a slow one.
const PATIENCE: Duration = Duration::from_secs(1);

/// The batch that is being filled.
pub(super) struct Filling {
    batch: Batch,
    /// When the first snapshot came into it.
    begun: Option<Instant>,
    batches: mpsc::Sender<Batch>,
    atomic: bool,
}

impl Filling {
    pub(super) fn new(batches: mpsc::Sender<Batch>, atomic: bool) -> Self {
        Self { batch: Batch::default(), begun: None, batches, atomic }
    }

    /// Adds a snapshot.
    pub(super) fn push(&mut self, snapshot: NewSnapshot) {
        self.begun.get_or_insert_with(Instant::now);
        self.batch.snapshots.push(snapshot);
    }

    /// Counts the bytes of a line, and says how many there are in all.
    pub(super) fn count(&mut self, bytes: usize) -> u64 {
        self.batch.bytes += bytes as u64;
        self.batch.bytes
    }

    /// Whether it is as large as a transaction should be.
    pub(super) fn is_full(&self) -> bool {
        self.batch.snapshots.len() >= BATCH_ROWS || self.batch.bytes >= BATCH_BYTES
    }

    /// When it is handed over although it is not full. What is stored as a whole waits for its end.
    pub(super) fn due(&self) -> Option<Instant> {
        self.begun.filter(|_| !self.atomic).map(|it| it + PATIENCE)
    }

    /// Hands over what is there to whoever stores it. Blocks.
    ///
    /// # Errors
    /// Nobody stores it any more.
    pub(super) fn hand_over(&mut self) -> Result<(), StreamError> {
        let full = std::mem::take(&mut self.batch);
        self.begun = None;
        if full.snapshots.is_empty() {
            return Ok(());
        }
        self.batch.snapshots.reserve(full.snapshots.len());
        // Whoever stores them knows why it does not any more.
        self.batches.blocking_send(full).map_err(|_| StreamError::Broken)
    }
}
