//! A database with snapshots, policies and an archive.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foundation::clock::Clock;
use foundation::database::{Backend, Database, Row, Statement, Value, ValueType};
use foundation::entropy::Entropy;
use foundation::settings::{Environment, FoundationSettings, Section as _};
use foundation::testing::TestDatabase;
use service::archive::objects::Objects;
use service::archive::reader::{FileReader, verify};
use service::archive::{Archiving, Asked};
use service::domain::archive_files::Contents;
use service::domain::archive_runs::{ArchiveRun, RunReason, RunState};
use service::domain::live::Live;
use service::domain::partitions::Width;
use service::leases::Leases;
use service::lifecycle::Lifecycle;
use service::live_settings::LiveSettings;
use service::partitions::Partitions;
use service::prometheus::RetentionMetrics;
use service::settings::{ArchiveSettings, AuthSettings};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::accounts::migrate;

/// The time of every test.
pub const NOW: OffsetDateTime = datetime!(2026-03-31 12:30 UTC);

/// Midnight so many days before today.
pub fn days_ago(days: i64) -> OffsetDateTime {
    datetime!(2026-03-31 0:00 UTC) - Duration::days(days)
}

/// A row: its time, source, type and document.
pub type Rows = BTreeMap<i64, (OffsetDateTime, String, String, String)>;

pub struct World {
    pub test: TestDatabase,
    pub database: Database,
    pub archiving: Archiving,
}

impl World {
    pub async fn start(test: TestDatabase) -> Self {
        Self::with(test, &[]).await
    }

    pub async fn with(test: TestDatabase, variables: &[(&str, &str)]) -> Self {
        migrate(&test).await;
        let database = test.open();
        let archiving = archiving(&test, &database, Clock::fixed(NOW), variables);
        Self { test, database, archiving }
    }

    /// The same, at another time.
    pub fn at(&self, now: OffsetDateTime) -> Archiving {
        Archiving { clock: Clock::fixed(now), ..self.archiving.clone() }
    }

    /// Sees to it that no service begins a run by itself, whatever hour it is.
    pub async fn is_not_the_hour(&self) {
        let another = (Clock::system().now().hour() + 12) % 24;
        let sql = "UPDATE config SET value = $1, version = version + 1 WHERE key = 'archive.run_hour'";
        assert_eq!(self.execute(sql, &[Value::Json(another.to_string())]).await, 1);
    }

    pub async fn execute(&self, sql: &str, values: &[Value]) -> u64 {
        let statement = Statement::write("test", "").with_sql(sql.to_owned());
        self.database.execute(&statement, values).await.unwrap()
    }

    pub async fn query(&self, sql: &str, values: &[Value]) -> Vec<Row> {
        let statement = Statement::write("test", "").with_sql(sql.to_owned());
        self.database.query(&statement, values).await.unwrap()
    }

    pub async fn policy(&self, metric_type: &str, days: i64, action: &str, is_enabled: bool) {
        let id = Entropy::system().uuid_v7(NOW);
        let values = [id.into(), metric_type.into(), days.into(), action.into(), is_enabled.into()];
        self.execute("DELETE FROM archive_policy WHERE metric_type = $1", &[metric_type.into()]).await;
        let sql = "INSERT INTO archive_policy (id, metric_type, retention_days, action, is_enabled) VALUES \
                   ($1, $2, CAST(CAST($3 AS BIGINT) AS INTEGER), $4, $5)";
        self.execute(sql, &values).await;
    }

    /// Inserts `count` rows of a type on each of these days, evenly over the day, some at the same time.
    pub async fn fill(&self, metric_type: &str, days: impl IntoIterator<Item = i64>, count: i32) {
        for day in days {
            let from = days_ago(day);
            Partitions::new(self.database.clone(), Width::DAY).ensure([from]).await.unwrap();
            let mut transaction = self.database.begin().await.unwrap();
            let columns = ["timestamp", "source", "metric_type", "metric_data"];
            let types = [ValueType::Timestamp, ValueType::Text, ValueType::Text, ValueType::Json];
            let mut rows = transaction.insert_rows("metrics_snapshot", &columns, &types).await.unwrap();
            for index in 0..count {
                let time = from + Duration::DAY / count * (index - index % 2);
                // What is between the parts of a document is not kept by PostgreSQL.
                let document =
                    format!("{{\"v\":{index}.10,\n \"text\": \"a\\nb\", \"list\": [1e3, null, {day}]}}");
                let source = format!("host-{}", index % 3);
                rows.push(&[time.into(), source.into(), metric_type.into(), Value::Json(document)])
                    .await
                    .unwrap();
            }
            rows.finish().await.unwrap();
            transaction.commit().await.unwrap();
        }
    }

    /// Everything in the table.
    pub async fn table(&self) -> Rows {
        rows(
            &self
                .query("SELECT id, timestamp, source, metric_type, metric_data FROM metrics_snapshot", &[])
                .await,
        )
    }

