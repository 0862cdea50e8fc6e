//! The headers of every answer: names of the request, and what browsers are told.

use foundation::telemetry::propagation::TraceContext;
use reqwest::{Method, StatusCode};

use crate::support::{TestService, header};

#[tokio::test]
async fn a_sane_request_id_is_kept() {
    let service = TestService::start().await;
    for id in ["abc-123", "!~", &"x".repeat(128)] {
        let request = service.client.get(service.url("/livez")).header("X-Request-Id", id);
        assert_eq!(header(&request.send().await.expect("an answer"), "x-request-id"), id);
    }
}

#[tokio::test]
async fn any_other_request_gets_a_new_id() {
    let service = TestService::start().await;
    let mut ids = std::collections::BTreeSet::new();
    for id in ["", "two words", "caf\u{e9}", &"x".repeat(129)] {
        let request = service.client.get(service.url("/livez")).header("X-Request-Id", id);
        let answer = request.send().await.expect("an answer");
        let made = uuid::Uuid::parse_str(header(&answer, "x-request-id")).expect("a UUID");
        assert_eq!(made.get_version_num(), 7);
        assert!(ids.insert(made));
    }
}

#[tokio::test]
async fn a_trace_goes_on_under_its_id() {
    let service = TestService::start().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for path in ["/livez", "/health/db", "/nothing"] {
        let parent = format!("00-{trace}-00f067aa0ba902b7-01");
        let request = service.client.get(service.url(path)).header("traceparent", &parent);
        let answer = request.send().await.expect("an answer");
        let context = TraceContext::parse(header(&answer, "traceparent")).expect("a traceparent");
        assert_eq!(context.trace_id(), trace);
        assert_ne!(context.span_id(), "00f067aa0ba902b7");
    }
}

#[tokio::test]
async fn a_trace_begins_where_there_is_none() {
    let service = TestService::start().await;
    let mut ids = std::collections::BTreeSet::new();
    for parent in ["", "00-nonsense", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"] {
        let request = service.client.get(service.url("/startupz")).header("traceparent", parent);
        let answer = request.send().await.expect("an answer");
        let context = TraceContext::parse(header(&answer, "traceparent")).expect("a traceparent");
        assert!(ids.insert(context.trace_id()));
    }
}

#[tokio::test]
async fn browsers_are_told_to_do_nothing_with_the_api() {
    let service = TestService::start().await;
    for path in ["/livez", "/health/db", "/nothing"] {
        let answer = service.get(path).await;
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
        assert_eq!(header(&answer, "x-frame-options"), "DENY");
        assert_eq!(header(&answer, "referrer-policy"), "no-referrer");
        assert_eq!(header(&answer, "content-security-policy"), "default-src 'none'; frame-ancestors 'none'");
        assert_eq!(header(&answer, "cache-control"), "no-store");
    }
}

#[tokio::test]
async fn head_is_answered_as_get_without_the_body() {
    let service = TestService::start().await;
    service.ready().await;
    for path in ["/livez", "/readyz", "/startupz", "/health", "/docs", "/openapi.json"] {
        let get = service.get(path).await;
        let head = service.client.head(service.url(path)).send().await.expect("an answer");
        assert_eq!(head.status(), StatusCode::OK, "{path}");
        assert_eq!(header(&head, "content-type"), header(&get, "content-type"), "{path}");
        assert_eq!(header(&head, "content-length"), header(&get, "content-length"), "{path}");
        assert!(head.bytes().await.expect("no body").is_empty(), "{path}");
    }
    let head = service.client.head(service.url("/nothing")).send().await.expect("an answer");
    assert_eq!(head.status(), StatusCode::NOT_FOUND);
    assert!(head.bytes().await.expect("no body").is_empty());
}

/// A proxy in front and the service have to mean the same host.
#[tokio::test]
async fn a_request_that_names_no_host_or_two_is_refused() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let service = TestService::start().await;
    for (head, status) in [
        ("GET /livez HTTP/1.1\r\n", "400"),
        ("GET /livez HTTP/1.1\r\nHost: a\r\nHost: a\r\n", "400"),
        ("GET /nothing HTTP/1.1\r\nHost: a b\r\n", "400"),
        ("GET /livez HTTP/1.1\r\nHost: a\r\n", "200"),
        ("GET /livez HTTP/1.0\r\n", "200"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(service.address).await.expect("a connection");
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert_eq!(answer.split(' ').nth(1), Some(status), "{head} {answer}");
        assert_eq!(answer.contains("\"/header/host\""), status == "400", "{answer}");
    }
}

const PAGE: &str = "https://app.example.org";

#[tokio::test]
async fn pages_elsewhere_are_told_whether_they_may() {
    let service = TestService::with(&[("HTTP_CORS_ORIGINS", PAGE)], |it| it).await;
    let ask = async |method, path: &str, origin| {
        let request = service.client.request(method, service.url(path)).header("origin", origin);
        request.header("access-control-request-method", "PATCH").send().await.expect("an answer")
    };
    let answer = ask(Method::OPTIONS, "/api/v1/users/7", PAGE).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(header(&answer, "access-control-allow-origin"), PAGE);
    assert!(header(&answer, "access-control-allow-methods").contains("PATCH"));
    let allowed = header(&answer, "access-control-allow-headers");
    assert!(allowed.contains("authorization") && allowed.contains("idempotency-key"), "{allowed}");
    assert!(answer.headers().get("access-control-allow-credentials").is_none());
    assert!(!header(&answer, "x-request-id").is_empty());
    // Refusals are read too, and what is kept is kept for its page.
    for (path, status) in [("/livez", 200), ("/api/v1/users", 401), ("/docs", 200)] {
        let answer = ask(Method::GET, path, PAGE).await;
        assert_eq!(
            (answer.status().as_u16(), header(&answer, "access-control-allow-origin")),
            (status, PAGE)
        );
        assert!(header(&answer, "access-control-expose-headers").contains("bedplate-position"));
        assert!(answer.headers().get_all("vary").iter().any(|it| it == "origin"), "{path}");
    }
    // Another page gets its answers, our own among them, and no word that its script may read them.
    for origin in ["https://app.example.org.evil.example", "http://app.example.org", "null"] {
        let answer = ask(Method::GET, "/livez", origin).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(answer.headers().get("access-control-allow-origin").is_none());
        assert!(answer.headers().get_all("vary").iter().any(|it| it == "origin"));
        assert_eq!(ask(Method::OPTIONS, "/livez", origin).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
    let closed = TestService::start().await;
    let answer =
        closed.client.get(closed.url("/livez")).header("origin", PAGE).send().await.expect("an answer");
    assert!(answer.headers().keys().all(|it| !it.as_str().starts_with("access-control")));
}
