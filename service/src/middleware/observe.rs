//! What is told about every request: its id, its place in a trace, a span, a line in the log, a figure.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use foundation::clock::Clock;
use foundation::entropy::Entropy;
use foundation::telemetry::propagation::{self, TRACEPARENT};
use poem::http::header::{HeaderName, HeaderValue, USER_AGENT};
use poem::http::{Method, StatusCode};
use poem::{Endpoint, Middleware, Request, Response, Result};
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument as _, Level, Span};

use super::RequestContext;
use super::client_address::TrustedProxies;
use super::head::WasHead;
use super::request_context::{self, X_REQUEST_ID};
use crate::api::{RouteTable, is_probe};
use crate::prometheus::HttpMetrics;
use crate::server::{Cut, Reading};

/// Tells about requests.
#[derive(Clone, Debug)]
pub struct Observe {
    metrics: HttpMetrics,
    clock: Clock,
    entropy: Entropy,
    routes: RouteTable,
    proxies: TrustedProxies,
}

impl Observe {
    /// Counts in `metrics`; makes ids from `clock` and `entropy`; believes `proxies` who the client is.
    #[must_use]
    pub fn new(
        metrics: HttpMetrics,
        clock: Clock,
        entropy: Entropy,
        routes: RouteTable,
        proxies: TrustedProxies,
    ) -> Self {
        Self { metrics, clock, entropy, routes, proxies }
    }
}

/// The endpoint of [`Observe`].
pub struct ObserveEndpoint<E> {
    inner: E,
    observe: Observe,
}

impl<E: Endpoint<Output = Response>> Middleware<E> for Observe {
    type Output = ObserveEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        ObserveEndpoint { inner, observe: self.clone() }
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for ObserveEndpoint<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let Observe { metrics, clock, entropy, routes, proxies } = &self.observe;
        let started = Instant::now();
        let request_id = request_context::request_id(&request, clock, entropy);
        let asked = Head::of(&request);
        let client = proxies.client_of(&request);
        let span = asked.span(&request, request_context::text(&request_id), client);
        let trace = propagation::join(&span, request_context::caller(&request).as_ref(), entropy);
        let context = RequestContext::new(request_id, trace, client);
        request.set_data(context.clone());
        let reading = request.data::<Arc<Reading>>().cloned();
        let cut = request.data::<Arc<Cut>>().cloned();
        let observe = &self.observe;
        let mut unanswered = Unanswered { asked: Some(&asked), reading, cut, observe, span: &span, started };
        let mut response = self.inner.call(request).instrument(span.clone()).await?;
        unanswered.asked = None;

        let elapsed = started.elapsed();
        let route = routes.find(response.data()).map(|facts| &facts.name);
        metrics.record(asked.method, route, response.status().as_u16(), elapsed);
        asked.finish(&span, route, response.status(), elapsed, &context);
        let headers = response.headers_mut();
        headers.insert(X_REQUEST_ID, context.request_id_header());
        if let Ok(traceparent) = HeaderValue::try_from(context.trace().to_string()) {
            headers.insert(HeaderName::from_static(TRACEPARENT), traceparent);
        }
        Ok(response)
    }
}

/// What is known of a request from its head.
struct Head {
    method: &'static str,
    uri: poem::http::Uri,
    is_probe: bool,
}

impl Head {
    fn of(request: &Request) -> Self {
        let was_head = request.data::<WasHead>().is_some();
        let method = if was_head { "HEAD" } else { method_name(request.method()) };
        let uri = request.uri().clone();
        Self { method, is_probe: is_probe(uri.path()), uri }
    }

    /// The fields have the names of OpenTelemetry's semantic conventions. A probe, which is asked every
    /// second by everybody, has a span only where its lines are wanted.
    fn span(&self, request: &Request, request_id: &str, client: Option<IpAddr>) -> Span {
        if self.is_probe && !tracing::enabled!(target: "service::access", Level::DEBUG) {
            return Span::none();
        }
        tracing::info_span!(
            target: "bedplate::span::http",
            "request",
            otel.name = self.method,
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = self.method,
            url.path = self.uri.path(),
            url.scheme = "http",
            http.route = Empty,
            http.response.status_code = Empty,
            client.address = client.map(tracing::field::display),
            user_agent.original = request.headers().get(USER_AGENT).and_then(|it| it.to_str().ok()),
            request_id,
            trace_id = Empty,
        )
    }