    /// Everything in the table, and in what was taken out of it and is still there.
    pub async fn table_with_detached(&self) -> Rows {
        let mut all = self.table().await;
        if self.is_postgres() {
            for row in self.query("SELECT name FROM metrics_snapshot_detached", &[]).await {
                let name: String = row.get("name").unwrap();
                let sql = format!("SELECT id, timestamp, source, metric_type, metric_data FROM {name}");
                all.extend(rows(&self.query(&sql, &[]).await));
            }
        }
        all
    }

    pub async fn objects(&self) -> Objects {
        Objects::open(self.archiving.place.as_ref().unwrap(), None).await.unwrap()
    }

    /// Everything in verified files; a row that is in two fails the test. `states`: of files in these states.
    pub async fn archived(&self, states: &[&str]) -> Rows {
        let objects = self.objects().await;
        let mut archived = Rows::new();
        for row in self.query("SELECT location, state, rows, bytes, sha256 FROM archive_file", &[]).await {
            let (location, state): (String, String) =
                (row.get("location").unwrap(), row.get("state").unwrap());
            if !states.contains(&state.as_str()) {
                continue;
            }
            let number = |name: &str| u64::try_from(row.get::<i64>(name).unwrap()).unwrap();
            let sha256: Vec<u8> = row.get("sha256").unwrap();
            let contents = Contents {
                rows: number("rows"),
                bytes: number("bytes"),
                sha256: sha256.try_into().unwrap(),
                first_at: None,
                last_at: None,
            };
            let verified = verify(&objects, &location, &contents).await.unwrap();
            let mut reader = FileReader::open(&objects, &verified).unwrap();
            let mut read = 0;
            loop {
                let rows = reader.next_rows(100).await.unwrap();
                if rows.is_empty() {
                    break;
                }
                for row in rows {
                    read += 1;
                    let document = row.metric_data.get().to_owned();
                    let before =
                        archived.insert(row.id, (row.timestamp, row.source, row.metric_type, document));
                    assert!(before.is_none(), "the row {} is in two archives", row.id);
                }
            }
            assert_eq!(row.get::<i64>("rows").unwrap(), read, "{location}");
        }
        archived
    }

    /// The states of the files.
    pub async fn states(&self) -> BTreeSet<String> {
        let rows = self.query("SELECT DISTINCT state FROM archive_file", &[]).await;
        rows.iter().map(|row| row.get("state").unwrap()).collect()
    }

    /// A run of its own process's kind, to its end.
    pub async fn run(&self, is_dry_run: bool) -> ArchiveRun {
        run(&self.archiving, is_dry_run).await
    }

    pub fn is_postgres(&self) -> bool {
        self.database.backend() == Backend::Postgres
    }
}

/// A file that was archived before all others: it shows that the place is the right one.
pub async fn archived_before(world: &World) -> Uuid {
    world.fill("before", [30], 1).await;
    world.policy("before", 5, "archive", true).await;
    let done = run(&world.at(NOW - Duration::hours(1)), false).await;
    assert_eq!((done.state, done.error), (RunState::Succeeded, None));
    world.query("SELECT id FROM archive_file", &[]).await.remove(0).get("id").unwrap()
}

pub async fn run(archiving: &Archiving, is_dry_run: bool) -> ArchiveRun {
    let asked = Asked { reason: RunReason::CommandLine, requested_by: None, is_dry_run, unless_since: None };
    let run = archiving.begin(&asked, |_| None).await.unwrap().expect("nobody else has the duty");
    run.work(&Lifecycle::default()).await
}

pub fn rows(rows: &[Row]) -> Rows {
    let row = |row: &Row| {
        let document: String = row.get("metric_data").unwrap();
        let facts = (
            row.get("timestamp").unwrap(),
            row.get("source").unwrap(),
            row.get("metric_type").unwrap(),
            document.replace('\n', " "),
        );
        (row.get("id").unwrap(), facts)
    };
    rows.iter().map(row).collect()
}

/// What runs stand on, with an archive in the test's folder.
pub fn archiving(
    test: &TestDatabase,
    database: &Database,
    clock: Clock,
    variables: &[(&str, &str)],
) -> Archiving {
    let place = format!("file://{}", test.folder.path().join("archive").display());
    let defaults = [("DATABASE_URL", test.address.as_str()), ("ARCHIVE_URL", place.as_str())];
    let defaults = defaults.into_iter().filter(|(name, _)| variables.iter().all(|(it, _)| it != name));
    let mut environment = Environment::from_pairs(defaults.chain(variables.iter().copied()));
    let foundation = FoundationSettings::read(&mut environment);
    let auth = AuthSettings::read(&mut environment);
    let (settings, place) = ArchiveSettings::read_with_place(&mut environment, &foundation);
    environment.finish().unwrap();
    let entropy = Entropy::system();
    Archiving {
        leases: Leases::new(database.clone(), &clock, &entropy),
        live: LiveSettings::fixed(Live::defaults(&auth, None)),
        metrics: RetentionMetrics::default(),
        width: Width::DAY,
        settings: Arc::new(settings),
        place,
        database: database.clone(),
        clock,
        entropy,
    }
}
