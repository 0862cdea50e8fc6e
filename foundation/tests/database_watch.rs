//! What is logged of statements, and what many callers at once do to one row.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use foundation::clock::Clock;
use foundation::database::{Database, Statement};
use foundation::entropy::Entropy;
use foundation::on_both_databases;
use foundation::settings::{Environment, LogSettings, OpenTelemetrySettings, Section as _};
use foundation::telemetry::{LineFormat, Program, Telemetry};
use foundation::testing::database_settings;
use serde_json::Value;
use tracing::Dispatch;
use tracing::instrument::WithSubscriber as _;

/// A log in memory, and what writes to it.
fn log() -> (Dispatch, Telemetry, Arc<Mutex<Vec<Value>>>) {
    let mut environment = Environment::from_pairs([]);
    let log = LogSettings::read(&mut environment);
    let open_telemetry = OpenTelemetrySettings::read(&mut environment);
    environment.finish().unwrap();
    let clock = Clock::fixed(time::macros::datetime!(2026-01-02 03:04:05 UTC));
    let program = Program { name: "tester", version: "1.2.3", clock, entropy: Entropy::system() };
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let write = move |line: &[u8]| sink.lock().unwrap().push(serde_json::from_slice(line).unwrap());
    let (dispatch, telemetry) =
        Telemetry::build(&program, &log, &open_telemetry, LineFormat::Json, Box::new(write)).unwrap();
    (dispatch, telemetry, lines)
}

async fn statements(database: &Database) {
    let insert = Statement::write("item", "INSERT INTO item (id, name) VALUES ($1, $2)");
    let all = Statement::read("item", "SELECT id, name FROM item WHERE name = $1");
    for id in 1..=2_i64 {
        database.execute(&insert, &[id.into(), "hunter2".into()]).await.unwrap();
    }
    assert_eq!(database.query(&all, &["hunter2".into()]).await.unwrap().len(), 2);
    database.execute(&insert, &[1_i64.into(), "hunter2".into()]).await.unwrap_err();
    let mut transaction = database.begin().await.unwrap();
    transaction.execute(&insert, &[3_i64.into(), "hunter2".into()]).await.unwrap();
    transaction.commit().await.unwrap();
    // On SQLite this is 0, on PostgreSQL an error whose message ends with the text.
    let number = Statement::read("item", "SELECT CAST(CAST($1 AS TEXT) AS BIGINT) AS number");
    if let Err(error) = database.query(&number, &["hunter2".into()]).await {
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        assert_eq!(error.sqlstate(), Some("22P02"));
    }
}

on_both_databases! {
    async fn an_echo_tells_times_and_rows_and_never_values(test: TestDatabase) {
        test.connect().await.batch("CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT)").await.unwrap();
        let (dispatch, _telemetry, lines) = log();
        let settings = database_settings([("DATABASE_ECHO", "true")]);
        let database = Database::open(&test.url, &settings, "test").unwrap();
        statements(&database).with_subscriber(dispatch).await;
        let lines = lines.lock().unwrap().clone();
        let (ends, echoed): (Vec<&Value>, Vec<&Value>) = lines
            .iter()
            .filter(|it| it["message"] == "statement")
            .partition(|it| it["sql"] == "BEGIN" || it["sql"] == "COMMIT");
        assert_eq!((ends.len(), echoed.len()), (2, 6), "{lines:#?}");
        let rows: Vec<&Value> = echoed.iter().map(|it| &it["rows"]).collect();
        assert_eq!(rows[..5], [&Value::from(1), &Value::from(1), &Value::from(2), &Value::Null, &Value::from(1)]);
        for line in &echoed {
            assert!(line["milliseconds"].as_f64().is_some_and(|it| it > 0.0), "{line}");
            assert!(line["sql"].as_str().is_some_and(|it| it.contains("$1")), "{line}");
            assert_eq!(line["target"], "foundation::database");
        }
        assert!(echoed[3]["error"].as_str().is_some(), "{}", echoed[3]);
        assert!(!format!("{lines:?}").contains("hunter2"), "{lines:#?}");
    }

    async fn without_an_echo_nothing_is_logged(test: TestDatabase) {
        test.connect().await.batch("CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT)").await.unwrap();
        let (dispatch, _telemetry, lines) = log();
        let database = test.open();
        statements(&database).with_subscriber(dispatch).await;
        assert_eq!(*lines.lock().unwrap(), Vec::<Value>::new());
    }

    /// Fifty tasks each read a row and write it back one higher, twenty times, a thousand in all.
    async fn no_increment_is_lost(test: TestDatabase) {
        test.connect().await.batch("CREATE TABLE counter (id BIGINT PRIMARY KEY, value BIGINT); INSERT INTO counter VALUES (1, 0)").await.unwrap();
        let settings = database_settings([("DATABASE_WAIT_TIMEOUT", "30s")]);
        let database = Database::open(&test.url, &settings, "test").unwrap();
        let tasks: Vec<_> = (0..50).map(|_| {
            let database = database.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    increment(&database).await;
                }
            })
        }).collect();
        for task in tasks {
            task.await.unwrap();
        }
        let value = Statement::lookup("counter", "SELECT value FROM counter WHERE id = $1");
        let row = database.query_optional(&value, &[1_i64.into()]).await.unwrap().unwrap();
        assert_eq!(row.get::<i64>("value").unwrap(), 1000);
        assert_eq!(database.pool_status().waiting, 0);
    }

    /// Readers go on while somebody writes for long.
    async fn a_writer_keeps_no_reader_waiting(test: TestDatabase) {
        test.connect().await.batch("CREATE TABLE counter (id BIGINT PRIMARY KEY, value BIGINT); INSERT INTO counter VALUES (1, 7)").await.unwrap();
        let database = test.open();
        let mut transaction = database.begin().await.unwrap();
        let write = Statement::write("counter", "UPDATE counter SET value = $1 WHERE id = 1");
        transaction.execute(&write, &[8_i64.into()]).await.unwrap();
        let read = Statement::read("counter", "SELECT value FROM counter WHERE id = 1");
        let row = tokio::time::timeout(Duration::from_secs(2), database.query_optional(&read, &[])).await.unwrap();
        assert_eq!(row.unwrap().unwrap().get::<i64>("value").unwrap(), 7);
        transaction.commit().await.unwrap();
        let row = database.query_optional(&read, &[]).await.unwrap().unwrap();
        assert_eq!(row.get::<i64>("value").unwrap(), 8);
    }
}

/// A transaction that takes the row before it reads it, so that two of them follow each other.
async fn increment(database: &Database) {
    let take = Statement::write("counter", "UPDATE counter SET value = value WHERE id = $1 RETURNING value");
    let write = Statement::write("counter", "UPDATE counter SET value = $2 WHERE id = $1");
    let mut transaction = database.begin().await.unwrap();
    let row = transaction.query_optional(&take, &[1_i64.into()]).await.unwrap().unwrap();
    let value: i64 = row.get("value").unwrap();
    transaction.execute(&write, &[1_i64.into(), (value + 1).into()]).await.unwrap();
    transaction.commit().await.unwrap();
}
