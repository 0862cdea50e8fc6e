//! The service on tables that are in a schema of their own.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::redundant_clone,
    reason = "tests do what programs may not"
)]

#[path = "support/accounts.rs"]
mod accounts;
mod support;

use accounts::{ADMIN_PASSWORD, migrate_with};
use foundation::database::Backend;
use foundation::testing::TestDatabase;
use serde_json::{Value, json};
use support::TestService;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Its functions and what it looks up in the catalog are those of that schema too.
#[tokio::test]
async fn everything_works_in_a_schema_of_its_own() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let schema = ("DATABASE_SCHEMA", "Team-1");
    migrate_with(&database, &[schema]).await;
    let service = TestService::with(&[("DATABASE_URL", &database.address), schema], |it| it).await;
    service.ready().await;
    let credentials = json!({ "username": "admin", "password": ADMIN_PASSWORD });
    let login =
        service.client.post(service.url("/api/v1/auth/login")).json(&credentials).send().await.unwrap();
    let token = login.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();
    let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap();
    let item =
        json!({ "timestamp": now, "source": "a", "metric_type": "cpu", "metric_data": { "value": 1 } });
    let snapshots = service.url("/api/v1/metrics/snapshots");
    let written = service.client.post(&snapshots).bearer_auth(&token).json(&json!({ "items": [item] }));
    assert_eq!(written.send().await.unwrap().json::<Value>().await.unwrap()["accepted"], 1);
    let read = service.client.get(format!("{snapshots}?metric_type=cpu")).bearer_auth(&token).send();
    let page: Value = read.await.unwrap().json().await.unwrap();
    assert_eq!(page["items"][0]["metric_data"], json!({ "value": 1 }), "{page}");
}
