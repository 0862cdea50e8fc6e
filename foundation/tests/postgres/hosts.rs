//! Several hosts in one address.

use std::time::Duration;

use foundation::database::{DatabaseErrorKind, Statement};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::cluster::{Cluster, ask, connect, open};

const PORT: &str = "SELECT CAST(current_setting('port') AS BIGINT) AS port";

/// A port that nobody listens at.
async fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

fn address(ports: [u16; 2], parameters: &str) -> String {
    let [first, second] = ports;
    format!("postgresql://postgres:postgres@127.0.0.1:{first},127.0.0.1:{second}/postgres{parameters}")
}

fn port_of(address: &str) -> u16 {
    address.rsplit_once('/').unwrap().0.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn the_second_host_is_used_when_the_first_is_away() {
    let port = port_of(&foundation::testing::postgres_address());
    let row = ask(&address([closed_port().await, port], ""), PORT).await.unwrap();
    assert_eq!(row.get::<i64>("port").unwrap(), i64::from(port));
    let (one, other) = (closed_port().await, closed_port().await);
    let error = connect(&address([one, other], ""), &[]).await.err().unwrap();
    assert_eq!(error.kind(), DatabaseErrorKind::Unreachable);
    let said = error.to_string();
    assert!(said.contains(&one.to_string()) && said.contains(&other.to_string()), "{said}");
}

/// A host that is frozen accepts connections and is silent: the next one gets its turn all the same.
#[tokio::test]
async fn the_second_host_is_used_when_the_first_is_silent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap().port();
    let port = port_of(&foundation::testing::postgres_address());
    let started = Instant::now();
    let limits = [("DATABASE_CONNECT_TIMEOUT", "300ms"), ("DATABASE_CREATE_TIMEOUT", "5s")];
    let address = address([silent, port], "");
    connect(&address, &limits).await.unwrap();
    let one = Statement::read("nothing", "SELECT 1 AS one");
    open(&address, &limits).query(&one, &[]).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

/// What a failover looks like with both hosts in the address: the one that led is silent, the other takes no
/// changes yet. It is asked again meanwhile, and used as soon as it does.
#[tokio::test]
async fn a_server_that_is_promoted_is_found_while_another_is_silent() {
    let cluster = Cluster::start();
    let read_only = |value: &'static str| {
        let change = match value {
            "on" => "ALTER SYSTEM SET default_transaction_read_only = on",
            _ => "ALTER SYSTEM SET default_transaction_read_only = off",
        };
        let cluster = &cluster;
        async move {
            cluster
                .batch(&["SET default_transaction_read_only = off", change, "SELECT pg_reload_conf()"])
                .await;
        }
    };
    read_only("on").await;
    let alone = address([cluster.port(), cluster.port()], "");
    let is_writable = async || connect(&alone, &[]).await.unwrap().is_writable().await.unwrap();
    foundation::testing::eventually(Duration::from_secs(10), "it is read-only", async || {
        !is_writable().await
    })
    .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap().port();
    let both = address([silent, cluster.port()], "?target_session_attrs=read-write");
    let limits = [("DATABASE_CONNECT_TIMEOUT", "60s"), ("DATABASE_CREATE_TIMEOUT", "60s")];
    let attempt = tokio::spawn(async move { connect(&both, &limits).await.map(drop) });
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(!attempt.is_finished());
    read_only("off").await;
    let connected = tokio::time::timeout(Duration::from_secs(10), attempt).await;
    connected.expect("it is found").unwrap().unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_be_written_is_passed_over() {
    let cluster = Cluster::start();
    cluster.batch(&["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"]).await;
    let read_only = cluster.port();
    let writable = port_of(&foundation::testing::postgres_address());
    foundation::testing::eventually(Duration::from_secs(10), "it is read-only", || async move {
        let alone = address([read_only, read_only], "");
        !connect(&alone, &[]).await.unwrap().is_writable().await.unwrap()
    })
    .await;
    for (parameters, expected) in [
        ("", read_only),
        ("?target_session_attrs=any", read_only),
        ("?target_session_attrs=read-write", writable),
        ("?target_session_attrs=read-only", read_only),
    ] {
        let row = ask(&address([read_only, writable], parameters), PORT).await.unwrap();
        assert_eq!(row.get::<i64>("port").unwrap(), i64::from(expected), "{parameters}");
    }
    let nowhere = address([read_only, read_only], "?target_session_attrs=read-write");
    let error = connect(&nowhere, &[]).await.err().unwrap();
    assert_eq!(error.kind(), DatabaseErrorKind::Unreachable, "{error:?}");
    assert!(error.to_string().contains("does not allow writes"), "{error}");
    let mut connection = connect(&address([read_only, writable], ""), &[]).await.unwrap();
    let error = connection.batch("CREATE TABLE t (i int)").await.unwrap_err();
    assert_eq!(error.kind(), DatabaseErrorKind::ReadOnly);
}
