//! A standby that reads go to, while it is there and has what they are to find.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use foundation::clock::Clock;
use foundation::database::position::following;
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

const WHO: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END AS name";
const READ: Statement = Statement::read("item", WHO);
const LOOKUP: Statement = Statement::lookup("item", WHO);
const CURRENT: Statement = Statement::current("item", WHO);
const WRITE: Statement = Statement::write("item", WHO);
const INSERT: Statement = Statement::write("item", "INSERT INTO item VALUES ($1)");
const COUNT: Statement = Statement::read("item", "SELECT CAST(count(*) AS text) AS name FROM item");
const SLEEP: Statement = Statement::read("nothing", "SELECT pg_sleep(600)");

/// How far behind the standby may be where a test waits for it to be too far.
const LAG: &str = "1s";

async fn pair() -> (PrivateCluster, PrivateCluster) {
    let primary = PrivateCluster::start();
    primary.batch(&["CREATE TABLE item (i bigint)"]).await;
    let standby = primary.standby();
    (primary, standby)
}

/// The database, once its standby is known to be fresh.
async fn open(primary: &PrivateCluster, standby: &PrivateCluster, max_lag: &str) -> Database {
    let database = open_only(primary, standby, max_lag);
    back(&database).await;
    database
}

fn open_only(primary: &PrivateCluster, standby: &PrivateCluster, max_lag: &str) -> Database {
    open_with(
        primary,
        standby,
        &[
            ("DATABASE_READ_MAX_LAG", max_lag),
            ("DATABASE_STATEMENT_TIMEOUT", "500ms"),
            ("DATABASE_CREATE_TIMEOUT", "1s"),
            ("DATABASE_WAIT_TIMEOUT", "1s"),
            ("DATABASE_RECYCLE_TIMEOUT", "500ms"),
        ],
    )
}

