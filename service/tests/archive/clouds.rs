//! Archives in a cloud: large files, files that change, and a place that is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use foundation::database::{Statement, Value, ValueType};
use foundation::on_both_databases;
use foundation::testing::eventually;
use hyper::Method;
use serde_json::json;
use service::archive::{Asked, Restore};
use service::domain::archive_runs::{ArchiveRun, RunReason, RunState};
use service::domain::partitions::{Range, Width};
use service::lifecycle::{Lifecycle, Stage};
use service::partitions::Partitions;
use time::format_description::well_known::Rfc3339;

use super::bucket::Bucket;
use super::restores::restored_event;
use super::world::{NOW, Rows, World, days_ago, run};

const RANGE: u64 = 8 * 1024 * 1024;

fn succeeded(run: &ArchiveRun) {
    assert_eq!((run.state, run.error.as_deref()), (RunState::Succeeded, None), "{run:?}");
}

/// Rows that are more than one range or part of a file: nothing makes noise smaller.
async fn fill_large(world: &World, day: i64) {
    let (mut state, mut noise) = (88_172_645_463_325_252_u64, Vec::new());
    for _ in 0..64 * 1024 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    let from = days_ago(day);
    Partitions::new(world.database.clone(), Width::DAY).ensure([from]).await.unwrap();
    let mut transaction = world.database.begin().await.unwrap();
    let columns = ["timestamp", "source", "metric_type", "metric_data"];
    let types = [ValueType::Timestamp, ValueType::Text, ValueType::Text, ValueType::Json];
    let mut rows = transaction.insert_rows("metrics_snapshot", &columns, &types).await.unwrap();
    for index in 0..18_u8 {
        // Each half a mebibyte, and like none before it.
        let noise: Vec<u8> = noise.iter().map(|byte| byte ^ index.wrapping_mul(31)).collect();
        let noise: Vec<u8> =
            noise.iter().zip(noise.iter().skip(usize::from(index) + 1)).map(|(a, b)| a ^ b).collect();
        let text = base64::engine::general_purpose::STANDARD.encode(noise);
        let time = from + time::Duration::minutes(i64::from(index));
        let document = Value::Json(json!({ "noise": text }).to_string());
        rows.push(&[time.into(), "host".into(), "cpu".into(), document]).await.unwrap();
    }
    rows.finish().await.unwrap();
    transaction.commit().await.unwrap();
}

