//! Logs and traces: one set-up for both programs.
//!
//! Logs always go to standard error. Traces go nowhere until `OTEL_EXPORTER_OTLP_ENDPOINT` is set; until
//! then no part of the subscriber is interested in the spans of statements, and they cost nothing.
//!
//! Only spans whose target starts with [`SPANS`] are traced, so a library's own spans, the exporter's
//! among them, never are.

mod exporter;
mod logs;
pub mod propagation;
mod traces;

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use tracing::Dispatch;
use tracing::dispatcher::{SetGlobalDefaultError, set_global_default};
use tracing_log::{AsLog as _, LogTracer};
use tracing_subscriber::filter::{LevelFilter, ParseError, filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::registry;

pub use logs::{LineFormat, LogWriter};

use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::settings::{LogFormat, LogSettings, OpenTelemetrySettings};
use logs::LogLayer;
use traces::Traces;

/// What the targets of all traced spans start with.
pub const SPANS: &str = "bedplate::span";
/// The target of the spans of statements.
pub const DATABASE_SPANS: &str = "bedplate::span::db";

/// How long the end of the program waits for a collector to take the last spans.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Who logs and traces.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name: `service.name` of its traces unless the settings give another.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// What shows the time of a log line.
    pub clock: Clock,
    /// What tells one process of this program from another.
    pub entropy: Entropy,
}

/// Why there can be no logs or traces.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The directives are malformed, which the settings should have found.
    #[error("LOG_LEVEL is not a log filter")]
    LogLevel(#[source] ParseError),
    /// The program set up its log twice.
    #[error("the log was set up already")]
    AlreadyStarted(#[source] SetGlobalDefaultError),
    /// Another logger took the records of the `log` crate.
    #[error("the records of the log crate go elsewhere already")]
    LogBridge(#[source] tracing_log::log_tracer::SetLoggerError),
    /// No thread for the traces.
    #[error("the thread that sends traces cannot be started")]
    Thread(#[source] std::io::Error),
    /// No certificate authorities to check the collector's certificate with.
    #[error("the certificate authorities of this machine cannot be read, so the collector cannot be trusted")]
    Roots(#[source] std::io::Error),
    /// The exporter refuses its settings.
    #[error("no exporter can be made for OTEL_EXPORTER_OTLP_ENDPOINT")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
}

/// The logs and traces of this process. Keep it until the end: what was not sent yet is sent when it is
/// [shut down](Self::shutdown) or dropped.
#[derive(Debug)]
#[must_use = "traces stop when it is dropped"]
pub struct Telemetry {
    traces: Option<Traces>,
}

impl Telemetry {
    /// Sets up logs and traces for the whole process. Reaches for no network yet.
    ///
    /// # Errors
    /// When it was done before, or when traces are wanted and cannot be sent as the settings say.
    pub fn start(
        program: &Program,
        log: &LogSettings,
        open_telemetry: &OpenTelemetrySettings,
    ) -> Result<Self, TelemetryError> {
        let terminal = std::io::stderr().is_terminal();
        let format = match log.format {
            LogFormat::Json => LineFormat::Json,
            LogFormat::Auto if !terminal => LineFormat::Json,
            LogFormat::Auto | LogFormat::Text => LineFormat::Text { colour: terminal },
        };
        let (dispatch, telemetry, most_verbose) =
            assemble(program, &log.level.0, open_telemetry, format, Box::new(write_to_standard_error))?;
        set_global_default(dispatch).map_err(TelemetryError::AlreadyStarted)?;
        LogTracer::builder()
            .with_max_level(most_verbose.as_log())
            .init()
            .map_err(TelemetryError::LogBridge)?;
        Ok(telemetry)
    }

    /// The same without touching the process: the caller passes the dispatcher on, for example to
    /// [`tracing::dispatcher::with_default`], and gets the lines. For tests.
    ///
    /// # Errors
    /// When traces are wanted and cannot be sent as the settings say.
    pub fn build(
        program: &Program,
        log: &LogSettings,
        open_telemetry: &OpenTelemetrySettings,
        format: LineFormat,
        write: LogWriter,
    ) -> Result<(Dispatch, Self), TelemetryError> {
        assemble(program, &log.level.0, open_telemetry, format, write)
            .map(|(dispatch, telemetry, _)| (dispatch, telemetry))
    }

    /// Whether traces are sent anywhere.
    #[must_use]
    pub fn sends_traces(&self) -> bool {
        self.traces.is_some()
    }

    /// Sends what was not sent yet, and gives up after two seconds. It blocks its thread; the logs go on.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(traces) = self.traces.take() {
            traces.shutdown(SHUTDOWN_TIMEOUT);
        }
    }
}

fn assemble(
    program: &Program,
    level: &str,
    open_telemetry: &OpenTelemetrySettings,
    format: LineFormat,
    write: LogWriter,
) -> Result<(Dispatch, Telemetry, LevelFilter), TelemetryError> {
    let clock = program.clock.clone();
    let log = LogLayer { format, clock, write };
    let Some(traces) = Traces::open(program, open_telemetry)? else {
        let (wanted, most_verbose) = logs::filter(level).map_err(TelemetryError::LogLevel)?;
        let dispatch = Dispatch::new(registry().with(log.with_filter(wanted)));
        return Ok((dispatch, Telemetry { traces: None }, most_verbose));
    };
    let (wanted, most_verbose) = logs::filter(level).map_err(TelemetryError::LogLevel)?;
    let traced = filter_fn(|metadata| metadata.is_span() && metadata.target().starts_with(SPANS));
    let layer = tracing_opentelemetry::layer()
        .with_tracer(traces.tracer(program.name))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false);
    let subscriber = registry().with(layer.with_filter(traced)).with(log.with_filter(wanted));
    let dispatch = Dispatch::new(subscriber);
    Arc::clone(&traces.report).tell(&dispatch);
    Ok((dispatch, Telemetry { traces: Some(traces) }, most_verbose))
}

/// The whole line at once, so that the lines of several threads do not mix.
fn write_to_standard_error(line: &[u8]) {
    // When standard error is gone there is nobody left to tell.
    let _nobody_reads = std::io::stderr().lock().write_all(line);
}
