//! Notifications, heard through whatever happens to the server.

use std::time::Duration;

use foundation::database::{Backend, Database, Heard, Listener};
use foundation::testing::{TestDatabase, maintenance};
use tokio::time::{Instant, timeout};

use super::cluster::{Cluster, open};

/// What is heard next, within a time that nothing here takes.
async fn next(listener: &mut Listener) -> Heard {
    timeout(Duration::from_secs(15), listener.next()).await.unwrap()
}

async fn say(database: &Database, channel: &'static str, payload: &str) {
    let mut transaction = database.begin().await.unwrap();
    transaction.notify(channel, payload).await.unwrap();
    transaction.commit().await.unwrap();
}

fn said(payload: &str) -> Heard {
    Heard::Notification(payload.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_committed_is_heard() {
    let test = TestDatabase::new(Backend::Postgres).await;
    let database = test.open();
    let (mut listener, mut second) = (database.listen("Changes \"here\""), database.listen("others"));
    assert_eq!(next(&mut listener).await, Heard::Reconnected);
    assert_eq!(next(&mut second).await, Heard::Reconnected);
    let mut dropped = database.begin().await.unwrap();
    dropped.notify("Changes \"here\"", "taken back").await.unwrap();
    drop(dropped);
    say(&database, "others", "not here").await;
    // More than wait on this side, and nobody loses one by giving up waiting.
    let sender = database.clone();
    let sending = tokio::spawn(async move {
        for number in 0..300 {
            say(&sender, "Changes \"here\"", &number.to_string()).await;
        }
    });
    let (mut number, deadline) = (0, Instant::now() + Duration::from_secs(30));
    while number < 300 {
        assert!(Instant::now() < deadline, "{number} were heard");
        if let Ok(heard) = timeout(Duration::from_millis(1), listener.next()).await {
            assert_eq!(heard, said(&number.to_string()));
            number += 1;
        }
    }
    sending.await.unwrap();
    assert_eq!(next(&mut second).await, said("not here"));
    assert!(timeout(Duration::from_millis(100), listener.next()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_broke_is_made_again() {
    let test = TestDatabase::new(Backend::Postgres).await;
    let database = test.open();
    let mut listener = database.listen("changes");
    assert_eq!(next(&mut listener).await, Heard::Reconnected);
    let name = test.url.name();
    maintenance(&format!("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}' AND query LIKE 'LISTEN%'")).await;
    assert_eq!(next(&mut listener).await, Heard::Reconnected);
    say(&database, "changes", "one").await;
    assert_eq!(next(&mut listener).await, said("one"));
}

/// The server is silent, and would be found so only where nothing was said for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_to_a_former_primary_is_given_up() {
    let cluster = Cluster::start();
    let database = open(&cluster.address, &[("DATABASE_KEEPALIVE_IDLE", "10m")]);
    let mut listener = database.listen("changes");
    assert_eq!(next(&mut listener).await, Heard::Reconnected);
    database.renew();
    assert_eq!(next(&mut listener).await, Heard::Reconnected);
    say(&database, "changes", "one").await;
    assert_eq!(next(&mut listener).await, said("one"));
}

/// The notifications take their own way, and survive a restart and a server that froze.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_direct_address_is_used_and_its_server_may_go_away() {
    let (pooled, direct) = (TestDatabase::new(Backend::Postgres).await, Cluster::start());
    let database = open(
        &pooled.address,
        &[
            ("DATABASE_DIRECT_URL", &direct.address),
            ("DATABASE_KEEPALIVE_IDLE", "1s"),
            ("DATABASE_RECYCLE_TIMEOUT", "300ms"),
            ("DATABASE_CREATE_TIMEOUT", "1s"),
        ],
    );
    let mut listener = database.listen("changes");
    assert_eq!(next(&mut listener).await, Heard::Reconnected);
    direct.batch(&["NOTIFY changes, 'one'"]).await;
    assert_eq!(next(&mut listener).await, said("one"));
    direct.stop();
    assert!(timeout(Duration::from_millis(500), listener.next()).await.is_err());
    direct.start_again();
    assert_eq!(next(&mut listener).await, Heard::Reconnected);
    direct.batch(&["NOTIFY changes, 'two'"]).await;
    assert_eq!(next(&mut listener).await, said("two"));
    direct.freeze();
    // Longer than it may be silent and its answer may take.
    assert!(timeout(Duration::from_millis(2500), listener.next()).await.is_err());
    direct.thaw();
    assert_eq!(next(&mut listener).await, Heard::Reconnected);
    direct.batch(&["NOTIFY changes, 'three'"]).await;
    assert_eq!(next(&mut listener).await, said("three"));
}

/// A listener that is dropped leaves no connection behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_is_dropped_disconnects() {
    let cluster = Cluster::start();
    let listening = "SELECT count(*) AS count FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
    let database = open(&cluster.address, &[]);
    let mut listener = database.listen("changes");
    assert_eq!(next(&mut listener).await, Heard::Reconnected);
    assert_eq!(
        super::cluster::ask(&cluster.address, listening).await.unwrap().get::<i64>("count").unwrap(),
        1
    );
    drop(listener);
    let address = &cluster.address;
    foundation::testing::eventually(Duration::from_secs(5), "it disconnects", || async move {
        super::cluster::ask(address, listening).await.unwrap().get::<i64>("count").unwrap() == 0
    })
    .await;
}

#[tokio::test]
async fn on_sqlite_nothing_is_heard() {
    let test = TestDatabase::new(Backend::Sqlite).await;
    let database = test.open();
    let mut listener = database.listen("changes");
    say(&database, "changes", "one").await;
    assert!(timeout(Duration::from_millis(200), listener.next()).await.is_err());
}
