//! The figures for Prometheus.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::redundant_clone,
    reason = "tests do what programs may not"
)]

mod support;

use reqwest::StatusCode;
use support::{Program, client, header, wait_for};

#[tokio::test]
async fn the_figures_tell_of_requests_pool_schema_and_build() {
    let mut program = Program::serve(&[("TELEMETRY_PROMETHEUS_ADDRESS", "127.0.0.1:0")]);
    let figures = program.logged("figures for Prometheus");
    let figures = format!("http://{}", figures["address"].as_str().expect("an address"));
    let service = format!("http://{}", program.address());
    let client = client();
    wait_for(&client, &format!("{service}/readyz"), StatusCode::OK).await;
    for path in ["/livez", "/livez", "/nothing/1", "/nothing/2"] {
        client.get(format!("{service}{path}")).send().await.expect("an answer");
    }
    let answer = client.get(format!("{figures}/metrics")).send().await.expect("figures");
    assert!(header(&answer, "content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    let text = answer.text().await.expect("text");
    let labels = |route, status| {
        format!(
            "{{http_request_method=\"GET\",http_route=\"{route}\",http_response_status_code=\"{status}\"}}"
        )
    };
    for line in [
        format!("http_server_request_duration_seconds_count{} 2", labels("/livez", 200)),
        format!("http_server_request_duration_seconds_count{} 2", labels("unmatched", 404)),
        "db_client_connection_count{db_client_connection_pool_name=\"primary\",db_client_connection_state=\"idle\"} ".to_owned(),
        "db_client_connection_count{db_client_connection_pool_name=\"primary\",db_client_connection_state=\"used\"} ".to_owned(),
        "db_client_connection_max{db_client_connection_pool_name=\"primary\"} ".to_owned(),
        "db_client_connection_pending_requests{db_client_connection_pool_name=\"primary\"} 0".to_owned(),
        "bedplate_ready 1".to_owned(),
        "bedplate_schema_version ".to_owned(),
        format!("bedplate_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")),
        "process_start_time_seconds ".to_owned(),
        "# EOF".to_owned(),
    ] {
        assert!(text.lines().any(|it| it.starts_with(&line)), "no {line} in {text}");
    }
    let answer = client.get(format!("{figures}/livez")).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    let answer = client.post(format!("{figures}/metrics")).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
}
