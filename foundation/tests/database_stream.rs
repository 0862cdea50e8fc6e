//! Rows as they come, on PostgreSQL and on SQLite.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use std::time::Duration;

use foundation::database::{Backend, Database, DatabaseErrorKind, Statement};
use foundation::on_both_databases;
use foundation::testing::{TestDatabase, database_settings, eventually};
use futures_util::{StreamExt as _, TryStreamExt as _};

const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
const ONE: Statement = Statement::read("nothing", "SELECT CAST(1 AS BIGINT) AS i");

/// The numbers up to `$1`.
const NUMBERS: Statement = Statement::read(
    "nothing",
    "WITH RECURSIVE n(i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < $1) SELECT i FROM n",
);

/// A pool of one connection, so that one that is not given back is missed.
fn single(test: &TestDatabase, statement_timeout: &str) -> Database {
    let settings = database_settings([
        ("DATABASE_POOL_SIZE", "1"),
        ("DATABASE_MAX_OVERFLOW", "0"),
        ("DATABASE_STATEMENT_TIMEOUT", statement_timeout),
    ]);
    Database::open(&test.url, &settings, "test").unwrap()
}

/// A statement that gives no row for a long time.
fn silent(database: &Database) -> Statement {
    match database.backend() {
        Backend::Postgres => Statement::read("nothing", "SELECT pg_sleep(600)"),
        Backend::Sqlite => {
            Statement::read("nothing", "").with_sql(format!("SELECT max(i) AS i FROM ({ENDLESS}) AS n"))
        }
    }
}

async fn works(database: &Database) {
    let row = database.query_optional(&ONE, &[]).await.unwrap().unwrap();
    assert_eq!(row.get::<i64>("i").unwrap(), 1);
}

/// The memory that this process has at the moment, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// What a request does may move from thread to thread.
#[tokio::test]
async fn it_can_be_spawned() {
    let test = TestDatabase::new(Backend::Sqlite).await;
    let database = test.open();
    let (mut transaction, statement) = (database.begin().await.unwrap(), ONE);
    let found = tokio::spawn(async move {
        let rows: Vec<_> = database.query_stream(&statement, &[]).await?.try_collect().await?;
        let mut seen = transaction.query_stream(&statement, &[]).await?;
        seen.try_next().await.map(|row| (rows.len(), row.is_some()))
    });
    assert_eq!(found.await.unwrap().unwrap(), (1, true));
}

