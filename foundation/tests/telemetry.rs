//! Logs and traces as the programs use them, with a collector that this test runs.
#![allow(
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    reason = "the collector is written to be shared, and what helps a test may fail as a test does"
)]

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foundation::clock::Clock;
use foundation::entropy::Entropy;
use foundation::settings::{Environment, LogSettings, OpenTelemetrySettings, Section as _};
use foundation::telemetry::propagation::{self, TraceContext};
use foundation::telemetry::{LineFormat, LogWriter, Program, Telemetry};
use foundation::testing::otlp::{OtlpReceiver, ReceivedSpan, spans};
use serde_json::Value;
use tokio::time::Instant;
use tracing::dispatcher::with_default;
use tracing::{Dispatch, Span, field};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn writer(&self) -> LogWriter {
        let Self(lines) = self.clone();
        Box::new(move |line| {
            let line = String::from_utf8(line.to_vec()).expect("lines are UTF-8");
            lines.lock().expect("nobody panicked").push(line);
        })
    }

    fn texts(&self) -> Vec<String> {
        self.0.lock().expect("nobody panicked").clone()
    }

    fn json(&self) -> Vec<Value> {
        self.texts().iter().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
    }

    fn warnings(&self) -> Vec<String> {
        self.texts().into_iter().filter(|line| line.contains(r#""level":"WARN""#)).collect()
    }
}

fn program() -> Program {
    let clock = Clock::fixed(time::macros::datetime!(2026-01-02 03:04:05.678 UTC));
    Program { name: "tester", version: "1.2.3", clock, entropy: Entropy::system() }
}

fn settings(pairs: &[(&str, &str)]) -> (LogSettings, OpenTelemetrySettings) {
    let mut environment = Environment::from_pairs(pairs.iter().copied());
    let settings = (LogSettings::read(&mut environment), OpenTelemetrySettings::read(&mut environment));
    environment.finish().expect("the settings are good");
    settings
}

fn build(pairs: &[(&str, &str)]) -> (Dispatch, Telemetry, Lines) {
    let (log, open_telemetry) = settings(pairs);
    let lines = Lines::default();
    let (dispatch, telemetry) =
        Telemetry::build(&program(), &log, &open_telemetry, LineFormat::Json, lines.writer())
            .expect("the settings can be put into force");
    (dispatch, telemetry, lines)
}

fn http_span() -> Span {
    tracing::info_span!(
        target: "bedplate::span::http",
        "request",
        otel.name = "GET /users/{id}",
        otel.kind = "server",
        request_id = "r-1",
        trace_id = field::Empty,
        http.response.status_code = field::Empty,
    )
}

fn database_span() -> Span {
    tracing::info_span!(
        target: "bedplate::span::db",
        "SELECT users",
        otel.kind = "client",
        db.system.name = "postgresql",
    )
}

/// One request with a statement in it, and spans that are not to be traced.
fn serve_one_request(caller: Option<&TraceContext>) -> TraceContext {
    let request = http_span();
    let context = propagation::join(&request, caller, &Entropy::system());
    request.in_scope(|| {
        let library = tracing::info_span!(target: "hyper", "a span of a library");
        library.in_scope(|| database_span().in_scope(|| tracing::info!("inside")));
        request.record("http.response.status_code", 200);
    });
    context
}

fn named<'a>(spans: &'a [ReceivedSpan], name: &str) -> &'a ReceivedSpan {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
}

fn caller() -> TraceContext {
    TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").expect("it is well formed")
}

