//! Where spans go: the sampler, the resource, the batch processor and the exporter to the collector.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{
    Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use opentelemetry_semantic_conventions::attribute::{SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION};
use tokio::runtime::Runtime;

use super::exporter::{Report, TellingClient, WatchedExporter};
use super::{Program, TelemetryError};
use crate::settings::{OpenTelemetrySettings, OtlpEndpoint, OtlpProtocol, RootSampler};

/// The way of spans to the collector.
#[derive(Debug)]
pub(super) struct Traces {
    provider: SdkTracerProvider,
    runtime: Runtime,
    pub(super) report: Arc<Report>,
}

impl Traces {
    /// `None` when the settings want no traces. Connects with the first export.
    pub(super) fn open(
        program: &Program,
        settings: &OpenTelemetrySettings,
    ) -> Result<Option<Self>, TelemetryError> {
        let Some(endpoint) = settings.exporter_otlp_endpoint.as_ref().filter(|_| !settings.sdk_disabled)
        else {
            return Ok(None);
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(1)
            .thread_name("telemetry")
            .enable_all()
            .build()
            .map_err(TelemetryError::Thread)?;
        let report = Arc::new(Report::new(endpoint.base().to_owned()));
        let exporter = {
            let _context = runtime.enter();
            match settings.exporter_otlp_protocol {
                OtlpProtocol::HttpProtobuf => http_exporter(endpoint, settings, &report)?,
                OtlpProtocol::Grpc => grpc_exporter(endpoint, settings)?,
            }
        };
        let exporter = WatchedExporter {
            exporter: Arc::new(exporter),
            handle: runtime.handle().clone(),
            timeout: settings.exporter_otlp_timeout.0 + Duration::from_secs(1),
            report: Arc::clone(&report),
        };
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(sampler(settings))
            .with_resource(resource(program, settings))
            .build();
        Ok(Some(Self { provider, runtime, report }))
    }

    pub(super) fn tracer(&self, name: &'static str) -> SdkTracer {
        self.provider.tracer(name)
    }

    /// Sends what is left, for `timeout` at most.
    pub(super) fn shutdown(self, timeout: Duration) {
        // A collector that was silent so far gets less time: it is unlikely to come back right now.
        let timeout = if self.report.is_failing() { timeout / 4 } else { timeout };
        if self.provider.shutdown_with_timeout(timeout).is_err() {
            // The provider wraps what its processors say; there is one, and it can only be late.
            self.report.failed(&OTelSdkError::Timeout(timeout));
        }
        // An export that hangs must not hold up the end of the program.
        self.runtime.shutdown_background();
    }
}

fn http_exporter(
    endpoint: &OtlpEndpoint,
    settings: &OpenTelemetrySettings,
    report: &Arc<Report>,
) -> Result<SpanExporter, TelemetryError> {
    let timeout = settings.exporter_otlp_timeout.0;
    let builder = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", endpoint.base()))
        .with_timeout(timeout)
        .with_headers(headers(settings).collect::<HashMap<_, _>>());
    let builder = if endpoint.base().starts_with("https:") {
        // The provider is named, so that this works whether the program installed one or not.
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
            .map_err(TelemetryError::Roots)?
            .https_only()
            .enable_http1()
            .build();
        let client = HyperClient::new(connector, timeout, None);
        builder.with_http_client(TellingClient { client, report: Arc::clone(report) })
    } else {
        let client = HyperClient::with_default_connector(timeout, None);
        builder.with_http_client(TellingClient { client, report: Arc::clone(report) })
    };
    builder.build().map_err(TelemetryError::Exporter)
}

fn grpc_exporter(
    endpoint: &OtlpEndpoint,
    settings: &OpenTelemetrySettings,
) -> Result<SpanExporter, TelemetryError> {
    let headers =
        headers(settings).filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)));
    let builder = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint.base())
        .with_timeout(settings.exporter_otlp_timeout.0)
        .with_metadata(MetadataMap::from_headers(headers.collect()));
    let builder = if endpoint.base().starts_with("https:") {
        builder.with_tls_config(ClientTlsConfig::new().with_native_roots())
    } else {
        builder
    };
    builder.build().map_err(TelemetryError::Exporter)
}

fn headers(settings: &OpenTelemetrySettings) -> impl Iterator<Item = (String, String)> + '_ {
    settings.exporter_otlp_headers.iter().flat_map(|headers| headers.expose().iter().cloned())
}

fn sampler(settings: &OpenTelemetrySettings) -> Sampler {
    let root = match settings.traces_sampler.root {
        RootSampler::AlwaysOn => Sampler::AlwaysOn,
        RootSampler::AlwaysOff => Sampler::AlwaysOff,
        RootSampler::Ratio => Sampler::TraceIdRatioBased(settings.traces_sampler_arg.0),
    };
    if settings.traces_sampler.parent_based { Sampler::ParentBased(Box::new(root)) } else { root }
}

/// What the specification calls the resource. Names that the settings give win over what is known here,
/// and `OTEL_SERVICE_NAME` wins over `service.name` in `OTEL_RESOURCE_ATTRIBUTES`.
fn resource(program: &Program, settings: &OpenTelemetrySettings) -> Resource {
    let instance = program.entropy.uuid_v7(program.clock.now()).to_string();
    let mut attributes = BTreeMap::from([
        (SERVICE_NAME.to_owned(), program.name.to_owned()),
        (SERVICE_VERSION.to_owned(), program.version.to_owned()),
        (SERVICE_INSTANCE_ID.to_owned(), instance),
    ]);
    if let Some(given) = &settings.resource_attributes {
        attributes.extend(given.0.iter().cloned());
    }
    if let Some(name) = &settings.service_name {
        attributes.insert(SERVICE_NAME.to_owned(), name.clone());
    }
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(attributes.into_iter().map(|(name, value)| KeyValue::new(name, value)))
        .build()
}
