//! A question about a day touches that day alone and is answered by an index, whatever else there is: the
//! plans of both databases say so.

use foundation::database::{Backend, Database, Statement, Value};
use foundation::on_both_databases;
use foundation::testing::TestDatabase;
use futures_util::StreamExt as _;
use service::domain::aggregates::{Aggregation, Figure, Path, Step};
use service::domain::metrics_snapshots::{Order, Position, SeriesFilter, SeriesKey, SnapshotFilter};
use service::domain::partitions::Width;
use service::partitions::Partitions;
use service::store::layout::Layout;
use service::store::{aggregates, metrics_series, metrics_snapshots};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use crate::metrics_support::migrate;

const BEGIN: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);
const DAYS: i64 = 10;
const PER_DAY: i64 = 10_000;

/// Four types of ten sources.
async fn fill(test: &TestDatabase, database: &Database) {
    let partitions = Partitions::new(database.clone(), Width::DAY);
    partitions.ensure_between(BEGIN, BEGIN + Duration::days(DAYS)).await.unwrap();
    let count = DAYS * PER_DAY;
    let sql = match database.backend() {
        Backend::Postgres => format!(
            "INSERT INTO metrics_snapshot (timestamp, source, metric_type, metric_data) \
             SELECT timestamptz '2026-01-01T00:00:00Z' + n * interval '8.64 s', 'host-' || (n / 4 % 10), 'type-' || (n % 4), \
               CAST('{{\"value\":1}}' AS jsonb) FROM generate_series(0, {count} - 1) AS n; ANALYZE metrics_snapshot"
        ),
        Backend::Sqlite => format!(
            "WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count} - 1) \
             INSERT INTO metrics_snapshot (timestamp, source, metric_type, metric_data) \
             SELECT {} + n * 8640000, 'host-' || (n / 4 % 10), 'type-' || (n % 4), '{{\"value\":1}}' FROM numbers; ANALYZE",
            BEGIN.unix_timestamp() * 1_000_000
        ),
    };
    test.connect().await.batch(&sql).await.unwrap();
}

/// The plan of a statement, and on PostgreSQL what really ran.
async fn plan(database: &Database, statement: &Statement, values: &[Value]) -> String {
    let (statement, column) = explained(database, statement);
    let rows = database.query(&statement, values).await.unwrap();
    rows.iter().map(|row| row.get::<String>(column).unwrap() + "\n").collect()
}

/// The same of one whose rows are streamed.
async fn plan_of_stream(database: &Database, statement: &Statement, values: &[Value]) -> String {
    let (statement, column) = explained(database, statement);
    let rows = database.query_stream(&statement, values).await.unwrap();
    rows.map(|row| row.unwrap().get::<String>(column).unwrap() + "\n").collect().await
}

fn explained(database: &Database, statement: &Statement) -> (Statement, &'static str) {
    let (words, column) = match database.backend() {
        Backend::Postgres => ("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF)", "QUERY PLAN"),
        Backend::Sqlite => ("EXPLAIN QUERY PLAN", "detail"),
    };
    (Statement::read("metrics_snapshot", "").with_sql(format!("{words} {}", statement.sql())), column)
}

