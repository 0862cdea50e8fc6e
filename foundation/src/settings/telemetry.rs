//! Traces and metrics.

use std::time::Duration;

use super::{Listen, Secret, Setting};

crate::settings! {
    /// What the programs tell of themselves beside their logs.
    pub struct TelemetrySettings("TELEMETRY_") {
        /// Where the service serves its figures as Prometheus text at `/metrics`; `off` for not at all.
        prometheus_address: Listen = "127.0.0.1:9464",
    }
}

/// How traces are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// OTLP over gRPC.
    Grpc,
    /// OTLP over HTTP with protobuf bodies.
    HttpProtobuf,
}

impl Setting for OtlpProtocol {
    const EXPECTED: &'static str = "grpc or http/protobuf";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "grpc" => Ok(Self::Grpc),
            "http/protobuf" => Ok(Self::HttpProtobuf),
            _ => Err("there is no such protocol".to_owned()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Grpc => "grpc".to_owned(),
            Self::HttpProtobuf => "http/protobuf".to_owned(),
        }
    }
}

crate::settings! {
    /// OpenTelemetry's own variables, under the names and with the meanings that its specification
    /// gives them: <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.
    pub struct OpenTelemetrySettings("OTEL_") {
        /// Turns traces off, whatever else is set.
        sdk_disabled: bool = "false",
        /// Where traces are sent, for example `http://collector:4318`. Not set: nowhere.
        exporter_otlp_endpoint: Option<String> = "",
        /// How they are sent.
        exporter_otlp_protocol: OtlpProtocol = "http/protobuf",
        /// Headers for the collector, `name=value,name=value`.
        exporter_otlp_headers: Option<Secret> = "",
        /// How long one export may take, in milliseconds as the specification wants it, or with a unit.
        exporter_otlp_timeout: OtlpTimeout = "10000",
        /// The name of this program in traces. Not set: its own name.
        service_name: Option<String> = "",
        /// Attributes of this process in traces, `name=value,name=value`.
        resource_attributes: Option<String> = "",
        /// Which traces are kept: `always_on`, `always_off`, `traceidratio` and `parentbased_` with one of
        /// these.
        traces_sampler: String = "parentbased_always_on",
        /// The share of traces that a ratio keeps, 0 to 1.
        traces_sampler_arg: f64 = "1",
    }
}

/// A duration that is milliseconds when it has no unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtlpTimeout(pub Duration);

impl Setting for OtlpTimeout {
    const EXPECTED: &'static str = "milliseconds, or a duration such as 10s";

    fn parse(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(milliseconds) => Ok(Self(Duration::from_millis(milliseconds))),
            Err(_) => Duration::parse(text).map(Self),
        }
    }

    fn show(&self) -> String {
        self.0.show()
    }
}
