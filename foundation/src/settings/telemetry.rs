//! Traces and metrics.

use super::Listen;

crate::settings! {
    /// What the programs tell of themselves beside their logs.
    pub struct TelemetrySettings("TELEMETRY_") {
        /// Where the service serves its figures as Prometheus text at `/metrics`; `off` for not at all.
        prometheus_address: Listen = "127.0.0.1:9464",
    }
}