/// The partitions that a plan names.
fn partitions(plan: &str) -> Vec<String> {
    let words = plan.split(|it: char| !it.is_ascii_alphanumeric() && it != '_');
    let mut names: Vec<String> =
        words.filter(|it| it.starts_with("metrics_snapshot_20")).map(|it| it[..25].to_owned()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn check_day(backend: Backend, what: &str, plan: &str, day: &str) {
    match backend {
        Backend::Postgres => {
            assert_eq!(partitions(plan), [format!("metrics_snapshot_{day}")], "{what}:\n{plan}");
            assert!(!plan.contains("Seq Scan"), "{what}:\n{plan}");
        }
        Backend::Sqlite => {
            assert!(plan.contains("USING INDEX idx_metrics_type_"), "{what}:\n{plan}");
            assert!(plan.contains("timestamp>"), "{what}:\n{plan}");
        }
    }
    assert!(!plan.contains("TEMP B-TREE"), "{what}:\n{plan}");
    // PostgreSQL may sort the few that one source has in a day, and the buckets of an aggregate; a page of its
    // index alone has its order, and a stream needs no more than those of the same time at once.
    match what {
        "page" => assert!(!plan.contains("Sort"), "{what}:\n{plan}"),
        "stream" => {
            assert!(!plan.replace("Incremental Sort (", "").contains("Sort ("), "{what}:\n{plan}");
        }
        _ => {}
    }
}

on_both_databases! {
    async fn a_day_is_read_from_its_partition_by_an_index(test: TestDatabase) {
        migrate(&test).await;
        let database = test.open();
        let backend = database.backend();
        fill(&test, &database).await;
        let (from, to) = (BEGIN + Duration::days(7), BEGIN + Duration::days(8));
        let after = Position { timestamp: from + Duration::hours(3), id: 70_000 };
        for source in [None, Some("host-3".to_owned())] {
            let filter = SnapshotFilter {
                metric_type: "type-1".to_owned(), source: source.clone(), from: Some(from), to: Some(to),
            };
            for order in [Order::NewestFirst, Order::OldestFirst] {
                for after in [None, Some(after)] {
                    let of_all = filter.source.is_none();
                    let page = metrics_snapshots::Query::by_time(&filter, order, after, Some(10));
                    let stream = metrics_snapshots::Query::new(&filter, order, after, None);
                    for (what, plan) in [
                        ("page", plan(&database, &page.statement, &page.values).await),
                        ("stream", plan_of_stream(&database, &stream.statement, &stream.values).await),
                    ] {
                        check_day(backend, if of_all { what } else { "of a source" }, &plan, "20260108");
                        // What is behind a place is found by it, not by going there.
                        assert!(!plan.contains("Rows Removed by Filter"), "{order:?} {after:?}:\n{plan}");
                    }
                }
            }
            let aggregation = Aggregation {
                metric_type: "type-1".to_owned(),
                source,
                from,
                to,
                step: Step::parse("1h").unwrap(),
                paths: vec![Path::parse("value").unwrap(), Path::parse("disks.0.used").unwrap()],
                figures: Figure::ALL.to_vec(),
            };
            if backend == Backend::Postgres {
                let (statement, values) = aggregates::postgres(&aggregation, Layout::Whole);
                check_day(backend, "aggregate", &plan(&database, &statement, &values).await, "20260108");
            }
            assert_eq!(aggregates::buckets(&database, &aggregation, Layout::Whole, 1_000_000).await.unwrap().len(), 24);
        }
    }

    /// Where the database does not sort them, they are in memory.
    async fn percentiles_of_too_many_numbers_are_refused(test: TestDatabase) {
        migrate(&test).await;
        let database = test.open();
        Partitions::new(database.clone(), Width::DAY).ensure([BEGIN]).await.unwrap();
        let insert = "INSERT INTO metrics_snapshot (timestamp, source, metric_type, metric_data) VALUES ($1, 'a', 'cpu', '{\"value\": 1}')";
        for second in 0..12 {
            let time = BEGIN + Duration::seconds(second);
            database.execute(&Statement::write("metrics_snapshot", insert), &[time.into()]).await.unwrap();
        }
        let mut aggregation = Aggregation {
            metric_type: "cpu".to_owned(),
            source: None,
            from: BEGIN,
            to: BEGIN + Duration::hours(1),
            step: Step::parse("1m").unwrap(),
            paths: vec![Path::parse("value").unwrap()],
            figures: vec![Figure::Avg, Figure::P95],
        };
        assert_eq!(aggregates::buckets(&database, &aggregation, Layout::Whole, 12).await.unwrap().len(), 1);
        let refused = aggregates::buckets(&database, &aggregation, Layout::Whole, 11).await;
        assert!(matches!(refused, Err(aggregates::AggregateError::TooManyNumbers(_))), "{refused:?}");
        aggregation.step = Step::parse("6s").unwrap();
        assert_eq!(aggregates::buckets(&database, &aggregation, Layout::Whole, 11).await.unwrap().len(), 2, "of one bucket");
        (aggregation.step, aggregation.figures) = (Step::parse("1m").unwrap(), vec![Figure::Avg, Figure::Max]);
        assert_eq!(aggregates::buckets(&database, &aggregation, Layout::Whole, 11).await.unwrap().len(), 1, "nothing is sorted");
    }

    async fn the_newest_are_found_without_the_old(test: TestDatabase) {
        migrate(&test).await;
        let database = test.open();
        fill(&test, &database).await;
        let filter = SnapshotFilter { metric_type: "type-1".to_owned(), source: None, from: None, to: None };
        let query = metrics_snapshots::Query::by_time(&filter, Order::NewestFirst, None, Some(10));
        let plan = plan(&database, &query.statement, &query.values).await;
        if database.backend() == Backend::Postgres {
            let ran: Vec<&str> = plan.lines().filter(|it| it.contains("Scan") && !it.contains("never executed")).collect();
            // The last two days: of the day after the last there is an empty partition.
            assert!(ran.len() <= 2, "{plan}");
        }
        assert!(!plan.contains("Sort") && !plan.contains("TEMP B-TREE"), "{plan}");
    }

    async fn series_are_found_by_their_key(test: TestDatabase) {
        migrate(&test).await;
        let database = test.open();
        let backend = database.backend();
        fill(&test, &database).await;
        let after = SeriesKey { metric_type: "type-2".to_owned(), source: "host-8".to_owned() };
        for after in [None, Some(&after)] {
            for query in [
                metrics_series::Query::series(backend, &SeriesFilter::default(), after, 1000),
                metrics_series::Query::latest(backend, &SeriesFilter::default(), after, 1000),
            ] {
                let plan = plan(&database, &query.statement, &query.values).await;
                match backend {
                    Backend::Postgres => {
                        assert!(!plan.contains("Seq Scan"), "{plan}");
                        // From one series to the next goes one row of each partition: at most those for each of
                        // the 40, and for each of the four types its first and its end. The latest of a series
                        // is known to be it by the one before.
                        for line in plan.lines().filter(|it| it.contains("Scan using") && it.contains("rows=")) {
                            let rows = line.rsplit("rows=").next().unwrap().split(' ').next().unwrap();
                            // An average, which PostgreSQL tells with a fraction since 18.
                            assert!(rows.parse::<f64>().unwrap().round() <= 2.0, "{line}\n{plan}");
                        }
                    }
                    Backend::Sqlite => {
                        let scans: Vec<&str> = plan.lines().filter(|it| it.starts_with("SCAN ")).collect();
                        assert!(scans.iter().all(|it| *it == "SCAN series" || *it == "SCAN CONSTANT ROW"), "{plan}");
                    }
                }
                let rows = metrics_series::rows(&database, &query).await.unwrap();
                assert_eq!(rows.len(), if after.is_some() { 11 } else { 40 });
            }
        }
    }
}
