//! What goes, what stays, and what a run says of it.

use foundation::on_both_databases;
use foundation::testing::TestDatabase;
use service::domain::archive_files::{Manifest, manifest_location};
use service::domain::archive_runs::{ArchiveRun, RunState};
use sha2::{Digest as _, Sha256};
use time::Duration;
use time::macros::datetime;

use super::world::{NOW, Rows, World, days_ago, run};

/// The rows of these that the test says are kept.
fn split(all: Rows, keeps: impl Fn(&str, time::OffsetDateTime) -> bool) -> (Rows, Rows) {
    all.into_iter().partition(|(_, row)| keeps(&row.2, row.0))
}

fn count(rows: &Rows, metric_type: &str) -> u64 {
    rows.values().filter(|row| row.2 == metric_type).count() as u64
}

fn succeeded(run: &ArchiveRun) {
    assert_eq!((run.state, run.error.as_deref()), (RunState::Succeeded, None), "{run:?}");
}

on_both_databases! {
    async fn each_type_goes_as_its_policy_says(test: TestDatabase) {
        let world = World::start(test).await;
        // Twenty days with types of every kind, and some days that only short-lived types have.
        for name in ["cpu", "disk", "kept", "disabled", "other"] {
            world.fill(name, 0..14, 7).await;
        }
        world.fill("cpu", 14..20, 7).await;
        world.fill("disk", 16..20, 1005).await;
        world.policy("cpu", 10, "archive", true).await;
        world.policy("disk", 3, "delete", true).await;
        world.policy("disabled", 1, "delete", false).await;
        world.policy("*", 12, "archive", true).await;
        world.execute("DELETE FROM metrics_snapshot WHERE metric_type = 'kept' AND timestamp >= $1",
            &[days_ago(8).into()]).await;
        world.policy("kept", 1, "delete", false).await;
        let all = world.table().await;
        let (kept, gone) = split(all.clone(), |name, time| match name {
            "cpu" => time >= days_ago(10),
            "disk" => time >= days_ago(3),
            "other" => time >= days_ago(12),
            _ => true,
        });
        assert!(count(&gone, "cpu") > 0 && count(&gone, "disk") > 4000 && count(&gone, "other") > 0);

        let foreseen = world.run(true).await;
        succeeded(&foreseen);
        assert_eq!(world.table().await, all, "a dry run changes nothing");
        assert!(world.states().await.is_empty());
        let done = world.run(false).await;
        succeeded(&done);
        assert_eq!(world.table().await, kept);
        let (_, archived) = split(gone.clone(), |name, _| name == "disk");
        assert_eq!(world.archived(&["archived"]).await, archived);
        assert_eq!(done.figures.rows_deleted, count(&gone, "disk"));
        assert_eq!(done.figures.rows_archived, count(&gone, "cpu") + count(&gone, "other"));
        assert_eq!(done.figures.rows_deleted, foreseen.figures.rows_deleted);
        assert_eq!(done.figures.rows_archived, foreseen.figures.rows_archived);
        // Of the last six days nothing is kept; the days before have types that are kept for ever.
        let dropped = if world.is_postgres() { 6 } else { 0 };
        assert_eq!(done.figures.partitions_dropped, dropped);
        assert_eq!(foreseen.figures.partitions_dropped, dropped);
        assert_eq!(done.figures.bytes_freed > 0, world.is_postgres());
        if world.is_postgres() {
            let left = world.query("SELECT name FROM metrics_snapshot_partition WHERE upper_bound <= $1",
                &[days_ago(13).into()]).await;
            assert!(left.is_empty(), "{left:?}");
            let aside = world.query("SELECT relname FROM pg_class WHERE relname LIKE 'metrics_snapshot_detached_%'
                AND relkind = 'r'", &[]).await;
            assert!(aside.is_empty(), "{aside:?}");
        }
        let again = world.run(false).await;
        succeeded(&again);
        assert_eq!((again.figures, again.details.len()), (Default::default(), 0), "there is nothing left to do");
        assert_eq!(world.table().await, kept);
    }

    async fn nothing_goes_without_a_policy_that_is_enabled(test: TestDatabase) {
        let world = World::start(test).await;
        world.fill("cpu", [1, 400, 4000], 3).await;
        world.policy("*", 1, "delete", false).await;
        let all = world.table().await;
        let done = world.run(false).await;
        succeeded(&done);
        assert_eq!((done.figures, world.table().await), (Default::default(), all));
    }

    async fn a_file_is_understood_without_the_database(test: TestDatabase) {
        let world = World::start(test).await;
        world.fill("a/b \"c\"", [40], 2500).await;
        let all = world.table().await;
        world.policy("*", 1, "archive", true).await;
        succeeded(&world.run(false).await);
        let rows = world.query("SELECT location FROM archive_file", &[]).await;
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        let location: String = row.get("location").unwrap();
        let folder = world.test.folder.path().join("archive");
        let bytes = std::fs::read(folder.join(&location)).unwrap();
        let manifest = std::fs::read(folder.join(manifest_location(&location))).unwrap();
        let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
        let digest = Sha256::digest(&bytes).iter().map(|it| format!("{it:02x}")).collect::<String>();
        assert_eq!((manifest.sha256, manifest.bytes), (digest, bytes.len() as u64));
        assert_eq!((manifest.rows, manifest.metric_type.as_str(), manifest.schema), (2500, "a/b \"c\"", 1));
        assert_eq!((manifest.from, manifest.to), (days_ago(40), days_ago(39)));
        let times: Vec<_> = all.values().map(|row| row.0).collect();
        assert_eq!((manifest.first_at, manifest.last_at), (times.iter().min().copied(), times.iter().max().copied()));
        let text = String::from_utf8(zstd::decode_all(bytes.as_slice()).unwrap()).unwrap();
        assert!(text.ends_with('\n') && text.lines().count() == 2500);
        assert!(text.lines().all(|line| line.contains(".10") && line.starts_with("{\"id\":")), "{text}");
    }

    async fn what_cannot_be_archived_stays_and_the_rest_goes(test: TestDatabase) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a file");
        std::fs::write(&file, "in the way").unwrap();
        let place = format!("file://{}/archive", file.display().to_string().replace(' ', "%20"));
        let world = World::with(test, &[("ARCHIVE_URL", &place)]).await;
        world.fill("cpu", 5..8, 4).await;
        world.fill("disk", 6..9, 4).await;
        world.policy("cpu", 1, "archive", true).await;
        world.policy("disk", 1, "delete", true).await;
        let (kept, _) = split(world.table().await, |name, _| name == "cpu");
        let done = world.run(false).await;
        assert_eq!(done.state, RunState::Failed);
        assert!(done.error.as_deref().is_some_and(|it| it.contains("the archive cannot be")), "{done:?}");
        assert_eq!(world.table().await, kept);
        assert_eq!(done.figures.rows_deleted, 12);
        std::fs::remove_file(&file).unwrap();
        succeeded(&world.run(false).await);
        assert_eq!(world.table().await, Rows::new());
        assert_eq!(world.archived(&["archived"]).await, kept);
    }

    async fn one_run_at_a_time(test: TestDatabase) {
        let world = World::start(test).await;
        world.fill("cpu", [5], 4).await;
        world.policy("cpu", 1, "delete", true).await;
        let asked = service::archive::Asked {
            reason: service::domain::archive_runs::RunReason::CommandLine,
            requested_by: None,
            is_dry_run: false,
            unless_since: None,
        };
        let first = world.archiving.begin(&asked, |_| None).await.unwrap().unwrap();
        let other = super::world::archiving(&world.test, &world.test.open(), world.archiving.clock.clone(), &[]);
        assert!(other.begin(&asked, |_| None).await.unwrap().is_none());
        succeeded(&first.work(&service::lifecycle::Lifecycle::default()).await);
        succeeded(&run(&other, false).await);
    }

    async fn a_damaged_file_deletes_nothing(test: TestDatabase) {
        let world = World::start(test).await;
        world.fill("cpu", [5], 50).await;
        world.policy("cpu", 1, "archive", true).await;
        let all = world.table().await;
        succeeded(&world.run(false).await);
        // As if it had been killed before the rows were deleted, and the file damaged after that.
        world.execute("UPDATE archive_file SET state = 'verified', detached = NULL", &[]).await;
        let row = world.query("SELECT location FROM archive_file", &[]).await.remove(0);
        let path = world.test.folder.path().join("archive").join(row.get::<String>("location").unwrap());
        world.fill("cpu", [5], 50).await;
        let ids: Vec<_> = world.table().await.into_keys().collect();
        for (before, now) in all.keys().zip(&ids) {
            let values = [(*before).into(), (*now).into()];
            world.execute("UPDATE metrics_snapshot SET id = $1 WHERE id = $2", &values).await;
        }
        assert_eq!(world.table().await, all);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(bytes.len() - 10);
        std::fs::write(&path, bytes).unwrap();
        // No policy asks for its rows any more.
        world.policy("cpu", 1, "archive", false).await;
        let done = world.run(false).await;
        assert_eq!(done.state, RunState::Failed, "{done:?}");
        assert!(done.error.as_deref().is_some_and(|it| it.contains("damaged")), "{done:?}");
        assert_eq!(world.table().await, all);
    }

    /// A replica whose clock is ahead deletes nothing that is not expired by the clock of the database.
    async fn a_clock_that_is_ahead_deletes_nothing_early(test: TestDatabase) {
        let world = World::start(test).await;
        world.fill("cpu", [1, 20_000], 5).await;
        // Of these two days one is older than forty years, the other will be.
        world.policy("cpu", 40 * 365, "delete", true).await;
        let kept = split(world.table().await, |_, time| time >= days_ago(1)).0;
        let ahead = world.at(NOW + Duration::days(100 * 365));
        let begin = ahead.now().await.unwrap();
        assert!(begin < NOW + Duration::days(50 * 365), "{begin}");
        let done = run(&ahead, false).await;
        succeeded(&done);
        assert_eq!((world.table().await, done.started_at >= begin), (kept, true));
        let done = run(&world.at(NOW - Duration::days(1)), false).await;
        assert_eq!(done.started_at, NOW - Duration::days(1), "one that is behind keeps longer");
    }

    async fn what_is_older_than_1970_expires_too(test: TestDatabase) {
        let world = World::start(test).await;
        let before = datetime!(1969-12-30 12:00 UTC);
        if world.is_postgres() {
            // Its owner made room for it: the service does not.
            world.execute("CREATE TABLE metrics_snapshot_old PARTITION OF metrics_snapshot
                FOR VALUES FROM ('1960-01-01Z') TO ('1970-01-01Z')", &[]).await;
        }
        let insert = "INSERT INTO metrics_snapshot (timestamp, source, metric_type, metric_data) VALUES ($1, 'a', $2, '{}')";
        for name in ["cpu", "kept"] {
            world.execute(insert, &[before.into(), name.into()]).await;
        }
        world.policy("cpu", 36_500, "archive", true).await;
        let all = world.table().await;
        let done = run(&world.at(NOW), false).await;
        succeeded(&done);
        assert_eq!(world.table().await, all, "a hundred years are not over");
        world.policy("cpu", 10_000, "archive", true).await;
        succeeded(&world.run(false).await);
        assert_eq!(world.table().await.into_values().map(|row| row.2).collect::<Vec<_>>(), ["kept"]);
        assert_eq!(world.archived(&["archived"]).await.len(), 1);
    }

    async fn two_deployments_share_a_place(test: TestDatabase) {
        let folder = tempfile::tempdir().unwrap();
        let place = format!("file://{}", folder.path().display());
        let other = TestDatabase::new(test.open().backend()).await;
        let worlds = [
            World::with(test, &[("ARCHIVE_URL", &place)]).await,
            World::with(other, &[("ARCHIVE_URL", &place)]).await,
        ];
        let mut all = Vec::new();
        for world in &worlds {
            world.fill("cpu", [5], 50).await;
            world.policy("cpu", 1, "archive", true).await;
            all.push(world.table().await);
        }
        let runs = (worlds[0].run(false), worlds[1].run(false));
        let (one, other) = tokio::join!(runs.0, runs.1);
        succeeded(&one);
        succeeded(&other);
        let mut folders = Vec::new();
        for (world, all) in worlds.iter().zip(&all) {
            assert_eq!(world.archived(&["archived"]).await, *all);
            let row = world.query("SELECT id FROM deployment", &[]).await.remove(0);
            folders.push(row.get::<String>("id").unwrap());
        }
        assert_ne!(folders[0], folders[1]);
        let lie = std::fs::read_dir(folder.path()).unwrap();
        let mut lie: Vec<_> = lie.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        lie.sort();
        folders.sort();
        assert_eq!(lie, folders, "each in its own folder, and no probe beside them");
    }

    /// Where a run was killed while it tried whether the place can be written, the next one clears up.
    async fn no_probe_is_left(test: TestDatabase) {
        let world = World::start(test).await;
        world.policy("cpu", 1, "archive", true).await;
        succeeded(&world.run(false).await);
        let row = world.query("SELECT id FROM deployment", &[]).await.remove(0);
        let folder = world.test.folder.path().join("archive").join(row.get::<String>("id").unwrap());
        std::fs::create_dir_all(&folder).unwrap();
        for left in ["probe", "probe#1"] {
            std::fs::write(folder.join(left), "writable?\n").unwrap();
        }
        world.fill("cpu", [5], 50).await;
        succeeded(&world.run(false).await);
        let lie = std::fs::read_dir(&folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
        let lie: Vec<_> = lie.filter(|it| it.starts_with("probe")).collect();
        assert!(lie.is_empty(), "{lie:?}");
    }
}
