//! Partitions on PostgreSQL: taken out while others work, and finished after a run that was killed.

use foundation::clock::Clock;
use foundation::database::{Backend, Database};
use foundation::entropy::Entropy;
use foundation::settings::Environment;
use foundation::testing::{TestDatabase, database_settings, eventually, maintenance, pooled, unique_name};
use migrator::Migrator;
use migrator::stop::Stop;
use service::archive::{Restore, Restored};
use service::domain::archive_runs::{ArchiveRun, RunState};
use service::domain::partitions::{Range, Width};
use service::partitions::Partitions;
use service::store;
use time::Duration;

use super::restores::restored_event;
use super::world::{NOW, Rows, World, archiving, days_ago, run};

/// How long anything may take before a test calls it broken.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(20);

async fn world() -> World {
    World::start(TestDatabase::new(Backend::Postgres).await).await
}

fn succeeded(run: &ArchiveRun) {
    assert_eq!((run.state, run.error.as_deref()), (RunState::Succeeded, None), "{run:?}");
}

pub async fn detach(world: &World, day: i64) {
    let values = [days_ago(day).into(), days_ago(day - 1).into()];
    let row = world
        .query("SELECT metrics_snapshot_detach_partition($1, $2, 1000) AS name", &values)
        .await
        .remove(0);
    assert!(row.get::<Option<String>>("name").unwrap().is_some());
}

