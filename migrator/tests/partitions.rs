//! The functions through which the service makes, detaches and drops partitions on PostgreSQL.

use foundation::database::{Backend, Connection, DatabaseErrorKind, Statement};
use foundation::testing::TestDatabase;

use crate::support::migrator;

async fn migrated() -> TestDatabase {
    let database = TestDatabase::new(Backend::Postgres).await;
    migrator(&database, &["up"]).await.ends(0);
    database
}

async fn integer(connection: &mut Connection, sql: &'static str) -> i64 {
    let sql = format!("SELECT CAST(({sql}) AS BIGINT) AS value");
    let statement = Statement::write("metrics_snapshot", "").with_sql(sql);
    connection.query_optional(&statement, &[]).await.unwrap().unwrap().get("value").unwrap()
}

async fn partitions(connection: &mut Connection) -> Vec<String> {
    let sql = "SELECT name || ' ' || to_char(lower_bound AT TIME ZONE 'UTC', 'DD HH24') || ' '
        || to_char(upper_bound AT TIME ZONE 'UTC', 'DD HH24') AS text
        FROM metrics_snapshot_partition WHERE bytes > 0 ORDER BY lower_bound";
    let rows = connection.query(&Statement::read("metrics_snapshot_partition", sql), &[]).await.unwrap();
    rows.iter().map(|row| row.get("text").unwrap()).collect()
}

const DAY: &str = "SELECT metrics_snapshot_ensure_partition('2026-01-02 00:00Z', '2026-01-03 00:00Z')";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_of_a_range_is_made() {
    let database = migrated().await;
    let mut connection = database.connect().await;
    // Neither the caller's time zone nor their search_path has a say.
    connection
        .batch("SET timezone = 'Asia/Kathmandu'; SET datestyle = 'German'; SET search_path = ''")
        .await
        .unwrap();
    let day = "SELECT public.metrics_snapshot_ensure_partition('2026-01-02 00:00Z', '2026-01-03 00:00Z')";
    assert_eq!(integer(&mut connection, day).await, 1);
    assert_eq!(integer(&mut connection, day).await, 0, "it is there");
    connection.batch("SET search_path = public").await.unwrap();
    connection.batch("RESET datestyle").await.unwrap();
    let hours = "SELECT metrics_snapshot_ensure_partition('2026-01-01 20:00Z', '2026-01-01 21:00Z')";
    assert_eq!(integer(&mut connection, hours).await, 1);
    let around = "SELECT metrics_snapshot_ensure_partition('2026-01-01 00:00Z', '2026-01-04 00:00Z')";
    assert_eq!(integer(&mut connection, around).await, 3, "what others do not have");
    assert_eq!(
        partitions(&mut connection).await,
        [
            "metrics_snapshot_20260101t0000 01 00 01 20",
            "metrics_snapshot_20260101t2000 01 20 01 21",
            "metrics_snapshot_20260101t2100 01 21 02 00",
            "metrics_snapshot_20260102t0000 02 00 03 00",
            "metrics_snapshot_20260103t0000 03 00 04 00",
        ]
    );
    connection
        .batch("INSERT INTO metrics_snapshot (timestamp, source, metric_type, metric_data) VALUES ('2026-01-01 20:59:59Z', 'a', 'cpu', '{}')")
        .await
        .unwrap();
    let beyond = "INSERT INTO metrics_snapshot (timestamp, source, metric_type, metric_data) VALUES ('2026-01-04Z', 'a', 'cpu', '{}')";
    let error = connection.batch(beyond).await.expect_err("there is no default partition");
    assert_eq!(error.kind(), DatabaseErrorKind::CheckViolation);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_makes_no_sense_is_refused() {
    let database = migrated().await;
    let mut connection = database.connect().await;
    for bounds in [
        "'2026-01-02Z', '2026-01-02Z'",
        "'2026-01-02Z', '2026-01-01Z'",
        "'2026-01-01 00:00:30Z', '2026-01-02Z'",
        "'2026-01-01Z', '2027-02-01Z'",
        "'2026-01-01Z', 'infinity'",
        "NULL, '2026-01-01Z'",
    ] {
        let sql = format!("SELECT metrics_snapshot_ensure_partition({bounds})");
        let error = connection.batch(&sql).await.expect_err(bounds);
        assert_eq!(error.sqlstate(), Some("22023"), "{bounds}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_come_together_make_it_once() {
    let database = migrated().await;
    let mut connections = Vec::new();
    for _ in 0..8 {
        connections.push(database.connect().await);
    }
    let asked =
        connections.into_iter().map(|mut it| tokio::spawn(async move { integer(&mut it, DAY).await }));
    let mut made = 0;
    for asked in asked.collect::<Vec<_>>() {
        made += asked.await.unwrap();
    }
    assert_eq!(made, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_detached_and_dropped_and_made_again() {
    let database = migrated().await;
    let mut connection = database.connect().await;
    let insert = "INSERT INTO metrics_snapshot (timestamp, source, metric_type, metric_data) VALUES ('2026-01-02 12:00Z', 'a', 'cpu', '{}')";
    let detach =
        "SELECT count(metrics_snapshot_detach_partition('2026-01-02 00:00Z', '2026-01-03 00:00Z', 500))";
    for _ in 0..2 {
        assert_eq!(integer(&mut connection, DAY).await, 1);
        connection.batch(insert).await.unwrap();
        assert_eq!(integer(&mut connection, detach).await, 1);
        assert_eq!(integer(&mut connection, "SELECT count(*) FROM metrics_snapshot").await, 0);
    }
    assert_eq!(integer(&mut connection, detach).await, 0, "there is none any more");
    let drop = "SELECT count(*) FROM metrics_snapshot_detached WHERE metrics_snapshot_drop_detached(name)";
    assert_eq!(integer(&mut connection, drop).await, 2);
    assert_eq!(integer(&mut connection, "SELECT count(*) FROM metrics_snapshot_detached").await, 0);
    let left = "SELECT count(*) FROM pg_class WHERE relname LIKE 'metrics_snapshot_detached_1%'";
    assert_eq!(integer(&mut connection, left).await, 0);
    assert_eq!(
        integer(&mut connection, "SELECT CAST(metrics_snapshot_drop_detached('users') AS integer)").await,
        0
    );
}

/// Everybody else waits behind the one who waits for this lock, so that is kept short.
#[tokio::test(flavor = "multi_thread")]
async fn detaching_gives_up_behind_a_reader() {
    let database = migrated().await;
    let (mut reader, mut connection) = (database.connect().await, database.connect().await);
    assert_eq!(integer(&mut connection, DAY).await, 1);
    reader.batch("BEGIN; SELECT count(*) FROM metrics_snapshot").await.unwrap();
    let detach = "SELECT metrics_snapshot_detach_partition('2026-01-02 00:00Z', '2026-01-03 00:00Z', 50)";
    let error = connection.batch(detach).await.expect_err("the reader is there");
    assert_eq!(error.kind(), DatabaseErrorKind::LockNotAvailable);
    // Making one waits for nobody.
    let next = "SELECT metrics_snapshot_ensure_partition('2026-01-03 00:00Z', '2026-01-04 00:00Z')";
    assert_eq!(integer(&mut connection, next).await, 1);
    reader.batch("COMMIT").await.unwrap();
    connection.batch(detach).await.unwrap();
}
