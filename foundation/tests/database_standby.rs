//! A second server that reads go to. Each of the two here holds one row that says which it is.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use foundation::clock::Clock;
use foundation::database::{Database, DatabaseErrorKind, Statement};
use foundation::entropy::Entropy;
use foundation::settings::{
    Environment, FoundationSettings, LogSettings, OpenTelemetrySettings, Section as _,
};
use foundation::telemetry::{LineFormat, Program, Telemetry};
use foundation::testing::cluster::PrivateCluster;
use foundation::testing::eventually;
use futures_util::TryStreamExt as _;
use serde_json::Value;
use tokio::time::Instant;

const READ: Statement = Statement::read("item", "SELECT name FROM item");
const LOOKUP: Statement = Statement::lookup("item", "SELECT name FROM item WHERE i = 1");
const UPDATE: Statement = Statement::write("item", "UPDATE item SET i = 1 RETURNING name");
const SLEEP: Statement = Statement::read("nothing", "SELECT pg_sleep(600)");

async fn cluster(name: &str) -> PrivateCluster {
    let cluster = PrivateCluster::start();
    let insert = format!("INSERT INTO item VALUES (1, '{name}')");
    cluster.batch(&["CREATE TABLE item (i bigint PRIMARY KEY, name text)", &insert]).await;
    cluster
}

fn open(primary: &PrivateCluster, standby: &PrivateCluster) -> Database {
    let mut environment = Environment::from_pairs([
        ("DATABASE_URL", primary.address.as_str()),
        ("DATABASE_READ_URL", standby.address.as_str()),
        ("DATABASE_STATEMENT_TIMEOUT", "500ms"),
        ("DATABASE_CREATE_TIMEOUT", "1s"),
        ("DATABASE_WAIT_TIMEOUT", "1s"),
        ("DATABASE_RECYCLE_TIMEOUT", "500ms"),
    ]);
    let settings = FoundationSettings::read(&mut environment);
    environment.finish().unwrap();
    Database::open(&settings.database_url, &settings.database, "test").unwrap()
}

async fn ask(database: &Database, statement: &Statement) -> String {
    database.query_optional(statement, &[]).await.unwrap().unwrap().get("name").unwrap()
}

async fn streamed(database: &Database, statement: &Statement) -> String {
    let rows: Vec<_> = database.query_stream(statement, &[]).await.unwrap().try_collect().await.unwrap();
    rows[0].get("name").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_reads_go_to_the_standby() {
    let (primary, standby) = (cluster("primary").await, cluster("standby").await);
    let database = open(&primary, &standby);
    assert_eq!(ask(&database, &READ).await, "standby");
    assert_eq!(streamed(&database, &READ).await, "standby");
    assert_eq!(ask(&database, &LOOKUP).await, "primary");
    assert_eq!(streamed(&database, &LOOKUP).await, "primary");
    assert_eq!(ask(&database, &UPDATE).await, "primary");
    assert_eq!(ask(&database.primary(), &READ).await, "primary");
    let mut transaction = database.begin().await.unwrap();
    let row = transaction.query_optional(&READ, &[]).await.unwrap().unwrap();
    assert_eq!(row.get::<String>("name").unwrap(), "primary");
    transaction.commit().await.unwrap();
    assert_eq!(database.standby_pool_status().unwrap().size, 1);
    assert!(database.primary().standby_pool_status().is_none());
    // A statement that takes too long is no reason to burden the primary with it.
    assert_eq!(database.query(&SLEEP, &[]).await.unwrap_err().kind(), DatabaseErrorKind::Timeout);
    assert_eq!(ask(&database, &READ).await, "standby");
    database.close();
    assert!(database.query(&READ, &[]).await.is_err());
}

/// What is logged of the standby: how often it was away, and how often it was back.
fn told(lines: &Mutex<Vec<Value>>) -> (usize, usize) {
    let lines = lines.lock().unwrap();
    let count = |what: &str| lines.iter().filter(|line| line.to_string().contains(what)).count();
    (count("DATABASE_READ_URL is away"), count("DATABASE_READ_URL is back"))
}

async fn back(database: &Database) {
    eventually(Duration::from_secs(15), "it is read again", || async {
        ask(database, &READ).await == "standby"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_answers_while_the_standby_is_away() {
    let mut environment = Environment::from_pairs([]);
    let log = LogSettings::read(&mut environment);
    let open_telemetry = OpenTelemetrySettings::read(&mut environment);
    environment.finish().unwrap();
    let clock = Clock::fixed(time::macros::datetime!(2026-01-02 03:04:05 UTC));
    let program = Program { name: "tester", version: "1.2.3", clock, entropy: Entropy::system() };
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let write = move |line: &[u8]| sink.lock().unwrap().push(serde_json::from_slice(line).unwrap());
    let (dispatch, _telemetry) =
        Telemetry::build(&program, &log, &open_telemetry, LineFormat::Json, Box::new(write)).unwrap();
    // For the whole process: what asks whether it is back is a task of its own.
    tracing::dispatcher::set_global_default(dispatch).unwrap();

    let (primary, standby) = (cluster("primary").await, cluster("standby").await);
    let database = open(&primary, &standby);
    assert_eq!(ask(&database, &READ).await, "standby");
    standby.stop();
    for _ in 0..20 {
        assert_eq!(ask(&database, &READ).await, "primary");
        assert_eq!(streamed(&database, &READ).await, "primary");
    }
    assert_eq!(told(&lines), (1, 0));
    standby.start_again();
    back(&database).await;
    assert_eq!(told(&lines), (1, 1));

    standby.freeze();
    assert_eq!(ask(&database, &READ).await, "primary");
    let started = Instant::now();
    for _ in 0..20 {
        assert_eq!(ask(&database, &READ).await, "primary");
    }
    assert!(started.elapsed() < Duration::from_secs(2), "nobody waits for it: {:?}", started.elapsed());
    assert_eq!(told(&lines), (2, 1));
    standby.thaw();
    back(&database).await;
    assert_eq!(told(&lines), (2, 2));
}
