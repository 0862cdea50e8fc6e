//! The bodies of the health routes' answers.

use poem_openapi::Object;
use poem_openapi::types::Example;
use serde::Serialize;
use time::OffsetDateTime;

use crate::api::conventions::Nullable;
use crate::domain::health::{DatabaseHealth, DatabaseState};

/// The process answers.
#[derive(Debug, Object, Serialize)]
#[oai(example)]
pub struct Alive {
    /// Always `ok`.
    pub status: String,
}

/// The process has started.
#[derive(Debug, Object, Serialize)]
#[oai(example)]
pub struct Started {
    /// Always `started`.
    pub status: String,
}

/// The service can do its work.
#[derive(Debug, Object, Serialize)]
#[oai(example)]
pub struct Ready {
    /// Always `ready`.
    pub status: String,
}

/// The service cannot do its work, and why.
#[derive(Debug, Object, Serialize)]
#[oai(example)]
pub struct NotReady {
    /// Always `not_ready`.
    pub status: String,
    /// Each reason in a sentence.
    pub reasons: Vec<String>,
}

/// Health in short.
#[derive(Debug, Object, Serialize)]
#[oai(example)]
pub struct Health {
    /// `healthy`, or `unhealthy` when the database is disconnected.
    pub status: String,
    /// `connected` or `disconnected`.
    pub database: String,
    /// Why it is disconnected.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When the database was asked; it is, once a second.
    #[serde(with = "time::serde::rfc3339")]
    pub timestamp: OffsetDateTime,
}

/// The connections of the pool.
#[derive(Debug, Object, Serialize)]
pub struct Pool {
    /// Open connections.
    pub size: u64,
    /// Those of them that nobody uses.
    pub available: u64,
    /// Requests that wait for one.
    pub waiting: u64,
    /// The most connections there may be.
    pub maximum: u64,
}

/// The health of the database, asked through the pool.
#[derive(Debug, Object, Serialize)]
#[oai(example)]
pub struct DatabaseReport {
    /// `healthy`, or `unhealthy` when the query failed or took more than 500 ms.
    pub status: String,
    /// `connected` or `disconnected`.
    pub database: String,
    /// Why the query failed.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// `postgresql` or `sqlite`.
    pub backend: String,
    /// How long the query took, waiting for a connection included, in milliseconds.
    pub latency_ms: Nullable<f64>,
    /// The connections of the pool.
    pub pool: Pool,
    /// The newest migration that is applied.
    pub schema_version: Nullable<i64>,
    /// When this was written.
    #[serde(with = "time::serde::rfc3339")]
    pub timestamp: OffsetDateTime,
}

impl From<&DatabaseHealth> for Health {
    fn from(health: &DatabaseHealth) -> Self {
        let error = match &health.state {
            DatabaseState::Connected { .. } => None,
            DatabaseState::Disconnected(error) => Some(error.clone()),
        };
        let (status, database) = words(error.is_none());
        Self { status, database, error, timestamp: health.checked_at }
    }
}

/// How the two states are called: of the service, and of its database.
pub(super) fn words(is_healthy: bool) -> (String, String) {
    let (status, database) =
        if is_healthy { ("healthy", "connected") } else { ("unhealthy", "disconnected") };
    (status.to_owned(), database.to_owned())
}

impl Example for Alive {
    fn example() -> Self {
        Self { status: "ok".to_owned() }
    }
}

impl Example for Started {
    fn example() -> Self {
        Self { status: "started".to_owned() }
    }
}

impl Example for Ready {
    fn example() -> Self {
        Self { status: "ready".to_owned() }
    }
}

impl Example for NotReady {
    fn example() -> Self {
        let reason = "the database cannot be used: it did not answer within 500 ms";
        Self { status: "not_ready".to_owned(), reasons: vec![reason.to_owned()] }
    }
}

impl Example for Health {
    fn example() -> Self {
        let (status, database) = words(true);
        Self { status, database, error: None, timestamp: example_time() }
    }
}

impl Example for DatabaseReport {
    fn example() -> Self {
        let (status, database) = words(true);
        Self {
            status,
            database,
            error: None,
            backend: "postgresql".to_owned(),
            latency_ms: Nullable(Some(0.412)),
            pool: Pool { size: 4, available: 3, waiting: 0, maximum: 15 },
            schema_version: Nullable(Some(1)),
            timestamp: example_time(),
        }
    }
}

fn example_time() -> OffsetDateTime {
    time::macros::datetime!(2026-01-31 12:00:00 UTC)
}
