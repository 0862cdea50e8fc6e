//! The figures of what is deleted because it is over: the pruning of small tables, and the archive policies.

use std::fmt;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::Registered;
use crate::domain::archive_runs::{Figures, RunState};
use crate::store::prune::Pruned;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Action {
    action: &'static str,
}

/// Where it is counted. Clones count in the same place. Each process counts what it did itself.
#[derive(Clone)]
pub struct RetentionMetrics {
    pruned: Family<Kind, Counter>,
    rounds: Family<Outcome, Counter>,
    runs: Family<State, Counter>,
    rows: Family<Action, Counter>,
    freed: Counter,
}

impl fmt::Debug for RetentionMetrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RetentionMetrics")
    }
}

impl Default for RetentionMetrics {
    /// Every series is there from the start: of one that appears with its first event, that event is no
    /// increase.
    fn default() -> Self {
        let metrics = Self {
            pruned: Family::default(),
            rounds: Family::default(),
            runs: Family::default(),
            rows: Family::default(),
            freed: Counter::default(),
        };
        for kind in Pruned::ALL.iter().map(|it| it.name()) {
            let _from_zero = metrics.pruned.get_or_create(&Kind { kind });
        }
        for outcome in ["succeeded", "failed"] {
            let _from_zero = metrics.rounds.get_or_create(&Outcome { outcome });
        }
        for state in [RunState::Succeeded, RunState::Failed, RunState::Abandoned].map(RunState::name) {
            let _from_zero = metrics.runs.get_or_create(&State { state });
        }
        for action in ["delete", "archive"] {
            let _from_zero = metrics.rows.get_or_create(&Action { action });
        }
        metrics
    }
}

impl RetentionMetrics {
    /// Counts rows that were pruned.
    pub fn pruned(&self, what: Pruned, rows: u64) {
        self.pruned.get_or_create(&Kind { kind: what.name() }).inc_by(rows);
    }

    /// Counts a round of pruning.
    pub fn round(&self, succeeded: bool) {
        let outcome = if succeeded { "succeeded" } else { "failed" };
        self.rounds.get_or_create(&Outcome { outcome }).inc();
    }

    /// Counts a run of the archive policies, with what it did.
    pub fn archive_run(&self, state: RunState, figures: &Figures) {
        self.runs.get_or_create(&State { state: state.name() }).inc();
        self.rows.get_or_create(&Action { action: "delete" }).inc_by(figures.rows_deleted);
        self.rows.get_or_create(&Action { action: "archive" }).inc_by(figures.rows_archived);
        self.freed.inc_by(figures.bytes_freed);
    }
}

impl Registered for RetentionMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "bedplate_pruned_rows",
            "Rows that were deleted because they were over",
            self.pruned.clone(),
        );
        registry.register("bedplate_prune_rounds", "Rounds of deleting what is over", self.rounds.clone());
        registry.register("bedplate_archive_runs", "Runs of the archive policies", self.runs.clone());
        registry.register(
            "bedplate_archive_rows",
            "Snapshots that the archive policies deleted, or archived",
            self.rows.clone(),
        );
        registry.register_with_unit(
            "bedplate_archive_freed",
            "What the partitions took that the archive policies dropped",
            Unit::Bytes,
            self.freed.clone(),
        );
    }
}
