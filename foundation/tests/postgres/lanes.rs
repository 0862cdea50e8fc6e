//! The connections that look-ups share, where a look-up has to wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use foundation::database::{Database, DatabaseErrorKind, Statement};
use foundation::testing::eventually;
use tokio::net::TcpListener;

use super::cluster::{Cluster, connect, open};
use super::pool::relay;

const FIND: Statement = Statement::lookup("item", "SELECT id FROM item WHERE id = $1");

/// How many sessions of the pool there are in this state.
async fn sessions(cluster: &Cluster, state: &str) -> i64 {
    let sql = format!(
        "SELECT count(*) AS count FROM pg_stat_activity WHERE application_name = 'test' AND pid <> pg_backend_pid() AND {state}"
    );
    let counted = Statement::read("pg_stat_activity", "").with_sql(sql);
    let mut connection = connect(&cluster.address, &[]).await.unwrap();
    connection.query_optional(&counted, &[]).await.unwrap().unwrap().get("count").unwrap()
}

async fn find(database: &Database) -> Result<usize, DatabaseErrorKind> {
    database.query(&FIND, &[1.into()]).await.map(|rows| rows.len()).map_err(|error| error.kind())
}

/// A session that waits for a lock does not notice that nobody is there any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_up_that_is_given_up_leaves_no_session_behind() {
    let cluster = Cluster::start();
    cluster.batch(&["CREATE TABLE item (id bigint PRIMARY KEY)", "INSERT INTO item VALUES (1)"]).await;
    let database = open(&cluster.address, &[("DATABASE_STATEMENT_TIMEOUT", "10m")]);
    assert_eq!(find(&database).await, Ok(1));
    let mut locking = connect(&cluster.address, &[]).await.unwrap();
    locking.batch("BEGIN; LOCK TABLE item").await.unwrap();
    for _ in 0..3 {
        // Several on each of the connections, one behind the other.
        let asked = (0..12).map(|_| find(&database));
        for found in futures_util::future::join_all(asked).await {
            assert_eq!(found, Err(DatabaseErrorKind::Timeout));
        }
    }
    eventually(Duration::from_secs(5), "nothing waits for the lock", async || {
        sessions(&cluster, "wait_event_type = 'Lock'").await == 0
    })
    .await;
    // The four that are open, and that of the lock.
    eventually(Duration::from_secs(5), "the others are gone", async || sessions(&cluster, "true").await <= 5)
        .await;
    locking.batch("COMMIT").await.unwrap();
    assert_eq!(find(&database).await, Ok(1));
}

/// Each request to cancel is a connection, and a server that is stuck is the last one to have thousands of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_look_ups_that_are_given_up_are_cancelled_with_few_requests() {
    let cluster = Cluster::start();
    cluster.batch(&["CREATE TABLE item (id bigint PRIMARY KEY)", "INSERT INTO item VALUES (1)"]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (here, port) = (listener.local_addr().unwrap().port(), cluster.port());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            relay(client, port);
        }
    });
    let address = cluster.address.replace(&port.to_string(), &here.to_string());
    let database = open(&address, &[("DATABASE_STATEMENT_TIMEOUT", "10m")]);
    for _ in 0..4 {
        assert_eq!(find(&database).await, Ok(1));
    }
    let mut locking = connect(&cluster.address, &[]).await.unwrap();
    locking.batch("BEGIN; LOCK TABLE item").await.unwrap();
    let asked = (0..1_000).map(|_| find(&database));
    for found in futures_util::future::join_all(asked).await {
        assert!(found.is_err());
    }
    eventually(Duration::from_secs(10), "nothing waits for the lock", async || {
        sessions(&cluster, "wait_event_type = 'Lock'").await == 0
    })
    .await;
    eventually(Duration::from_secs(10), "the others are gone", async || {
        sessions(&cluster, "true").await <= 5
    })
    .await;
    let connections = connections.load(Ordering::SeqCst);
    assert!(connections < 250, "{connections} connections");
    locking.batch("COMMIT").await.unwrap();
    assert_eq!(find(&database).await, Ok(1));
}

/// Where no request to cancel gets through, the server ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_up_has_the_time_limit_of_a_statement() {
    let cluster = Cluster::start();
    let database = open(&cluster.address, &[("DATABASE_STATEMENT_TIMEOUT", "17s")]);
    for access in [Statement::lookup, Statement::read] {
        let limit = access("nothing", "SELECT current_setting('statement_timeout') AS it");
        let row = database.query_optional(&limit, &[]).await.unwrap().unwrap();
        assert_eq!(row.get::<String>("it").unwrap(), "17s");
    }
}

/// A request to cancel comes when what it was for may be over, and the next one runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_up_that_is_cancelled_in_the_place_of_another_is_asked_again() {
    let cluster = Cluster::start();
    let database = open(&cluster.address, &[]);
    let slow = Statement::lookup("nothing", "SELECT 1 AS one FROM pg_sleep(1)");
    let asking = {
        let database = database.clone();
        tokio::spawn(async move { database.query(&slow, &[]).await })
    };
    let cancelled = "CASE WHEN wait_event = 'PgSleep' THEN pg_cancel_backend(pid) ELSE false END";
    eventually(Duration::from_secs(5), "it is cancelled", async || sessions(&cluster, cancelled).await == 1)
        .await;
    assert_eq!(asking.await.unwrap().unwrap().len(), 1);
}