on_both_databases! {
    async fn all_rows_come_in_their_order(test: TestDatabase) {
        let database = single(&test, "30s");
        for count in [1_i64, 255, 256, 257, 20_000] {
            let rows = database.query_stream(&NUMBERS, &[count.into()]).await.unwrap();
            let found: Vec<i64> = rows.map(|row| row.unwrap().get::<i64>("i").unwrap()).collect().await;
            assert_eq!(found, (1..=count).collect::<Vec<_>>());
        }
        let none = Statement::read("nothing", "SELECT 1 AS i WHERE 1 = 2");
        assert!(database.query_stream(&none, &[]).await.unwrap().next().await.is_none());
        works(&database).await;
    }

    /// 400 MB go through a reader that is slower than the database.
    async fn memory_is_bounded(test: TestDatabase) {
        let text = match test.url.hosts().is_empty() {
            true => "hex(zeroblob(2000))",
            false => "repeat('ab', 2000)",
        };
        let sql = format!("SELECT {text} AS wide FROM ({}) AS numbers", NUMBERS.sql());
        let wide = Statement::read("nothing", "").with_sql(sql);
        let database = single(&test, "30s");
        let mut rows = database.query_stream(&wide, &[100_000_i64.into()]).await.unwrap();
        let (mut count, before) = (0, resident());
        while let Some(row) = rows.try_next().await.unwrap() {
            assert_eq!(row.get::<String>("wide").unwrap().len(), 4000);
            if count % 10_000 == 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let now = resident();
                assert!(now < before + 100 * 1024, "{before} KiB before, {now} KiB after {count} rows");
            }
            count += 1;
        }
        assert_eq!(count, 100_000);
    }

    async fn a_stream_that_is_dropped_stops_its_statement(test: TestDatabase) {
        let database = single(&test, "30s");
        let endless = Statement::read("nothing", ENDLESS);
        for taken in [0, 1, 1000] {
            let mut rows = database.query_stream(&endless, &[]).await.unwrap();
            for number in 1..=taken {
                assert_eq!(rows.next().await.unwrap().unwrap().get::<i64>("i").unwrap(), number);
            }
            drop(rows);
            works(&database).await;
        }
        let waiting = async { database.query_stream(&silent(&database), &[]).await.unwrap().next().await };
        assert!(tokio::time::timeout(Duration::from_millis(200), waiting).await.is_err());
        works(&database).await;
        if database.backend() == Backend::Postgres {
            let running = Statement::read("pg_stat_activity", "SELECT 1 AS one FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'active' AND backend_type = 'client backend'");
            let (database, running) = (&database, &running);
            eventually(Duration::from_secs(5), "the server stops the statement", || async move {
                database.query(running, &[]).await.unwrap().is_empty()
            }).await;
        }
    }

    async fn a_wait_has_a_limit_and_the_whole_has_none(test: TestDatabase) {
        let database = single(&test, "500ms");
        let mut rows = database.query_stream(&silent(&database), &[]).await.unwrap();
        let error = rows.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), DatabaseErrorKind::Timeout, "{error}");
        assert!(rows.next().await.is_none());
        drop(rows);
        works(&database).await;
        // A reader that takes its time.
        let mut rows = database.query_stream(&NUMBERS, &[50_000_i64.into()]).await.unwrap();
        rows.next().await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert_eq!(rows.try_fold(1, |count, _| async move { Ok(count + 1) }).await.unwrap(), 50_000);
        // A database that takes its time, and a reader who lets it.
        let slow = match database.backend() {
            Backend::Postgres => Statement::read("nothing", "SELECT pg_sleep(1.2)"),
            Backend::Sqlite => Statement::read("nothing", "").with_sql(format!("SELECT max(i) AS i FROM ({ENDLESS} LIMIT 8000000) AS n")),
        };
        let patient = database.query_stream(&slow, &[]).await.unwrap().with_wait_limit(None);
        assert_eq!(patient.count().await, 1);
        let error = database.query(&silent(&database), &[]).await.unwrap_err();
        assert_eq!(error.kind(), DatabaseErrorKind::Timeout, "the limit of other statements is back");
    }

    async fn an_error_in_the_middle_is_told(test: TestDatabase) {
        let sql = format!("SELECT abs(CASE i WHEN 1000 THEN -9223372036854775807 - 1 ELSE i END) AS i FROM ({}) AS numbers", NUMBERS.sql());
        let overflow = Statement::read("nothing", "").with_sql(sql);
        let database = single(&test, "30s");
        let mut rows = database.query_stream(&overflow, &[2000_i64.into()]).await.unwrap();
        let mut count = 0;
        let error = loop {
            match rows.next().await.unwrap() {
                Ok(_) => count += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), DatabaseErrorKind::Other, "{error}");
        assert!(count < 1000, "{count}");
        assert!(rows.next().await.is_none());
        drop(rows);
        works(&database).await;
        let nowhere = Statement::read("nowhere", "SELECT i FROM nowhere");
        let error = match database.query_stream(&nowhere, &[]).await {
            Ok(mut rows) => rows.next().await.unwrap().unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.kind(), DatabaseErrorKind::UndefinedTable);
        works(&database).await;
    }

    async fn a_stream_only_reads(test: TestDatabase) {
        test.connect().await.batch("CREATE TABLE item (i BIGINT)").await.unwrap();
        let database = single(&test, "30s");
        let insert = Statement::write("item", "INSERT INTO item VALUES (1) RETURNING i");
        let mut rows = database.query_stream(&insert, &[]).await.unwrap();
        assert_eq!(rows.next().await.unwrap().unwrap_err().kind(), DatabaseErrorKind::ReadOnly);
    }

    async fn a_transaction_streams_what_it_sees(test: TestDatabase) {
        test.connect().await.batch("CREATE TABLE item (i BIGINT)").await.unwrap();
        let database = single(&test, "30s");
        let insert = Statement::write("item", "INSERT INTO item (i) VALUES ($1)");
        let all = Statement::read("item", "SELECT i FROM item ORDER BY i");
        let mut transaction = database.begin().await.unwrap();
        for i in 0..500_i64 {
            transaction.execute(&insert, &[i.into()]).await.unwrap();
        }
        let rows: Vec<_> = transaction.query_stream(&all, &[]).await.unwrap().try_collect().await.unwrap();
        assert_eq!(rows.len(), 500);
        transaction.execute(&insert, &[500_i64.into()]).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(database.query(&all, &[]).await.unwrap().len(), 501);

        let mut transaction = database.begin().await.unwrap();
        transaction.execute(&insert, &[501_i64.into()]).await.unwrap();
        let mut rows = transaction.query_stream(&all, &[]).await.unwrap();
        rows.next().await.unwrap().unwrap();
        drop(rows);
        transaction.commit().await.unwrap_err();
        assert_eq!(database.query(&all, &[]).await.unwrap().len(), 501);
    }
}
