//! The bodies of the routes of runs.

use poem_openapi::types::Example;
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::{Uuid, uuid};

use crate::api::conventions::nullable::Nullable;
use crate::api::conventions::times::rfc3339_or_null;
use crate::domain::archive_runs::{ArchiveRun, Detail, RunReason, RunState};

/// Why there was a run.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case")]
pub enum RunReasonName {
    /// Its hour came.
    Schedule,
    /// Somebody asked for it here.
    Request,
    /// Somebody asked for it on the command line.
    CommandLine,
}

impl From<RunReason> for RunReasonName {
    fn from(reason: RunReason) -> Self {
        match reason {
            RunReason::Schedule => Self::Schedule,
            RunReason::Request => Self::Request,
            RunReason::CommandLine => Self::CommandLine,
        }
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case")]
pub enum RunStateName {
    /// It works.
    Running,
    /// It did everything.
    Succeeded,
    /// It did not do everything; `error` says why. The next one goes on.
    Failed,
    /// Its process ended in the middle. The next one goes on.
    Abandoned,
}

impl From<RunState> for RunStateName {
    fn from(state: RunState) -> Self {
        match state {
            RunState::Running => Self::Running,
            RunState::Succeeded => Self::Succeeded,
            RunState::Failed => Self::Failed,
            RunState::Abandoned => Self::Abandoned,
        }
    }
}

/// What a run did about a type, or about a partition.
#[derive(Debug, Object, Serialize)]
#[oai(example, rename = "ArchiveRunDetail")]
pub struct ArchiveRunDetailBody {
    /// The type; null for a partition as a whole.
    pub metric_type: Nullable<String>,
    /// What was done: `delete`, `archive`, `delete_restored`, `put_back`; of a partition `drop` or `skip`.
    pub action: String,
    /// The range of time from here on.
    #[serde(with = "time::serde::rfc3339")]
    pub from: OffsetDateTime,
    /// The range of time before this.
    #[serde(with = "time::serde::rfc3339")]
    pub to: OffsetDateTime,
    /// The rows.
    pub rows: u64,
    /// The bytes of a partition.
    pub bytes: u64,
    /// What else there is to say: that the rows are estimated, or were not counted, because there are too many.
    pub note: Nullable<String>,
}

impl From<&Detail> for ArchiveRunDetailBody {
    fn from(detail: &Detail) -> Self {
        Self {
            metric_type: Nullable(detail.metric_type.clone()),
            action: detail.action.clone(),
            from: detail.from,
            to: detail.to,
            rows: detail.rows,
            bytes: detail.bytes,
            note: Nullable(detail.note.clone()),
        }
    }
}

/// A run of the archive policies.
#[derive(Debug, Object, Serialize)]
#[oai(example, rename = "ArchiveRun")]
pub struct ArchiveRunBody {
    /// Its id, a UUID of version 7: the order of ids is the order of runs.
    pub id: Uuid,
    /// Why there was one.
    pub reason: RunReasonName,
    /// The user who asked for it.
    pub requested_by: Nullable<Uuid>,
    /// Whether it only says what it would do.
    pub is_dry_run: bool,
    /// How far it is.
    pub state: RunStateName,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// When it ended.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub finished_at: Nullable<OffsetDateTime>,
    /// Rows that are gone and nowhere else; of a dry run, as the other figures, what would be. A note of the
    /// details says where they could not all be counted.
    pub rows_deleted: u64,
    /// Rows that are in the archive alone now.
    pub rows_archived: u64,
    /// Partitions that were dropped whole.
    pub partitions_dropped: u64,
    /// What these took on the disk, their indexes included, in bytes. Rows that are deleted one by one leave
    /// room inside of the database, which is not counted.
    pub bytes_freed: u64,
    /// What it did, piece by piece; there at its end, at most a thousand.
    pub details: Vec<ArchiveRunDetailBody>,
    /// Why it did not do everything.
    pub error: Nullable<String>,
}

impl From<&ArchiveRun> for ArchiveRunBody {
    fn from(run: &ArchiveRun) -> Self {
        Self {
            id: run.id,
            reason: run.reason.into(),
            requested_by: Nullable(run.requested_by),
            is_dry_run: run.is_dry_run,
            state: run.state.into(),
            started_at: run.started_at,
            finished_at: Nullable(run.finished_at),
            rows_deleted: run.figures.rows_deleted,
            rows_archived: run.figures.rows_archived,
            partitions_dropped: run.figures.partitions_dropped,
            bytes_freed: run.figures.bytes_freed,
            details: run.details.iter().map(ArchiveRunDetailBody::from).collect(),
            error: Nullable(run.error.clone()),
        }
    }
}

/// A page of runs.
#[derive(Debug, Object, Serialize)]
#[oai(example, rename = "ArchiveRunPage")]
pub struct ArchiveRunPageBody {
    /// The runs, the newest first.
    pub items: Vec<ArchiveRunBody>,
    /// Pass it as `cursor` for the page behind this one. Null: this is the last.
    pub next_cursor: Nullable<String>,
}

/// A run to be begun.
#[derive(Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(example, rename = "NewArchiveRun", deny_unknown_fields)]
pub struct NewArchiveRunBody {
    /// Whether it only says what it would do.
    pub dry_run: bool,
}

impl Example for ArchiveRunDetailBody {
    fn example() -> Self {
        Self {
            metric_type: Nullable(Some("cpu".to_owned())),
            action: "archive".to_owned(),
            from: datetime!(2025-12-01 0:00 UTC),
            to: datetime!(2025-12-02 0:00 UTC),
            rows: 86_400,
            bytes: 0,
            note: Nullable(None),
        }
    }
}

impl Example for ArchiveRunBody {
    fn example() -> Self {
        Self {
            id: uuid!("01943f5c-1a2b-7c3d-8e4f-5a6b7c8d9e0f"),
            reason: RunReasonName::Schedule,
            requested_by: Nullable(None),
            is_dry_run: false,
            state: RunStateName::Succeeded,
            started_at: datetime!(2026-01-01 3:00 UTC),
            finished_at: Nullable(Some(datetime!(2026-01-01 3:00:07 UTC))),
            rows_deleted: 0,
            rows_archived: 86_400,
            partitions_dropped: 1,
            bytes_freed: 23_068_672,
            details: vec![ArchiveRunDetailBody::example()],
            error: Nullable(None),
        }
    }
}

impl Example for ArchiveRunPageBody {
    fn example() -> Self {
        Self { items: vec![ArchiveRunBody::example()], next_cursor: Nullable(None) }
    }
}

impl Example for NewArchiveRunBody {
    fn example() -> Self {
        Self { dry_run: true }
    }
}
