//! The face of the database does the same on PostgreSQL and on SQLite.

use std::time::Duration;

use foundation::database::{Backend, Database, DatabaseErrorKind, Statement, Value};
use foundation::on_both_databases;
use foundation::testing::{TestDatabase, database_settings, eventually};
use time::macros::datetime;
use uuid::Uuid;

const INSERT: Statement = Statement::write(
    "item",
    "INSERT INTO item (id, name, made_at, ready, weight) VALUES ($1, $2, $3, $4, $5)",
);
const BY_ID: Statement =
    Statement::lookup("item", "SELECT id, name, made_at, ready, weight FROM item WHERE id = $1");
const COUNT: Statement = Statement::read("item", "SELECT CAST(count(*) AS BIGINT) AS count FROM item");

async fn with_table(database: &TestDatabase) -> Database {
    let mut connection = database.connect().await;
    let sql = match connection.backend() {
        Backend::Postgres => {
            "CREATE TABLE item (id uuid PRIMARY KEY, name text NOT NULL UNIQUE, made_at timestamptz, ready boolean, weight double precision CHECK (weight > 0))"
        }
        Backend::Sqlite => {
            "CREATE TABLE item (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, made_at INTEGER, ready INTEGER, weight REAL CHECK (weight > 0)) STRICT"
        }
    };
    connection.batch(sql).await.unwrap();
    database.open()
}

fn item(number: u128, name: &str) -> [Value; 5] {
    let made_at = datetime!(2024-02-29 23:59:59.999999 UTC);
    [Uuid::from_u128(number).into(), name.into(), made_at.into(), true.into(), 1.5.into()]
}

async fn count(database: &Database) -> i64 {
    database.query_optional(&COUNT, &[]).await.unwrap().unwrap().get("count").unwrap()
}

on_both_databases! {
    async fn values_come_back_as_they_went_in(test: TestDatabase) {
        let database = with_table(&test).await;
        assert_eq!(database.execute(&INSERT, &item(1, "a")).await.unwrap(), 1);
        let row = database.query_optional(&BY_ID, &[Uuid::from_u128(1).into()]).await.unwrap().unwrap();
        assert_eq!(row.get::<Uuid>("id").unwrap(), Uuid::from_u128(1));
        assert_eq!(row.get::<String>("name").unwrap(), "a");
        assert_eq!(row.get::<time::OffsetDateTime>("made_at").unwrap(), datetime!(2024-02-29 23:59:59.999999 UTC));
        assert!(row.get::<bool>("ready").unwrap());
        assert_eq!(row.get::<Option<f64>>("weight").unwrap(), Some(1.5));
        assert!(database.query_optional(&BY_ID, &[Uuid::from_u128(2).into()]).await.unwrap().is_none());
    }

    async fn parameters_are_bound_by_their_numbers(test: TestDatabase) {
        let swapped = Statement::read("item", "SELECT CAST($2 AS TEXT) AS second, CAST($1 AS TEXT) AS first");
        let row = test.open().query_optional(&swapped, &["one".into(), "two".into()]).await.unwrap().unwrap();
        assert_eq!(row.get::<String>("first").unwrap(), "one");
        assert_eq!(row.get::<String>("second").unwrap(), "two");
    }

    async fn constraints_have_kinds(test: TestDatabase) {
        let database = with_table(&test).await;
        database.execute(&INSERT, &item(1, "a")).await.unwrap();
        let again = database.execute(&INSERT, &item(2, "a")).await.unwrap_err();
        assert_eq!(again.kind(), DatabaseErrorKind::UniqueViolation);
        assert!(again.constraint().is_some_and(|it| it.contains("name")), "{again:?}");
        let mut light = item(3, "c");
        light[4] = Value::Float(-1.0);
        let light = database.execute(&INSERT, &light).await.unwrap_err();
        assert_eq!(light.kind(), DatabaseErrorKind::CheckViolation);
        let mut nameless = item(4, "d");
        nameless[1] = Value::Null;
        let nameless = database.execute(&INSERT, &nameless).await.unwrap_err();
        assert_eq!(nameless.kind(), DatabaseErrorKind::NotNullViolation);
        let nowhere = Statement::read("nowhere", "SELECT 1 AS one FROM nowhere");
        let nowhere = database.query(&nowhere, &[]).await.unwrap_err();
        assert_eq!(nowhere.kind(), DatabaseErrorKind::UndefinedTable);
    }

    async fn a_transaction_is_whole_or_nothing(test: TestDatabase) {
        let database = with_table(&test).await;
        let mut transaction = database.begin().await.unwrap();
        transaction.execute(&INSERT, &item(1, "a")).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(count(&database).await, 1);

        let mut transaction = database.begin().await.unwrap();
        transaction.execute(&INSERT, &item(2, "b")).await.unwrap();
        drop(transaction);
        // The next one to write is not kept waiting by the one that was dropped.
        let mut transaction = database.begin().await.unwrap();
        transaction.execute(&INSERT, &item(3, "c")).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(count(&database).await, 2);
    }

    /// PostgreSQL does nothing more after a failure; nor does SQLite then.
    async fn a_transaction_that_failed_is_not_committed(test: TestDatabase) {
        let database = with_table(&test).await;
        let mut transaction = database.begin().await.unwrap();
        transaction.execute(&INSERT, &item(1, "a")).await.unwrap();
        transaction.execute(&INSERT, &item(2, "a")).await.unwrap_err();
        transaction.commit().await.unwrap_err();
        assert_eq!(count(&database).await, 0);
        let mut transaction = database.begin().await.unwrap();
        transaction.execute(&INSERT, &item(1, "a")).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(count(&database).await, 1);
    }

    /// A request that goes away takes its statement with it, and the pool is whole afterwards.
    async fn a_statement_that_nobody_waits_for_is_stopped(test: TestDatabase) {
        let database = Database::open(&test.url, &database_settings([("DATABASE_POOL_SIZE", "1"), ("DATABASE_MAX_OVERFLOW", "0")]), "test").unwrap();
        let endless = match database.backend() {
            Backend::Postgres => Statement::read("nothing", "SELECT pg_sleep(600)"),
            Backend::Sqlite => Statement::read("nothing", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) AS last FROM n"),
        };
        let abandoned = tokio::time::timeout(Duration::from_millis(200), database.query(&endless, &[])).await;
        assert!(abandoned.is_err());
        let one = Statement::read("nothing", "SELECT CAST(1 AS BIGINT) AS one");
        let row = database.query_optional(&one, &[]).await.unwrap().unwrap();
        assert_eq!(row.get::<i64>("one").unwrap(), 1);
        if database.backend() == Backend::Postgres {
            let running = Statement::read("pg_stat_activity", "SELECT 1 AS one FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE 'SELECT pg_sleep%'");
            let (database, running) = (&database, &running);
            eventually(Duration::from_secs(5), "the server stops the statement", || async move {
                database.query(running, &[]).await.unwrap().is_empty()
            }).await;
        }
    }

    async fn a_statement_has_a_time_limit(test: TestDatabase) {
        let database = Database::open(&test.url, &database_settings([("DATABASE_STATEMENT_TIMEOUT", "200ms")]), "test").unwrap();
        let endless = match database.backend() {
            Backend::Postgres => Statement::read("nothing", "SELECT pg_sleep(600)"),
            Backend::Sqlite => Statement::read("nothing", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) AS last FROM n"),
        };
        let error = database.query(&endless, &[]).await.unwrap_err();
        assert_eq!(error.kind(), DatabaseErrorKind::Timeout);
    }

    async fn the_pool_is_bounded(test: TestDatabase) {
        let settings = database_settings([("DATABASE_POOL_SIZE", "1"), ("DATABASE_MAX_OVERFLOW", "0"), ("DATABASE_WAIT_TIMEOUT", "100ms")]);
        let database = Database::open(&test.url, &settings, "test").unwrap();
        let held = database.begin().await.unwrap();
        let refused = database.begin().await.err().unwrap();
        assert_eq!(refused.kind(), DatabaseErrorKind::PoolTimeout);
        drop(held);
        database.begin().await.unwrap().commit().await.unwrap();
    }

    async fn a_running_statement_can_be_cancelled(test: TestDatabase) {
        let mut connection = test.connect().await;
        let canceller = connection.canceller();
        let endless = match connection.backend() {
            Backend::Postgres => "SELECT pg_sleep(600)",
            Backend::Sqlite => "CREATE TABLE n AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
        };
        let running = tokio::spawn(async move { connection.batch(endless).await });
        let running = std::sync::Mutex::new(running);
        let (finished, canceller) = (&running, &canceller);
        eventually(Duration::from_secs(10), "the statement ends", || async move {
            canceller.cancel().await.unwrap();
            finished.lock().unwrap().is_finished()
        }).await;
        let error = running.into_inner().unwrap().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), DatabaseErrorKind::QueryCanceled);
    }

    async fn writable_is_told(test: TestDatabase) {
        let mut connection = test.connect().await;
        assert!(connection.is_writable().await.unwrap());
        if connection.backend() == Backend::Postgres {
            connection.batch("SET default_transaction_read_only = on").await.unwrap();
            assert!(!connection.is_writable().await.unwrap());
        }
    }
}

