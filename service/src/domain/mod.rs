//! Plain types and their rules: no HTTP, no SQL.

pub mod access;
pub mod aggregates;
pub mod api_tokens;
pub mod archive_files;
pub mod archive_policies;
pub mod archive_rows;
pub mod archive_rules;
pub mod archive_runs;
pub mod audit;
pub mod config;
pub mod health;
pub mod idempotency;
pub mod live;
pub mod login_limits;
pub mod metrics_snapshots;
pub mod partitions;
pub mod sessions;
pub mod users;
pub mod users_list;
pub mod versions;
