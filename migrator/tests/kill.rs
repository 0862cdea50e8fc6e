//! A migrator that is killed at any moment leaves a database from which the next one finishes.

use std::time::Duration;

use foundation::database::{Backend, Connection};
use foundation::testing::TestDatabase;
use tokio::time::Instant;

use crate::support::child;
use crate::support::{self, Run, backend, journal, library, texts, versions, write_files};

const MIGRATIONS: u32 = 30;

static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Several statements each, none of which can be run twice: tables, rows, and rebuilds under foreign keys.
fn migrations(backend: Backend) -> Vec<(String, String)> {
    let numbers =
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 2000) SELECT";
    let first = format!(
        "CREATE TABLE done (step bigint PRIMARY KEY);
         CREATE TABLE parent (id bigint PRIMARY KEY, note text NOT NULL);
         CREATE TABLE child (id bigint PRIMARY KEY, parent_id bigint NOT NULL REFERENCES parent (id) ON DELETE CASCADE, value bigint NOT NULL);
         INSERT INTO parent {numbers} n, 'note ' || n FROM numbers;
         INSERT INTO child {numbers} n, n, 0 FROM numbers;
         INSERT INTO done VALUES (1);"
    );
    let step = |number: u32| match (number % 3, backend) {
        (0, _) => format!(
            "UPDATE child SET value = value * 3 + {number};
             CREATE TABLE extra_{number} (id bigint PRIMARY KEY REFERENCES child (id));
             INSERT INTO extra_{number} SELECT id FROM child WHERE id <= {number};
             INSERT INTO done VALUES ({number});"
        ),
        (1, Backend::Sqlite) => format!(
            "CREATE TABLE parent_new (id bigint PRIMARY KEY, note text NOT NULL);
             INSERT INTO parent_new SELECT id, note || '.{number}' FROM parent;
             DROP TABLE parent;
             ALTER TABLE parent_new RENAME TO parent;
             INSERT INTO done VALUES ({number});"
        ),
        (1, Backend::Postgres) => format!(
            "ALTER TABLE parent ADD COLUMN c{number} bigint NOT NULL DEFAULT {number};
             UPDATE parent SET note = note || '.{number}';
             INSERT INTO done VALUES ({number});"
        ),
        _ => format!(
            "INSERT INTO child SELECT id + {number} * 1000, id, {number} FROM parent WHERE id <= 40;
             DELETE FROM child WHERE id > {number} * 1000 AND id % 2 = 0;
             INSERT INTO done VALUES ({number});"
        ),
    };
    let name = |number: u32| format!("V{number}__step");
    [(name(1), first)]
        .into_iter()
        .chain((2..=MIGRATIONS).map(|number| (name(number), step(number))))
        .collect()
}

/// The same, and some files outside of a transaction: indexes made, made anew and dropped concurrently, rows that
/// come once, and a table that is detached.
fn mixed_migrations() -> Vec<(String, String)> {
    let outside = |number: u32| {
        let (before, index) = (number.saturating_sub(3), format!("outside_{number}"));
        format!(
            "-- migrator: no-transaction
             SET lock_timeout = '10s';
             INSERT INTO done VALUES ({number});
             CREATE INDEX CONCURRENTLY {index} ON child (value, id);
             CREATE UNIQUE INDEX CONCURRENTLY {index}_unique ON child (id, value) WHERE value <> {number};
             UPDATE parent SET note = note || '.{number}' WHERE id <= 300;
             REINDEX INDEX CONCURRENTLY {index};
             DROP INDEX CONCURRENTLY IF EXISTS outside_{before};
             CREATE TABLE list_{number} (id bigint) PARTITION BY RANGE (id);
             CREATE TABLE list_{number}_all PARTITION OF list_{number} FOR VALUES FROM (0) TO (9);
             BEGIN;
             INSERT INTO list_{number} VALUES (1), (2);
             UPDATE child SET value = value + 1 WHERE id <= 100;
             COMMIT;
             ALTER TABLE list_{number} DETACH PARTITION list_{number}_all CONCURRENTLY;
             VACUUM parent;"
        )
    };
    let mut migrations = migrations(Backend::Postgres);
    for (number, migration) in (1..).zip(&mut migrations) {
        if number % 3 == 2 {
            migration.1 = outside(number);
        }
    }
    migrations
}

/// Everything that is in the tables, and which tables there are.
async fn contents(connection: &mut Connection, backend: Backend) -> Vec<String> {
    let tables = match backend {
        Backend::Postgres => {
            "SELECT relname::text AS it FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"
        }
        Backend::Sqlite => "SELECT name AS it FROM sqlite_schema WHERE type = 'table' ORDER BY 1",
    };
    let mut contents = texts(connection, tables).await.unwrap();
    for row in [
        "CAST(id AS text) || note AS it FROM parent",
        "CAST(id AS text) || ' ' || CAST(parent_id AS text) || ' ' || CAST(value AS text) AS it FROM child",
        "CAST(step AS text) AS it FROM done",
    ] {
        contents.extend(texts(connection, &format!("SELECT {row} ORDER BY 1")).await.unwrap());
    }
    if backend == Backend::Postgres {
        let catalog = "SELECT pg_get_indexdef(indexrelid) || ' ' || indisvalid || indisready AS it FROM pg_index
             WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
             UNION ALL SELECT inhparent::regclass || ' has ' || inhrelid::regclass FROM pg_inherits
             UNION ALL SELECT attrelid::regclass || '.' || attname || ' ' || atttypid::regtype || attnotnull FROM pg_attribute
             WHERE attnum > 0 AND attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p'))
             ORDER BY 1";
        contents.extend(texts(connection, catalog).await.unwrap());
    }
    contents
}

