//! Deletes what is over, behind the requests and little by little: sessions, tokens, failed logins, idempotency
//! keys and audit events. Every replica does it; what one of them has deleted the others do not find.

use std::sync::Arc;
use std::time::Duration;

use foundation::clock::Clock;
use foundation::database::{Database, DatabaseError};
use foundation::entropy::Entropy;
use time::OffsetDateTime;

use crate::lifecycle::{Lifecycle, Stage};
use crate::live_settings::LiveSettings;
use crate::outage::Outage;
use crate::prometheus::RetentionMetrics;
use crate::settings::AuthSettings;
use crate::store::deployment;
use crate::store::prune::{Pruned, delete_batch};

/// How long lies between two rounds, and how much that differs from one to the next, so that replicas which
/// were started together do not prune together.
const INTERVAL: Duration = Duration::from_secs(60);
const JITTER: Duration = Duration::from_secs(15);

/// How many rows one transaction deletes at most, and how many transactions a round has of each kind: a
/// round has an end, and no request waits long for a row or for SQLite's one writer.
const BATCH: u32 = 1_000;
const BATCHES: u32 = 20;

/// The shortest time that the databases tell apart.
const MOMENT: Duration = Duration::from_micros(1);

/// Prunes.
#[derive(Clone)]
pub struct Prune {
    /// The pool.
    pub database: Database,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// How long things are kept.
    pub settings: Arc<AuthSettings>,
    /// What is changed while the service runs.
    pub live: LiveSettings,
    /// Where what was done is counted.
    pub metrics: RetentionMetrics,
}

impl Prune {
    /// Prunes about once a minute, first soon after the start, until the process is on its way out.
    pub async fn run(self, lifecycle: Lifecycle) {
        let rounds = async {
            let mut outage = Outage::default();
            tokio::time::sleep(self.jitter()).await;
            loop {
                let result = self.round().await;
                self.metrics.round(result.is_ok());
                match result {
                    Ok(_) if outage.ends() => tracing::info!("pruning works again"),
                    Err(error) if outage.begins() => {
                        tracing::warn!(%error, "what is over cannot be pruned; it is tried again each minute");
                    }
                    _ => {}
                }
                tokio::time::sleep(INTERVAL + self.jitter()).await;
            }
        };
        tokio::select! {
            () = lifecycle.reached(Stage::Draining) => {}
            () = rounds => {}
        }
    }

    fn jitter(&self) -> Duration {
        JITTER.mul_f64(self.entropy.fraction())
    }

    /// Prunes once, and says how many rows were deleted.
    ///
    /// # Errors
    /// What the database says; what was deleted until then stays so.
    pub async fn round(&self) -> Result<u64, DatabaseError> {
        // A replica whose clock is ahead deletes nothing that is still kept.
        let now = self.clock.now().min(deployment::now(&self.database.primary()).await?);
        let mut deleted = 0;
        for what in Pruned::ALL.iter().copied() {
            let Some(until) = self.kept_since(what, now) else { continue };
            let of_this = self.delete(what, until).await?;
            if of_this > 0 {
                tracing::debug!(deleted = of_this, "pruned {}", what.name());
            }
            deleted += of_this;
        }
        Ok(deleted)
    }

    async fn delete(&self, what: Pruned, until: OffsetDateTime) -> Result<u64, DatabaseError> {
        let mut deleted = 0;
        for _ in 0..BATCHES {
            let batch = delete_batch(&self.database, what, until, BATCH).await?;
            self.metrics.pruned(what, batch);
            deleted += batch;
            if batch < u64::from(BATCH) {
                break;
            }
        }
        Ok(deleted)
    }

    /// Up to when things are over; never, where they are kept for longer than time reaches back.
    fn kept_since(&self, what: Pruned, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let retention = match what {
            Pruned::Sessions | Pruned::ApiTokens => Duration::ZERO,
            // The door lets one in that was used exactly so long ago.
            Pruned::IdleSessions => self.settings.session_idle_lifetime.saturating_add(MOMENT),
            // Nobody is let in by a name that is locked, so that is remembered as long as it lasts.
            Pruned::LoginFailures => self.settings.failure_retention.max(self.live.current().login_max_delay),
            Pruned::IdempotencyKeys => self.settings.idempotency_retention,
            Pruned::AuditEvents => self.settings.audit_retention,
        };
        now.checked_sub(time::Duration::try_from(retention).ok()?)
    }
}
