//! The duty of making partitions before their time comes.

use std::time::Duration;

use foundation::clock::Clock;
use foundation::database::Backend;

use super::Partitions;
use crate::leases::Leases;
use crate::lifecycle::Lifecycle;
use crate::outage::Outage;

/// How often it is looked whether one is missing.
const INTERVAL: Duration = Duration::from_secs(60);

/// Makes partitions ahead, in the one process that has the duty.
pub struct Ahead {
    /// Where they are made.
    pub partitions: Partitions,
    /// How the duty is had.
    pub leases: Leases,
    /// The time.
    pub clock: Clock,
    /// How many there are ahead.
    pub count: u32,
}

impl Ahead {
    /// Until the process is on its way out.
    pub async fn run(self, lifecycle: Lifecycle) {
        if self.partitions.0.database.backend() == Backend::Postgres {
            self.leases.keep("partitions", &lifecycle, || self.duty()).await;
        }
    }

    async fn duty(&self) {
        let mut outage = Outage::default();
        loop {
            match self.round().await {
                Ok(made) => {
                    if outage.ends() {
                        tracing::info!("partitions can be made ahead again");
                    }
                    if made > 0 {
                        tracing::info!(made, "made partitions ahead");
                    }
                }
                Err(error) if outage.begins() => {
                    tracing::warn!(%error, "partitions cannot be made ahead; it is tried again each minute");
                }
                Err(_) => {}
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Those of now and ahead are looked for in the database, whatever is remembered: another process may have
    /// dropped one.
    async fn round(&self) -> Result<u64, foundation::database::DatabaseError> {
        let width = self.partitions.0.width;
        let first = width.slot_of(self.clock.now());
        let ranges = (first..=first + i64::from(self.count)).filter_map(|slot| width.range(slot));
        let mut made = 0;
        for range in ranges {
            made += crate::store::partitions::ensure(&self.partitions.0.database, range).await?;
        }
        Ok(made)
    }
}
