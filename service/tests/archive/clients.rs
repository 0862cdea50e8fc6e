//! Clients that write and read all the time while partitions go: none fails, none waits longer than a lock may.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use foundation::database::{Backend, Database, Row, Statement, Value};
use foundation::testing::{TestDatabase, database_settings, pooled};
use service::archive::Restore;
use service::domain::archive_runs::RunState;
use service::domain::partitions::{Range, Width};
use service::partitions::Partitions;

use super::restores::restored_event;
use super::world::{NOW, Rows, World, days_ago};

const CLIENTS: u64 = 20;

const LOCK_TIMEOUT: Duration = Duration::from_millis(200);

/// How long a statement may take beside that, on a machine that compiles other things at the same time.
const MARGIN: Duration = Duration::from_millis(800);

/// What a client does nothing between two rounds: twenty of them leave the machine to the run.
const PAUSE: Duration = Duration::from_millis(20);

const WRITE: Statement = Statement::write(
    "metrics_snapshot",
    "INSERT INTO metrics_snapshot (timestamp, source, metric_type, metric_data) VALUES ($1, 'client', 'now', $2)",
);
const READ: Statement = Statement::read(
    "metrics_snapshot",
    "SELECT id FROM metrics_snapshot WHERE metric_type = 'now' AND timestamp >= $1 AND timestamp < $2 \
     ORDER BY timestamp DESC LIMIT 100",
);

/// What the clients met.
#[derive(Default)]
struct Met {
    stop: AtomicBool,
    written: AtomicU64,
    read: AtomicU64,
    slowest: AtomicU64,
    /// Clients that have a connection: what it took to get one is not counted.
    ready: AtomicU64,
}

impl Met {
    fn took(&self, since: Instant) {
        let milliseconds = u64::try_from(since.elapsed().as_millis()).unwrap();
        self.slowest.fetch_max(milliseconds, Ordering::Relaxed);
    }
}

async fn client(database: Database, met: Arc<Met>, number: i64) {
    let held = database.begin().await.unwrap();
    met.ready.fetch_add(1, Ordering::Relaxed);
    while met.ready.load(Ordering::Relaxed) < CLIENTS {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    held.commit().await.unwrap();
    while !met.stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let time = days_ago(0) + time::Duration::seconds(number);
        let values = [time.into(), Value::Json("{\"v\":1}".to_owned())];
        database.execute(&WRITE, &values).await.expect("no write fails");
        met.took(begun);
        met.written.fetch_add(1, Ordering::Relaxed);
        let begun = Instant::now();
        database.query(&READ, &[days_ago(0).into(), days_ago(-1).into()]).await.expect("no read fails");
        met.took(begun);
        met.read.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
    }
}

/// What the test itself asks of millions of rows takes as long as it takes.
async fn unhurried(world: &World, sql: &str, values: &[Value]) -> Vec<Row> {
    let settings = database_settings([("DATABASE_STATEMENT_TIMEOUT", "30m")]);
    let database = Database::open(&world.test.url, &settings, "test").unwrap();
    let statement = Statement::write("test", "").with_sql(sql.to_owned());
    let rows = database.query(&statement, values).await.unwrap();
    database.close();
    rows
}

