//! One line for each request.

use crate::support::{Program, client};

#[tokio::test]
async fn a_request_is_one_line_with_its_names() {
    let mut program = Program::serve(&[]);
    let url = format!("http://{}", program.address());
    let client = client();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (path, id) in [("/livez", "not-told"), ("/health/db?secret=x", "first"), ("/nothing", "second")] {
        let request = client.get(format!("{url}{path}")).header("x-request-id", id);
        let request = request.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
        request.send().await.expect("an answer");
    }
    let line = program.logged("GET /");
    assert_eq!((&line["message"], &line["level"]), (&"GET /health/db 200".into(), &"INFO".into()));
    assert_eq!(line["target"], "service::access");
    assert_eq!((&line["request_id"], &line["trace_id"]), (&"first".into(), &trace.into()));
    assert_eq!((&line["http.request.method"], &line["url.path"]), (&"GET".into(), &"/health/db".into()));
    assert_eq!(
        (&line["http.route"], &line["http.response.status_code"]),
        (&"/health/db".into(), &200.into())
    );
    assert_eq!(line["client.address"], "127.0.0.1");
    assert!(line["duration_ms"].as_f64().is_some_and(|it| it > 0.0));
    assert!(!line.to_string().contains("secret"));
    let line = program.logged("GET /");
    assert_eq!((&line["message"], &line["request_id"]), (&"GET /nothing 404".into(), &"second".into()));
    program.signal("TERM");
    program.logged("stopping: not ready");
    let answer = client.get(format!("{url}/readyz")).send().await.expect("an answer");
    assert_eq!(answer.status(), 503);
    assert_eq!(program.logged("GET /")["message"], "GET /readyz 503");
}

#[tokio::test]
async fn probes_are_told_to_those_who_debug() {
    let mut program = Program::serve(&[("LOG_LEVEL", "info,service::access=debug")]);
    let url = format!("http://{}/livez", program.address());
    client().get(url).header("x-request-id", "mine").send().await.expect("an answer");
    let line = program.logged("GET /livez 200");
    assert_eq!((&line["level"], &line["request_id"]), (&"DEBUG".into(), &"mine".into()));
}
