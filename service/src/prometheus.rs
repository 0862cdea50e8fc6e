//! The figures of the service, as Prometheus reads them (OpenMetrics text), on a port of their own.
//!
//! Names follow OpenTelemetry's semantic conventions as Prometheus spells them.

mod retention;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use foundation::clock::Clock;
use foundation::database::Database;
use poem::error::NotFoundError;
use poem::http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use poem::http::{Method, StatusCode};
use poem::{Endpoint, Request, Response, Result};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

pub use self::retention::RetentionMetrics;
use crate::lifecycle::Lifecycle;
use crate::probe::ProbeView;

/// The upper ends of the histogram's buckets, in seconds: those that the conventions advise, and two below
/// them, because this service answers faster than that.
const BUCKETS: [f64; 16] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0];

/// The route of a request that matches none.
const NO_ROUTE: &str = "unmatched";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    http_request_method: &'static str,
    http_route: Arc<str>,
    http_response_status_code: u16,
}

/// Where requests are counted. Clones count in the same place.
#[derive(Clone)]
pub struct HttpMetrics {
    durations: Family<RequestLabels, Histogram, fn() -> Histogram>,
    no_route: Arc<str>,
}

impl fmt::Debug for HttpMetrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HttpMetrics")
    }
}

impl Default for HttpMetrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        Self { durations: Family::new_with_constructor(histogram), no_route: NO_ROUTE.into() }
    }
}

impl HttpMetrics {
    /// Counts a request; 499 is that of one that its client gave up while it waited for the answer. Route and status make the series: a look-up
    /// without an allocation.
    pub fn record(&self, method: &'static str, route: Option<&Arc<str>>, status: u16, duration: Duration) {
        let labels = RequestLabels {
            http_request_method: method,
            http_route: route.unwrap_or(&self.no_route).clone(),
            http_response_status_code: status,
        };
        self.durations.get_or_create(&labels).observe(duration.as_secs_f64());
    }
}

/// Figures of one kind, told at `/metrics`: a noun has its own in a file of its own.
pub trait Registered {
    /// Says what they are called, what for, and where they are counted. Every series should be there from the
    /// start: of one that appears with its first event, that event is no increase.
    fn register(&self, registry: &mut Registry);
}

impl Registered for HttpMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "http_server_request_duration",
            "How long requests took, from their head to their answer, or, with status 499, until their client gave them up, or, with 503, until they were cut as the service stopped, or, with 408, until a body that does not come was waited for no longer",
            Unit::Seconds,
            self.durations.clone(),
        );
    }
}

/// Everything that is told at `/metrics`.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Registry>);

impl Metrics {
    /// These figures, and those of the process.
    #[must_use]
    pub fn new(clock: &Clock, all: &[&dyn Registered]) -> Self {
        let mut registry = Registry::default();
        let build = Info::new([("version", crate::VERSION)]);
        registry.register("bedplate_build", "The release of this program", build);
        let started_at = Gauge::<f64, AtomicU64>::default();
        started_at.set(clock.now().unix_timestamp_nanos() as f64 / 1e9);
        registry.register_with_unit(
            "process_start_time",
            "When the process started, since 1970",
            Unit::Seconds,
            started_at,
        );
        for figures in all {
            figures.register(&mut registry);
        }
        Self(Arc::new(registry))
    }

    fn text(&self) -> std::result::Result<String, fmt::Error> {
        let mut text = String::with_capacity(8 * 1024);
        prometheus_client::encoding::text::encode(&mut text, &self.0)?;
        Ok(text)
    }
}

/// What the service is like at this moment: figures that are read when they are asked for.
#[derive(Clone)]
pub struct StateMetrics {
    /// The pools.
    pub database: Database,
    /// The stage of the process.
    pub lifecycle: Lifecycle,
    /// What the probe found last.
    pub probe: ProbeView,
}

impl fmt::Debug for StateMetrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("StateMetrics")
    }
}

impl Registered for StateMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }
}

impl Collector for StateMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_pools(&mut encoder)?;
        self.encode_reads(&mut encoder)?;
        let is_ready = !self.lifecycle.is_draining() && self.probe.is_good();
        let gauges = [("bedplate_ready", "Whether the service can do its work.", i64::from(is_ready))];
        let version = self.probe.health().schema_version();
        let version =
            version.map(|it| ("bedplate_schema_version", "The newest migration that is applied.", it));
        for (name, help, value) in gauges.into_iter().chain(version) {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)?;
        }
        Ok(())
    }
}

impl StateMetrics {
    fn encode_pools(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        const NAME: &str = "db_client_connection_pool_name";
        let standby = self.database.standby_pool_status().map(|pool| ("standby", pool));
        let pools: Vec<_> = [("primary", self.database.pool_status())].into_iter().chain(standby).collect();
        let help = "Connections of the pool, by state.";
        let mut metric =
            encoder.encode_descriptor("db_client_connection_count", help, None, MetricType::Gauge)?;
        for (name, pool) in &pools {
            let used = pool.size.saturating_sub(pool.available);
            for (state, connections) in [("idle", pool.available), ("used", used)] {
                let labels = [(NAME, *name), ("db_client_connection_state", state)];
                ConstGauge::new(integer(connections)).encode(metric.encode_family(&labels)?)?;
            }
        }
        let help = "The most connections the pool may have.";
        let mut metric =
            encoder.encode_descriptor("db_client_connection_max", help, None, MetricType::Gauge)?;
        for (name, pool) in &pools {
            ConstGauge::new(integer(pool.maximum)).encode(metric.encode_family(&[(NAME, *name)])?)?;
        }
        let (name, help) =
            ("db_client_connection_pending_requests", "Requests that wait for a connection of the pool.");
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (name, pool) in &pools {
            ConstGauge::new(integer(pool.waiting)).encode(metric.encode_family(&[(NAME, *name)])?)?;
        }
        Ok(())
    }

    /// Who answered what the standby may answer, where there is one.
    fn encode_reads(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(reads) = self.database.standby_reads() else { return Ok(()) };
        let help = "Reads that a standby may answer, by who did.";
        let mut metric = encoder.encode_descriptor("bedplate_reads", help, None, MetricType::Counter)?;
        for (name, count) in [("standby", reads.standby), ("primary", reads.primary)] {
            ConstCounter::new(count).encode(metric.encode_family(&[("server", name)])?)?;
        }
        Ok(())
    }
}

fn integer(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Endpoint for Metrics {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        if request.uri().path() != "/metrics" {
            return Err(NotFoundError.into());
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Ok(Response::builder()
                .status(StatusCode::METHOD_NOT_ALLOWED)
                .header(ALLOW, "GET, HEAD")
                .finish());
        }
        let mut response = Response::from(self.text().map_err(poem::error::InternalServerError)?);
        let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(openmetrics));
        Ok(response)
    }
}
