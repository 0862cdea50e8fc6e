//! Why a connection cannot be opened: the right kind, one sentence, in time, without the password.

use std::time::Duration;

use foundation::database::{Connection, DatabaseErrorKind, Statement};
use foundation::exit::Exit;
use foundation::testing::{postgres_address, unique_name};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::cluster::{connect, open};

const LIMIT: Duration = Duration::from_secs(1);

/// What a connection of its own and one of the pool say of an address, which is the same.
async fn refused(address: &str, kind: DatabaseErrorKind, exit: Exit) -> String {
    let limits = [("DATABASE_CREATE_TIMEOUT", "1s"), ("DATABASE_CONNECT_TIMEOUT", "1s")];
    let started = Instant::now();
    let own = connect(address, &limits).await.err().unwrap();
    let one = Statement::read("nothing", "SELECT 1 AS one");
    let pooled = open(address, &limits).query(&one, &[]).await.unwrap_err();
    assert!(started.elapsed() < 2 * LIMIT + Duration::from_secs(1), "{:?}", started.elapsed());
    for error in [&own, &pooled] {
        assert_eq!(error.kind(), kind, "{error:?}");
        assert_eq!(error.exit(), exit, "{error:?}");
        let mut shown = format!("{error} {error:?}");
        let mut cause = std::error::Error::source(error);
        while let Some(next) = cause {
            shown = format!("{shown} {next} {next:?}");
            cause = next.source();
        }
        assert!(!shown.contains("hunter2"), "{shown}");
        let said = error.to_string();
        assert!(said.contains("DATABASE_URL") && !said.contains('\n'), "it says what to look at: {said}");
    }
    own.to_string()
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_role() {
    let address = postgres_address().replace("postgres:postgres@", "postgres:hunter2@");
    let said = refused(&address, DatabaseErrorKind::Authentication, Exit::Configuration).await;
    assert!(said.contains("refuses the role postgres; check the user and the password"), "{said}");
    let address = postgres_address().replace("postgres:postgres@", "nobody:hunter2@");
    let said = refused(&address, DatabaseErrorKind::Authentication, Exit::Configuration).await;
    assert!(said.contains("refuses the role nobody"), "{said}");
    let address = postgres_address().replace("postgres:postgres@", "postgres@");
    refused(&address, DatabaseErrorKind::Authentication, Exit::Configuration).await;
}

#[tokio::test]
async fn a_missing_database() {
    let address = foundation::testing::address_of_database(&postgres_address(), "nowhere");
    let said = refused(&address, DatabaseErrorKind::MissingDatabase, Exit::Configuration).await;
    assert!(said.contains("\"nowhere\" does not exist"), "{said}");
}

#[tokio::test]
async fn nobody_listens_and_nobody_knows_the_name() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let address = format!("postgresql://me:hunter2@127.0.0.1:{port}/app");
    let said = refused(&address, DatabaseErrorKind::Unreachable, Exit::Unavailable).await;
    assert!(said.contains(&format!("127.0.0.1:{port} cannot be reached; check that it runs")), "{said}");
    assert!(said.contains("refused"), "{said}");
    let address = "postgresql://me:hunter2@no-such-host.invalid/app";
    let said = refused(address, DatabaseErrorKind::Unreachable, Exit::Unavailable).await;
    assert!(said.contains("no-such-host.invalid:5432 cannot be reached"), "{said}");
}

/// It accepts and never answers, as a server that is frozen does.
#[tokio::test]
async fn a_server_that_is_silent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for mode in ["disable", "prefer", "require"] {
        let address = format!("postgresql://me:hunter2@127.0.0.1:{port}/app?sslmode={mode}");
        let said = refused(&address, DatabaseErrorKind::Unreachable, Exit::Unavailable).await;
        assert!(said.contains("did not answer within 1s"), "{said}");
    }
}

/// It hangs up, or speaks something else.
#[tokio::test]
async fn a_server_that_is_none() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let other = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.try_write(b"HTTP/1.1 400 Bad Request\r\n\r\n").ok();
        }
    });
    let address = format!("postgresql://me:hunter2@127.0.0.1:{port}/app?sslmode=disable");
    refused(&address, DatabaseErrorKind::Unreachable, Exit::Unavailable).await;
    other.abort();
}

#[tokio::test]
async fn a_server_without_a_connection_left() {
    let address = postgres_address();
    let role = unique_name("limited");
    let mut owner = connect(&address, &[]).await.unwrap();
    owner.batch(&format!("CREATE ROLE {role} LOGIN PASSWORD 'hunter2' CONNECTION LIMIT 0")).await.unwrap();
    let limited = address.replacen("postgres:postgres@", &format!("{role}:hunter2@"), 1);
    let error = connect(&limited, &[]).await.err().unwrap();
    owner.batch(&format!("DROP ROLE {role}")).await.unwrap();
    assert_eq!(error.kind(), DatabaseErrorKind::Unreachable, "{error:?}");
    let said = error.to_string();
    assert!(said.contains("no connection left") && said.contains("DATABASE_POOL_SIZE"), "{said}");
    assert!(!said.contains("cannot be reached") && !said.contains("hunter2"), "{said}");
}

/// A statement of a connection of its own whose caller went away, as that of one of the pool.
#[tokio::test]
async fn what_nobody_waits_for_any_more_is_ended() {
    const RUNNING: &str = "SELECT CAST(COUNT(*) AS BIGINT) AS count FROM pg_stat_activity WHERE query = $1";
    let address = postgres_address();
    let marked = format!("SELECT pg_sleep(600) AS {}", unique_name("given_up"));
    let (mut observer, mut own) =
        (connect(&address, &[]).await.unwrap(), connect(&address, &[]).await.unwrap());
    let running = async |observer: &mut Connection| {
        let found = observer.query_optional(&Statement::read("it", RUNNING), &[marked.as_str().into()]).await;
        found.unwrap().unwrap().get::<i64>("count").unwrap()
    };
    let mut batch = Box::pin(own.batch(&marked));
    let started = Instant::now();
    loop {
        let waited = tokio::time::timeout(Duration::from_millis(20), &mut batch).await;
        assert!(waited.is_err(), "{waited:?}");
        if running(&mut observer).await == 1 {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "it does not begin");
    }
    drop(batch);
    drop(own);
    while running(&mut observer).await > 0 {
        assert!(started.elapsed() < Duration::from_secs(20), "it goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn statements_can_be_limited() {
    let mut own = connect(&postgres_address(), &[]).await.unwrap();
    own.limit_statements(Duration::from_millis(50)).await.unwrap();
    let error = own.batch("SELECT pg_sleep(600)").await.unwrap_err();
    assert_eq!(error.kind(), DatabaseErrorKind::QueryCanceled, "{error:?}");
}
