//! Runs that go on with what others left: killed, stopped, failed, or not begun in their hour.

use std::time::Duration;

use foundation::clock::Clock;
use foundation::database::Backend;
use foundation::on_both_databases;
use foundation::testing::{TestDatabase, eventually};
use service::archive::Asked;
use service::archive::schedule::run_daily;
use service::domain::archive_runs::{RunReason, RunState};
use service::lifecycle::{Lifecycle, Stage};
use time::OffsetDateTime;
use time::macros::datetime;

use super::world::{NOW, World, archiving};

/// A clock that a test sets.
#[derive(Clone)]
struct Hand(std::sync::Arc<std::sync::Mutex<OffsetDateTime>>);

impl Hand {
    fn at(now: OffsetDateTime) -> Self {
        Self(std::sync::Arc::new(std::sync::Mutex::new(now)))
    }

    fn set(&self, now: OffsetDateTime) {
        *self.0.lock().unwrap() = now;
    }

    fn clock(&self) -> Clock {
        let now = self.0.clone();
        Clock::told_by(move || *now.lock().unwrap())
    }
}

/// A replica that looks for what is due all the time.
struct Replica {
    lifecycle: Lifecycle,
    task: tokio::task::JoinHandle<()>,
}

impl Replica {
    fn start(world: &World, clock: Clock) -> Self {
        let lifecycle = Lifecycle::default();
        let archiving = archiving(&world.test, &world.test.open(), clock, &[]);
        let task = tokio::spawn(run_daily(archiving, Duration::from_millis(10), lifecycle.clone()));
        Self { lifecycle, task }
    }

    async fn stop(self) {
        self.lifecycle.advance(Stage::Draining);
        self.task.await.unwrap();
    }
}

/// How the runs ended, the first one first.
async fn states(world: &World) -> Vec<String> {
    let rows = world.query("SELECT state FROM archive_run ORDER BY fencing", &[]).await;
    rows.iter().map(|row| row.get("state").unwrap()).collect()
}

async fn reaches(world: &World, expected: &[&str]) {
    let what = format!("runs end as {expected:?}");
    eventually(Duration::from_secs(20), &what, async || states(world).await == expected).await;
}

/// As many runs as these and no more, for a while.
async fn stays(world: &World, expected: &[&str]) {
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(states(world).await, expected);
}

async fn hour_was_set(world: &World, at: OffsetDateTime) {
    let sql = "UPDATE config SET updated_at = $1 WHERE key = 'archive.run_hour'";
    assert_eq!(world.execute(sql, &[at.into()]).await, 1);
}

