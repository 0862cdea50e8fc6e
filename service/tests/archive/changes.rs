//! Policies that are changed while a run obeys them, and figures that take too long.

use std::time::Duration;

use foundation::clock::Clock;
use foundation::database::{Backend, Database};
use foundation::on_both_databases;
use foundation::testing::{TestDatabase, database_settings, eventually, pooled};
use service::domain::archive_runs::{ArchiveRun, RunState};

use super::world::{NOW, Rows, World, archiving, run};

const DEADLINE: Duration = Duration::from_secs(20);

fn succeeded(run: &ArchiveRun) {
    assert_eq!((run.state, run.error.as_deref()), (RunState::Succeeded, None), "{run:?}");
}

/// Has all policies disabled in the transaction in which this happens for the first time.
async fn disable_after(world: &World, event: &str) {
    if world.is_postgres() {
        let function = "CREATE FUNCTION disable() RETURNS trigger LANGUAGE plpgsql AS \
            $$ BEGIN UPDATE archive_policy SET is_enabled = false; RETURN NULL; END $$";
        world.execute(function, &[]).await;
        let trigger =
            format!("CREATE TRIGGER disables AFTER {event} FOR EACH ROW EXECUTE FUNCTION disable()");
        world.execute(&trigger, &[]).await;
    } else {
        let trigger = format!(
            "CREATE TRIGGER disables AFTER {event} BEGIN UPDATE archive_policy SET is_enabled = 0; END"
        );
        world.execute(&trigger, &[]).await;
    }
}

on_both_databases! {
    /// A run may end between the file that is whole and the note of it.
    async fn what_an_interrupted_run_wrote_is_given_up_when_its_policy_is_disabled_meanwhile(test: TestDatabase) {
        let world = World::start(test).await;
        world.fill("cpu", [20], 10).await;
        world.policy("cpu", 5, "archive", true).await;
        let refuses = if world.is_postgres() {
            let function = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$";
            world.execute(function, &[]).await;
            "BEFORE UPDATE OF state ON archive_file FOR EACH ROW WHEN (NEW.state = 'verified') EXECUTE FUNCTION refuse()"
        } else {
            "BEFORE UPDATE OF state ON archive_file WHEN NEW.state = 'verified' BEGIN SELECT RAISE(ABORT, 'no'); END"
        };
        world.execute(&format!("CREATE TRIGGER refuses {refuses}"), &[]).await;
        let failed = world.run(false).await;
        assert_eq!(failed.state, RunState::Failed, "{failed:?}");
        assert!(world.states().await.contains("writing"), "{:?}", world.states().await);
        let of_table = if world.is_postgres() { " ON archive_file" } else { "" };
        world.execute(&format!("DROP TRIGGER refuses{of_table}"), &[]).await;
        world.execute("UPDATE archive_policy SET is_enabled = false", &[]).await;
        succeeded(&world.run(false).await);
        assert_eq!(world.table().await.len(), 10);
        assert!(!world.states().await.contains("writing") && !world.states().await.contains("verified"));
    }

    async fn a_policy_that_is_disabled_deletes_no_further_batch(test: TestDatabase) {
        let world = World::start(test).await;
        world.fill("cpu", [20], 2_500).await;
        world.fill("kept", [20], 1).await;
        world.policy("cpu", 5, "delete", true).await;
        disable_after(&world, "UPDATE OF rows_deleted ON archive_run").await;
        let done = world.run(false).await;
        succeeded(&done);
        assert_eq!((done.figures.rows_deleted, world.table().await.len()), (1_000, 1_501));
    }

    async fn a_policy_that_is_disabled_archives_no_further_file(test: TestDatabase) {
        let world = World::start(test).await;
        world.fill("cpu", [20, 21], 50).await;
        world.fill("kept", [20], 1).await;
        world.policy("cpu", 5, "archive", true).await;
        let all = world.table().await;
        disable_after(&world, "INSERT ON archive_file").await;
        let done = world.run(false).await;
        succeeded(&done);
        assert_eq!((done.figures.rows_archived, world.table_with_detached().await), (0, all.clone()));
        assert_eq!((world.table().await, world.states().await.len()), (all, 0));
        let mut folders = vec![world.test.folder.path().join("archive")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                assert!(entry.file_type().unwrap().is_dir(), "{entry:?} is left in the archive");
                folders.push(entry.path());
            }
        }
    }
}

