//! What this host says about itself is written as snapshots, as often as is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use foundation::clock::Clock;
use foundation::database::{Database, Statement};
use foundation::on_both_databases;
use foundation::settings::{Environment, Section as _};
use foundation::testing::eventually;
use serde_json::{Value, json};
use service::collector::Collector;
use service::domain::live::Live;
use service::domain::partitions::Width;
use service::lifecycle::{Lifecycle, Stage};
use service::live_settings::LiveSettings;
use service::partitions::Partitions;
use service::settings::AuthSettings;
use time::OffsetDateTime;
use tokio::time::timeout;

use crate::support::accounts::{Accounts, Kind, migrate};
use crate::support::{Program, TestService};

const DEADLINE: Duration = Duration::from_secs(30);

const READ: Statement = Statement::read(
    "metrics_snapshot",
    "SELECT timestamp, source, metric_type, metric_data FROM metrics_snapshot ORDER BY timestamp, id",
);

/// Each beat that was written: its documents by their types.
async fn beats(database: &Database) -> Vec<BTreeMap<String, Value>> {
    let mut beats: BTreeMap<OffsetDateTime, BTreeMap<String, Value>> = BTreeMap::new();
    let mut sources = BTreeSet::new();
    for row in database.query(&READ, &[]).await.unwrap() {
        let document: String = row.get("metric_data").unwrap();
        sources.insert(row.get::<String>("source").unwrap());
        let document = serde_json::from_str(&document).unwrap();
        let beat = beats.entry(row.get("timestamp").unwrap()).or_default();
        assert!(beat.insert(row.get("metric_type").unwrap(), document).is_none(), "one of each type");
    }
    assert!(sources.len() <= 1, "{sources:?}");
    beats.into_values().collect()
}

/// One that collects each second, until the end of the lifecycle.
fn collector(database: &Database) -> Collector {
    let auth = AuthSettings::read(&mut Environment::from_pairs([]));
    Collector {
        database: database.clone(),
        partitions: Partitions::new(database.clone(), Width::DAY),
        clock: Clock::system(),
        live: LiveSettings::fixed(Live::defaults(&auth, Some(Duration::from_secs(1)))),
    }
}

on_both_databases! {
    async fn a_beat_has_a_document_of_each_kind(database: TestDatabase) {
        migrate(&database).await;
        let pool = database.open();
        let lifecycle = Lifecycle::default();
        let running = tokio::spawn(collector(&pool).run(lifecycle.clone()));
        eventually(DEADLINE, "there are two beats", || async { beats(&pool).await.len() >= 2 }).await;
        for beat in beats(&pool).await {
            assert!((1..=1024).contains(&beat["cpu"]["cores"].as_u64().unwrap()), "{beat:?}");
            assert!((0.0..=100.0).contains(&beat["cpu"]["usage_percent"].as_f64().unwrap()), "{beat:?}");
            let memory = &beat["memory"];
            let [total, used, available] =
                ["total_bytes", "used_bytes", "available_bytes"].map(|it| memory[it].as_u64().unwrap());
            assert!(total > 0 && used + available == total, "{memory}");
            let service = &beat["service"];
            assert!(service["rss_bytes"].as_u64().unwrap() > 1_000_000, "{service}");
            let maximum = service["pool"]["maximum"].as_u64().unwrap();
            assert_eq!(maximum, pool.pool_status().maximum as u64, "{service}");
            for (of_all, parts) in [("disk", "mounts"), ("network", "interfaces")] {
                // A container may show neither.
                if let Some(document) = beat.get(of_all) {
                    assert!(!document[parts].as_object().unwrap().is_empty(), "{document}");
                }
            }
        }
        lifecycle.advance(Stage::Draining);
        timeout(DEADLINE, running).await.expect("it ends with the process").unwrap();
    }

    async fn a_changed_interval_is_obeyed_at_once(database: TestDatabase) {
        migrate(&database).await;
        let pool = database.open();
        let accounts = Accounts::new(pool.clone());
        let admin = accounts.user("admin", Kind { is_admin: true, ..Kind::default() }).await;
        let token = accounts.session(admin).await;
        let service = TestService::with(&[("DATABASE_URL", &database.address)], |it| it).await;
        let put = async |value: &str| {
            let url = service.url("/api/v1/config/metrics.collect_interval");
            let request = service.client.put(url).bearer_auth(&token).header("if-match", "*");
            let answer = request.json(&json!({ "value": value })).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 200, "{value}");
        };
        let count = async || beats(&pool).await.len();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(count().await, 0, "it is off");
        put("1h").await;
        eventually(DEADLINE, "the first beat is at once", || async { count().await == 1 }).await;
        put("1s").await;
        eventually(DEADLINE, "the next need not wait an hour", || async { count().await >= 3 }).await;
        put("off").await;
        // What is under way when it is changed is still written.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let written = count().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(count().await, written, "it is off again");
        put("1s").await;
        eventually(DEADLINE, "it is on again", || async { count().await > written }).await;
    }

    async fn a_database_that_takes_nothing_is_told_of_once(database: TestDatabase) {
        migrate(&database).await;
        let pool = database.open();
        let variables = [("DATABASE_URL", database.address.as_str()), ("METRICS_COLLECT_INTERVAL", "1s")];
        let mut program = Program::serve(&variables);
        program.address();
        eventually(DEADLINE, "it collects", || async { beats(&pool).await.len() >= 2 }).await;
        let rename = |from: &str, to: &str| {
            Statement::write("metrics_snapshot", "").with_sql(format!("ALTER TABLE {from} RENAME TO {to}"))
        };
        pool.execute(&rename("metrics_snapshot", "elsewhere"), &[]).await.unwrap();
        let warning = program.logged("the figures of this host are not collected");
        assert_eq!(warning["level"], "WARN");
        // More than one beat fails.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        pool.execute(&rename("elsewhere", "metrics_snapshot"), &[]).await.unwrap();
        let news = program.logged("the figures of this host are collected again");
        assert_eq!(news["level"], "INFO");
        program.signal("TERM");
        let log = program.everything();
        assert_eq!(log.matches("the figures of this host are not collected").count(), 1, "{log}");
    }
}