/// Fills days with a statement of the database: millions of rows in a minute or two.
async fn fill(world: &World, metric_type: &str, days: std::ops::Range<i64>, count: i64) {
    for day in days {
        Partitions::new(world.database.clone(), Width::DAY).ensure([days_ago(day)]).await.unwrap();
        let sql = "INSERT INTO metrics_snapshot (timestamp, source, metric_type, metric_data) \
                   SELECT CAST($1 AS timestamptz) + interval '86 milliseconds' * (i % 1000000), 'host-' || i % 50, CAST($2 AS text), \
                     jsonb_build_object('value', i, 'text', md5(CAST(i AS text))) \
                   FROM generate_series(1, $3::bigint) AS i";
        unhurried(world, sql, &[days_ago(day).into(), metric_type.into(), count.into()]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_notice_nothing_of_a_run() {
    let is_long = std::env::var_os("BEDPLATE_TEST_LONG").is_some();
    // Of five days everything goes, of the next two a part.
    let (whole, part) = if is_long { (900_000, 250_000) } else { (6_000, 3_000) };
    let world =
        World::with(TestDatabase::new(Backend::Postgres).await, &[("ARCHIVE_LOCK_TIMEOUT", "200ms")]).await;
    fill(&world, "cpu", 20..25, whole).await;
    fill(&world, "disk", 18..20, part).await;
    fill(&world, "kept", 18..20, 10).await;
    Partitions::new(world.database.clone(), Width::DAY).ensure([days_ago(0)]).await.unwrap();
    world.policy("cpu", 5, "archive", true).await;
    world.policy("disk", 5, "archive", true).await;
    let total = u64::try_from(whole * 5 + part * 2).unwrap();
    let before = if is_long { Rows::new() } else { world.table().await };
    let sum = checksum(&world).await;

    let met = Arc::new(Met::default());
    let pool = database_settings([("DATABASE_POOL_SIZE", "20")]);
    let url = pooled(&world.test.address).parse().unwrap();
    let pool = Database::open(&url, &pool, "clients").unwrap();
    let clients: Vec<_> = (0..CLIENTS.cast_signed())
        .map(|number| tokio::spawn(client(pool.clone(), met.clone(), number)))
        .collect();
    while met.read.load(Ordering::Relaxed) < CLIENTS {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let begun = Instant::now();
    let done = world.run(false).await;
    let took = begun.elapsed();
    met.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }

    assert_eq!((done.state, done.error), (RunState::Succeeded, None));
    assert_eq!((done.figures.rows_archived, done.figures.partitions_dropped), (total, 5));
    assert!(done.figures.bytes_freed > 0);
    let (slowest, written) = (met.slowest.load(Ordering::Relaxed), met.written.load(Ordering::Relaxed));
    eprintln!(
        "{total} rows archived in {took:?}; {written} writes, {} reads, none failed, the slowest statement took {slowest} ms, {} \
         bytes freed",
        met.read.load(Ordering::Relaxed),
        done.figures.bytes_freed
    );
    let count =
        world.query("SELECT COUNT(*) AS count FROM metrics_snapshot WHERE metric_type = 'now'", &[]).await;
    assert_eq!(count[0].get::<i64>("count").unwrap(), i64::try_from(written).unwrap());
    let in_files = world
        .query("SELECT CAST(SUM(rows) AS BIGINT) AS count FROM archive_file WHERE state = 'archived'", &[])
        .await;
    assert_eq!(in_files[0].get::<i64>("count").unwrap(), i64::try_from(total).unwrap());
    if !is_long {
        let archived: Rows = before.into_iter().filter(|(_, row)| row.2 != "kept").collect();
        assert_eq!(world.archived(&["archived"]).await, archived);
    }

    let begun = Instant::now();
    for name in ["cpu", "disk"] {
        let range = Range { lower: days_ago(30), upper: days_ago(10) };
        let asked = Restore { metric_type: name.to_owned(), range, until: NOW + time::Duration::DAY };
        world.archiving.restore(&asked, &restored_event()).await.unwrap().expect("nobody has the duty");
    }
    eprintln!("{total} rows restored in {:?}", begun.elapsed());
    assert_eq!(checksum(&world).await, sum, "exactly those rows are back");
    // Last: on a machine that does other things, a long run says all the rest all the same.
    assert!(Duration::from_millis(slowest) <= LOCK_TIMEOUT + MARGIN, "a client waited {slowest} ms");
}

/// How many rows there were before the clients came, and a number that stands for all they hold.
async fn checksum(world: &World) -> (i64, String) {
    let sql = "SELECT COUNT(*) AS count, CAST(SUM(CAST(hashtextextended(concat_ws('|', id, timestamp, source, metric_type, \
                 metric_data), 0) AS numeric)) AS text) AS sum FROM metrics_snapshot WHERE timestamp < $1";
    let row = unhurried(world, sql, &[days_ago(10).into()]).await.remove(0);
    (row.get("count").unwrap(), row.get("sum").unwrap())
}