#[test]
fn a_request_and_its_statement_reach_the_collector_and_nothing_else_does() {
    let collector = OtlpReceiver::start();
    let (dispatch, telemetry, lines) = build(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("{}/", collector.endpoint())),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20token"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=overridden"),
        ("OTEL_SERVICE_NAME", "named"),
    ]);
    assert!(telemetry.sends_traces());
    let context = with_default(&dispatch, || serve_one_request(Some(&caller())));
    telemetry.shutdown();

    let spans = collector.wait(|spans| spans.len() >= 2);
    assert_eq!(spans.len(), 2, "{spans:#?}");
    let (request, statement) = (named(&spans, "GET /users/{id}"), named(&spans, "SELECT users"));
    assert_eq!((request.kind, statement.kind), (2, 3));
    assert_eq!(request.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(request.parent_span_id, "00f067aa0ba902b7");
    assert_eq!(statement.trace_id, request.trace_id);
    assert_eq!(statement.parent_span_id, request.span_id);
    assert_eq!(statement.attribute("db.system.name"), Some("postgresql"));
    assert_eq!(request.attribute("http.response.status_code"), Some("200"));
    assert_eq!(context.to_string(), format!("00-{}-{}-01", request.trace_id, request.span_id));

    assert_eq!(request.resource("service.name"), Some("named"));
    assert_eq!(request.resource("service.version"), Some("1.2.3"));
    assert_eq!(request.resource("deployment.environment.name"), Some("test"));
    assert!(request.resource("service.instance.id").is_some_and(|id| id.len() == 36));

    let head = collector.heads().remove(0);
    assert_eq!(head[0], "POST /v1/traces HTTP/1.1");
    assert!(head.iter().any(|line| line.eq_ignore_ascii_case("authorization: Bearer token")), "{head:?}");

    assert_eq!(lines.json()[0]["trace_id"], request.trace_id);
    assert_eq!(lines.texts().len(), 1, "{:?}", lines.texts());
}

#[tokio::test]
async fn it_starts_and_ends_within_a_runtime() {
    let collector = OtlpReceiver::start();
    let (dispatch, telemetry, lines) = build(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())]);
    let context = with_default(&dispatch, || serve_one_request(None));
    // On the only thread of this runtime: the export must not depend on it.
    telemetry.shutdown();
    let spans = collector.wait(|spans| spans.len() >= 2);
    let request = named(&spans, "GET /users/{id}");
    assert_eq!(request.trace_id, context.trace_id());
    assert_eq!(request.parent_span_id, "");
    assert_eq!(lines.warnings(), Vec::<String>::new());
}

#[test]
fn what_the_caller_does_not_record_is_not_sent() {
    let collector = OtlpReceiver::start();
    let (dispatch, telemetry, _) = build(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())]);
    let parent = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");
    let context = with_default(&dispatch, || serve_one_request(parent.as_ref()));
    telemetry.shutdown();
    assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(!context.is_sampled());
    assert_eq!(collector.heads().len(), 0);
}

#[test]
fn grpc_reaches_the_collector() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("there are threads");
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let collector = runtime.spawn(take_one_grpc_export(listener));
    let (dispatch, telemetry, lines) = build(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}")),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-token=abc"),
    ]);
    with_default(&dispatch, || serve_one_request(Some(&caller())));
    telemetry.shutdown();
    let (token, spans) = runtime.block_on(collector).expect("the collector did not panic");
    assert_eq!(token.as_deref(), Some("abc"));
    assert_eq!(named(&spans, "SELECT users").parent_span_id, named(&spans, "GET /users/{id}").span_id);
    assert_eq!(lines.warnings(), Vec::<String>::new());
}

async fn take_one_grpc_export(listener: tokio::net::TcpListener) -> (Option<String>, Vec<ReceivedSpan>) {
    let (stream, _) = listener.accept().await.expect("the exporter connects");
    let mut connection = h2::server::handshake(stream).await.expect("it speaks HTTP/2");
    let (request, mut respond) = connection.accept().await.expect("there is a request").expect("it is whole");
    // The connection moves only while somebody asks for its next request.
    tokio::spawn(async move { while connection.accept().await.is_some() {} });
    assert_eq!(request.uri().path(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    let token = request.headers().get("x-token").map(|it| it.to_str().expect("it is ASCII").to_owned());
    let (mut body, mut bytes) = (request.into_body(), Vec::new());
    while let Some(chunk) = body.data().await {
        bytes.extend_from_slice(&chunk.expect("it is whole"));
    }
    let head =
        http::Response::builder().header("content-type", "application/grpc").body(()).expect("it is valid");
    let mut answer = respond.send_response(head, false).expect("the exporter waits");
    answer.send_data(vec![0; 5].into(), false).expect("the exporter waits");
    let trailers = http::HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        http::HeaderValue::from_static("0"),
    )]);
    answer.send_trailers(trailers).expect("the exporter waits");
    // A message of gRPC has five bytes before it: whether it is compressed, and its length.
    (token, spans(prost::Message::decode(&bytes[5..]).expect("it is OTLP")))
}

