//! Every error is a problem document: ours, the framework's, and panics.

use std::time::Duration;

use poem::http::Method;
use poem::{Endpoint, EndpointExt as _, IntoResponse as _, Request, Response};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::{Json, PlainText};
use poem_openapi::{Object, OpenApi};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{TestService, header, json};

#[derive(Object)]
struct Item {
    size: u32,
}

struct Items;

#[OpenApi]
impl Items {
    #[oai(path = "/items/:id", method = "get")]
    async fn read(&self, id: Path<u32>, limit: Query<Option<u8>>) -> PlainText<String> {
        PlainText(format!("{} {:?}", id.0, limit.0))
    }

    #[oai(path = "/api/v1/items", method = "get")]
    async fn list(&self) -> PlainText<String> {
        PlainText("all".to_owned())
    }

    #[oai(path = "/items", method = "post")]
    async fn create(&self, item: Json<Item>) -> PlainText<String> {
        PlainText(item.0.size.to_string())
    }
}

fn page<F: Future<Output = poem::Result<Response>> + Send + 'static>(
    answer: impl Fn(Request) -> F + Send + Sync + 'static,
) -> impl Endpoint<Output = Response> + 'static {
    poem::endpoint::make(answer).map_to_response()
}

async fn service() -> TestService {
    let variables = [("HTTP_BODY_LIMIT", "1KiB"), ("HTTP_REQUEST_TIMEOUT", "200ms")];
    TestService::with(&variables, |application| {
        application
            .with_api(Items)
            .with_page("/panic", Method::GET, page(|_| async { panic!("on purpose") }))
            .with_page("/slow", Method::GET, page(|_| std::future::pending()))
            .with_page(
                "/slow",
                Method::POST,
                page(|mut request: Request| async move {
                    request.take_body().into_vec().await?;
                    std::future::pending().await
                }),
            )
            .with_page(
                "/teapot",
                Method::GET,
                page(|_| async { Ok(StatusCode::IM_A_TEAPOT.into_response()) }),
            )
            .with_page(
                "/secret",
                Method::GET,
                page(|_| async {
                    let cause = std::io::Error::other("the password is hunter2");
                    Err(poem::error::InternalServerError(cause))
                }),
            )
            .with_page(
                "/echo",
                Method::POST,
                page(|mut request: Request| async move {
                    Ok(request.take_body().into_vec().await?.into_response())
                }),
            )
    })
    .await
}

async fn problem(answer: reqwest::Response, status: StatusCode, code: &str) -> Value {
    assert_eq!(answer.status(), status);
    assert_eq!(header(&answer, "content-type"), "application/problem+json");
    assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
    assert_eq!(header(&answer, "cache-control"), "no-store");
    let request_id = header(&answer, "x-request-id").to_owned();
    let path = answer.url().path().to_owned();
    let problem = json(answer).await;
    assert_eq!(problem["type"], "about:blank");
    assert_eq!(problem["title"], status.canonical_reason().expect("a name"));
    assert_eq!(problem["status"], status.as_u16());
    assert_eq!(problem["code"], code);
    assert_eq!(problem["instance"], path);
    assert_eq!(problem["request_id"], request_id);
    assert!(problem["detail"].as_str().is_some_and(|it| !it.is_empty()));
    problem
}

#[tokio::test]
async fn unknown_paths_are_not_found() {
    let service = service().await;
    for path in [
        "/nothing",
        "/livez/",
        "/items/7/8",
        "/docs/nothing.js",
        "/api/v1/nothing",
        "/health/db/x",
        "/openapi.xml",
    ] {
        problem(service.get(path).await, StatusCode::NOT_FOUND, "not_found").await;
    }
}