fn open_with(primary: &PrivateCluster, standby: &PrivateCluster, variables: &[(&str, &str)]) -> Database {
    let addresses =
        [("DATABASE_URL", primary.address.as_str()), ("DATABASE_READ_URL", standby.address.as_str())];
    let mut environment = Environment::from_pairs(addresses.into_iter().chain(variables.iter().copied()));
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

async fn insert(database: &Database) {
    let mut transaction = database.begin().await.unwrap();
    transaction.execute(&INSERT, &[1.into()]).await.unwrap();
    transaction.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_reads_go_to_the_standby() {
    let (primary, standby) = pair().await;
    let database = open(&primary, &standby, "5s").await;
    assert!(database.has_standby() && !database.primary().has_standby());
    assert_eq!(streamed(&database, &READ).await, "standby");
    for statement in [&LOOKUP, &CURRENT, &WRITE] {
        assert_eq!(ask(&database, statement).await, "primary", "{statement:?}");
        assert_eq!(streamed(&database, statement).await, "primary", "{statement:?}");
    }
    assert_eq!(ask(&database.primary(), &READ).await, "primary");
    // What is written through it is looked for by others.
    assert!(following(None, insert(&database.primary())).await.1.is_some());
    assert!(following(None, async { database.primary().note_position().await.unwrap() }).await.1.is_some());
    let mut transaction = database.begin().await.unwrap();
    let row = transaction.query_optional(&READ, &[]).await.unwrap().unwrap();
    assert_eq!(row.get::<String>("name").unwrap(), "primary");
    transaction.commit().await.unwrap();
    assert_eq!(database.standby_pool_status().unwrap().size, 1);
    assert!(database.primary().standby_pool_status().is_none());
    // A statement that takes too long is no reason to burden the primary with it.
    assert_eq!(database.query(&SLEEP, &[]).await.unwrap_err().kind(), DatabaseErrorKind::Timeout);
    assert_eq!(ask(&database, &READ).await, "standby");
    let reads = database.standby_reads().unwrap();
    assert!(reads.standby >= 4, "{reads:?}");
    database.close();
    assert!(database.query(&READ, &[]).await.is_err());
}

/// Who reads says how long a row may take, also of the first one, which is asked for before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_row_of_a_stream_may_take_as_long_as_is_said() {
    let (primary, standby) = pair().await;
    let database = open(&primary, &standby, "5s").await;
    let slow =
        "SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END AS name FROM pg_sleep(1.2)";
    let slow = Statement::read("nothing", "").with_sql(slow.to_owned());
    for (limit, is_there) in [(None, true), (Some(60), true), (Some(1), false)] {
        let rows = database.query_stream(&slow, &[]).await.unwrap();
        let rows = rows.with_wait_limit(limit.map(Duration::from_secs));
        let rows: Result<Vec<_>, _> = rows.try_collect().await;
        let found = rows.map(|it| it[0].get::<String>("name").unwrap()).map_err(|error| error.kind());
        let expected = if is_there { Ok("standby".to_owned()) } else { Err(DatabaseErrorKind::Timeout) };
        assert_eq!(found, expected, "{limit:?}");
    }
    // As long as it is not said, it is DATABASE_STATEMENT_TIMEOUT, from when it was asked for.
    let started = Instant::now();
    let rows: Result<Vec<_>, _> = database.query_stream(&slow, &[]).await.unwrap().try_collect().await;
    assert_eq!(rows.unwrap_err().kind(), DatabaseErrorKind::Timeout);
    assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_wrote_finds_it_and_others_may_find_it_later() {
    let (primary, standby) = pair().await;
    let database = open(&primary, &standby, "1h").await;
    // Nobody asks, nobody is told.
    insert(&database).await;
    assert_eq!(following(None, ask(&database, &READ)).await.1, None);
    eventually(Duration::from_secs(10), "it is replayed", || async { ask(&database, &COUNT).await == "1" })
        .await;

    standby.batch(&["SELECT pg_wal_replay_pause()"]).await;
    let ((), written) = following(None, insert(&database)).await;
    let written = written.unwrap();
    assert_eq!(ask(&database, &COUNT).await, "1", "the standby is as old as it may be");
    let after = following(Some(written), async {
        [ask(&database, &COUNT).await, streamed(&database, &COUNT).await, ask(&database, &READ).await]
    });
    assert_eq!(after.await.0, ["2", "2", "primary"]);
    let both = following(None, async {
        insert(&database).await;
        ask(&database, &COUNT).await
    });
    let (count, later) = both.await;
    assert_eq!(count, "3", "the same work finds what it wrote itself");
    assert!(later.unwrap() > written, "{later:?} {written}");
    let ((), noted) = following(None, async { database.note_position().await.unwrap() }).await;
    assert!(noted >= later, "{noted:?} {later:?}");

    standby.batch(&["SELECT pg_wal_replay_resume()"]).await;
    eventually(Duration::from_secs(10), "it has caught up", || async {
        following(later, ask(&database, &READ)).await.0 == "standby"
    })
    .await;
    assert_eq!(following(later, ask(&database, &COUNT)).await.0, "3");
    // What nobody has written yet is with the primary, if anywhere.
    let future = "FFFFFFFF/FFFFFFFF".parse().unwrap();
    assert_eq!(following(Some(future), ask(&database, &READ)).await.0, "primary");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_is_too_far_behind_is_not_read() {
    let (primary, standby) = pair().await;
    let database = open(&primary, &standby, LAG).await;
    standby.batch(&["SELECT pg_wal_replay_pause()"]).await;
    insert(&database).await;
    let started = Instant::now();
    eventually(Duration::from_secs(10), "it is too old", || async {
        ask(&database, &READ).await == "primary"
    })
    .await;
    assert!(started.elapsed() > Duration::from_millis(400), "it was young: {:?}", started.elapsed());
    assert_eq!(ask(&database, &COUNT).await, "1");
    standby.batch(&["SELECT pg_wal_replay_resume()"]).await;
    back(&database).await;
    // One that hears nothing is not late as long as there is nothing to hear.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(ask(&database, &READ).await, "standby");
    // Without the primary nobody knows how far behind it is.
    primary.stop();
    eventually(Duration::from_secs(10), "it is not read", || async {
        database.query(&READ, &[]).await.is_err()
    })
    .await;
    primary.start_again();
    back(&database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_was_promoted_is_none() {
    let (primary, standby) = pair().await;
    let database = open(&primary, &standby, "5s").await;
    standby.batch(&["SELECT pg_promote()", "INSERT INTO item VALUES (7)"]).await;
    // Also where the primary writes nothing.
    eventually(Duration::from_secs(10), "the primary answers", || async {
        ask(&database, &COUNT).await == "0"
    })
    .await;
    for _ in 0..20 {
        assert_eq!(ask(&database, &COUNT).await, "0");
    }
}

/// What is logged of the standby: how often it was away, and how often it was back.
/// How often it was told that this standby, and not that of another test, was away and back.
fn told(lines: &Mutex<Vec<Value>>, standby: &PrivateCluster) -> (usize, usize) {
    let lines = lines.lock().unwrap();
    let server = format!(":{}", standby.port());
    let is_of_it = |line: &&Value| line["server"].as_str().is_some_and(|it| it.ends_with(&server));
    let is_what = |line: &Value, what: &str| line.to_string().contains(what);
    let count = |what: &str| lines.iter().filter(is_of_it).filter(|line| is_what(line, what)).count();
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

    let (primary, standby) = pair().await;
    let database = open(&primary, &standby, "5s").await;
    standby.stop();
    for _ in 0..20 {
        assert_eq!(ask(&database, &READ).await, "primary");
        assert_eq!(streamed(&database, &READ).await, "primary");
    }
    assert_eq!(told(&lines, &standby), (1, 0));
    standby.start_again();
    back(&database).await;
    assert_eq!(told(&lines, &standby), (1, 1));

    standby.freeze();
    assert_eq!(ask(&database, &READ).await, "primary");
    let started = Instant::now();
    for _ in 0..20 {
        assert_eq!(ask(&database, &READ).await, "primary");
    }
    assert!(started.elapsed() < Duration::from_secs(2), "nobody waits for it: {:?}", started.elapsed());
    assert_eq!(told(&lines, &standby), (2, 1));
    standby.thaw();
    back(&database).await;
    assert_eq!(told(&lines, &standby), (2, 2));
}

/// With the settings that nobody changed, of which each limit is longer than a request may take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_standby_is_noticed_while_the_request_lasts() {
    let (primary, standby) = pair().await;
    // Asked on a connection that was used just now, and on one that is checked first.
    for variables in [&[][..], &[("DATABASE_IDLE_TIMEOUT", "0")]] {
        let database = open_with(&primary, &standby, variables);
        back(&database).await;
        standby.freeze();
        // Until then what it said of itself before is believed.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let started = Instant::now();
        for _ in 0..20 {
            assert_eq!(ask(&database, &READ).await, "primary");
        }
        let took = started.elapsed();
        standby.thaw();
        assert!(took < Duration::from_secs(5), "nobody waits for it: {took:?}");
        back(&database).await;
    }
}

/// Positions of one primary say nothing of what another one has written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_former_primary_said_is_forgotten() {
    let (primary, standby) = pair().await;
    let database = open(&primary, &standby, "1h").await;
    standby.batch(&["SELECT pg_wal_replay_pause()"]).await;
    insert(&database).await;
    assert_eq!(ask(&database, &COUNT).await, "0", "the standby is as old as it may be");
    database.renew();
    assert_eq!(database.standby_pool_status().unwrap().size, 0);
    // Longer than it takes to learn anew where the primary is.
    let until = Instant::now() + Duration::from_millis(2500);
    while Instant::now() < until {
        assert_eq!(ask(&database, &COUNT).await, "1");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    standby.batch(&["SELECT pg_wal_replay_resume()"]).await;
    back(&database).await;
    assert_eq!(ask(&database, &COUNT).await, "1");
}

/// With a standby that breaks off at once what is in the way of its replay.
async fn impatient_pair() -> (PrivateCluster, PrivateCluster, Database) {
    let (primary, standby) = pair().await;
    standby
        .batch(&["ALTER SYSTEM SET max_standby_streaming_delay = '100ms'", "SELECT pg_reload_conf()"])
        .await;
    let database = open_with(&primary, &standby, &[("DATABASE_READ_MAX_LAG", "1h")]);
    back(&database).await;
    (primary, standby, database)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_standby_breaks_off_is_read_from_the_primary() {
    let (primary, standby, database) = impatient_pair().await;
    primary.batch(&["INSERT INTO item VALUES (1)"]).await;
    eventually(Duration::from_secs(10), "it is replayed", || async { ask(&database, &COUNT).await == "1" })
        .await;
    let slow = "SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' || CAST(pg_sleep(600) AS text) ELSE 'primary' END AS name \
                FROM item";
    let slow = Statement::read("item", "").with_sql(slow.to_owned());
    for as_stream in [false, true] {
        let reading = {
            let (database, slow) = (database.clone(), slow.clone());
            let read = async move {
                if as_stream { streamed(&database, &slow).await } else { ask(&database, &slow).await }
            };
            tokio::spawn(read)
        };
        eventually(Duration::from_secs(10), "the standby reads it", || async {
            let sleeping =
                "SELECT CAST(count(*) AS text) AS name FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
            let sleeping = Statement::read("pg_stat_activity", sleeping);
            ask(&database, &sleeping).await == "1"
        })
        .await;
        primary.batch(&["BEGIN; LOCK TABLE item; COMMIT"]).await;
        assert_eq!(reading.await.unwrap(), "primary", "as a stream: {as_stream}");
    }
    // It was there all the time.
    assert_eq!(ask(&database, &READ).await, "standby");
    drop(standby);
}

/// A release reads what its migration made before the standby has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_standby_does_not_have_yet_is_read_from_the_primary() {
    let (primary, standby) = pair().await;
    let database = open_with(&primary, &standby, &[("DATABASE_READ_MAX_LAG", "1h")]);
    back(&database).await;
    standby.batch(&["SELECT pg_wal_replay_pause()"]).await;
    primary
        .batch(&[
            "CREATE TABLE made (i bigint)",
            "ALTER TABLE item ADD COLUMN made text",
            "CREATE FUNCTION made() RETURNS bigint LANGUAGE sql AS 'SELECT 1'",
        ])
        .await;
    for from in ["FROM made", "FROM item WHERE made = '' OR i IS NULL", "FROM made() AS f(i)"] {
        let counted =
            Statement::read("item", "").with_sql(format!("SELECT CAST(count(*) AS text) AS name {from}"));
        let expected = if from.contains("()") { "1" } else { "0" };
        assert_eq!(ask(&database, &counted).await, expected, "{from}");
        assert_eq!(streamed(&database, &counted).await, expected, "{from}");
    }
    assert_eq!(ask(&database, &READ).await, "standby");
}
