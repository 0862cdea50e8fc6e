//! Files of the archive that are lost or damaged while their rows are not in it alone.

use std::path::PathBuf;

use foundation::database::{Backend, Statement};
use foundation::entropy::Entropy;
use foundation::on_both_databases;
use foundation::testing::TestDatabase;
use service::archive::Restore;
use service::domain::archive_runs::RunState;
use service::domain::partitions::Range;
use time::{Duration, OffsetDateTime};

use super::detached::{detach, detached};
use super::restores::restored_event;
use super::world::{NOW, Rows, World, archived_before, days_ago, run};

/// The only file of the type.
async fn file(world: &World) -> (String, PathBuf) {
    let mut rows = world.query("SELECT location FROM archive_file WHERE metric_type = 'cpu'", &[]).await;
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

async fn state(world: &World) -> String {
    world
        .query("SELECT state FROM archive_file WHERE metric_type = 'cpu'", &[])
        .await
        .remove(0)
        .get("state")
        .unwrap()
}

async fn archived_of_cpu(world: &World) -> Rows {
    world.archived(&["archived"]).await.into_iter().filter(|(_, row)| row.2 == "cpu").collect()
}

/// Has a day of rows archived and brought back for two days; these are the rows.
async fn archived_and_brought_back(world: &World) -> Rows {
    world.fill("cpu", [20], 50).await;
    world.policy("cpu", 5, "archive", true).await;
    assert_eq!(world.run(false).await.state, RunState::Succeeded);
    let range = Range { lower: days_ago(20), upper: days_ago(19) };
    let asked = Restore { metric_type: "cpu".to_owned(), range, until: NOW + Duration::days(2) };
    world.archiving.restore(&asked, &restored_event()).await.unwrap().unwrap();
    world.table().await
}

/// Runs while the volume of the archive is not mounted, and files were written in its folder since.
async fn elsewhere(world: &World) {
    let folder = world.test.folder.path().join("archive");
    let aside = world.test.folder.path().join("aside");
    let archiving = world.at(NOW + Duration::days(3));
    std::fs::rename(&folder, &aside).unwrap();
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("later"), "written later").unwrap();
    let sql = "INSERT INTO archive_file (id, run_id, metric_type, lower_bound, upper_bound, location, state, rows, \
                 bytes, sha256, created_at, updated_at) \
               SELECT $1, run_id, 'later', lower_bound, upper_bound, 'later', 'archived', rows, bytes, sha256, \
                 created_at, updated_at FROM archive_file WHERE metric_type = 'cpu'";
    let id = Entropy::system().uuid_v7(NOW + Duration::days(30));
    assert_eq!(world.execute(sql, &[id.into()]).await, 1);
    let all = world.table_with_detached().await;
    for _ in 0..2 {
        let done = run(&archiving, false).await;
        assert_eq!(done.state, RunState::Failed);
        assert!(done.error.as_deref().is_some_and(|it| it.contains("see whether ARCHIVE_URL")), "{done:?}");
        assert_eq!(world.table_with_detached().await, all);
    }
    world.execute("DELETE FROM archive_file WHERE metric_type = 'later'", &[]).await;
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::rename(&aside, &folder).unwrap();
}

/// A thousand files that were written at that time and are lost.
async fn gone(world: &World, at: OffsetDateTime) {
    let sql = "INSERT INTO archive_file (id, run_id, metric_type, lower_bound, upper_bound, location, state, rows, \
                 bytes, sha256, created_at, updated_at) \
               SELECT $1, run_id, 'gone', lower_bound, upper_bound, $2, 'archived', rows, bytes, sha256, \
                 created_at, updated_at FROM archive_file WHERE metric_type = 'cpu'";
    let (entropy, statement) = (Entropy::system(), Statement::write("test", sql));
    let mut transaction = world.database.begin().await.unwrap();
    for number in 0..1_000 {
        let id = entropy.uuid_v7(at + Duration::milliseconds(number));
        let location = format!("gone/{id}");
        assert_eq!(transaction.execute(&statement, &[id.into(), location.into()]).await.unwrap(), 1);
    }
    transaction.commit().await.unwrap();
}

