//! Many rows at once, on PostgreSQL and on SQLite.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use std::time::Duration;

use foundation::database::{
    Backend, Database, DatabaseError, DatabaseErrorKind, Statement, Transaction, Value, ValueType,
};
use foundation::on_both_databases;
use foundation::testing::{TestDatabase, database_settings};
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

const COLUMNS: [&str; 9] =
    ["id", "number", "small", "weight", "ready", "name", "made at", "raw \"bytes\"", "document"];
const TYPES: [ValueType; 9] = [
    ValueType::Uuid,
    ValueType::Integer,
    ValueType::Integer,
    ValueType::Float,
    ValueType::Bool,
    ValueType::Text,
    ValueType::Timestamp,
    ValueType::Bytes,
    ValueType::Json,
];
const ALL: Statement = Statement::read(
    "item",
    r#"SELECT id, number, small, weight, ready, name, "made at", "raw ""bytes""", document FROM item ORDER BY number"#,
);
const COUNT: Statement = Statement::read("item", "SELECT CAST(count(*) AS BIGINT) AS count FROM item");

/// A pool of one connection, and a table.
async fn with_table(test: &TestDatabase, statement_timeout: &str) -> Database {
    let mut connection = test.connect().await;
    let sql = match connection.backend() {
        Backend::Postgres => {
            r#"CREATE TABLE item (id uuid, number bigint CHECK (number <> 13), small smallint, weight double precision, ready boolean, name varchar(5000), "made at" timestamptz, "raw ""bytes""" bytea, document jsonb)"#
        }
        Backend::Sqlite => {
            r#"CREATE TABLE item (id TEXT, number INTEGER CHECK (number <> 13), small INTEGER, weight REAL, ready INTEGER, name TEXT, "made at" INTEGER, "raw ""bytes""" BLOB, document TEXT CHECK (json_valid(document))) STRICT"#
        }
    };
    connection.batch(sql).await.unwrap();
    let settings = database_settings([
        ("DATABASE_POOL_SIZE", "1"),
        ("DATABASE_MAX_OVERFLOW", "0"),
        ("DATABASE_STATEMENT_TIMEOUT", statement_timeout),
    ]);
    Database::open(&test.url, &settings, "test").unwrap()
}

