//! What the process does behind the requests.

use std::sync::Arc;

use crate::actions::Actions;
use crate::archive::Archiving;
use crate::archive::schedule::{self, run_daily};
use crate::collector::Collector;
use crate::leases::Leases;
use crate::lifecycle::Lifecycle;
use crate::partitions::{Ahead, Partitions};
use crate::prometheus::RetentionMetrics;
use crate::prune::Prune;
use crate::settings::ServiceSettings;

/// What runs of the archive policies stand on.
pub(super) fn archiving(
    settings: &ServiceSettings,
    actions: &Actions,
    metrics: &RetentionMetrics,
) -> Archiving {
    let Actions { database, clock, entropy, live, .. } = actions;
    Archiving {
        // What a run decides by must not be behind.
        database: database.primary(),
        clock: clock.clone(),
        entropy: entropy.clone(),
        leases: Leases::new(database.clone(), clock, entropy),
        live: live.clone(),
        metrics: metrics.clone(),
        width: settings.metrics.width(),
        settings: Arc::new(settings.archive.clone()),
        place: settings.archive_place.clone(),
    }
}

/// Starts all of it; each ends by itself when the process is on its way out.
pub(super) fn start(
    settings: &ServiceSettings,
    actions: &Actions,
    partitions: &Partitions,
    archiving: &Archiving,
    lifecycle: &Lifecycle,
) {
    let Actions { database, clock, entropy, live, .. } = actions;
    let prune = Prune {
        database: database.clone(),
        clock: clock.clone(),
        entropy: entropy.clone(),
        settings: Arc::clone(&actions.settings),
        live: live.clone(),
        metrics: archiving.metrics.clone(),
    };
    tokio::spawn(prune.run(lifecycle.clone()));
    let ahead = Ahead {
        partitions: partitions.clone(),
        leases: archiving.leases.clone(),
        clock: clock.clone(),
        count: settings.metrics.partitions_ahead.get(),
    };
    tokio::spawn(ahead.run(lifecycle.clone()));
    let collector = Collector {
        database: database.clone(),
        partitions: partitions.clone(),
        clock: clock.clone(),
        live: live.clone(),
    };
    tokio::spawn(collector.run(lifecycle.clone()));
    tokio::spawn(run_daily(archiving.clone(), schedule::POLL, lifecycle.clone()));
}
