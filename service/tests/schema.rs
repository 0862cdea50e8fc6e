//! The service on tables that are in a schema of their own.

use foundation::database::Backend;
use foundation::testing::{TestDatabase, maintenance, pooled};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::support::TestService;
use crate::support::accounts::{ADMIN_PASSWORD, migrate_with};

const SCHEMA: (&str, &str) = ("DATABASE_SCHEMA", "Team-1");

/// Each connection asks for the schema as it opens. A transaction pooler refuses that.
#[tokio::test]
async fn everything_works_in_a_schema_of_its_own() {
    let database = TestDatabase::new(Backend::Postgres).await;
    if pooled(&database.address) == database.address {
        migrate_with(&database, &[SCHEMA]).await;
        everything_works(&database, &[SCHEMA]).await;
    }
}

/// Behind a transaction pooler too.
#[tokio::test]
async fn everything_works_in_the_schema_of_the_role() {
    let database = TestDatabase::new(Backend::Postgres).await;
    migrate_with(&database, &[SCHEMA]).await;
    let (name, (_, schema)) = (database.url.name(), SCHEMA);
    maintenance(&format!("ALTER ROLE postgres IN DATABASE {name} SET search_path = \"{schema}\"")).await;
    everything_works(&database, &[]).await;
}

/// The functions and what is looked up in the catalog are those of that schema too.
async fn everything_works(database: &TestDatabase, variables: &[(&str, &str)]) {
    let mut all = vec![("DATABASE_URL", database.address.as_str())];
    all.extend(variables);
    let service = TestService::with(&all, |it| it).await;
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
