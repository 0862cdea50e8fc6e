//! Partitions are there when something is written, whoever makes them.

use std::time::Duration;

use foundation::clock::Clock;
use foundation::database::{Backend, Database, DatabaseError, Statement, Transaction};
use foundation::entropy::Entropy;
use foundation::on_both_databases;
use foundation::testing::{TestDatabase, eventually, pooled};
use service::domain::metrics_snapshots::NewSnapshot;
use service::domain::partitions::Width;
use service::leases::Leases;
use service::lifecycle::Lifecycle;
use service::partitions::{Ahead, Partitions};
use service::store::{metrics_snapshots, partitions};
use time::OffsetDateTime;
use time::macros::datetime;

use crate::support;
use crate::support::accounts::migrate;

const NOON: OffsetDateTime = datetime!(2026-01-31 12:00:00 UTC);

async fn write(database: &Database, time: OffsetDateTime) -> Result<(), DatabaseError> {
    let sql = "INSERT INTO metrics_snapshot (timestamp, source, metric_type, metric_data) VALUES ($1, 'a', 'cpu', '{}')";
    database.execute(&Statement::write("metrics_snapshot", sql), &[time.into()]).await.map(drop)
}

async fn copy(transaction: &mut Transaction, time: OffsetDateTime) -> Result<u64, DatabaseError> {
    let snapshot = NewSnapshot {
        timestamp: time,
        source: "a".to_owned(),
        metric_type: "cpu".to_owned(),
        metric_data: "{}".to_owned(),
    };
    metrics_snapshots::insert(transaction, &[snapshot]).await
}

async fn count(database: &Database) -> usize {
    match database.backend() {
        Backend::Postgres => partitions::list(database).await.unwrap().len(),
        Backend::Sqlite => 0,
    }
}

/// What the program says and ends with.
fn ensure(database: &TestDatabase, from: &str, to: &str) -> std::process::Output {
    let mut command = support::command(&database.folder);
    command.env("DATABASE_URL", pooled(&database.address));
    command.args(["partitions", "ensure", "--from", from, "--to", to]).output().unwrap()
}

on_both_databases! {
    async fn what_is_ensured_can_be_written(database: TestDatabase) {
        migrate(&database).await;
        let database = database.open();
        let partitions = Partitions::new(database.clone(), Width::DAY);
        let per_day = usize::from(database.backend() == Backend::Postgres);
        let times = [NOON, NOON + time::Duration::HOUR, NOON + time::Duration::DAY];
        let made = partitions.ensure(times).await.unwrap();
        assert_eq!(made, 2 * per_day as u64);
        for time in times {
            write(&database, time).await.unwrap();
        }
        assert_eq!(partitions.ensure(times).await.unwrap(), 0);
        let other = Partitions::new(database.clone(), Width::DAY);
        assert_eq!(other.ensure(times).await.unwrap(), 0, "another process finds them made");
        assert_eq!(count(&database).await, 2 * per_day);
    }

    async fn a_command_makes_those_of_a_range(database: TestDatabase) {
        migrate(&database).await;
        let pool = database.open();
        let is_postgres = pool.backend() == Backend::Postgres;
        for expected in ["partitions made: 3\n", "partitions made: 0\n"] {
            let output = ensure(&database, "2025-12-31", "2026-01-02T00:00:01Z");
            assert!(output.status.success(), "{output:?}");
            let said = String::from_utf8(output.stdout).unwrap();
            assert_eq!(said, if is_postgres { expected } else { "SQLite has no partitions: there is nothing to make\n" });
        }
        assert_eq!(count(&pool).await, if is_postgres { 3 } else { 0 });
        for (from, to, said) in [
            ("2026-01-02", "2026-01-01", "--from has to be before --to"),
            ("1990-01-01", "2090-01-01", "more than 10000 partitions"),
            ("yesterday", "2026-01-01", "expected a date"),
            ("1969-12-01", "1970-01-05", "no partitions before 1970-01-01"),
            ("2261-12-31", "2262-01-01T00:00:01Z", "none from 2262-01-01 on"),
        ] {
            let output = ensure(&database, from, to);
            assert_eq!(output.status.code(), Some(2), "{from} {output:?}");
            assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{said}: {output:?}");
        }
        for (from, to) in [("1970-01-01", "1970-01-02"), ("2261-12-31", "2262-01-01")] {
            assert!(ensure(&database, from, to).status.success(), "{from}");
        }
    }
}

