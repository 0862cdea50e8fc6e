//! What the service says about itself.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::support::{TestService, header, json, wait_for};

fn time_of(answer: &Value) -> OffsetDateTime {
    let text = answer["timestamp"].as_str().expect("a timestamp");
    assert!(text.ends_with('Z'), "{text}");
    OffsetDateTime::parse(text, &Rfc3339).expect("RFC 3339")
}

#[tokio::test]
async fn a_healthy_service_says_so_everywhere() {
    let service = TestService::start().await;
    service.ready().await;
    for (path, status) in [("/livez", "ok"), ("/startupz", "started"), ("/readyz", "ready")] {
        let answer = service.get(path).await;
        assert_eq!((answer.status(), header(&answer, "content-type")), (StatusCode::OK, "application/json"));
        assert_eq!(json(answer).await, serde_json::json!({ "status": status }));
    }
    let health = json(service.get("/health").await).await;
    assert_eq!((&health["status"], &health["database"]), (&"healthy".into(), &"connected".into()));
    assert_eq!(health.as_object().expect("an object").len(), 3);
    assert!((OffsetDateTime::now_utc() - time_of(&health)).abs() < time::Duration::seconds(5));

    let report = json(service.get("/health/db").await).await;
    assert_eq!((&report["status"], &report["database"]), (&"healthy".into(), &"connected".into()));
    assert_eq!(report["backend"], "sqlite");
    assert!(report["latency_ms"].as_f64().is_some_and(|it| it > 0.0 && it < 500.0));
    assert!(report["schema_version"].as_i64().is_some_and(|it| it >= 1));
    assert!(report["pool"]["maximum"].as_u64().is_some_and(|it| it >= 1));
    for figure in ["size", "available", "waiting"] {
        assert!(report["pool"][figure].is_u64(), "{figure}");
    }
    time_of(&report);
}

/// An address at which nobody listens, or somebody who never says anything.
async fn database(answers: bool) -> (String, tokio::net::TcpListener) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    if answers {
        return (format!("postgresql://nobody@{address}/nothing?sslmode=disable"), listener);
    }
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    drop(listener);
    (format!("postgresql://nobody@{address}/nothing?sslmode=disable"), other)
}

async fn is_down_but_answers(service: &TestService) {
    let not_ready = wait_for(&service.client, &service.url("/readyz"), StatusCode::SERVICE_UNAVAILABLE).await;
    let not_ready = json(not_ready).await;
    assert_eq!(not_ready["status"], "not_ready");
    assert!(not_ready["reasons"][0].as_str().is_some_and(|it| it.contains("the database cannot be used")));
    for path in ["/health", "/health/db"] {
        let started = Instant::now();
        let answer = service.get(path).await;
        assert!(started.elapsed() < Duration::from_secs(1), "{path} took {:?}", started.elapsed());
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let answer = json(answer).await;
        assert_eq!((&answer["status"], &answer["database"]), (&"unhealthy".into(), &"disconnected".into()));
        assert!(answer["error"].as_str().is_some_and(|it| !it.is_empty()), "{answer}");
        time_of(&answer);
    }
    for path in ["/livez", "/startupz"] {
        assert_eq!(service.get(path).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn without_a_database_the_service_lives_and_is_not_ready() {
    let (url, _nobody) = database(false).await;
    let service = TestService::with(&[("DATABASE_URL", &url)], |it| it).await;
    is_down_but_answers(&service).await;
}

#[tokio::test]
async fn a_silent_database_keeps_nobody_waiting() {
    let (url, _silent) = database(true).await;
    let service = TestService::with(&[("DATABASE_URL", &url)], |it| it).await;
    is_down_but_answers(&service).await;
    let started = Instant::now();
    let all = (0..40).map(|_| async { service.get("/health/db").await.status() });
    for status in futures_util::future::join_all(all).await {
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert!(started.elapsed() < Duration::from_millis(1500), "they share one query: {:?}", started.elapsed());
}