on_both_databases! {
    async fn archives_lie_in_a_bucket(test: TestDatabase) {
        let (world, bucket) = Bucket::world(test).await;
        world.fill("cpu", [20, 21], 500).await;
        let all = world.table().await;
        world.policy("cpu", 5, "archive", true).await;
        succeeded(&world.run(false).await);
        assert_eq!((world.table().await, world.archived(&["archived"]).await), (Rows::new(), all));
        let names = bucket.names();
        assert_eq!(names.len(), 4, "two files with their manifests, and no more: {names:?}");
        let deployment = world.query("SELECT id FROM deployment", &[]).await.remove(0).get::<String>("id").unwrap();
        let folder = format!("/bucket/some/prefix/{deployment}/cpu/2026");
        assert!(names.iter().all(|name| name.starts_with(&folder)), "{names:?}");
    }

    /// Between two ranges the reader may take longer than the cloud's client goes on trying.
    async fn a_large_file_is_read_in_ranges_of_one_version(test: TestDatabase) {
        let (world, bucket) = Bucket::world(test).await;
        fill_large(&world, 20).await;
        world.fill("kept", [20], 1).await;
        let all: Rows = world.table().await.into_iter().filter(|(_, row)| row.2 == "cpu").collect();
        world.policy("cpu", 5, "archive", true).await;
        succeeded(&world.run(false).await);
        let asked = bucket.asked();
        let read: Vec<_> = asked.iter().filter(|it| it.is_of_file() && it.method == Method::GET).collect();
        assert!(read.len() >= 4, "two ranges, read twice: {read:?}");
        for it in read {
            let range = it.range.as_deref().and_then(|it| it.strip_prefix("bytes=")).expect("a range");
            let (from, to) = range.split_once('-').unwrap();
            let length = to.parse::<u64>().unwrap() + 1 - from.parse::<u64>().unwrap();
            assert!(length <= RANGE && it.if_match.is_some(), "{it:?}");
        }
        assert!(asked.iter().any(|it| it.query.contains("partNumber=2")), "it was sent in parts");
        assert_eq!((bucket.uploads(), world.table().await.len()), (0, 1));
        assert_eq!(world.archived(&["archived"]).await, all);
    }

    /// Whatever lies there instead, and whatever the cloud says of its version.
    async fn a_file_that_changes_after_it_was_verified_deletes_nothing(test: TestDatabase) {
        let (world, bucket) = Bucket::world(test).await;
        world.fill("cpu", [20], 500).await;
        world.fill("kept", [20], 1).await;
        world.policy("cpu", 5, "archive", true).await;
        let all = world.table().await;
        let (id, row) = all.iter().find(|(_, row)| row.2 == "cpu").unwrap();
        let document: serde_json::Value = serde_json::from_str(&row.3).unwrap();
        let line = json!({ "id": id, "timestamp": row.0.format(&Rfc3339).unwrap(), "source": row.1,
            "metric_type": "cpu", "metric_data": document });
        let other = zstd::encode_all(format!("{line}\n").as_bytes(), 3).unwrap();
        for has_new_version in [false, true] {
            let (other, changed) = (other.clone(), bucket.clone());
            bucket.before_each_answer(move |asked| {
                let verified = changed.names().iter().any(|it| it.ends_with(".manifest.json"));
                if asked.is_of_file() && asked.method == Method::GET && verified {
                    let (version, before) = changed.object(&asked.path);
                    let mut object = other.clone();
                    // As long as before, so that the range that is asked for is there.
                    object.resize(before.len(), 0);
                    changed.put(&asked.path, (version + u64::from(has_new_version), object.into()));
                }
                Box::pin(async { None })
            });
            let done = world.run(false).await;
            assert_eq!(done.state, RunState::Failed, "{done:?}");
            assert!(done.error.as_deref().is_some_and(|it| it.contains("damaged")), "{done:?}");
            assert_eq!(world.table().await, all);
            bucket.answer_again();
            // As if it had never been: the rows are still there, and are archived anew.
            world.execute("DELETE FROM archive_file", &[]).await;
            for name in bucket.names() {
                bucket.remove(&name);
            }
        }
        succeeded(&world.run(false).await);
        assert_eq!(world.table().await.len(), 1);
    }

    async fn an_upload_that_is_not_finished_is_taken_back(test: TestDatabase) {
        let (world, bucket) = Bucket::world(test).await;
        fill_large(&world, 20).await;
        world.fill("kept", [20], 1).await;
        let all = world.table().await;
        world.policy("cpu", 5, "archive", true).await;
        for fails in ["partNumber=1", "partNumber=2", "complete", "stop"] {
            let lifecycle = Lifecycle::default();
            let (stopping, began) = (lifecycle.clone(), Arc::new(AtomicBool::new(false)));
            let begun = began.clone();
            bucket.before_each_answer(move |asked| {
                let is_part = asked.query.contains("partNumber=1");
                // Two are on their way at once, and either may be the first.
                begun.fetch_or(asked.query.contains("partNumber="), Ordering::Relaxed);
                let is_complete = asked.method == Method::POST && asked.query.contains("uploadId");
                let refuse = asked.query.contains(fails) || (fails == "complete" && is_complete);
                let stops = fails == "stop" && is_part;
                if stops {
                    stopping.advance(Stage::Draining);
                }
                Box::pin(async move {
                    if stops {
                        std::future::pending::<()>().await;
                    }
                    refuse.then_some(400)
                })
            });
            let asked = Asked { reason: RunReason::CommandLine, requested_by: None, is_dry_run: false, unless_since: None };
            let run = world.archiving.begin(&asked, |_| None).await.unwrap().unwrap();
            let done = run.work(&lifecycle).await;
            assert_ne!(done.state, RunState::Succeeded, "{fails}: {done:?}");
            assert!(began.load(Ordering::Relaxed), "{fails}: nothing was sent");
            assert_eq!(bucket.uploads(), 0, "{fails}: what was sent is still there");
            assert_eq!(world.table_with_detached().await, all, "{fails}");
            bucket.answer_again();
        }
        succeeded(&world.run(false).await);
        assert_eq!((bucket.uploads(), world.table().await.len()), (0, 1));
    }

    /// Each try may take minutes.
    async fn where_the_place_is_away_the_first_failure_is_enough(test: TestDatabase) {
        let (world, bucket) = Bucket::world(test).await;
        world.fill("cpu", 20..25, 10).await;
        world.policy("cpu", 5, "archive", true).await;
        succeeded(&world.run(false).await);
        let range = Range { lower: days_ago(30), upper: days_ago(10) };
        let asked = Restore { metric_type: "cpu".to_owned(), range, until: NOW + time::Duration::DAY };
        world.archiving.restore(&asked, &restored_event()).await.unwrap().unwrap();
        let all = world.table().await;
        assert_eq!(all.len(), 50);
        // With nothing to archive, nobody tries the place before the first file.
        world.policy("cpu", 5, "archive", false).await;
        bucket.asked();
        bucket.before_each_answer(|_| Box::pin(async { Some(403) }));
        let later = world.at(NOW + time::Duration::days(2));
        let done = run(&later, false).await;
        assert_eq!((done.state, world.table().await), (RunState::Failed, all), "{done:?}");
        let asked = bucket.asked();
        assert_eq!(asked.iter().filter(|it| it.is_of_file()).count(), 1, "{asked:?}");
        assert!(asked.len() <= 2, "and a look whether it is the file or the place: {asked:?}");
        bucket.answer_again();
        succeeded(&run(&later, false).await);
        assert_eq!(world.table().await, Rows::new());
    }

    /// A file is removed by a run that read of it before it was verified: it may be all there is of its rows.
    async fn a_file_that_was_verified_meanwhile_is_not_removed(test: TestDatabase) {
        let (world, bucket) = Bucket::world(test).await;
        world.fill("cpu", [20], 5).await;
        world.policy("cpu", 5, "archive", true).await;
        succeeded(&world.run(false).await);
        let names = bucket.names();
        let file = names.iter().find(|it| it.ends_with(".zst")).unwrap().clone();
        for name in names.iter().filter(|it| **it != file) {
            bucket.remove(name);
        }
        let (written, database) = (bucket.object(&file), world.database.clone());
        world.execute("UPDATE archive_file SET state = 'writing'", &[]).await;
        bucket.before_each_answer(move |asked| {
            let database = database.clone();
            Box::pin(async move {
                if asked.is_of_manifest() {
                    let sql = "UPDATE archive_file SET state = 'verified'";
                    database.execute(&Statement::write("archive_file", sql), &[]).await.unwrap();
                }
                None
            })
        });
        let done = world.run(false).await;
        assert_eq!(done.state, RunState::Abandoned, "{done:?}");
        assert_eq!(bucket.object(&file), written);
        bucket.answer_again();
        // One that never was is removed.
        world.execute("UPDATE archive_file SET state = 'writing'", &[]).await;
        succeeded(&world.run(false).await);
        assert_eq!(bucket.names(), Vec::<String>::new());
    }

    /// A run ends after a file and its manifest were written, and the next cannot read one of them, once: the rows
    /// wait for the run after that, whether they are in the table or in a detached partition.
    async fn rows_of_a_file_that_cannot_be_read_once_go_to_no_second_one(test: TestDatabase) {
        let (world, bucket) = Bucket::world(test).await;
        world.policy("cpu", 5, "archive", true).await;
        let mut archived = Rows::new();
        for (day, has_kept, is_of_manifest) in [(23, false, true), (22, true, true), (21, false, false), (20, true, false)] {
            world.fill("cpu", [day], 50).await;
            if has_kept {
                world.fill("kept", [day], 1).await;
            }
            let all = world.table_with_detached().await;
            archived.extend(all.clone().into_iter().filter(|(_, row)| row.2 == "cpu"));
            // What the run has written of the file cannot be recorded.
            let (database, is_away) = (world.database.clone(), Arc::new(AtomicBool::new(false)));
            bucket.before_each_answer(move |asked| {
                let is_manifest = asked.is_of_manifest() && asked.method == Method::PUT;
                let goes = is_manifest && !is_away.swap(true, Ordering::Relaxed);
                let database = database.clone();
                Box::pin(async move {
                    if goes {
                        let sql = "ALTER TABLE archive_file RENAME TO archive_file_away";
                        database.execute(&Statement::write("archive_file", sql), &[]).await.unwrap();
                    }
                    None
                })
            });
            let done = world.run(false).await;
            assert_eq!(done.state, RunState::Failed, "{done:?}");
            world.execute("ALTER TABLE archive_file_away RENAME TO archive_file", &[]).await;
            assert!(world.states().await.contains("writing"));
            let names = bucket.names();
            let fails = AtomicBool::new(true);
            bucket.before_each_answer(move |asked| {
                let is_it = asked.method == Method::GET
                    && (if is_of_manifest { asked.is_of_manifest() } else { asked.is_of_file() });
                let fails = is_it && fails.swap(false, Ordering::Relaxed);
                Box::pin(async move { fails.then_some(403) })
            });
            let done = world.run(false).await;
            assert_eq!((done.state, done.figures), (RunState::Failed, Default::default()), "{done:?}");
            assert_eq!((world.table_with_detached().await, bucket.names()), (all, names));
            bucket.answer_again();
            succeeded(&world.run(false).await);
            assert_eq!(world.archived(&["archived"]).await, archived);
            assert!(world.table_with_detached().await.values().all(|row| row.2 == "kept"));
        }
    }

    async fn a_policy_that_is_disabled_in_the_middle_of_a_run_is_obeyed(test: TestDatabase) {
        let (world, bucket) = Bucket::world(test).await;
        world.fill("cpu", 20..24, 10).await;
        world.fill("disk", 20..24, 10).await;
        world.policy("*", 5, "archive", true).await;
        let all = world.table().await;
        let database = world.database.clone();
        bucket.before_each_answer(move |asked| {
            let database = database.clone();
            Box::pin(async move {
                if asked.is_of_file() && asked.method == Method::PUT {
                    let sql = "UPDATE archive_policy SET is_enabled = (1 = 0)";
                    database.execute(&Statement::write("archive_policy", sql), &[]).await.unwrap();
                }
                None
            })
        });
        let done = world.run(false).await;
        succeeded(&done);
        // The file that was being written does not count either.
        assert_eq!((done.figures.rows_archived, done.figures.rows_deleted), (0, 0));
        assert!(world.table().await == all, "every row is in the table");
        assert!(world.states().await.is_empty() && bucket.names().is_empty(), "{:?}", bucket.names());
    }

    /// As in a copy of a database that archives to the same place: what it takes for left behind by a run that was
    /// killed, the other counts on.
    async fn a_file_with_its_manifest_is_kept_whoever_wrote_it(test: TestDatabase) {
        let (world, bucket) = Bucket::world(test).await;
        world.fill("cpu", [20, 21], 50).await;
        world.policy("cpu", 5, "archive", true).await;
        let all = world.table().await;
        succeeded(&world.run(false).await);
        let names = bucket.names();
        world.execute("UPDATE archive_file SET state = 'writing', rows = NULL, bytes = NULL, sha256 = NULL", &[]).await;
        succeeded(&world.run(false).await);
        assert_eq!((bucket.names(), world.archived(&["archived"]).await), (names, all));
    }
}

/// What a stopped program leaves behind it takes back before it ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_in_the_middle_is_taken_back() {
    let (world, bucket) =
        Bucket::world(foundation::testing::TestDatabase::new(foundation::database::Backend::Sqlite).await)
            .await;
    fill_large(&world, 20).await;
    let objects = world.objects().await;
    let mut writer = service::archive::files::FileWriter::begin(&objects, "a/file").unwrap();
    let range = Range { lower: days_ago(20), upper: days_ago(19) };
    let mut rows = service::store::archive_rows::stream(&world.database, "cpu", range).await.unwrap();
    while let Some(row) = futures_util::StreamExt::next(&mut rows).await {
        writer.write(&service::store::archive_rows::from_row(&row.unwrap()).unwrap()).await.unwrap();
    }
    assert_eq!(bucket.uploads(), 1);
    drop(writer);
    objects.settle().await;
    eventually(Duration::from_secs(5), "it is taken back", async || bucket.uploads() == 0).await;
}
