//! The SQL of each noun, once, and from rows to types. No HTTP.

pub mod aggregates;
pub mod api_tokens;
pub mod archive_files;
pub mod archive_policies;
pub mod archive_rows;
pub mod archive_runs;
pub mod audit_events;
pub mod config;
pub mod credentials;
pub mod health;
pub mod idempotency_keys;
pub mod leases;
pub mod login_failures;
pub mod metrics_series;
pub mod metrics_snapshots;
pub mod operators;
pub mod partitions;
pub mod passwords;
pub mod prune;
pub mod schema;
pub mod sessions;
pub mod together;
pub mod touches;
pub mod users;
pub mod users_list;
