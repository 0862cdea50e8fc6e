//! The exporter as the batch processor sees it: it works wherever it is called from, and of a collector
//! that cannot be reached it says so once.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::runtime::Handle;
use tracing::Dispatch;
use tracing::dispatcher::{WeakDispatch, with_default};

/// Says when the collector is lost and when it is back, not for each export in between.
#[derive(Debug)]
pub(super) struct Report {
    endpoint: String,
    failing: AtomicBool,
    /// Why the last request had no answer: the exporter over HTTP itself says "network error" only.
    cause: Mutex<Option<String>>,
    // The log holds the exporter, so the exporter must not keep the log alive.
    log: OnceLock<WeakDispatch>,
}

impl Report {
    pub(super) fn new(endpoint: String) -> Self {
        Self { endpoint, failing: AtomicBool::new(false), cause: Mutex::new(None), log: OnceLock::new() }
    }

    /// Says where to say it.
    pub(super) fn tell(&self, log: &Dispatch) {
        self.log.get_or_init(|| log.downgrade());
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    pub(super) fn failed(&self, error: &OTelSdkError) {
        let error = match (self.cause().take(), error) {
            (Some(cause), _) => cause,
            (None, OTelSdkError::InternalFailure(reason)) => reason.clone(),
            (None, OTelSdkError::Timeout(timeout)) => format!("no answer within {timeout:?}"),
            (None, other) => other.to_string(),
        };
        if !self.failing.swap(true, Ordering::Relaxed) {
            self.log(|| {
                tracing::warn!(
                    collector = self.endpoint,
                    error,
                    "Traces cannot be sent and are lost until the collector answers; this is said once"
                );
            });
        }
    }

    pub(super) fn succeeded(&self) {
        if self.failing.swap(false, Ordering::Relaxed) {
            self.log(|| tracing::info!(collector = self.endpoint, "The collector takes traces again"));
        }
    }

    fn cause(&self) -> MutexGuard<'_, Option<String>> {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self, say: impl FnOnce()) {
        if let Some(log) = self.log.get().and_then(WeakDispatch::upgrade) {
            with_default(&log, say);
        }
    }
}

/// The batch processor calls it from a thread of its own, outside of any runtime, while hyper and tonic
/// need one: every export runs on the runtime behind `handle`, which serves nothing else.
#[derive(Debug)]
pub(super) struct WatchedExporter<E> {
    pub(super) exporter: Arc<E>,
    pub(super) handle: Handle,
    pub(super) timeout: Duration,
    pub(super) report: Arc<Report>,
}

impl<E: SpanExporter + 'static> SpanExporter for WatchedExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let (exporter, timeout) = (Arc::clone(&self.exporter), self.timeout);
        // The exporter bounds each request itself. This bound is for what it forgets.
        let export = async move {
            match tokio::time::timeout(timeout, exporter.export(batch)).await {
                Ok(result) => result,
                Err(_elapsed) => Err(OTelSdkError::Timeout(timeout)),
            }
        };
        let result = match self.handle.spawn(export).await {
            Ok(result) => result,
            Err(error) => Err(OTelSdkError::InternalFailure(format!("the export broke off ({error})"))),
        };
        match &result {
            Ok(()) => self.report.succeeded(),
            Err(error) => self.report.failed(error),
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        // Nothing is exported before the resource is set, so nobody else holds the exporter.
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            exporter.set_resource(resource);
        }
    }
}

/// An HTTP client that remembers why it failed.
#[derive(Debug)]
pub(super) struct TellingClient<C> {
    pub(super) client: C,
    pub(super) report: Arc<Report>,
}

impl<C: HttpClient> HttpClient for TellingClient<C> {
    // The trait is declared with async-trait, whose form this is.
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> BoxFuture<'b, Result<Response<Bytes>, HttpError>>
    where
        'a: 'b,
        Self: 'b,
    {
        async move {
            let result = self.client.send_bytes(request).await;
            *self.report.cause() = result.as_ref().err().map(|error| innermost(error.as_ref()));
            result
        }
        .boxed()
    }
}

/// The outer errors of a client name its parts; the innermost says what happened.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::clock::Clock;
    use crate::telemetry::LineFormat;
    use crate::telemetry::logs::LogLayer;

    /// Answers `true` with success, `false` with a failure.
    #[derive(Debug)]
    struct Scripted(&'static [bool], AtomicUsize);

    impl SpanExporter for Scripted {
        async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
            if self.0[self.1.fetch_add(1, Ordering::Relaxed)] {
                Ok(())
            } else {
                Err(OTelSdkError::InternalFailure("refused".to_owned()))
            }
        }
    }

    #[test]
    fn a_lost_collector_is_reported_once_and_so_is_its_return() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let log = Dispatch::new(tracing_subscriber::registry().with(LogLayer {
            format: LineFormat::Json,
            clock: Clock::system(),
            write: Box::new(move |line| {
                sink.lock().expect("nobody panicked").push(String::from_utf8_lossy(line).into_owned());
            }),
        }));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("there are threads");
        let script = &[true, false, false, false, true, true, false, false];
        let report = Arc::new(Report::new("http://collector:4318".to_owned()));
        report.tell(&log);
        let exporter = WatchedExporter {
            exporter: Arc::new(Scripted(script, AtomicUsize::new(0))),
            handle: runtime.handle().clone(),
            timeout: Duration::from_secs(5),
            report,
        };
        for expected in script {
            let result = runtime.block_on(exporter.export(Vec::new()));
            assert_eq!(result.is_ok(), *expected);
        }
        let lines = lines.lock().expect("nobody panicked");
        let levels: Vec<&str> =
            lines.iter().map(|it| if it.contains("WARN") { "WARN" } else { "INFO" }).collect();
        assert_eq!(levels, ["WARN", "INFO", "WARN"], "{lines:?}");
        assert!(lines[0].contains("http://collector:4318") && lines[0].contains("refused"), "{}", lines[0]);
    }
}
