//! A pool whose server is frozen or restarted.

use std::time::Duration;

use foundation::database::{Database, DatabaseError, DatabaseErrorKind, Statement};
use tokio::time::Instant;

use super::cluster::{Cluster, open};

const ONE: Statement = Statement::read("nothing", "SELECT 1 AS one");

/// Opens `count` connections and gives them all back.
async fn fill(database: &Database, count: usize) {
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(database.begin().await.unwrap());
    }
    for transaction in held {
        transaction.commit().await.unwrap();
    }
    assert_eq!(database.pool_status().available, count);
}

async fn one(database: &Database) -> Result<(), DatabaseError> {
    database.query(&ONE, &[]).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_keeps_nobody_waiting_for_long() {
    let cluster = Cluster::start();
    // Checked at each use, and trusted for a minute.
    for (idle, count, limit) in [("0", 4, 2000), ("1m", 1, 3000)] {
        let database = open(
            &cluster.address,
            &[
                ("DATABASE_POOL_SIZE", "4"),
                ("DATABASE_MAX_OVERFLOW", "0"),
                ("DATABASE_IDLE_TIMEOUT", idle),
                ("DATABASE_RECYCLE_TIMEOUT", "500ms"),
                ("DATABASE_CREATE_TIMEOUT", "500ms"),
                ("DATABASE_WAIT_TIMEOUT", "500ms"),
                ("DATABASE_STATEMENT_TIMEOUT", "1s"),
            ],
        );
        fill(&database, count).await;
        cluster.freeze();
        let started = Instant::now();
        let error = one(&database).await.unwrap_err();
        let took = started.elapsed();
        cluster.thaw();
        assert!(error.is_transient(), "{error:?}");
        // The statement itself has a second more on this side than on the server's.
        assert!(took < Duration::from_millis(limit), "{took:?} with {count} idle connections");
        assert!(error.to_string().contains("did not answer within"), "{error}");
        foundation::testing::eventually(Duration::from_secs(5), "it serves again", || async {
            one(&database).await.is_ok()
        })
        .await;
        assert_eq!(database.pool_status().waiting, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_server_is_survived() {
    let cluster = Cluster::start();
    let database = open(&cluster.address, &[("DATABASE_POOL_SIZE", "5"), ("DATABASE_MAX_OVERFLOW", "0")]);
    fill(&database, 5).await;
    let mut running = database.begin().await.unwrap();
    cluster.stop();
    let broken = running.query(&ONE, &[]).await.unwrap_err();
    assert_eq!(broken.kind(), DatabaseErrorKind::Unreachable, "{broken:?}");
    drop(running);
    let away = one(&database).await.unwrap_err();
    assert_eq!(away.kind(), DatabaseErrorKind::Unreachable, "{away:?}");
    assert!(away.is_transient());
    cluster.start_again();
    if let Err(error) = one(&database).await {
        assert!(error.is_transient(), "{error:?}");
        one(&database).await.unwrap();
    }
    fill(&database, 5).await;

    cluster.stop();
    cluster.start_again();
    // Nobody asked meanwhile: every connection in the pool is dead, and at most one caller notices.
    let mut failed = 0;
    for _ in 0..10 {
        if let Err(error) = one(&database).await {
            assert!(error.is_transient(), "{error:?}");
            failed += 1;
        }
    }
    assert!(failed <= 1, "{failed} of 10 failed");
}

/// A server that is gone without a word: who waits for it is told as soon as it is known that another one is the
/// primary, and not when the statement's time is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_wait_for_a_former_primary_are_told() {
    let cluster = Cluster::start();
    let database = open(&cluster.address, &[("DATABASE_STATEMENT_TIMEOUT", "60s")]);
    fill(&database, 3).await;
    cluster.freeze();
    let waiting = {
        let database = database.clone();
        tokio::spawn(async move { one(&database).await })
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!waiting.is_finished());
    database.renew();
    let told = tokio::time::timeout(Duration::from_secs(5), waiting).await.expect("it is told").unwrap();
    assert_eq!(told.unwrap_err().kind(), DatabaseErrorKind::Unreachable);
    assert_eq!(database.pool_status().available, 0);
    cluster.thaw();
    foundation::testing::eventually(Duration::from_secs(10), "it serves again", || async {
        one(&database).await.is_ok()
    })
    .await;
}