#[tokio::test]
async fn a_database_without_migrations_is_told_so() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let output = ensure(&database, "2026-01-01", "2026-01-02");
    assert_eq!(output.status.code(), Some(65), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("run `migrator up` first"), "{output:?}");
}

/// Another process dropped what this one knows of.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_gone_is_made_again() {
    let database = TestDatabase::new(Backend::Postgres).await;
    migrate(&database).await;
    let database = database.open();
    let door = Partitions::new(database.clone(), Width::DAY);
    door.ensure([NOON]).await.unwrap();
    let range = partitions::list(&database).await.unwrap()[0].range;
    let mut transaction = database.begin().await.unwrap();
    let name = partitions::detach(&mut transaction, range, Duration::from_secs(1)).await.unwrap().unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(partitions::detached(&database).await.unwrap()[0].name, name);
    let error = write(&database, NOON).await.expect_err("it is gone");
    assert!(door.forget_after(&error), "{error:?}");
    // The same of rows that are copied.
    let mut transaction = database.begin().await.unwrap();
    let error = copy(&mut transaction, NOON).await.expect_err("it is gone");
    assert!(door.forget_after(&error), "{error:?}");
    drop(transaction);
    door.ensure([NOON]).await.unwrap();
    write(&database, NOON).await.unwrap();
    let wrong = "INSERT INTO metrics_snapshot (timestamp, source, metric_type, metric_data) VALUES ($1, '', 'cpu', '{}')";
    let wrong = database.execute(&Statement::write("metrics_snapshot", wrong), &[NOON.into()]).await;
    assert!(!door.forget_after(&wrong.expect_err("a rule")), "a rule that is broken is another thing");
    let mut transaction = database.begin().await.unwrap();
    assert!(partitions::drop_detached(&mut transaction, &name).await.unwrap());
    assert!(!partitions::drop_detached(&mut transaction, &name).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_published_table_can_be_deleted() {
    let database = TestDatabase::new(Backend::Postgres).await;
    migrate(&database).await;
    let database = database.open();
    database
        .execute(&Statement::write("publication", "CREATE PUBLICATION everything FOR ALL TABLES"), &[])
        .await
        .unwrap();
    Partitions::new(database.clone(), Width::DAY).ensure([NOON]).await.unwrap();
    write(&database, NOON).await.unwrap();
    let delete =
        Statement::write("metrics_snapshot", "DELETE FROM metrics_snapshot WHERE metric_type = 'cpu'");
    assert_eq!(database.execute(&delete, &[]).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_made_ahead_by_whoever_has_the_duty() {
    let database = TestDatabase::new(Backend::Postgres).await;
    migrate(&database).await;
    let database = database.open();
    for _ in 0..2 {
        let clock = Clock::fixed(NOON);
        let leases = Leases::new(database.clone(), &clock, &Entropy::system());
        let partitions = Partitions::new(database.clone(), Width::DAY);
        let ahead = Ahead { partitions, leases, clock, count: 3 };
        tokio::spawn(ahead.run(Lifecycle::default()));
    }
    eventually(Duration::from_secs(20), "today and three days ahead", || async {
        count(&database).await == 4
    })
    .await;
    let list = partitions::list(&database).await.unwrap();
    assert!(list[0].range.contains(NOON) && list[3].range.contains(NOON + time::Duration::days(3)));
}