#[test]
fn a_collector_that_refuses_costs_one_warning() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
    drop(listener);
    for protocol in ["http/protobuf", "grpc"] {
        let (dispatch, telemetry, lines) =
            build(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]);
        let start = Instant::now();
        with_default(&dispatch, || (0..2000).for_each(|_| drop(serve_one_request(None))));
        telemetry.shutdown();
        assert!(start.elapsed() < Duration::from_secs(4), "{protocol}: {:?}", start.elapsed());
        let [warning] = lines.warnings().try_into().expect("there is one warning");
        assert!(warning.contains(&endpoint) && warning.contains("refused"), "{protocol}: {warning}");
    }
}

#[test]
fn a_collector_that_never_answers_costs_one_warning_and_two_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
    for protocol in ["http/protobuf", "grpc"] {
        let (dispatch, telemetry, lines) =
            build(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]);
        with_default(&dispatch, || drop(serve_one_request(None)));
        let start = Instant::now();
        telemetry.shutdown();
        assert!(start.elapsed() < Duration::from_millis(2500), "{protocol}: {:?}", start.elapsed());
        let [warning] = lines.warnings().try_into().expect("there is one warning");
        assert!(warning.contains("no answer within 2s"), "{protocol}: {warning}");
    }
}

#[test]
fn a_line_carries_the_fields_of_its_request_whatever_the_level() {
    let (dispatch, telemetry, lines) = build(&[("LOG_LEVEL", "error")]);
    assert!(!telemetry.sends_traces());
    let context = with_default(&dispatch, || {
        let request = http_span();
        let context = propagation::join(&request, Some(&caller()), &Entropy::system());
        request.in_scope(|| {
            tracing::info!("too little");
            tracing::error!(target: "shop", request_id = "own", rows = 3, ratio = f64::NAN, level = "x", "It\nbroke");
        });
        context
    });
    let [line] = lines.json().try_into().expect("there is one line");
    let expected = serde_json::json!({
        "timestamp": "2026-01-02T03:04:05.678000Z", "level": "ERROR", "target": "shop", "message": "It\nbroke",
        "request_id": "own", "rows": 3, "ratio": "NaN", "field.level": "x", "trace_id": context.trace_id(),
    });
    assert_eq!(line, expected);
    assert_eq!(context.trace_id(), caller().trace_id());
}

#[test]
fn a_line_of_text_cannot_be_forged() {
    let (log, open_telemetry) = settings(&[]);
    let lines = Lines::default();
    let format = LineFormat::Text { colour: false };
    let (dispatch, _telemetry) = Telemetry::build(&program(), &log, &open_telemetry, format, lines.writer())
        .expect("the settings are good");
    with_default(&dispatch, || {
        tracing::warn!(target: "shop", path = "/a", name = "x \u{9b}31m\u{1b}y", "one\n\u{1b}[31m\u{9b}two");
    });
    let expected = "2026-01-02T03:04:05.678000Z  WARN shop: one\\n\\u{1b}[31m\\u{9b}two path=/a name=\"x \\u{9b}31m\\u001by\"\n";
    assert_eq!(lines.texts(), [expected]);
}

#[test]
fn traces_can_be_turned_off() {
    let pairs = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"), ("OTEL_SDK_DISABLED", "true")];
    let (_, telemetry, _) = build(&pairs);
    assert!(!telemetry.sends_traces());
}

#[test]
fn https_collectors_can_be_set_up_without_a_process_wide_provider() {
    for protocol in ["http/protobuf", "grpc"] {
        let pairs = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ];
        let (_, telemetry, _) = build(&pairs);
        assert!(telemetry.sends_traces());
    }
}
