//! How long snapshots are kept, and what is done with those that are older.

use std::str::FromStr;

use serde_json::Value;
use time::{Duration, OffsetDateTime, Time};
use uuid::Uuid;

/// Stands for all types that have no policy of their own.
pub const ALL_OTHERS: &str = "*";

/// The longest retention, in days: a hundred years.
pub const MAX_RETENTION_DAYS: u32 = 36_500;

/// What is done with rows that are older than they are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArchiveAction {
    /// They are deleted.
    Delete,
    /// They are written to the archive, read back from there, and deleted then.
    Archive,
}

impl ArchiveAction {
    /// The word for it in the API and in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Archive => "archive",
        }
    }
}

/// A word that is no action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is neither delete nor archive")]
pub struct UnknownArchiveAction;

impl FromStr for ArchiveAction {
    type Err = UnknownArchiveAction;

    fn from_str(word: &str) -> Result<Self, UnknownArchiveAction> {
        [Self::Delete, Self::Archive].into_iter().find(|it| it.name() == word).ok_or(UnknownArchiveAction)
    }
}

/// How long the snapshots of a type are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivePolicy {
    /// Version 7: the order of ids is the order of creation.
    pub id: Uuid,
    /// The type, unique; [`ALL_OTHERS`] for all that have no policy of their own.
    pub metric_type: String,
    /// For how many days at least they are kept.
    pub retention_days: u32,
    /// What is done then.
    pub action: ArchiveAction,
    /// What has no policy that is enabled is kept for ever.
    pub is_enabled: bool,
    /// When a run obeyed it last, in UTC.
    pub last_run_at: Option<OffsetDateTime>,
    /// When it was made, in UTC.
    pub created_at: OffsetDateTime,
    /// When it was edited last, in UTC.
    pub updated_at: OffsetDateTime,
    /// Raised by each edit; the `ETag`.
    pub version: i64,
}

/// A pointer into the body of a request, and what is wrong there.
type BrokenRule = (String, String);

impl ArchivePolicy {
    /// What can be said of it, by the names of the API.
    #[must_use]
    pub fn facts(&self) -> [(&'static str, Value); 4] {
        [
            ("metric_type", self.metric_type.as_str().into()),
            ("retention_days", self.retention_days.into()),
            ("action", self.action.name().into()),
            ("is_enabled", self.is_enabled.into()),
        ]
    }

    /// What it may not be like: a pointer into the body of a request and a sentence for each. `can_archive`:
    /// there is a place to archive to.
    #[must_use]
    pub fn broken_rules(&self, can_archive: bool) -> Vec<BrokenRule> {
        let mut broken = Vec::new();
        let mut demand = |holds: bool, pointer: &str, rule: &str| {
            if !holds {
                broken.push((pointer.to_owned(), rule.to_owned()));
            }
        };
        let length = self.metric_type.chars().count();
        demand((1..=50).contains(&length), "/body/metric_type", "a type has 1 to 50 characters");
        let is_plain = !self.metric_type.chars().any(char::is_control);
        demand(is_plain, "/body/metric_type", "a type has no control characters");
        let days = (1..=MAX_RETENTION_DAYS).contains(&self.retention_days);
        demand(days, "/body/retention_days", "snapshots are kept for 1 to 36,500 days");
        let has_place = can_archive || !self.is_enabled || self.action != ArchiveAction::Archive;
        demand(
            has_place,
            "/body/is_enabled",
            "there is no place to archive to: set ARCHIVE_URL and start the service anew, or leave the policy \
             disabled",
        );
        broken
    }

    /// What is older than this is not kept: the beginning of the first day, in UTC, that is kept whole. A
    /// snapshot is kept for `retention_days` at least and goes with the rest of its day.
    #[must_use]
    pub fn cutoff(&self, now: OffsetDateTime) -> OffsetDateTime {
        let kept = Duration::days(self.retention_days.into());
        now.checked_sub(kept).unwrap_or(OffsetDateTime::UNIX_EPOCH).replace_time(Time::MIDNIGHT)
    }
}

/// A policy that is to be made.
#[derive(Clone, Debug)]
pub struct NewArchivePolicy {
    /// As [`ArchivePolicy::metric_type`].
    pub metric_type: String,
    /// As [`ArchivePolicy::retention_days`].
    pub retention_days: u32,
    /// As [`ArchivePolicy::action`].
    pub action: ArchiveAction,
    /// As [`ArchivePolicy::is_enabled`].
    pub is_enabled: bool,
}

impl NewArchivePolicy {
    /// The policy as it is going to be.
    #[must_use]
    pub fn policy(self, id: Uuid, now: OffsetDateTime) -> ArchivePolicy {
        ArchivePolicy {
            id,
            metric_type: self.metric_type,
            retention_days: self.retention_days,
            action: self.action,
            is_enabled: self.is_enabled,
            last_run_at: None,
            created_at: now,
            updated_at: now,
            version: 1,
        }
    }
}

/// What is to be changed of a policy. What is not given stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchivePolicyPatch {
    /// As [`ArchivePolicy::retention_days`].
    pub retention_days: Option<u32>,
    /// As [`ArchivePolicy::action`].
    pub action: Option<ArchiveAction>,
    /// As [`ArchivePolicy::is_enabled`].
    pub is_enabled: Option<bool>,
}

impl ArchivePolicyPatch {
    /// The policy after the change.
    #[must_use]
    pub fn apply(&self, policy: &ArchivePolicy) -> ArchivePolicy {
        ArchivePolicy {
            retention_days: self.retention_days.unwrap_or(policy.retention_days),
            action: self.action.unwrap_or(policy.action),
            is_enabled: self.is_enabled.unwrap_or(policy.is_enabled),
            ..policy.clone()
        }
    }
}