pub async fn detached(world: &World) -> usize {
    world.query("SELECT name FROM metrics_snapshot_detached", &[]).await.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_run_took_out_is_archived_or_put_back() {
    let world = world().await;
    for name in ["archived", "deleted", "kept"] {
        world.fill(name, [20, 21], 300).await;
    }
    let all = world.table().await;
    world.policy("archived", 5, "archive", true).await;
    world.policy("deleted", 5, "delete", true).await;
    // As a run does whose policy for the third was taken away after it was killed.
    detach(&world, 20).await;
    detach(&world, 21).await;
    // A late row made its partition anew.
    world.fill("kept", [20], 2).await;
    let late = world.table().await;
    assert_eq!(late.len(), 2);
    let done = world.run(false).await;
    succeeded(&done);
    assert_eq!((done.figures.rows_archived, done.figures.rows_deleted), (600, 600));
    assert_eq!((done.figures.partitions_dropped, detached(&world).await), (2, 0));
    assert!(done.figures.bytes_freed > 0);
    let kept: Rows = all.clone().into_iter().filter(|(_, row)| row.2 == "kept").chain(late).collect();
    assert_eq!(world.table().await, kept);
    let archived: Rows = all.into_iter().filter(|(_, row)| row.2 == "archived").collect();
    assert_eq!(world.archived(&["archived"]).await, archived);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_verified_before_the_kill_is_not_archived_twice() {
    let world = world().await;
    world.fill("cpu", [20], 300).await;
    world.fill("disk", [20], 300).await;
    let all = world.table().await;
    world.policy("*", 5, "archive", true).await;
    succeeded(&world.run(false).await);
    // As if it had been killed after the first of the two files was verified.
    let lower = days_ago(20);
    world
        .query(
            "SELECT metrics_snapshot_ensure_partition($1, $2)",
            &[lower.into(), (lower + Duration::DAY).into()],
        )
        .await;
    let mut transaction = world.database.begin().await.unwrap();
    for (id, row) in &all {
        let statement = foundation::database::Statement::write(
            "test",
            "INSERT INTO metrics_snapshot (id, timestamp, source, metric_type, metric_data) VALUES ($1, $2, $3, $4, $5)",
        );
        let document = foundation::database::Value::Json(row.3.clone());
        let values = [(*id).into(), row.0.into(), row.1.as_str().into(), row.2.as_str().into(), document];
        transaction.execute(&statement, &values).await.unwrap();
    }
    transaction.commit().await.unwrap();
    detach(&world, 20).await;
    world.execute("DELETE FROM archive_file WHERE metric_type = 'disk'", &[]).await;
    let name = "(SELECT name FROM metrics_snapshot_detached)";
    world.execute(&format!("UPDATE archive_file SET state = 'verified', detached = {name}"), &[]).await;
    // And its policy is another one since.
    world.policy("cpu", 5, "delete", true).await;
    let done = world.run(false).await;
    succeeded(&done);
    assert_eq!((detached(&world).await, world.table().await), (0, Rows::new()));
    assert_eq!(world.archived(&["archived"]).await, all);
    assert_eq!(done.figures.rows_archived, 600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_in_a_detached_partition_is_no_part_of_a_restore() {
    let world = world().await;
    world.fill("cpu", [20], 30).await;
    world.policy("cpu", 5, "archive", true).await;
    let all = world.table().await;
    detach(&world, 20).await;
    let range = Range { lower: days_ago(20), upper: days_ago(19) };
    let asked = Restore { metric_type: "cpu".to_owned(), range, until: NOW + Duration::days(2) };
    let error = world.archiving.restore(&asked, &restored_event()).await.unwrap_err();
    assert!(error.to_string().starts_with("a run was interrupted"), "{error}");
    let other = Restore { metric_type: "disk".to_owned(), ..asked.clone() };
    let none = Some(Restored::default());
    assert_eq!(world.archiving.restore(&other, &restored_event()).await.unwrap(), none);
    succeeded(&world.run(false).await);
    let done = world.archiving.restore(&asked, &restored_event()).await.unwrap().unwrap();
    assert_eq!((done.inserted, world.table().await), (30, all));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_others_use_all_the_time_is_left_for_the_next_run() {
    let world = world().await;
    world.fill("cpu", [20, 21], 300).await;
    world.policy("cpu", 5, "delete", true).await;
    let mut reader = world.test.connect().await;
    reader.batch("BEGIN; SELECT COUNT(*) FROM metrics_snapshot").await.unwrap();
    let done = world.run(false).await;
    assert_eq!(done.state, RunState::Failed);
    assert!(done.error.as_deref().is_some_and(|it| it.contains("others used")), "{done:?}");
    assert_eq!(world.table().await.len(), 600);
    reader.batch("COMMIT").await.unwrap();
    succeeded(&world.run(false).await);
    assert_eq!(world.table().await.len(), 0);
}

/// Whoever asked for the lease waits for a transaction that has confirmed it: it is confirmed when nothing is
/// waited for any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lease_is_not_held_while_others_are_waited_for() {
    let world =
        World::with(TestDatabase::new(Backend::Postgres).await, &[("ARCHIVE_LOCK_TIMEOUT", "10s")]).await;
    world.fill("cpu", [20], 30).await;
    world.policy("cpu", 5, "delete", true).await;
    let mut reader = world.test.connect().await;
    reader.batch("BEGIN; SELECT COUNT(*) FROM metrics_snapshot").await.unwrap();
    let archiving = world.archiving.clone();
    let work = tokio::spawn(async move { run(&archiving, false).await });
    let waits = "SELECT 1 AS one FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' \
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    eventually(DEADLINE, "the run waits for the reader", async || !world.query(waits, &[]).await.is_empty())
        .await;
    world.query("SELECT fencing FROM lease FOR UPDATE NOWAIT", &[]).await;
    assert!(!world.query(waits, &[]).await.is_empty(), "it still waited then");
    reader.batch("COMMIT").await.unwrap();
    succeeded(&work.await.unwrap());
    assert_eq!(world.table().await.len(), 0);
}

/// A statement that puts back a partition of any size has to end in its time: each has a batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_put_back_in_batches() {
    let world = world().await;
    world.fill("kept", [20], 5_500).await;
    let all = world.table().await;
    detach(&world, 20).await;
    world.policy("other", 5, "delete", true).await;
    succeeded(&world.run(false).await);
    assert_eq!((world.table().await, detached(&world).await), (all, 0));
    // What a transaction wrote of each of the three sources.
    let sql = "SELECT count(*) AS count FROM metrics_snapshot GROUP BY source, CAST(xmin AS text)";
    let counts: Vec<i64> = world.query(sql, &[]).await.iter().map(|row| row.get("count").unwrap()).collect();
    assert!(counts.iter().all(|it| *it <= 400) && counts.iter().sum::<i64>() == 5_500, "{counts:?}");
}

/// As of a load of old data that begins after its partitions were made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_partition_that_is_new_is_left_alone() {
    let world = world().await;
    world.policy("*", 5, "delete", true).await;
    Partitions::new(world.database.clone(), Width::DAY).ensure([days_ago(20), days_ago(21)]).await.unwrap();
    let partitions = async || store::partitions::list(&world.database).await.unwrap();
    succeeded(&world.run(false).await);
    let made = partitions().await;
    assert_eq!(made.len(), 2);
    assert!(made.iter().all(|it| it.made_at.is_some_and(|it| it > NOW)), "{made:?}");
    let old = (NOW - Duration::days(8)).format(&time::format_description::well_known::Rfc3339).unwrap();
    let comment = format!("COMMENT ON TABLE {} IS 'made at {old}'", made[0].name);
    world.test.connect().await.batch(&comment).await.unwrap();
    let done = world.run(false).await;
    succeeded(&done);
    assert_eq!((done.figures.partitions_dropped, partitions().await), (1, made[1..].to_vec()));
    // One that has rows goes, however new it is.
    world.fill("cpu", [20, 21], 5).await;
    succeeded(&world.run(false).await);
    assert_eq!((world.table().await, partitions().await), (Rows::new(), Vec::new()));
}

/// Whatever form of times a role or the database has: in this one the name of India's zone is read as Israel's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_the_same_in_each_form_of_times() {
    let world = world().await;
    world.fill("cpu", [20], 30).await;
    world.policy("cpu", 5, "delete", true).await;
    let foreign = "DO $$ BEGIN \
        EXECUTE format('ALTER DATABASE %I SET datestyle = ''SQL, DMY''', current_database()); \
        EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Kolkata''', current_database()); END $$";
    world.test.connect().await.batch(foreign).await.unwrap();
    let bounds = foundation::database::Statement::read(
        "metrics_snapshot_partition",
        "SELECT lower_bound, upper_bound, current_setting('datestyle') AS style FROM metrics_snapshot_partition",
    );
    let row = world.test.connect().await.query_optional(&bounds, &[]).await.unwrap().unwrap();
    assert_eq!(row.get::<String>("style").unwrap(), "SQL, DMY");
    let range = Range { lower: row.get("lower_bound").unwrap(), upper: row.get("upper_bound").unwrap() };
    assert_eq!(range, Range { lower: days_ago(20), upper: days_ago(19) });
    let database = world.test.open();
    let done = run(&archiving(&world.test, &database, Clock::fixed(NOW), &[]), false).await;
    succeeded(&done);
    assert_eq!(done.figures.partitions_dropped, 1);
    assert!(store::partitions::list(&database).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_is_not_found_again_is_told_of() {
    let world = world().await;
    world.fill("cpu", [20], 30).await;
    world.policy("cpu", 5, "delete", true).await;
    let finds_none = "CREATE OR REPLACE FUNCTION metrics_snapshot_detach_partition(lower_bound timestamptz, \
        upper_bound timestamptz, lock_timeout_ms integer) RETURNS text LANGUAGE sql AS 'SELECT NULL'";
    world.test.connect().await.batch(finds_none).await.unwrap();
    let done = world.run(false).await;
    succeeded(&done);
    let told: Vec<_> = done.details.iter().map(|it| (it.action.as_str(), it.from)).collect();
    assert_eq!(told, [("skip", days_ago(20)), ("delete", days_ago(20))]);
}

/// The address of the database for another role.
fn address_as(address: &str, role: &str) -> String {
    let (_, server) = address.rsplit_once('@').unwrap();
    format!("postgresql://{role}:secret@{server}")
}

/// A role that may do what the service does.
async fn service_role(world: &World) -> String {
    let role = unique_name("service");
    maintenance(&format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'")).await;
    // Citus asks for the size of a table on every machine, also on this one, as this role.
    let sign_in = format!(
        "DO $$ BEGIN IF to_regclass('pg_catalog.pg_dist_authinfo') IS NOT NULL THEN \
           INSERT INTO pg_dist_authinfo (nodeid, rolename, authinfo) VALUES (0, '{role}', 'password=secret'); END IF; END $$"
    );
    world.test.connect().await.batch(&sign_in).await.unwrap();
    let variables = [
        ("DATABASE_URL", world.test.address.as_str()),
        ("ADMIN_PASSWORD", "a password of the test"),
        ("MIGRATOR_GRANT_TO", role.as_str()),
    ];
    let mut environment = Environment::from_pairs(variables);
    let settings = migrator::settings::Settings::read(&mut environment);
    environment.finish().unwrap();
    let (_nobody_stops_it, stop) = Stop::new();
    Migrator::new(&settings, Clock::system(), Entropy::system(), stop).up(None).await.unwrap();
    role
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_s_role_may_do_all_of_it() {
    let world = world().await;
    let (role, other_role) = (service_role(&world).await, service_role(&world).await);

    for name in ["archived", "deleted", "kept"] {
        world.fill(name, [20], 30).await;
    }
    world.fill("archived", [21, 22], 30).await;
    world.fill("deleted", [22], 30).await;
    let all = world.table().await;
    world.policy("archived", 5, "archive", true).await;
    world.policy("deleted", 5, "delete", true).await;
    let url = pooled(&address_as(&world.test.address, &role)).parse().unwrap();
    let database = Database::open(&url, &database_settings([]), "test").unwrap();
    let service = archiving(&world.test, &database, Clock::fixed(NOW), &[]);
    let done = run(&service, false).await;
    succeeded(&done);
    assert_eq!(
        (done.figures.partitions_dropped, done.figures.rows_archived, done.figures.rows_deleted),
        (2, 90, 60)
    );
    // And what was taken out by this role is put back by another of its kind.
    let mut transaction = database.begin().await.unwrap();
    let range = Range { lower: days_ago(20), upper: days_ago(19) };
    let taken = store::partitions::detach(&mut transaction, range, std::time::Duration::from_secs(1)).await;
    assert!(taken.unwrap().is_some());
    transaction.commit().await.unwrap();
    assert_eq!(world.table().await.len(), 0);
    let url = pooled(&address_as(&world.test.address, &other_role)).parse().unwrap();
    let other = Database::open(&url, &database_settings([]), "test").unwrap();
    succeeded(&run(&archiving(&world.test, &other, Clock::fixed(NOW), &[]), false).await);
    other.close();
    drop(other);
    let kept: Rows = all.into_iter().filter(|(_, row)| row.2 == "kept").collect();
    assert_eq!(world.table().await, kept);
    database.close();
    drop((service, database));
    for role in [role, other_role] {
        world.test.connect().await.batch(&format!("DROP OWNED BY {role}")).await.unwrap();
        maintenance(&format!("DROP ROLE IF EXISTS {role}")).await;
    }
}