/// Who changes a policy is answered at once, and obeyed, also when the run has planned already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_is_disabled_before_a_partition_is_dropped_keeps_its_rows() {
    let test = TestDatabase::new(Backend::Postgres).await;
    let world = World::with(test, &[("ARCHIVE_LOCK_TIMEOUT", "15s")]).await;
    world.fill("cpu", [20], 50).await;
    world.fill("disk", [20], 50).await;
    world.policy("cpu", 5, "delete", true).await;
    world.policy("disk", 5, "archive", true).await;
    let all = world.table().await;
    // The run comes to a halt after it took the partition out, when it begins a file.
    let mut halting = world.test.connect().await;
    halting.batch("BEGIN; LOCK TABLE archive_file IN SHARE MODE").await.unwrap();
    let archiving = world.archiving.clone();
    let work = tokio::spawn(async move { run(&archiving, false).await });
    let detached = "SELECT name FROM metrics_snapshot_detached";
    eventually(DEADLINE, "it took it out", async || !world.query(detached, &[]).await.is_empty()).await;
    let name: String = world.query(detached, &[]).await[0].get("name").unwrap();
    // And then, with its plan made, when it drops it.
    let mut reader = world.test.connect().await;
    reader.batch(&format!("BEGIN; SELECT COUNT(*) FROM {name}")).await.unwrap();
    halting.batch("COMMIT").await.unwrap();
    let waits = "SELECT 1 AS one FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' \
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    eventually(DEADLINE, "it waits for the reader", async || !world.query(waits, &[]).await.is_empty()).await;
    let disable = "UPDATE archive_policy SET is_enabled = false WHERE metric_type = 'cpu'";
    let disabled = tokio::time::timeout(Duration::from_secs(5), world.execute(disable, &[])).await;
    assert_eq!(disabled.expect("who changes a policy does not wait for a run that waits"), 1);
    assert!(!world.query(waits, &[]).await.is_empty(), "it still waited then");
    reader.batch("COMMIT").await.unwrap();
    let done = work.await.unwrap();
    succeeded(&done);
    let (kept, archived): (Rows, Rows) = all.into_iter().partition(|(_, row)| row.2 == "cpu");
    assert_eq!(world.table().await, kept);
    assert_eq!(world.archived(&["archived"]).await, archived);
    assert_eq!((done.figures.rows_deleted, done.figures.rows_archived), (0, 50));
    assert!(world.query(detached, &[]).await.is_empty());
}

/// The number is for people: a partition may be too large to count in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_estimates_what_it_cannot_count_in_time() {
    let world = World::start(TestDatabase::new(Backend::Postgres).await).await;
    world.fill("cpu", [20, 21], 400).await;
    world.fill("kept", [21], 1).await;
    world.policy("cpu", 5, "delete", true).await;
    world.execute("ANALYZE metrics_snapshot", &[]).await;
    // Looking at a row takes its time; the first of each type is found by the index.
    for sql in [
        "CREATE FUNCTION slow() RETURNS boolean LANGUAGE plpgsql VOLATILE COST 1000000 AS \
           $$ BEGIN PERFORM pg_sleep(0.02); RETURN true; END $$",
        "ALTER TABLE metrics_snapshot RENAME TO metrics_snapshot_itself",
        "CREATE VIEW metrics_snapshot AS SELECT * FROM metrics_snapshot_itself WHERE slow()",
    ] {
        world.execute(sql, &[]).await;
    }
    let url = pooled(&world.test.address).parse().unwrap();
    let settings = database_settings([("DATABASE_STATEMENT_TIMEOUT", "2s")]);
    let database = Database::open(&url, &settings, "test").unwrap();
    let done = run(&archiving(&world.test, &database, Clock::fixed(NOW), &[]), true).await;
    succeeded(&done);
    assert_eq!(done.figures.partitions_dropped, 1, "{done:?}");
    let notes: Vec<_> = done.details.iter().filter_map(|it| it.note.as_deref()).collect();
    assert!(!notes.is_empty() && notes.iter().all(|it| it.contains("estimate")), "{done:?}");
    assert!((100..=900).contains(&done.figures.rows_deleted), "{done:?}");
}