/// What the journal says of whole migrations.
async fn whole(connection: &mut Connection) -> Vec<String> {
    let unfinished = "SELECT 'statement of ' || name AS it FROM migrator_journal WHERE outcome = 'started'";
    assert_eq!(texts(connection, unfinished).await.unwrap(), Vec::<String>::new());
    let sql = "SELECT action || ' ' || CAST(version AS text) AS it FROM migrator_journal WHERE statement IS NULL ORDER BY id";
    texts(connection, sql).await.unwrap()
}

/// Always the same numbers from 0 to 1, so that a failure can be looked at again.
fn fractions() -> impl Iterator<Item = f64> {
    let mut state: u32 = 20_260_101;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 24)
    })
}

#[allow(
    clippy::disallowed_methods,
    reason = "it chooses how long the tests take, which is no setting of a program"
)]
fn moments(long: u32) -> u32 {
    if std::env::var_os("BEDPLATE_TEST_LONG").is_some() { long } else { 5 }
}

async fn survives_kills(backend_of_test: Backend, migrations: &[(String, String)], moments: u32) {
    let files: Vec<(&str, &str)> =
        migrations.iter().map(|(name, sql)| (name.as_str(), sql.as_str())).collect();
    let folder = tempfile::tempdir().unwrap();
    write_files(folder.path(), backend_of_test, &files);
    let all: Vec<String> = (1..=MIGRATIONS).map(|number| number.to_string()).collect();
    let each_once: Vec<String> = all.iter().map(|version| format!("up {version}")).collect();

    // Runs beside each other would take longer than the one that is killed later.
    let _alone = ALONE.lock().await;
    let mut duration = Duration::MAX;
    let mut expected = Vec::new();
    for _ in 0..2 {
        let undisturbed = TestDatabase::new(backend_of_test).await;
        let started = Instant::now();
        Run::of(child::up_command(&undisturbed, folder.path(), &[])).await.ends(0);
        duration = duration.min(started.elapsed());
        expected = contents(&mut undisturbed.connect().await, backend_of_test).await;
    }

    let mut halfway = 0;
    for (number, fraction) in (0..moments).zip(fractions()) {
        let moment = duration.mul_f64((f64::from(number) + fraction) / f64::from(moments));
        let database = TestDatabase::new(backend_of_test).await;
        let mut child = child::up_command(&database, folder.path(), &[]).spawn().unwrap();
        tokio::time::sleep(moment).await;
        child.start_kill().unwrap();
        child.wait().await.unwrap();

        let mut connection = database.connect().await;
        if backend_of_test == Backend::Postgres && number % 2 == 1 {
            // The machine is gone with its server: what it did is not brought to an end either.
            let gone = "SELECT pg_terminate_backend(pid)::text AS it FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name LIKE 'bedplate-migrator%'";
            texts(&mut connection, gone).await.unwrap();
        }
        // The server needs a moment to notice, and that is the next migrator's business too.
        let report = library(&database, &files).up(None).await;
        let report = report.unwrap_or_else(|error| panic!("killed after {moment:?}: {error}"));
        halfway += u32::from((1..files.len()).contains(&report.applied.len()));
        assert_eq!(versions(&mut connection).await, all, "killed after {moment:?}");
        assert_eq!(whole(&mut connection).await, each_once, "killed after {moment:?}");
        assert!(contents(&mut connection, backend(&database)).await == expected, "killed after {moment:?}");
    }
    println!(
        "{moments} kills within {duration:?}, {halfway} of them between the first and the last migration"
    );
    assert!(moments < 20 || halfway > moments / 4, "too few of the {moments} kills met a run: {halfway}");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_random_moments_on_postgresql() {
    survives_kills(Backend::Postgres, &migrations(Backend::Postgres), moments(50)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_random_moments_outside_of_transactions() {
    survives_kills(Backend::Postgres, &mixed_migrations(), moments(200)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_random_moments_on_sqlite() {
    survives_kills(Backend::Sqlite, &migrations(Backend::Sqlite), moments(50)).await;
}

/// In the middle of a statement, and the server is busy with it still.
#[tokio::test(flavor = "multi_thread")]
async fn in_the_middle_of_a_statement() {
    let _alone = ALONE.lock().await;
    let database = TestDatabase::new(Backend::Postgres).await;
    let folder = tempfile::tempdir().unwrap();
    let slow =
        [("V1__slow", "CREATE TABLE slow (id bigint);\nSELECT pg_sleep(1.5);\nINSERT INTO slow VALUES (1);")];
    write_files(folder.path(), Backend::Postgres, &slow);
    let mut child = child::up_command(&database, folder.path(), &[]).spawn().unwrap();
    let mut connection = database.connect().await;
    foundation::testing::eventually(Duration::from_secs(10), "it sleeps", async || {
        let mut observer = database.connect().await;
        support::count(
            &mut observer,
            "pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()",
        )
        .await
            == 1
    })
    .await;
    child.start_kill().unwrap();
    child.wait().await.unwrap();
    library(&database, &slow).up(None).await.unwrap();
    assert_eq!(support::count(&mut connection, "slow").await, 1);
    assert_eq!(journal(&mut connection).await, ["up 1"]);
}