/// The partition is dropped only with its file: until then it has every row of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_still_lies_aside_is_archived_once_more() {
    for is_there in [false, true] {
        let world = World::start(TestDatabase::new(Backend::Postgres).await).await;
        archived_before(&world).await;
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
        assert_eq!(state(&world).await, "verified");
        let (location, path) = file(&world).await;
        elsewhere(&world).await;
        assert_eq!((state(&world).await, detached(&world).await), ("verified".to_owned(), 1));
        if is_there {
            damage(&path);
        } else {
            std::fs::remove_file(&path).unwrap();
        }

        let done = world.run(false).await;
        assert_eq!((done.state, done.error), (RunState::Succeeded, None));
        assert_eq!(detached(&world).await, 0);
        let (kept, archived): (Rows, Rows) = all.clone().into_iter().partition(|(_, row)| row.2 == "kept");
        assert_eq!((world.table().await, archived_of_cpu(&world).await), (kept, archived));
        assert_ne!(file(&world).await.0, location);
        assert_eq!(path.exists(), is_there, "what there is of it stays");
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
        archived_before(&world).await;
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
            world.execute(&format!("UPDATE archive_file SET {change} WHERE metric_type = 'cpu'"), &[]).await;
            elsewhere(&world).await;
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
            assert_eq!((world.table().await, archived_of_cpu(&world).await), (Rows::new(), all.clone()));
        }
    }

    /// With the newest before it the oldest of all shows that the place is the right one. In a wrong one not every file
    /// is asked for, be there one that would show it.
    async fn the_files_before_one_that_is_lost_may_be_lost_too(test: TestDatabase) {
        let world = World::start(test).await;
        archived_before(&world).await;
        let all = archived_and_brought_back(&world).await;
        std::fs::remove_file(file(&world).await.1).unwrap();
        let after = world.at(NOW + Duration::days(3));
        gone(&world, NOW - Duration::minutes(30)).await;
        gone(&world, NOW - Duration::days(1)).await;
        let done = run(&after, false).await;
        assert!(done.error.as_deref().is_some_and(|it| it.contains("see whether ARCHIVE_URL")), "{done:?}");
        assert_eq!(world.table().await, all);

        // With one fewer, the one that is there is among the oldest thousand.
        let sql = "DELETE FROM archive_file WHERE id = (SELECT id FROM archive_file ORDER BY id LIMIT 1)";
        assert_eq!(world.execute(sql, &[]).await, 1);
        let done = run(&after, false).await;
        assert!(done.error.as_deref().is_some_and(|it| it.contains("not there")), "{done:?}");
        assert_eq!(run(&after, false).await.state, RunState::Succeeded, "it is told once");
        assert_eq!(world.table().await, Rows::new());
    }

    /// Of the first one nobody but a person can know, and the runbook says what to do then.
    async fn the_first_file_of_all_is_given_up_as_the_runbook_says(test: TestDatabase) {
        let world = World::start(test).await;
        let all = archived_and_brought_back(&world).await;
        let (location, path) = file(&world).await;
        std::fs::remove_file(&path).unwrap();
        let after = world.at(NOW + Duration::days(3));
        for _ in 0..2 {
            let done = run(&after, false).await;
            assert!(done.error.as_deref().is_some_and(|it| it.contains("see whether ARCHIVE_URL")), "{done:?}");
            assert_eq!(world.table().await, all);
        }
        let runbook = include_str!("../../../deploy/runbook.md");
        let begin = runbook.find("UPDATE archive_file SET").unwrap();
        let (statement, _) = runbook[begin..].split_once('`').unwrap();
        assert_eq!(world.execute(&statement.replace("...", &location), &[]).await, 1);
        assert_eq!(run(&after, false).await.state, RunState::Succeeded);
        assert_eq!(world.table().await, Rows::new());
        world.execute("DELETE FROM archive_file WHERE location = $1", &[location.into()]).await;
        assert_eq!(archived_of_cpu(&world).await, all, "they are in another file");
    }
}
