//! Files of the archive that are lost or damaged while their rows are not in it alone.

use std::path::PathBuf;

use foundation::database::Backend;
use foundation::on_both_databases;
use foundation::testing::TestDatabase;
use service::archive::Restore;
use service::domain::archive_runs::RunState;
use service::domain::partitions::Range;
use time::Duration;

use super::detached::{detach, detached};
use super::restores::restored_event;
use super::world::{NOW, Rows, World, days_ago, run};

/// The only file that there is.
async fn file(world: &World) -> (String, PathBuf) {
    let mut rows = world.query("SELECT location FROM archive_file", &[]).await;
    assert_eq!(rows.len(), 1);
    let location: String = rows.remove(0).get("location").unwrap();
    let path = world.test.folder.path().join("archive").join(&location);
    (location, path)
}

fn damage(path: &PathBuf) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// The partition is dropped only with its file: until then it has every row of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_still_lies_aside_is_archived_once_more() {
    for is_there in [false, true] {
        let world = World::start(TestDatabase::new(Backend::Postgres).await).await;
        world.fill("cpu", [20], 300).await;
        world.fill("kept", [20], 3).await;
        let all = world.table().await;
        world.policy("cpu", 5, "archive", true).await;
        // As if it had been killed after the file was verified and before the partition was dropped.
        detach(&world, 20).await;
        let mut user = world.test.connect().await;
        user.batch("BEGIN; SELECT name FROM metrics_snapshot_detached FOR UPDATE").await.unwrap();
        assert_eq!(world.run(false).await.state, RunState::Failed);
        user.batch("ROLLBACK").await.unwrap();
        assert_eq!(world.states().await.into_iter().collect::<Vec<_>>(), ["verified"]);
        let (location, path) = file(&world).await;
        if is_there {
            damage(&path);
        } else {
            std::fs::remove_file(&path).unwrap();
        }

        let done = world.run(false).await;
        assert_eq!((done.state, done.error), (RunState::Succeeded, None));
        assert_eq!(detached(&world).await, 0);
        let (kept, archived): (Rows, Rows) = all.clone().into_iter().partition(|(_, row)| row.2 == "kept");
        assert_eq!((world.table().await, world.archived(&["archived"]).await), (kept, archived));
        assert_ne!(file(&world).await.0, location);
        assert!(!path.exists(), "what is damaged is nobody's");
        let range = Range { lower: days_ago(20), upper: days_ago(19) };
        let asked = Restore { metric_type: "cpu".to_owned(), range, until: NOW + Duration::days(2) };
        world.archiving.restore(&asked, &restored_event()).await.unwrap().unwrap();
        assert_eq!(world.table().await, all);
    }
}

on_both_databases! {
    /// Nobody knows which of them are the file's, so all of them go by the policies.
    async fn what_is_in_the_table_is_kept_from_no_run(test: TestDatabase) {
        let world = World::start(test).await;
        world.fill("cpu", [20], 50).await;
        let all = world.table().await;
        world.policy("cpu", 5, "archive", true).await;
        assert_eq!(world.run(false).await.state, RunState::Succeeded);
        let range = Range { lower: days_ago(20), upper: days_ago(19) };
        let asked = Restore { metric_type: "cpu".to_owned(), range, until: NOW + Duration::days(2) };
        let after = world.at(NOW + Duration::days(3));
        // Those of a file that were restored, and those that a killed run had not begun to delete.
        for change in ["state = state", "state = 'verified', detached = NULL, restored_until = NULL"] {
            world.archiving.restore(&asked, &restored_event()).await.unwrap().unwrap();
            assert_eq!(world.table().await, all);
            world.execute(&format!("UPDATE archive_file SET {change}"), &[]).await;
            let (location, path) = file(&world).await;
            std::fs::remove_file(&path).unwrap();
            let done = run(&after, false).await;
            assert_eq!(done.state, RunState::Failed);
            assert!(done.error.as_deref().is_some_and(|it| it.contains("not there")), "{done:?}");
            assert_eq!(world.table().await, Rows::new());
            assert_eq!(run(&after, false).await.state, RunState::Succeeded, "it is told once");

            // What was in it is known, and the others come back.
            let error = world.archiving.restore(&asked, &restored_event()).await.unwrap_err();
            assert!(error.to_string().contains(&location), "{error}");
            assert_eq!(world.table().await, all);
            assert_eq!(run(&after, false).await.state, RunState::Succeeded);
            // As it is given up for lost.
            world.execute("DELETE FROM archive_file WHERE location = $1", &[location.into()]).await;
            assert_eq!((world.table().await, world.archived(&["archived"]).await), (Rows::new(), all.clone()));
        }
    }
}