on_both_databases! {
    async fn an_hour_that_nobody_was_there_in_is_made_up_for(test: TestDatabase) {
        let world = World::start(test).await;
        world.fill("cpu", [20], 10).await;
        world.policy("cpu", 5, "delete", true).await;
        // A database that was made after the hour has not missed it.
        let hand = Hand::at(datetime!(2026-03-31 12:30 UTC));
        hour_was_set(&world, datetime!(2026-03-31 12:00 UTC)).await;
        let replica = Replica::start(&world, hand.clock());
        stays(&world, &[]).await;
        replica.stop().await;
        // Nobody is there the next day before noon.
        hand.set(datetime!(2026-04-01 12:30 UTC));
        let replica = Replica::start(&world, hand.clock());
        reaches(&world, &["succeeded"]).await;
        assert_eq!(world.table().await.len(), 0);
        stays(&world, &["succeeded"]).await;
        hand.set(datetime!(2026-04-02 2:59 UTC));
        stays(&world, &["succeeded"]).await;
        hand.set(datetime!(2026-04-02 3:00 UTC));
        reaches(&world, &["succeeded", "succeeded"]).await;
        replica.stop().await;
    }

    /// An hour of this morning that is chosen in the afternoon is tomorrow's.
    async fn an_hour_that_is_over_when_it_is_set_has_not_come(test: TestDatabase) {
        let world = World::start(test).await;
        hour_was_set(&world, datetime!(2026-03-29 12:00 UTC)).await;
        let hand = Hand::at(datetime!(2026-03-31 2:30 UTC));
        let replica = Replica::start(&world, hand.clock());
        // That of the day before was missed.
        reaches(&world, &["succeeded"]).await;
        hour_was_set(&world, datetime!(2026-03-31 14:00 UTC)).await;
        hand.set(datetime!(2026-03-31 14:00:01 UTC));
        stays(&world, &["succeeded"]).await;
        hand.set(datetime!(2026-04-01 3:30 UTC));
        reaches(&world, &["succeeded", "succeeded"]).await;
        replica.stop().await;
    }

    /// What fails again and again is tried again, and not all the time.
    async fn what_failed_in_the_middle_is_finished_outside_of_its_hour(test: TestDatabase) {
        let world = World::start(test).await;
        world.fill("cpu", [20], 50).await;
        world.policy("cpu", 5, "archive", true).await;
        let all = world.table().await;
        assert_eq!(world.run(false).await.state, RunState::Succeeded);
        // As if its last transaction had failed: the rows are in the table and in the file.
        world.fill("cpu", [20], 50).await;
        for (before, now) in all.keys().zip(world.table().await.into_keys()) {
            let sql = "UPDATE metrics_snapshot SET id = $1 WHERE id = $2";
            world.execute(sql, &[(*before).into(), now.into()]).await;
        }
        world.execute("UPDATE archive_run SET state = 'failed', reason = 'request'", &[]).await;
        let hand = Hand::at(NOW + time::Duration::minutes(50));
        let replica = Replica::start(&world, hand.clock());
        // One that left nothing in the middle is not followed.
        stays(&world, &["failed"]).await;
        world.execute("UPDATE archive_file SET state = 'verified', detached = NULL", &[]).await;
        let folder = world.test.folder.path().join("archive");
        let aside = world.test.folder.path().join("aside");
        std::fs::rename(&folder, &aside).unwrap();
        reaches(&world, &["failed", "failed"]).await;
        hand.set(NOW + time::Duration::seconds(51 * 60 + 59));
        stays(&world, &["failed", "failed"]).await;
        hand.set(NOW + time::Duration::minutes(52));
        reaches(&world, &["failed", "failed", "failed"]).await;
        assert_eq!(world.table().await, all);
        let _probed = std::fs::remove_dir_all(&folder);
        std::fs::rename(&aside, &folder).unwrap();
        hand.set(NOW + time::Duration::minutes(56));
        reaches(&world, &["failed", "failed", "failed", "succeeded"]).await;
        assert_eq!(world.table().await.len(), 0);
        assert_eq!(world.archived(&["archived"]).await, all);
        replica.stop().await;
    }

    /// Nothing follows it, so that nobody else would say how it ended.
    async fn a_dry_run_that_was_killed_is_abandoned(test: TestDatabase) {
        let world = World::start(test).await;
        let asked =
            Asked { reason: RunReason::Request, requested_by: None, is_dry_run: true, unless_since: None };
        let run = world.archiving.begin(&asked, |_| None).await.unwrap().unwrap();
        let replica = Replica::start(&world, Clock::fixed(NOW));
        stays(&world, &["running"]).await;
        // The duty is given back, and nothing written down.
        drop(run);
        reaches(&world, &["abandoned"]).await;
        stays(&world, &["abandoned"]).await;
        replica.stop().await;
    }

    /// Whoever loses the duty each time does not take it each time.
    async fn runs_that_are_stopped_one_after_the_other_are_followed_with_pauses(test: TestDatabase) {
        let world = World::start(test).await;
        for fencing in 1..=6_i64 {
            let id = foundation::entropy::Entropy::system().uuid_v7(NOW);
            let sql = "INSERT INTO archive_run (id, reason, is_dry_run, state, fencing, started_at, finished_at) \
                       VALUES ($1, 'request', $2, 'abandoned', $3, $4, $5)";
            let values = [id.into(), false.into(), (-fencing).into(), NOW.into(), NOW.into()];
            world.execute(sql, &values).await;
        }
        let hand = Hand::at(NOW + time::Duration::seconds(59));
        let replica = Replica::start(&world, hand.clock());
        stays(&world, &["abandoned"; 6]).await;
        // Nor when its hour was missed.
        hour_was_set(&world, NOW - time::Duration::WEEK).await;
        stays(&world, &["abandoned"; 6]).await;
        hand.set(NOW + time::Duration::MINUTE);
        eventually(Duration::from_secs(20), "another run", async || states(&world).await.len() == 7).await;
        replica.stop().await;
    }
}

/// As each update of a deployment does it: rows that it took out of the table are not left where nobody sees
/// them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_was_stopped_is_followed_by_the_next() {
    let world = World::start(TestDatabase::new(Backend::Postgres).await).await;
    world.fill("cpu", [20], 10).await;
    world.policy("cpu", 5, "archive", true).await;
    let all = world.table().await;
    // It cannot write down that it begins a file.
    let mut user = world.test.connect().await;
    user.batch("BEGIN; LOCK TABLE archive_file IN SHARE MODE").await.unwrap();
    let asked =
        Asked { reason: RunReason::Request, requested_by: None, is_dry_run: false, unless_since: None };
    let run = world.archiving.begin(&asked, |_| None).await.unwrap().unwrap();
    let lifecycle = Lifecycle::default();
    let work = tokio::spawn({
        let lifecycle = lifecycle.clone();
        async move { run.work(&lifecycle).await }
    });
    let detached = async || !world.query("SELECT name FROM metrics_snapshot_detached", &[]).await.is_empty();
    eventually(Duration::from_secs(20), "it took the partition out", detached).await;
    lifecycle.advance(Stage::Draining);
    assert_eq!(work.await.unwrap().state, RunState::Abandoned);
    user.batch("COMMIT").await.unwrap();
    assert_eq!((world.table().await.len(), detached().await), (0, true));
    world.policy("cpu", 5, "archive", false).await;
    let replica = Replica::start(&world, Clock::fixed(NOW));
    reaches(&world, &["abandoned", "succeeded"]).await;
    assert_eq!((world.table().await, detached().await), (all, false));
    stays(&world, &["abandoned", "succeeded"]).await;
    replica.stop().await;
}
