//! A pool whose server is frozen or restarted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use foundation::database::{Database, DatabaseError, DatabaseErrorKind, Statement};
use foundation::testing::eventually;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::cluster::{Cluster, connect, open};

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

const LOOK_UP: Statement = Statement::lookup("nothing", "SELECT 1 AS one");

/// Those who wait while a shared connection is opened do not each try again themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_refuses_all_look_ups_at_once() {
    let cluster = Cluster::start();
    let limits = [("DATABASE_CREATE_TIMEOUT", "1s"), ("DATABASE_WAIT_TIMEOUT", "5s")];
    let database = open(&cluster.address, &limits);
    cluster.freeze();
    let started = Instant::now();
    let look_up = async || database.query(&LOOK_UP, &[]).await;
    let asked = (0..40).map(|_| look_up());
    let answers = futures_util::future::join_all(asked).await;
    let took = started.elapsed();
    cluster.thaw();
    for answer in answers {
        let error = answer.unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("cannot be reached"), "{error}");
    }
    // Ten for each connection, which would have taken ten seconds one behind the other.
    assert!(took < Duration::from_secs(4), "{took:?}");
    eventually(Duration::from_secs(5), "it serves again", || async {
        database.query(&LOOK_UP, &[]).await.is_ok()
    })
    .await;
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
        eventually(Duration::from_secs(5), "it serves again", || async { one(&database).await.is_ok() })
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
    eventually(Duration::from_secs(10), "it serves again", || async { one(&database).await.is_ok() }).await;
}

const LOOKUP: Statement = Statement::lookup("nothing", "SELECT 1 AS one");

const RESERVED: Statement = Statement::reserved("nothing", "SELECT 1 AS one");

/// The one that is kept apart may be the one too many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_admits_no_more_lends_one_of_the_pool() {
    let cluster = Cluster::start();
    cluster.batch(&["CREATE ROLE few LOGIN PASSWORD 'few' CONNECTION LIMIT 1"]).await;
    let address = cluster.address.replace("postgres:postgres@", "few:few@");
    let database = open(&address, &[]);
    fill(&database, 1).await;
    assert_eq!(database.query(&RESERVED, &[]).await.unwrap().len(), 1);
    assert_eq!(database.pool_status().available, 1, "it is given back");
    // With none of them idle there is nothing to lend, and who waits is told why.
    let held = database.begin().await.unwrap();
    let error = database.query(&RESERVED, &[]).await.unwrap_err();
    assert!(error.to_string().contains("no connection left for the role few"), "{error}");
    held.commit().await.unwrap();
}

/// Whatever a role or the database has.
#[tokio::test]
async fn sessions_have_one_form_of_times() {
    let cluster = Cluster::start();
    cluster
        .batch(&[
            "ALTER DATABASE postgres SET datestyle = 'SQL, DMY'",
            "ALTER ROLE postgres SET timezone = 'Asia/Kolkata'",
        ])
        .await;
    let form = "SELECT current_setting('datestyle') || ' ' || current_setting('timezone') AS it";
    let row = open(&cluster.address, &[]).query_optional(&Statement::read("nothing", form), &[]).await;
    assert_eq!(row.unwrap().unwrap().get::<String>("it").unwrap(), "ISO, YMD UTC");
}

/// Nobody waits on it just then, and its server would answer: it is given up nevertheless, however it comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_lent_out_does_not_outlive_a_renewal() {
    let cluster = Cluster::start();
    let database = open(&cluster.address, &[]);
    let mut told = database.begin().await.unwrap();
    let dropped = database.begin().await.unwrap();
    database.renew();
    let error = told.query(&ONE, &[]).await.unwrap_err();
    assert_eq!(error.kind(), DatabaseErrorKind::Unreachable, "{error:?}");
    drop((told, dropped));
    eventually(Duration::from_secs(5), "both are closed", || async { database.pool_status().size == 0 })
        .await;
    for _ in 0..10 {
        one(&database).await.unwrap();
    }
}

/// What somebody waits for meanwhile is a connection to the new primary, which serves them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_wait_for_a_connection_notice_nothing_of_a_renewal() {
    let cluster = Cluster::start();
    let database = open(&cluster.address, &[("DATABASE_POOL_SIZE", "1"), ("DATABASE_MAX_OVERFLOW", "0")]);
    for _ in 0..20 {
        let holding = database.begin().await.unwrap();
        let waiting = {
            let database = database.clone();
            tokio::spawn(async move { one(&database).await })
        };
        eventually(Duration::from_secs(5), "it waits", || async { database.pool_status().waiting == 1 })
            .await;
        database.renew();
        drop(holding);
        waiting.await.unwrap().unwrap();
    }
}

/// A lane, and a connection of the pool, that is being opened leads who knows where: it is opened once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_being_opened_during_a_renewal_is_opened_again() {
    let cluster = Cluster::start();
    for statement in [LOOKUP, ONE] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap().port();
        let address = cluster.address.replace(&cluster.port().to_string(), &here.to_string());
        let database = open(&address, &[]);
        let asking = {
            let database = database.clone();
            tokio::spawn(async move { database.query(&statement, &[]).await })
        };
        let (before, _) = listener.accept().await.unwrap();
        database.renew();
        let accepted = async {
            relay(before, cluster.port());
            let (after, _) = listener.accept().await.unwrap();
            relay(after, cluster.port());
        };
        tokio::time::timeout(Duration::from_secs(5), accepted).await.expect("it is opened again");
        assert_eq!(asking.await.unwrap().unwrap().len(), 1);
    }
}

/// It may be reached by several: a name with two addresses, a socket.
#[tokio::test]
async fn a_server_is_the_same_by_each_of_its_addresses() {
    let (cluster, other) = (Cluster::start(), Cluster::start());
    let server = async |address: &str| connect(address, &[]).await.unwrap().server().await.unwrap().unwrap();
    let socket = cluster.folder().display().to_string().replace('/', "%2F");
    let socket = format!("postgresql://postgres:postgres@{socket}:{}/postgres", cluster.port());
    let known = server(&cluster.address).await;
    assert_eq!(server(&socket).await, known);
    assert_ne!(server(&other.address).await, known);
    cluster.stop();
    cluster.start_again();
    assert_ne!(server(&cluster.address).await, known);
}

/// Passes on what is said on a connection.
fn relay(mut client: TcpStream, port: u16) {
    tokio::spawn(async move {
        let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // Either side may end it.
        let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    });
}

/// Look-ups that wait for a former primary are asked again where the primary is now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lookups_move_to_the_new_primary() {
    let (former, new) = (Cluster::start(), Cluster::start());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap().port();
    let address = former.address.replace(&former.port().to_string(), &here.to_string());
    let leads_to = Arc::new(AtomicU16::new(former.port()));
    let port = Arc::clone(&leads_to);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            relay(client, port.load(Ordering::SeqCst));
        }
    });
    let database = open(&address, &[]);
    for _ in 0..8 {
        database.query(&LOOKUP, &[]).await.unwrap();
    }
    former.freeze();
    leads_to.store(new.port(), Ordering::SeqCst);
    let asked = (0..8).map(|_| {
        let database = database.clone();
        tokio::spawn(async move { database.query(&LOOKUP, &[]).await })
    });
    let asked: Vec<_> = asked.collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(asked.iter().all(|it| !it.is_finished()));
    database.renew();
    for answer in asked {
        answer.await.unwrap().unwrap();
    }
    former.thaw();
}
