//! Partitions on PostgreSQL: taken out while others work, and finished after a run that was killed.

use foundation::clock::Clock;
use foundation::database::{Backend, Database};
use foundation::entropy::Entropy;
use foundation::settings::Environment;
use foundation::testing::{TestDatabase, database_settings, maintenance, unique_name};
use migrator::Migrator;
use migrator::stop::Stop;
use service::domain::archive_runs::{ArchiveRun, RunState};
use time::Duration;

use super::world::{NOW, Rows, World, archiving, days_ago, run};

async fn world() -> World {
    World::start(TestDatabase::new(Backend::Postgres).await).await
}

fn succeeded(run: &ArchiveRun) {
    assert_eq!((run.state, run.error.as_deref()), (RunState::Succeeded, None), "{run:?}");
}

async fn detach(world: &World, day: i64) {
    let values = [days_ago(day).into(), days_ago(day - 1).into()];
    let row = world
        .query("SELECT metrics_snapshot_detach_partition($1, $2, 1000) AS name", &values)
        .await
        .remove(0);
    assert!(row.get::<Option<String>>("name").unwrap().is_some());
}

async fn detached(world: &World) -> usize {
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

/// The address of the database for another role.
fn address_as(address: &str, role: &str) -> String {
    let (_, server) = address.rsplit_once('@').unwrap();
    format!("postgresql://{role}:secret@{server}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_s_role_may_do_all_of_it() {
    let world = world().await;
    let role = unique_name("service");
    maintenance(&format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'")).await;
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

    for name in ["archived", "deleted", "kept"] {
        world.fill(name, [20], 30).await;
    }
    world.fill("archived", [21, 22], 30).await;
    world.fill("deleted", [22], 30).await;
    let all = world.table().await;
    world.policy("archived", 5, "archive", true).await;
    world.policy("deleted", 5, "delete", true).await;
    let url = address_as(&world.test.address, &role).parse().unwrap();
    let database = Database::open(&url, &database_settings([]), "test").unwrap();
    let service = archiving(&world.test, &database, Clock::fixed(NOW), &[]);
    let done = run(&service, false).await;
    succeeded(&done);
    assert_eq!(
        (done.figures.partitions_dropped, done.figures.rows_archived, done.figures.rows_deleted),
        (2, 90, 60)
    );
    // And what was taken out by this role is put back by it.
    let mut transaction = database.begin().await.unwrap();
    let range = service::domain::partitions::Range { lower: days_ago(20), upper: days_ago(19) };
    let taken =
        service::store::partitions::detach(&mut transaction, range, std::time::Duration::from_secs(1)).await;
    assert!(taken.unwrap().is_some());
    transaction.commit().await.unwrap();
    assert_eq!(world.table().await.len(), 0);
    succeeded(&run(&service, false).await);
    let kept: Rows = all.into_iter().filter(|(_, row)| row.2 == "kept").collect();
    assert_eq!(world.table().await, kept);
    database.close();
    drop((service, database));
    world.test.connect().await.batch(&format!("DROP OWNED BY {role}")).await.unwrap();
    maintenance(&format!("DROP ROLE IF EXISTS {role}")).await;
}