    fn finish(
        &self,
        span: &Span,
        route: Option<&Arc<str>>,
        status: StatusCode,
        elapsed: Duration,
        context: &RequestContext,
    ) {
        if !span.is_disabled() {
            if let Some(route) = route {
                span.record("http.route", &**route);
                propagation::rename(span, format_args!("{} {route}", self.method));
            }
            span.record("http.response.status_code", status.as_u16());
            if status.is_server_error() {
                span.record("otel.status_code", "ERROR");
            }
        }
        let (method, path, status_code) = (self.method, self.uri.path(), status.as_u16());
        let duration_ms = milliseconds(elapsed);
        let entered = span.enter();
        if self.is_probe && status.is_success() {
            tracing::debug!(target: "service::access", duration_ms, "{method} {path} {status_code}");
        } else {
            let request_id = context.request_id();
            tracing::info!(target: "service::access", duration_ms, request_id, "{method} {path} {status_code}");
        }
        drop(entered);
    }
}

/// What a request that was given up is counted under, as proxies do. No client ever gets it.
const GIVEN_UP: u16 = 499;

/// Tells of a request whose client went away before the answer, or that the server cut: its future is dropped where
/// it waits.
struct Unanswered<'a> {
    asked: Option<&'a Head>,
    reading: Option<Arc<Reading>>,
    cut: Option<Arc<Cut>>,
    observe: &'a Observe,
    span: &'a Span,
    started: Instant,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(Head { method, uri, .. }) = self.asked {
            let (elapsed, path) = (self.started.elapsed(), uri.path());
            let route = self.observe.routes.of_path(path).map(|facts| &facts.name);
            // What took its time was the client, as where it is answered so.
            let is_awaited = self.reading.as_ref().is_some_and(|it| it.is_awaited());
            let is_cut = self.cut.as_ref().is_some_and(|it| it.is_by_server());
            let status = match (is_awaited, is_cut) {
                (true, _) => StatusCode::REQUEST_TIMEOUT.as_u16(),
                (false, true) => StatusCode::SERVICE_UNAVAILABLE.as_u16(),
                (false, false) => GIVEN_UP,
            };
            self.observe.metrics.record(method, route, status, elapsed);
            let duration_ms = milliseconds(elapsed);
            let _entered = self.span.enter();
            match (is_cut, is_awaited) {
                (false, _) => {
                    tracing::info!(target: "service::access", duration_ms, "{method} {path} given up by the client");
                }
                // How often that happens is up to the clients.
                (true, true) => {
                    tracing::info!(target: "service::access", duration_ms, "{method} {path} cut by the server");
                }
                (true, false) => {
                    tracing::warn!(target: "service::access", duration_ms, "{method} {path} cut by the server");
                }
            }
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// The methods that the conventions know; another one could be any text at all.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "_OTHER",
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::prometheus::Registered as _;
    use crate::settings::Networks;

    /// The figures of a request that is dropped while the service works on it.
    fn figures_of_one_dropped(cut: Arc<Cut>) -> String {
        let metrics = HttpMetrics::default();
        let proxies = TrustedProxies::new(Networks::default());
        let observe =
            Observe::new(metrics.clone(), Clock::system(), Entropy::system(), RouteTable::default(), proxies);
        let endpoint = observe.transform(poem::endpoint::make(|_| std::future::pending::<Response>()));
        let mut request = Request::default();
        request.set_data(cut);
        assert!(endpoint.call(request).now_or_never().is_none(), "it has no answer");
        let (mut registry, mut text) = (Registry::default(), String::new());
        metrics.register(&mut registry);
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn who_drops_a_request_is_told_by_its_status() {
        let counted = |text: &str, status: u16| {
            let is_of = |line: &&str| line.contains("_count{") && line.contains(&format!("=\"{status}\""));
            text.lines().filter(is_of).count()
        };
        let by_client = figures_of_one_dropped(Arc::default());
        assert_eq!((counted(&by_client, 499), counted(&by_client, 503)), (1, 0), "{by_client}");
        let cut = Arc::<Cut>::default();
        cut.by_server();
        let by_server = figures_of_one_dropped(cut);
        assert_eq!((counted(&by_server, 499), counted(&by_server, 503)), (0, 1), "{by_server}");
    }
}
