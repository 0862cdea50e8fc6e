//! The connections that look-ups share, where a look-up has to wait.

use std::time::Duration;

use foundation::database::{Database, DatabaseErrorKind, Statement};
use foundation::testing::eventually;

use super::cluster::{Cluster, connect, open};

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
