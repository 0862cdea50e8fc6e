//! Whole programs on one database: one at a time has a duty, another takes over from one that was killed, and a
//! command begins with the settings that are in the database.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use foundation::database::Backend;
use foundation::testing::{TestDatabase, eventually};
use serde_json::Value;
use service::store::partitions;
use time::OffsetDateTime;

use super::kills::command;
use super::world::{Rows, World};

use crate::support::Program;

/// Within this time another process has the duty of one that was killed.
const TAKEN_OVER: Duration = Duration::from_secs(10);

/// How long anything else may take before a test calls it broken.
const DEADLINE: Duration = Duration::from_secs(60);

fn serve(world: &World) -> Program {
    let place = format!("file://{}", world.test.folder.path().join("archive").display());
    let mut program = Program::serve(&[
        ("DATABASE_URL", world.test.address.as_str()),
        ("ARCHIVE_URL", place.as_str()),
        ("LOG_LEVEL", "info,service::leases=debug"),
        ("HTTP_DRAIN_DELAY", "0s"),
    ]);
    program.address();
    program
}

/// Three programs on one database.
struct Programs(Mutex<[Program; 3]>);

impl Programs {
    fn start(world: &World) -> Self {
        Self(Mutex::new([(); 3].map(|()| serve(world))))
    }

    /// Those that logged such a line.
    fn that_logged(&self, is_it: impl Fn(&Value) -> bool) -> Vec<usize> {
        let mut programs = self.0.lock().unwrap();
        (0..programs.len()).filter(|index| programs[*index].has_logged(&is_it)).collect()
    }

    /// Those that had the duty of making partitions.
    fn with_partitions(&self) -> Vec<usize> {
        self.that_logged(|line| line["message"] == "has the duty" && line["lease"] == "partitions")
    }

    /// Those that began a run.
    fn with_run(&self) -> Vec<usize> {
        self.that_logged(|line| line["message"] == "archive run: begun")
    }

    fn kill(&self, index: usize) -> Instant {
        let mut programs = self.0.lock().unwrap();
        programs[index].signal("KILL");
        let since = Instant::now();
        programs[index].ended();
        since
    }
}

/// Has the daily run begin now, whatever hour it is.
async fn now_is_its_hour(world: &World) {
    let sql = "UPDATE config SET value = to_jsonb(CAST(extract(hour FROM clock_timestamp() AT TIME ZONE 'UTC') AS int)), \
                 version = version + 1 WHERE key = 'archive.run_hour' \
                 AND value IS DISTINCT FROM to_jsonb(CAST(extract(hour FROM clock_timestamp() AT TIME ZONE 'UTC') AS int))";
    world.execute(sql, &[]).await;
    let running = world.query("SELECT id FROM archive_run WHERE state = 'running'", &[]).await;
    assert!(running.len() <= 1, "two runs at a time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_processes_one_makes_partitions_and_another_takes_over() {
    let world = World::start(TestDatabase::new(Backend::Postgres).await).await;
    let programs = Programs::start(&world);
    eventually(DEADLINE, "one has the duty", async || !programs.with_partitions().is_empty()).await;
    // The others have asked for it more than once meanwhile.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let [killed] = programs.with_partitions()[..] else { panic!("one at a time has the duty") };
    let made = partitions::list(&world.database).await.unwrap();
    assert!(made.len() > 1, "{made:?}");
    let since = programs.kill(killed);
    let last = made.last().unwrap().range;
    let mut transaction = world.database.begin().await.unwrap();
    let name = partitions::detach(&mut transaction, last, Duration::from_secs(1)).await.unwrap().unwrap();
    assert!(partitions::drop_detached(&mut transaction, &name).await.unwrap());
    transaction.commit().await.unwrap();
    eventually(TAKEN_OVER, "another makes it again", async || {
        partitions::list(&world.database).await.unwrap().iter().any(|it| it.range == last)
    })
    .await;
    assert!(since.elapsed() < TAKEN_OVER, "{:?}", since.elapsed());
    assert_eq!(programs.with_partitions().len(), 2, "the one that was killed, and one more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_processes_one_runs_the_policies_and_another_takes_over() {
    let world = World::start(TestDatabase::new(Backend::Postgres).await).await;
    world.fill("cpu", [40, 41], 3_000).await;
    world.fill("kept", [40, 41], 1).await;
    world.policy("cpu", 5, "archive", true).await;
    let all = world.table().await;
    world.is_not_the_hour().await;
    let programs = Programs::start(&world);
    // The run cannot delete before it is killed.
    let mut user = world.test.connect().await;
    user.batch("BEGIN").await.unwrap();
    // Citus knows no FOR UPDATE of several shards.
    user.batch("UPDATE metrics_snapshot SET metric_type = metric_type WHERE metric_type = 'cpu'")
        .await
        .unwrap();
    eventually(DEADLINE, "one archived and deletes", async || {
        now_is_its_hour(&world).await;
        world.states().await.contains("verified")
    })
    .await;
    let [killed] = programs.with_run()[..] else { panic!("one at a time runs the policies") };
    let since = programs.kill(killed);
    user.batch("ROLLBACK").await.unwrap();
    eventually(TAKEN_OVER, "another begins a run", async || {
        now_is_its_hour(&world).await;
        programs.with_run().len() == 2
    })
    .await;
    assert!(since.elapsed() < TAKEN_OVER, "{:?}", since.elapsed());
    eventually(DEADLINE, "it ends", async || {
        now_is_its_hour(&world).await;
        !world.query("SELECT id FROM archive_run WHERE state = 'succeeded'", &[]).await.is_empty()
    })
    .await;
    let (kept, archived): (Rows, Rows) = all.into_iter().partition(|(_, row)| row.2 == "kept");
    assert_eq!(world.table().await, kept);
    assert_eq!(world.archived(&["archived"]).await, archived);
    let runs = world.query("SELECT state, started_at, finished_at FROM archive_run ORDER BY id", &[]).await;
    assert_eq!(runs[0].get::<String>("state").unwrap(), "abandoned");
    for pair in runs.windows(2) {
        let ended: OffsetDateTime = pair[0].get("finished_at").unwrap();
        assert!(ended <= pair[1].get::<OffsetDateTime>("started_at").unwrap(), "two runs at a time");
    }
}

/// Credentials of the archive may be among them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_begins_nothing_before_it_has_the_settings() {
    let world = World::start(TestDatabase::new(Backend::Postgres).await).await;
    world.fill("cpu", [20], 5).await;
    world.policy("cpu", 5, "delete", true).await;
    let mut holder = world.test.connect().await;
    holder.batch("BEGIN; LOCK TABLE config IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let output = command(&world).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("did not answer"), "{said}");
    assert!(world.query("SELECT id FROM archive_run", &[]).await.is_empty());
    holder.batch("COMMIT").await.unwrap();
    let output = command(&world).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(world.table().await.is_empty());
}