#[tokio::test]
async fn wrong_methods_are_told_the_right_ones() {
    let service = service().await;
    for (path, allow) in [
        ("/livez", "GET, HEAD"),
        ("/health/db", "GET, HEAD"),
        ("/docs", "GET, HEAD"),
        ("/", "GET, HEAD"),
        ("/items/7", "GET, HEAD"),
    ] {
        let answer = service.client.delete(service.url(path)).send().await.expect("an answer");
        assert_eq!(header(&answer, "allow"), allow, "{path}");
        problem(answer, StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed").await;
    }
    let answer = service.get("/items").await;
    assert_eq!(header(&answer, "allow"), "POST");
    problem(answer, StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed").await;
    let odd = Method::from_bytes(b"FROBNICATE").expect("a method");
    let answer = service.client.request(odd, service.url("/livez")).send().await.expect("an answer");
    problem(answer, StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed").await;
}

#[tokio::test]
async fn what_cannot_be_read_is_pointed_at() {
    let service = service().await;
    let answer = problem(service.get("/items/seven").await, StatusCode::BAD_REQUEST, "invalid_request").await;
    let error = json!([{ "pointer": "/path/id", "detail": "it is not a whole number" }]);
    assert_eq!(answer["errors"], error);
    let answer =
        problem(service.get("/items/7?limit=300").await, StatusCode::BAD_REQUEST, "invalid_request").await;
    assert_eq!(answer["errors"][0]["pointer"], "/query/limit");
    for body in ["{", "{}", r#"{"size":"large"}"#, ""] {
        let request = service.client.post(service.url("/items")).header("content-type", "application/json");
        let answer = request.body(body).send().await.expect("an answer");
        let answer = problem(answer, StatusCode::BAD_REQUEST, "invalid_request").await;
        assert_eq!(answer["errors"][0]["pointer"], "/body", "{body}");
    }
}

#[tokio::test]
async fn other_media_types_are_unsupported() {
    let service = service().await;
    let request = service.client.post(service.url("/items"));
    let answer = request.header("content-type", "text/plain").body("7").send().await.expect("an answer");
    problem(answer, StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type").await;
}

#[tokio::test]
async fn large_bodies_are_refused_announced_or_not() {
    let service = service().await;
    let post = || service.client.post(service.url("/echo"));
    let small = post().body(vec![b'x'; 1024]).send().await.expect("an answer");
    assert_eq!((small.status(), small.bytes().await.expect("a body").len()), (StatusCode::OK, 1024));
    for length in [1025, 5 * 1024 * 1024] {
        let answer = post().body(vec![b'x'; length]).send().await.expect("an answer");
        problem(answer, StatusCode::PAYLOAD_TOO_LARGE, "body_too_large").await;
    }
    let answer = chunked(&service, 3).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("application/problem+json") && answer.contains("body_too_large"), "{answer}");
    let answer = chunked(&service, 1).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// Posts this many chunks of 512 bytes, without telling how many they will be.
async fn chunked(service: &TestService, chunks: usize) -> String {
    let head = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    let body = format!("200\r\n{}\r\n", "x".repeat(512)).repeat(chunks);
    sent(service, &format!("{head}{body}0\r\n\r\n")).await
}

/// Sends this, and reads until the connection is closed.
async fn sent(service: &TestService, request: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(service.address).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let service = service().await;
    let started = std::time::Instant::now();
    let answer = service.get("/slow").await;
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(header(&answer, "retry-after"), "1");
    problem(answer, StatusCode::SERVICE_UNAVAILABLE, "request_timeout").await;
    let answer = service.client.post(service.url("/slow")).body("all of it").send().await.expect("an answer");
    problem(answer, StatusCode::SERVICE_UNAVAILABLE, "request_timeout").await;
}

/// Nothing of ours was slow, and nobody is called for it.
#[tokio::test]
async fn a_body_that_does_not_come_in_time_is_the_clients_affair() {
    let service = service().await;
    for body in ["Content-Length: 10\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"] {
        let answer = sent(&service, &format!("POST /echo HTTP/1.1\r\nHost: x\r\n{body}")).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("connection: close") && !answer.contains("retry-after"), "{answer}");
        assert!(answer.contains("\"body_timeout\""), "{answer}");
    }
}

#[tokio::test]
async fn a_panic_ends_its_request_only() {
    let service = service().await;
    for _ in 0..3 {
        let answer =
            problem(service.get("/panic").await, StatusCode::INTERNAL_SERVER_ERROR, "internal_error").await;
        assert!(!answer.to_string().contains("on purpose"));
    }
    assert_eq!(service.get("/livez").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_cause_of_an_internal_error_stays_inside() {
    let service = service().await;
    let answer = service.get("/secret").await;
    let answer = problem(answer, StatusCode::INTERNAL_SERVER_ERROR, "internal_error").await;
    assert!(!answer.to_string().contains("hunter2"));
}

#[tokio::test]
async fn an_error_answer_without_a_document_gets_one() {
    let service = service().await;
    problem(service.get("/teapot").await, StatusCode::IM_A_TEAPOT, "failed").await;
}

#[tokio::test]
async fn good_requests_are_not_in_the_way() {
    let service = service().await;
    let answer = service.get("/items/7?limit=3").await;
    assert_eq!(answer.text().await.expect("text"), "7 Some(3)");
    let answer = service.client.post(service.url("/items")).json(&json!({"size": 3})).send().await;
    assert_eq!(answer.expect("an answer").text().await.expect("text"), "3");
}

/// An API that is added takes nothing away from ours: it is documented with it, and as strict.
#[tokio::test]
async fn an_api_that_is_added_stands_beside_ours() {
    let service = service().await;
    assert_eq!(service.get("/api/v1/items").await.text().await.expect("text"), "all");
    problem(service.get("/api/v1/users").await, StatusCode::UNAUTHORIZED, "unauthorized").await;
    problem(service.get("/api/v1/items/7").await, StatusCode::NOT_FOUND, "not_found").await;
    let answer = service.get("/api/v1/items?limit=3").await;
    let answer = problem(answer, StatusCode::BAD_REQUEST, "invalid_request").await;
    assert_eq!(answer["errors"][0]["pointer"], "/query/limit");
    let document = json(service.get("/openapi.json").await).await;
    for path in ["/api/v1/items", "/items/{id}", "/api/v1/users"] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
}
