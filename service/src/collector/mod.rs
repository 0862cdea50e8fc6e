//! The built-in collector: what this host and this process say about themselves, written as snapshots again
//! and again. Each process writes its own, under the name of its host: pods have names of their own, and of
//! several processes on one host the series show all of them.

mod host;
mod readings;

use foundation::clock::Clock;
use foundation::database::{Database, DatabaseError};
use sysinfo::System;
use time::OffsetDateTime;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use self::host::Host;
use crate::domain::metrics_snapshots::NewSnapshot;
use crate::lifecycle::{Lifecycle, Stage};
use crate::live_settings::LiveSettings;
use crate::outage::Outage;
use crate::partitions::Partitions;
use crate::store::metrics_snapshots;

/// The longest name that a source has.
const SOURCE_LENGTH: usize = 255;

/// Why a beat wrote nothing.
#[derive(Debug, thiserror::Error)]
enum CollectError {
    #[error("the figures of this host cannot be read: {0}")]
    Host(#[from] sysinfo::Error),
    #[error("reading the figures of this host failed: {0}")]
    Task(#[from] tokio::task::JoinError),
    #[error("a figure has no form in JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Collects.
pub struct Collector {
    /// Where snapshots are written, and whose pool is told of.
    pub database: Database,
    /// Sees to it that there is a partition for them.
    pub partitions: Partitions,
    /// The time.
    pub clock: Clock,
    /// How often. A change is obeyed at once.
    pub live: LiveSettings,
}

impl Collector {
    /// Collects until the process is on its way out.
    pub async fn run(self, lifecycle: Lifecycle) {
        tokio::select! {
            () = lifecycle.reached(Stage::Draining) => {}
            () = self.beats() => {}
        }
    }

    async fn beats(mut self) {
        let started = Instant::now();
        let source = source();
        let mut host = None;
        let mut last: Option<Instant> = None;
        let mut outage = Outage::default();
        loop {
            let Some(period) = self.live.current().collect_interval else {
                host = None;
                last = None;
                self.live.changed().await;
                continue;
            };
            let due = last.map_or_else(Instant::now, |last| last + period);
            tokio::select! {
                biased;
                () = self.live.changed() => continue,
                () = sleep_until(due) => {}
            }
            match self.beat(&mut host, &source, started).await {
                Ok(()) if outage.ends() => tracing::info!("the figures of this host are collected again"),
                Err(error) if outage.begins() => {
                    tracing::warn!(%error, "the figures of this host are not collected; it is tried again each time");
                }
                _ => {}
            }
            // What came too late is not caught up with.
            last = Some(if due.elapsed() < period { due } else { Instant::now() });
        }
    }

    async fn beat(
        &self,
        host: &mut Option<Host>,
        source: &str,
        started: Instant,
    ) -> Result<(), CollectError> {
        let mut reader = match host.take() {
            Some(reader) => reader,
            None => {
                let reader = spawn_blocking(Host::new).await??;
                tokio::time::sleep(Host::WARM_UP).await;
                reader
            }
        };
        let (reader, readings) = spawn_blocking(move || {
            let readings = reader.read();
            (reader, readings)
        })
        .await?;
        *host = Some(reader);
        let uptime = started.elapsed().as_secs();
        let documents = readings.documents(self.database.pool_status(), uptime)?;
        let timestamp = self.clock.now();
        let snapshot = |(metric_type, metric_data): (&str, String)| NewSnapshot {
            timestamp,
            source: source.to_owned(),
            metric_type: metric_type.to_owned(),
            metric_data,
        };
        let snapshots: Vec<_> = documents.into_iter().map(snapshot).collect();
        match self.write(timestamp, &snapshots).await {
            // The partition was dropped since it was made.
            Err(error) if self.partitions.forget_after(&error) => self.write(timestamp, &snapshots).await?,
            result => result?,
        }
        Ok(())
    }

    /// Writes all of them or none.
    async fn write(&self, timestamp: OffsetDateTime, snapshots: &[NewSnapshot]) -> Result<(), DatabaseError> {
        self.partitions.ensure([timestamp]).await?;
        let mut transaction = self.database.begin().await?;
        metrics_snapshots::insert(&mut transaction, snapshots).await?;
        transaction.commit().await
    }
}

/// The name of this host.
fn source() -> String {
    let name = System::host_name().ok().filter(|name| !name.trim().is_empty());
    let name = name.unwrap_or_else(|| "localhost".to_owned());
    name.trim().chars().filter(|it| !it.is_control()).take(SOURCE_LENGTH).collect()
}