/// A long write of another connection makes the file neither read-only nor slow to ask.
#[tokio::test]
async fn a_file_that_is_written_to_is_writable() {
    let test = TestDatabase::new(Backend::Sqlite).await;
    let (mut writer, mut probe) = (test.connect().await, test.connect().await);
    writer.begin().await.unwrap();
    let asked = tokio::time::timeout(Duration::from_millis(2500), probe.is_writable()).await;
    assert!(asked.expect("it does not wait for the writer").unwrap());
    writer.rollback().await.unwrap();
}

/// An overflow connection is closed when it is idle, one of the pool stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overflow_is_closed_when_idle() {
    let test = TestDatabase::new(Backend::Postgres).await;
    let settings = database_settings([
        ("DATABASE_POOL_SIZE", "1"),
        ("DATABASE_MAX_OVERFLOW", "2"),
        ("DATABASE_IDLE_TIMEOUT", "100ms"),
    ]);
    let database = Database::open(&test.url, &settings, "test").unwrap();
    let three =
        (database.begin().await.unwrap(), database.begin().await.unwrap(), database.begin().await.unwrap());
    assert_eq!(database.pool_status().size, 3);
    drop(three);
    let database = &database;
    eventually(Duration::from_secs(10), "the overflow is closed", || async move {
        database.pool_status().size == 1
    })
    .await;
}

/// A connection that died while it was idle is replaced, and nobody gets an error for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_died_is_replaced() {
    let test = TestDatabase::new(Backend::Postgres).await;
    let settings = database_settings([("DATABASE_IDLE_TIMEOUT", "0")]);
    let database = Database::open(&test.url, &settings, "test").unwrap();
    let backend = Statement::read("nothing", "SELECT pg_backend_pid() AS pid");
    let pid: i64 = database.query_optional(&backend, &[]).await.unwrap().unwrap().get("pid").unwrap();
    foundation::testing::maintenance(&format!("SELECT pg_terminate_backend({pid}, 5000)")).await;
    let next: i64 = database.query_optional(&backend, &[]).await.unwrap().unwrap().get("pid").unwrap();
    assert_ne!(pid, next);
}
