//! Health, for those who watch the service: probes of an orchestrator, load balancers, people.

mod bodies;

use foundation::clock::Clock;
use poem::http::StatusCode;
use poem_openapi::{ApiResponse, OpenApi};

use self::bodies::words;
pub use self::bodies::{Alive, DatabaseReport, Health, NotReady, Pool, Ready, Started};
use super::conventions::Nullable;
use super::payload::JsonBytes;
use super::problem::ProblemJson;
use super::tags::Tag;
use crate::domain::health::QueryResult;
use crate::lifecycle::Lifecycle;
use crate::probe::{ProbeView, SharedQuery};

/// Answers of `/livez`.
#[derive(ApiResponse)]
pub enum LivezResponse {
    /// The process answers.
    #[oai(status = 200)]
    Alive(JsonBytes<Alive>),
    /// The request cannot be served.
    Problem(StatusCode, ProblemJson),
}

/// Answers of `/startupz`.
#[derive(ApiResponse)]
pub enum StartupzResponse {
    /// The settings are loaded and the service listens.
    #[oai(status = 200)]
    Started(JsonBytes<Started>),
    /// The request cannot be served.
    Problem(StatusCode, ProblemJson),
}

/// Answers of `/readyz`.
#[derive(ApiResponse)]
pub enum ReadyzResponse {
    /// The service can do its work.
    #[oai(status = 200)]
    Ready(JsonBytes<Ready>),
    /// It cannot, for the reasons given: it is stopping, the database is away or takes no changes, or the
    /// schema is not one that this release can run on.
    #[oai(status = 503)]
    NotReady(JsonBytes<NotReady>),
    /// The request cannot be served.
    Problem(StatusCode, ProblemJson),
}

/// Answers of `/health`.
#[derive(ApiResponse)]
pub enum HealthResponse {
    /// The database is connected.
    #[oai(status = 200)]
    Healthy(JsonBytes<Health>),
    /// The database is disconnected, for the reason given.
    #[oai(status = 503)]
    Unhealthy(JsonBytes<Health>),
    /// The request cannot be served.
    Problem(StatusCode, ProblemJson),
}

/// Answers of `/health/db`.
#[derive(ApiResponse)]
pub enum DatabaseReportResponse {
    /// The query was answered.
    #[oai(status = 200)]
    Healthy(JsonBytes<DatabaseReport>),
    /// It was not, for the reason given.
    #[oai(status = 503)]
    Unhealthy(JsonBytes<DatabaseReport>),
    /// The request cannot be served.
    Problem(StatusCode, ProblemJson),
}

/// The health routes. Cheap to clone.
#[derive(Clone)]
pub struct HealthApi {
    /// The stage of the process.
    pub lifecycle: Lifecycle,
    /// What the probe found last.
    pub probe: ProbeView,
    /// The query through the pool.
    pub query: SharedQuery,
    /// The time.
    pub clock: Clock,
}

#[OpenApi(tag = "Tag::Health")]
impl HealthApi {
    /// Does the process answer?
    ///
    /// Looks at nothing else, the database in particular: a liveness probe that fails makes an
    /// orchestrator start the process again, and that mends no database.
    #[oai(path = "/livez", method = "get", operation_id = "livez")]
    pub(super) async fn livez(&self) -> LivezResponse {
        LivezResponse::Alive(JsonBytes::from_static(r#"{"status":"ok"}"#))
    }

    /// Has the process started?
    ///
    /// The settings are loaded and the service listens. Looks at nothing else.
    #[oai(path = "/startupz", method = "get", operation_id = "startupz")]
    async fn startupz(&self) -> StartupzResponse {
        StartupzResponse::Started(JsonBytes::from_static(r#"{"status":"started"}"#))
    }

    /// Can the service do its work?
    ///
    /// It is not stopping, the database answers and takes changes, every migration that this release
    /// knows is applied as it knows it, and no newer one that it is not compatible with. Answered at once
    /// from what a probe found, which looks once a second.
    #[oai(path = "/readyz", method = "get", operation_id = "readyz")]
    pub(super) async fn readyz(&self) -> poem::Result<ReadyzResponse> {
        let draining = self.lifecycle.is_draining();
        if !draining && self.probe.is_good() {
            return Ok(ReadyzResponse::Ready(JsonBytes::from_static(r#"{"status":"ready"}"#)));
        }
        let stopping = draining.then(|| "the service is stopping".to_owned());
        let reasons = stopping.into_iter().chain(self.probe.health().reasons()).collect();
        let body = NotReady { status: "not_ready".to_owned(), reasons };
        Ok(ReadyzResponse::NotReady(JsonBytes::of(&body)?))
    }

    /// Is the database connected?
    ///
    /// Answered at once from what a probe found, which looks once a second.
    #[oai(path = "/health", method = "get", operation_id = "health")]
    async fn health(&self) -> poem::Result<HealthResponse> {
        let health = Health::from(&*self.probe.health());
        let is_healthy = health.error.is_none();
        let body = JsonBytes::of(&health)?;
        Ok(if is_healthy { HealthResponse::Healthy(body) } else { HealthResponse::Unhealthy(body) })
    }

    /// How is the database?
    ///
    /// Runs a query through the pool and answers within 500 ms, whatever the state of pool and database.
    /// Requests that come while a query is under way share its answer.
    #[oai(path = "/health/db", method = "get", operation_id = "health_db")]
    async fn health_db(&self) -> poem::Result<DatabaseReportResponse> {
        let result = self.query.ask().await;
        let is_healthy = result.is_ok();
        let body = JsonBytes::of(&self.report(result))?;
        Ok(if is_healthy {
            DatabaseReportResponse::Healthy(body)
        } else {
            DatabaseReportResponse::Unhealthy(body)
        })
    }
}

impl HealthApi {
    fn report(&self, result: QueryResult) -> DatabaseReport {
        let database = self.query.database();
        let pool = database.pool_status();
        let (latency, error) = match result {
            Ok(latency) => (Some(latency), None),
            Err(error) => (None, Some(error)),
        };
        let (status, connected) = words(error.is_none());
        DatabaseReport {
            status,
            database: connected,
            error,
            backend: database.backend().name().to_owned(),
            latency_ms: Nullable(latency.map(|it| (it.as_secs_f64() * 1e6).round() / 1e3)),
            pool: Pool {
                size: pool.size as u64,
                available: pool.available as u64,
                waiting: pool.waiting as u64,
                maximum: pool.maximum as u64,
            },
            schema_version: Nullable(self.probe.health().schema_version()),
            timestamp: self.clock.now(),
        }
    }
}