fn item(number: i64) -> [Value; 9] {
    [
        Uuid::from_u128(7).into(),
        number.into(),
        (-3_i64).into(),
        0.1.into(),
        true.into(),
        "é\n\t\\N".into(),
        datetime!(2024-02-29 23:59:59.999999 +02:00).into(),
        Value::Bytes(vec![0, 255]),
        Value::Json(r#"{"cpu": 1.50}"#.to_owned()),
    ]
}

async fn numbers(
    transaction: &mut Transaction,
    numbers: impl Iterator<Item = i64>,
) -> Result<u64, DatabaseError> {
    let mut rows = transaction.insert_rows("item", &["number"], &[ValueType::Integer]).await?;
    for number in numbers {
        rows.push(&[number.into()]).await?;
    }
    rows.finish().await
}

async fn count(database: &Database) -> i64 {
    database.query_optional(&COUNT, &[]).await.unwrap().unwrap().get("count").unwrap()
}

/// The memory that this process has at the moment, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

on_both_databases! {
    async fn rows_come_back_as_they_went_in(test: TestDatabase) {
        let database = with_table(&test, "30s").await;
        let mut transaction = database.begin().await.unwrap();
        let mut rows = transaction.insert_rows("item", &COLUMNS, &TYPES).await.unwrap();
        rows.push(&item(1)).await.unwrap();
        let mut nothing = [const { Value::Null }; 9];
        nothing[1] = Value::Integer(2);
        rows.push(&nothing).await.unwrap();
        assert_eq!(rows.finish().await.unwrap(), 2);
        transaction.commit().await.unwrap();
        let found = database.query(&ALL, &[]).await.unwrap();
        let (full, empty) = (&found[0], &found[1]);
        assert_eq!(full.get::<Uuid>("id").unwrap(), Uuid::from_u128(7));
        assert_eq!(full.get::<i64>("small").unwrap(), -3);
        assert!((full.get::<f64>("weight").unwrap() - 0.1).abs() < f64::EPSILON);
        assert!(full.get::<bool>("ready").unwrap());
        assert_eq!(full.get::<String>("name").unwrap(), "é\n\t\\N");
        let made_at = full.get::<OffsetDateTime>("made at").unwrap();
        assert_eq!(made_at, datetime!(2024-02-29 21:59:59.999999 UTC));
        assert_eq!(full.get::<Vec<u8>>("raw \"bytes\"").unwrap(), [0, 255]);
        assert_eq!(full.get::<String>("document").unwrap(), r#"{"cpu": 1.50}"#);
        for column in COLUMNS.into_iter().filter(|it| *it != "number") {
            assert_eq!(empty.get::<Value>(column).unwrap(), Value::Null, "{column}");
        }
    }

    async fn any_number_of_rows_goes_in(test: TestDatabase) {
        let database = with_table(&test, "30s").await;
        for many in [0, 1, 512, 250_001] {
            let mut transaction = database.begin().await.unwrap();
            let before = count_in(&mut transaction).await;
            assert_eq!(numbers(&mut transaction, (0..many).map(|it| it + 100)).await.unwrap(), many as u64);
            assert_eq!(count_in(&mut transaction).await, before + many);
            transaction.commit().await.unwrap();
        }
        let sum = Statement::read("item", "SELECT CAST(count(DISTINCT number) AS BIGINT) AS count FROM item");
        let row = database.query_optional(&sum, &[]).await.unwrap().unwrap();
        assert_eq!(row.get::<i64>("count").unwrap(), 250_001);
    }

    /// 160 MB go in.
    async fn memory_is_bounded(test: TestDatabase) {
        let database = with_table(&test, "30s").await;
        let mut transaction = database.begin().await.unwrap();
        let mut rows = transaction.insert_rows("item", &["name"], &[ValueType::Text]).await.unwrap();
        let (before, mut most) = (resident(), 0);
        for number in 0..40_000 {
            rows.push(&["x".repeat(4000).into()]).await.unwrap();
            if number % 1000 == 0 {
                most = most.max(resident());
            }
        }
        assert_eq!(rows.finish().await.unwrap(), 40_000);
        assert!(most < before + 60 * 1024, "{before} KiB before, at most {most} KiB");
    }

    async fn an_error_names_its_row(test: TestDatabase) {
        let database = with_table(&test, "30s").await;
        for bad in [0, 3, 70_000, 123_456] {
            let mut transaction = database.begin().await.unwrap();
            let given = (0..130_000).map(|it| if it == bad { 13 } else { 100 });
            let error = numbers(&mut transaction, given).await.unwrap_err();
            assert_eq!(error.kind(), DatabaseErrorKind::CheckViolation, "{error}");
            assert_eq!(error.row(), Some(u64::try_from(bad).unwrap()), "{error:?}");
            transaction.commit().await.unwrap_err();
        }
        for (place, value) in [(1, "1".into()), (0, 1_i64.into()), (8, Value::Text("{}".to_owned())), (8, Value::Json("{".to_owned()))] {
            let mut transaction = database.begin().await.unwrap();
            let mut rows = transaction.insert_rows("item", &COLUMNS, &TYPES).await.unwrap();
            rows.push(&item(1)).await.unwrap();
            let mut wrong = item(2);
            wrong[place] = value;
            let error = match rows.push(&wrong).await {
                Ok(()) => rows.finish().await.unwrap_err(),
                Err(error) => {
                    rows.push(&item(3)).await.unwrap_err();
                    rows.finish().await.unwrap_err();
                    error
                }
            };
            assert_eq!(error.row(), Some(1), "{error:?}");
            transaction.commit().await.unwrap_err();
        }
        let mut transaction = database.begin().await.unwrap();
        let mut rows = transaction.insert_rows("item", &COLUMNS, &TYPES).await.unwrap();
        assert_eq!(rows.push(&item(1)[..8]).await.unwrap_err().kind(), DatabaseErrorKind::Conversion);
        drop(transaction);
        assert_eq!(count(&database).await, 0);
    }

    async fn what_is_missing_is_told(test: TestDatabase) {
        let database = with_table(&test, "30s").await;
        let mut transaction = database.begin().await.unwrap();
        let error = match transaction.insert_rows("nowhere", &["number"], &[ValueType::Integer]).await {
            Ok(mut rows) => {
                rows.push(&[1_i64.into()]).await.unwrap();
                rows.finish().await.unwrap_err()
            }
            Err(error) => error,
        };
        assert_eq!(error.kind(), DatabaseErrorKind::UndefinedTable);
        transaction.commit().await.unwrap_err();
    }

    async fn what_is_not_finished_is_not_inserted(test: TestDatabase) {
        let database = with_table(&test, "30s").await;
        for many in [1, 50_000] {
            let mut transaction = database.begin().await.unwrap();
            let mut rows = transaction.insert_rows("item", &["number"], &[ValueType::Integer]).await.unwrap();
            for number in 100..100 + many {
                rows.push(&[Value::Integer(number)]).await.unwrap();
            }
            drop(rows);
            transaction.commit().await.unwrap_err();
            assert_eq!(count(&database).await, 0);
        }
        let mut transaction = database.begin().await.unwrap();
        assert_eq!(numbers(&mut transaction, 100..200).await.unwrap(), 100);
        drop(transaction);
        assert_eq!(count(&database).await, 0);
        let mut transaction = database.begin().await.unwrap();
        assert_eq!(numbers(&mut transaction, 100..200).await.unwrap(), 100);
        transaction.commit().await.unwrap();
        assert_eq!(count(&database).await, 100);
    }

    async fn a_slow_caller_has_no_limit_and_the_next_statement_has_one(test: TestDatabase) {
        let database = with_table(&test, "500ms").await;
        let mut transaction = database.begin().await.unwrap();
        let mut rows = transaction.insert_rows("item", &["number"], &[ValueType::Integer]).await.unwrap();
        rows.push(&[1_i64.into()]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1200)).await;
        rows.push(&[2_i64.into()]).await.unwrap();
        assert_eq!(rows.finish().await.unwrap(), 2);
        let endless = match database.backend() {
            Backend::Postgres => Statement::read("nothing", "SELECT pg_sleep(600)"),
            Backend::Sqlite => Statement::read("nothing", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) AS last FROM n"),
        };
        let error = transaction.query(&endless, &[]).await.unwrap_err();
        assert_eq!(error.kind(), DatabaseErrorKind::Timeout);
    }
}

/// What a request does may move from thread to thread.
#[tokio::test]
async fn it_can_be_spawned() {
    let test = TestDatabase::new(Backend::Sqlite).await;
    let database = with_table(&test, "30s").await;
    let inserted = tokio::spawn(async move {
        let mut transaction = database.begin().await?;
        let mut rows = transaction.insert_rows("item", &["number"], &[ValueType::Integer]).await?;
        rows.push(&[1_i64.into()]).await?;
        let count = rows.finish().await?;
        transaction.notify("items", "more").await?;
        transaction.commit().await.map(|()| count)
    });
    assert_eq!(inserted.await.unwrap().unwrap(), 1);
}

async fn count_in(transaction: &mut Transaction) -> i64 {
    transaction.query_optional(&COUNT, &[]).await.unwrap().unwrap().get("count").unwrap()
}

/// A table that somebody else holds keeps nobody waiting for ever.
#[tokio::test]
async fn a_locked_table_is_not_waited_for_without_end() {
    let test = TestDatabase::new(Backend::Postgres).await;
    let database = with_table(&test, "300ms").await;
    let mut other = test.connect().await;
    other.begin().await.unwrap();
    other.batch("LOCK TABLE item").await.unwrap();
    let mut transaction = database.begin().await.unwrap();
    let error = numbers(&mut transaction, 100..200).await.unwrap_err();
    assert_eq!(error.kind(), DatabaseErrorKind::Timeout, "{error}");
    drop(transaction);
    other.rollback().await.unwrap();
    let mut transaction = database.begin().await.unwrap();
    assert_eq!(numbers(&mut transaction, 100..200).await.unwrap(), 100);
    transaction.commit().await.unwrap();
}
