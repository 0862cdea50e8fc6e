//! The daily run of several replicas.

use std::time::Duration;

use foundation::clock::Clock;
use foundation::database::Backend;
use foundation::on_both_databases;
use foundation::testing::{TestDatabase, eventually};
use service::archive::Asked;
use service::archive::schedule::run_daily;
use service::domain::archive_runs::{RunReason, RunState};
use service::lifecycle::{Lifecycle, Stage};
use time::macros::datetime;

use super::world::{NOW, World, archiving};

on_both_databases! {
    async fn replicas_run_once_in_the_hour_of_a_day(test: TestDatabase) {
        let world = World::start(test).await;
        world.fill("cpu", [20], 10).await;
        world.policy("cpu", 5, "delete", true).await;
        let lifecycle = Lifecycle::default();
        let now = std::sync::Arc::new(std::sync::Mutex::new(datetime!(2026-03-31 2:59 UTC)));
        let mut replicas = Vec::new();
        for _ in 0..3 {
            let now = now.clone();
            let clock = Clock::told_by(move || *now.lock().unwrap());
            let archiving = archiving(&world.test, &world.test.open(), clock, &[]);
            replicas.push(tokio::spawn(run_daily(archiving, Duration::from_millis(10), lifecycle.clone())));
        }
        let runs = async || world.query("SELECT id FROM archive_run WHERE state = 'succeeded'", &[]).await.len();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(runs().await, 0, "the hour has not come");
        *now.lock().unwrap() = datetime!(2026-03-31 3:00 UTC);
        eventually(Duration::from_secs(20), "the run of the day", async || runs().await == 1).await;
        assert_eq!(world.table().await.len(), 0);
        *now.lock().unwrap() = datetime!(2026-03-31 3:59 UTC);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(world.query("SELECT id FROM archive_run", &[]).await.len(), 1, "one is enough");
        *now.lock().unwrap() = datetime!(2026-04-01 3:10 UTC);
        eventually(Duration::from_secs(20), "the run of the next day", async || runs().await == 2).await;
        lifecycle.advance(Stage::Draining);
        for replica in replicas {
            replica.await.unwrap();
        }
    }

    async fn a_scheduled_run_that_was_killed_is_made_up_for(test: TestDatabase) {
        let world = World::start(test).await;
        world.fill("cpu", [20], 10).await;
        world.policy("cpu", 5, "delete", true).await;
        let now = datetime!(2026-03-31 3:10 UTC);
        let begun = foundation::entropy::Entropy::system().uuid_v7(datetime!(2026-03-31 3:00 UTC));
        let killed = "INSERT INTO archive_run (id, reason, is_dry_run, state, fencing, started_at) \
                      VALUES ($1, 'schedule', $2, 'running', 0, $3)";
        world.execute(killed, &[begun.into(), false.into(), now.into()]).await;
        let lifecycle = Lifecycle::default();
        let archiving = archiving(&world.test, &world.test.open(), Clock::fixed(now), &[]);
        let replica = tokio::spawn(run_daily(archiving, Duration::from_millis(10), lifecycle.clone()));
        let states = async || {
            let rows = world.query("SELECT state FROM archive_run ORDER BY id", &[]).await;
            rows.iter().map(|row| row.get::<String>("state").unwrap()).collect::<Vec<_>>()
        };
        eventually(Duration::from_secs(20), "another run", async || states().await == ["abandoned", "succeeded"]).await;
        assert_eq!(world.table().await.len(), 0);
        lifecycle.advance(Stage::Draining);
        replica.await.unwrap();
    }

    /// Whoever asked for it, and whatever hour it is.
    async fn a_run_that_was_killed_outside_of_its_hour_is_followed_by_the_next(test: TestDatabase) {
        let world = World::start(test).await;
        world.fill("cpu", [20], 10).await;
        world.policy("cpu", 5, "delete", true).await;
        let lifecycle = Lifecycle::default();
        let archiving = archiving(&world.test, &world.test.open(), Clock::fixed(NOW), &[]);
        assert_ne!(NOW.hour(), archiving.live.current().archive_run_hour);
        let replica = tokio::spawn(run_daily(archiving, Duration::from_millis(10), lifecycle.clone()));
        let states = async || {
            let rows = world.query("SELECT state FROM archive_run ORDER BY id", &[]).await;
            rows.iter().map(|row| row.get::<String>("state").unwrap()).collect::<Vec<_>>()
        };
        let killed = async |is_dry_run: bool| {
            let begun = foundation::entropy::Entropy::system().uuid_v7(NOW - time::Duration::MINUTE);
            let sql = "INSERT INTO archive_run (id, reason, is_dry_run, state, fencing, started_at) \
                       VALUES ($1, 'request', $2, 'running', 0, $3)";
            world.execute(sql, &[begun.into(), is_dry_run.into(), NOW.into()]).await;
        };
        // One that changes nothing leaves nothing to be finished.
        killed(true).await;
        eventually(Duration::from_secs(20), "it is abandoned", async || states().await == ["abandoned"]).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!((states().await, world.table().await.len()), (vec!["abandoned".to_owned()], 10));
        killed(false).await;
        let followed = async || states().await == ["abandoned", "abandoned", "succeeded"];
        eventually(Duration::from_secs(20), "another run", followed).await;
        assert_eq!(world.table().await.len(), 0);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(states().await.len(), 3, "one is enough");
        lifecycle.advance(Stage::Draining);
        replica.await.unwrap();
    }
}

/// The renewal of the lease holds its row until it is on the disk, which may take longer than a run waits for
/// rows that others use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_renewal_of_the_lease_is_waited_for() {
    let test = TestDatabase::new(Backend::Postgres).await;
    let world = World::with(test, &[("ARCHIVE_LOCK_TIMEOUT", "20ms")]).await;
    world.fill("cpu", [20], 10).await;
    world.fill("kept", [20], 1).await;
    world.policy("cpu", 5, "archive", true).await;
    let asked =
        Asked { reason: RunReason::CommandLine, requested_by: None, is_dry_run: false, unless_since: None };
    let run = world.archiving.begin(&asked, |_| None).await.unwrap().unwrap();
    let mut renewal = world.test.connect().await;
    renewal.batch("BEGIN; UPDATE lease SET fencing = fencing").await.unwrap();
    let work = tokio::spawn(async move { run.work(&Lifecycle::default()).await });
    // One wait of the run, ten times as long as it waits for rows.
    let waits = "SELECT 1 AS one FROM pg_locks WHERE NOT granted AND clock_timestamp() - waitstart > interval '200 milliseconds' \
                   AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())";
    let is_waiting = async || !world.query(waits, &[]).await.is_empty();
    eventually(Duration::from_secs(20), "the run waits for the renewal", is_waiting).await;
    renewal.batch("COMMIT").await.unwrap();
    let done = work.await.unwrap();
    assert_eq!((done.state, done.error), (RunState::Succeeded, None));
    assert_eq!(world.table().await.len(), 1);
}
