//! The bodies of the routes of archive policies.

use poem_openapi::types::Example;
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::{Uuid, uuid};

use crate::api::conventions::bodies::given;
use crate::api::conventions::nullable::Nullable;
use crate::api::conventions::times::rfc3339_or_null;
use crate::domain::archive_policies::{ArchiveAction, ArchivePolicy, ArchivePolicyPatch, NewArchivePolicy};

/// What is done with snapshots that are older than they are kept.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case")]
pub enum ArchiveActionName {
    /// They are deleted.
    Delete,
    /// They are written to the archive, read back from there, and deleted then.
    Archive,
}

impl From<ArchiveAction> for ArchiveActionName {
    fn from(action: ArchiveAction) -> Self {
        match action {
            ArchiveAction::Delete => Self::Delete,
            ArchiveAction::Archive => Self::Archive,
        }
    }
}

impl From<ArchiveActionName> for ArchiveAction {
    fn from(name: ArchiveActionName) -> Self {
        match name {
            ArchiveActionName::Delete => Self::Delete,
            ArchiveActionName::Archive => Self::Archive,
        }
    }
}

/// How long the snapshots of a type are kept.
#[derive(Debug, Object, Serialize)]
#[oai(example, rename = "ArchivePolicy")]
pub struct ArchivePolicyBody {
    /// Its id, a UUID of version 7: the order of ids is the order of creation.
    pub id: Uuid,
    /// The type of snapshots, unique; `*` for all that have no policy of their own.
    pub metric_type: String,
    /// For how many days at least they are kept: they go with the rest of their day, in UTC.
    pub retention_days: u32,
    /// What is done then.
    pub action: ArchiveActionName,
    /// What has no policy that is enabled is kept for ever.
    pub is_enabled: bool,
    /// When a run obeyed it last.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub last_run_at: Nullable<OffsetDateTime>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was edited last.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// Raised by each edit: what the `ETag` says.
    pub version: i64,
}

impl From<&ArchivePolicy> for ArchivePolicyBody {
    fn from(policy: &ArchivePolicy) -> Self {
        Self {
            id: policy.id,
            metric_type: policy.metric_type.clone(),
            retention_days: policy.retention_days,
            action: policy.action.into(),
            is_enabled: policy.is_enabled,
            last_run_at: Nullable(policy.last_run_at),
            created_at: policy.created_at,
            updated_at: policy.updated_at,
            version: policy.version,
        }
    }
}

/// A page of policies.
#[derive(Debug, Object, Serialize)]
#[oai(example, rename = "ArchivePolicyPage")]
pub struct ArchivePolicyPageBody {
    /// The policies, in the order of their making.
    pub items: Vec<ArchivePolicyBody>,
    /// Pass it as `cursor` for the page behind this one. Null: this is the last.
    pub next_cursor: Nullable<String>,
}

/// A policy to be made.
#[derive(Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(example, rename = "NewArchivePolicy", deny_unknown_fields)]
pub struct NewArchivePolicyBody {
    /// The type of snapshots that has no policy yet; `*` for all that have none of their own.
    #[oai(validator(min_length = 1, max_length = 50))]
    metric_type: String,
    /// For how many days at least they are kept.
    #[oai(validator(minimum(value = "1"), maximum(value = "36500")))]
    retention_days: u32,
    /// What is done then.
    action: ArchiveActionName,
    /// Whether runs obey it; false when it is not given.
    #[serde(default, deserialize_with = "given")]
    is_enabled: Option<bool>,
}

impl From<NewArchivePolicyBody> for NewArchivePolicy {
    fn from(body: NewArchivePolicyBody) -> Self {
        Self {
            metric_type: body.metric_type,
            retention_days: body.retention_days,
            action: body.action.into(),
            is_enabled: body.is_enabled.unwrap_or(false),
        }
    }
}

/// What is to be changed of a policy (JSON merge patch): what is not given stays.
#[derive(Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(example, rename = "ArchivePolicyPatch", deny_unknown_fields)]
pub struct ArchivePolicyPatchBody {
    /// For how many days at least the snapshots are kept.
    #[serde(default, deserialize_with = "given")]
    #[oai(validator(minimum(value = "1"), maximum(value = "36500")))]
    retention_days: Option<u32>,
    /// What is done then.
    #[serde(default, deserialize_with = "given")]
    action: Option<ArchiveActionName>,
    /// Whether runs obey it.
    #[serde(default, deserialize_with = "given")]
    is_enabled: Option<bool>,
}

impl From<ArchivePolicyPatchBody> for ArchivePolicyPatch {
    fn from(body: ArchivePolicyPatchBody) -> Self {
        Self {
            retention_days: body.retention_days,
            action: body.action.map(Into::into),
            is_enabled: body.is_enabled,
        }
    }
}

impl Example for ArchivePolicyBody {
    fn example() -> Self {
        Self {
            id: uuid!("01943f5c-1a2b-7c3d-8e4f-5a6b7c8d9e0f"),
            metric_type: "cpu".to_owned(),
            retention_days: 30,
            action: ArchiveActionName::Archive,
            is_enabled: true,
            last_run_at: Nullable(Some(datetime!(2026-01-31 03:00:00 UTC))),
            created_at: datetime!(2026-01-01 12:00:00 UTC),
            updated_at: datetime!(2026-01-01 12:00:00 UTC),
            version: 1,
        }
    }
}

impl Example for ArchivePolicyPageBody {
    fn example() -> Self {
        Self { items: vec![ArchivePolicyBody::example()], next_cursor: Nullable(None) }
    }
}

impl Example for NewArchivePolicyBody {
    fn example() -> Self {
        Self {
            metric_type: "cpu".to_owned(),
            retention_days: 30,
            action: ArchiveActionName::Delete,
            is_enabled: Some(true),
        }
    }
}

impl Example for ArchivePolicyPatchBody {
    fn example() -> Self {
        Self { retention_days: Some(90), action: None, is_enabled: None }
    }
}
