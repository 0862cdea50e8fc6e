//! A request is a trace: the server's span, and the span of each statement below it.

use foundation::database::Backend;
use foundation::testing::TestDatabase;
use foundation::testing::otlp::OtlpReceiver;
use reqwest::StatusCode;

use crate::support::{Program, client, wait_for};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

async fn is_a_trace(backend: Backend) {
    let test = TestDatabase::new(backend).await;
    let receiver = OtlpReceiver::start();
    let mut program = Program::serve(&[
        ("DATABASE_URL", &test.address),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.endpoint()),
        ("OTEL_SERVICE_NAME", "of-the-test"),
    ]);
    let (client, base) = (client(), format!("http://{}", program.address()));
    wait_for(&client, &format!("{base}/livez"), StatusCode::OK).await;
    let asked = client.get(format!("{base}/health/db")).header("traceparent", PARENT).send().await.unwrap();
    assert_eq!(asked.status(), StatusCode::OK);
    let answered = asked.headers()["traceparent"].to_str().unwrap().to_owned();
    // What was not sent yet is sent on the way out.
    program.signal("TERM");
    assert!(program.ended().success());
    let is_ours = |trace: &str| trace == "0af7651916cd43dd8448eb211c80319c";
    let spans = receiver.wait(|spans| spans.iter().filter(|it| is_ours(&it.trace_id)).count() >= 2);
    let of_request = spans.iter().find(|it| it.name == "GET /health/db");
    let of_request = of_request.unwrap_or_else(|| panic!("no span of the request: {spans:#?}"));
    assert!(is_ours(&of_request.trace_id) && of_request.parent_span_id == "b7ad6b7169203331");
    assert!(answered.contains(&of_request.span_id), "{answered} names {of_request:?}");
    assert_eq!((of_request.kind, of_request.attribute("http.route")), (2, Some("/health/db")));
    assert_eq!(of_request.attribute("http.response.status_code"), Some("200"));
    assert_eq!(of_request.resource("service.name"), Some("of-the-test"));
    let of_statement = spans
        .iter()
        .find(|it| it.parent_span_id == of_request.span_id)
        .expect("the statement's span is below the request's");
    assert_eq!((of_statement.kind, of_statement.attribute("db.system.name")), (3, Some(backend.name())));
    assert_eq!(of_statement.attribute("db.operation.name"), Some("SELECT"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_a_trace_with_postgres() {
    is_a_trace(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_a_trace_with_sqlite() {
    is_a_trace(Backend::Sqlite).await;
}
