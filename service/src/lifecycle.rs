//! What stage of its life the process is in. The server's parts watch it, and readiness reads it.

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;
use tokio::time::Instant;

/// The stages, in their order. There is no way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Everything is served.
    Serving,
    /// Everything is still served, but readiness fails and each answer closes its connection.
    Draining,
    /// No connection is accepted any more; the requests that run are finished.
    Closing,
    /// What still runs is dropped.
    Aborting,
}

/// The stage of this process. Clones show the same.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    stage: Arc<watch::Sender<Stage>>,
    draining_since: Arc<OnceLock<Instant>>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { stage: Arc::new(watch::Sender::new(Stage::Serving)), draining_since: Arc::default() }
    }
}

impl Lifecycle {
    /// Whether the process is on its way out. One atomic read.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining_since.get().is_some()
    }

    /// Since when the process is on its way out.
    #[must_use]
    pub fn draining_since(&self) -> Option<Instant> {
        self.draining_since.get().copied()
    }

    /// Follows the stages.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// Waits until `stage` is reached or passed.
    pub async fn reached(&self, stage: Stage) {
        // This value owns a sender, so the channel is open for as long as somebody waits here.
        let mut stages = self.subscribe();
        let _current = stages.wait_for(|current| *current >= stage).await;
    }

    /// Goes on to `next`; a stage that has been passed is not returned to.
    pub fn advance(&self, next: Stage) {
        if next > Stage::Serving {
            self.draining_since.get_or_init(Instant::now);
        }
        self.stage.send_if_modified(|stage| {
            let later = next > *stage;
            if later {
                *stage = next;
            }
            later
        });
    }
}
