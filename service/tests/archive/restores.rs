//! What comes back, and goes again.

use foundation::clock::Clock;
use foundation::entropy::Entropy;
use foundation::on_both_databases;
use service::archive::{Restore, Restored};
use service::domain::archive_runs::RunState;
use service::domain::audit::{Actor, AuditEvent, Change, Target};
use service::domain::partitions::Range;
use time::Duration;

use super::kills::command_with;
use super::world::{NOW, Rows, World, archived_before, days_ago, run};

/// The event of a restore.
pub fn restored_event() -> AuditEvent {
    AuditEvent {
        id: Entropy::system().uuid_v7(Clock::system().now()),
        occurred_at: NOW,
        action: "archive.restored".to_owned(),
        actor: Actor::COMMAND_LINE,
        target: Target { kind: "archive".to_owned(), id: None },
        address: None,
        request_id: None,
        change: Change::default(),
    }
}

async fn restore(world: &World, metric_type: &str, days: std::ops::Range<i64>) -> Restored {
    let range = Range { lower: days_ago(days.end - 1), upper: days_ago(days.start - 1) };
    let asked = Restore { metric_type: metric_type.to_owned(), range, until: NOW + Duration::days(2) };
    world.archiving.restore(&asked, &restored_event()).await.unwrap().expect("nobody else has the duty")
}

fn of_days(rows: &Rows, metric_type: &str, days: std::ops::Range<i64>) -> Rows {
    let (from, to) = (days_ago(days.end - 1), days_ago(days.start - 1));
    let wanted = |row: &(time::OffsetDateTime, String, String, String)| {
        row.2 == metric_type && row.0 >= from && row.0 < to
    };
    rows.clone().into_iter().filter(|(_, row)| wanted(row)).collect()
}

on_both_databases! {
    async fn exactly_the_rows_come_back_and_go_again(test: TestDatabase) {
        let world = World::start(test).await;
        world.fill("cpu", 20..26, 1203).await;
        world.fill("disk", 20..26, 5).await;
        world.fill("kept", [22, 23], 5).await;
        let all = world.table().await;
        for name in ["cpu", "disk"] {
            world.policy(name, 10, "archive", true).await;
        }
        assert_eq!(world.run(false).await.state, RunState::Succeeded);
        let kept = world.table().await;
        assert!(kept.values().all(|row| row.2 == "kept"), "only that is left");

        let wanted = of_days(&all, "cpu", 21..24);
        let rows = wanted.len() as u64;
        let with_wanted: Rows = kept.clone().into_iter().chain(wanted.clone()).collect();
        let done = restore(&world, "cpu", 21..24).await;
        assert_eq!(done, Restored { files: 3, rows, inserted: rows });
        assert_eq!(world.table().await, with_wanted);
        let again = restore(&world, "cpu", 21..24).await;
        assert_eq!(again, Restored { files: 3, rows, inserted: 0 });
        assert_eq!(world.table().await, with_wanted, "twice is the same");
        assert_eq!(restore(&world, "net", 21..24).await, Restored::default());

        // Rows that come late into what is held wait with it.
        world.fill("cpu", [22], 4).await;
        let held = world.table().await;
        let quiet = run(&world.at(NOW + Duration::days(1)), false).await;
        assert_eq!((quiet.state, quiet.figures), (RunState::Succeeded, Default::default()), "{quiet:?}");
        assert_eq!(world.table().await, held);

        let files = world.query("SELECT id FROM archive_file", &[]).await.len();
        let done = run(&world.at(NOW + Duration::days(2)), false).await;
        assert_eq!((done.state, done.figures.rows_archived), (RunState::Succeeded, 4), "{done:?}");
        assert_eq!(world.table().await, kept);
        assert_eq!(world.query("SELECT id FROM archive_file", &[]).await.len(), files + 1, "of the late rows alone");
        let late = held.keys().filter(|id| !all.contains_key(id)).count();
        assert_eq!(late, 4);
        let archived = world.archived(&["archived"]).await;
        let expected: Rows =
            held.into_iter().chain(all).filter(|(_, row)| row.2 != "kept").collect();
        assert_eq!(archived, expected);
    }

    async fn what_the_archive_does_not_have_is_not_brought_back(test: TestDatabase) {
        let world = World::start(test).await;
        world.fill("cpu", [20], 5).await;
        world.policy("cpu", 10, "archive", true).await;
        assert_eq!(world.run(false).await.state, RunState::Succeeded);
        let day = days_ago(20).date().to_string();
        let next = days_ago(19).date().to_string();
        let restored = async || {
            let sql = "SELECT id FROM audit_event WHERE action = 'archive.restored'";
            world.query(sql, &[]).await.len()
        };
        for (metric_type, from, to, code) in [
            ("cpus", &*day, &*next, 2),
            ("cpu", "2025-01-01", "2025-01-02", 2),
            ("cpu", &day, &next, 0),
        ] {
            let arguments = [
                "restore", "--metric-type", metric_type, "--from", from, "--to", to, "--until", "2100-01-01",
            ];
            let output = command_with(&world, &arguments).output().await.unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(code), "{said}");
            if code != 0 {
                let expected = format!("no file of the type {metric_type:?} between {from}T00:00:00Z and {to}T00:00:00Z");
                assert!(said.contains(&expected), "{said}");
                assert_eq!((world.table().await, restored().await), (Rows::new(), 0));
            }
        }
        assert_eq!((world.table().await.len(), restored().await), (5, 1));
    }

    async fn a_damaged_file_brings_nothing_back(test: TestDatabase) {
        let world = World::start(test).await;
        world.fill("cpu", [20], 500).await;
        world.policy("cpu", 10, "archive", true).await;
        assert_eq!(world.run(false).await.state, RunState::Succeeded);
        let row = world.query("SELECT location FROM archive_file", &[]).await.remove(0);
        let path = world.test.folder.path().join("archive").join(row.get::<String>("location").unwrap());
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let range = Range { lower: days_ago(21), upper: days_ago(19) };
        let asked = Restore { metric_type: "cpu".to_owned(), range, until: NOW + Duration::days(2) };
        let error = world.archiving.restore(&asked, &restored_event()).await.unwrap_err();
        assert!(error.to_string().contains("damaged"), "{error}");
        assert_eq!(world.table().await, Rows::new());
        assert_eq!(world.states().await.into_iter().collect::<Vec<_>>(), ["archived"]);
    }

    /// What an interrupted run deleted already would stay away, and what it did not the next one deletes.
    async fn nothing_comes_back_in_the_middle_of_an_interrupted_run(test: TestDatabase) {
        let world = World::start(test).await;
        world.fill("cpu", 20..22, 10).await;
        world.fill("kept", 20..22, 1).await;
        let all = world.table().await;
        world.policy("cpu", 10, "archive", true).await;
        assert_eq!(world.run(false).await.state, RunState::Succeeded);
        let range = Range { lower: days_ago(20), upper: days_ago(19) };
        let asked = Restore { metric_type: "cpu".to_owned(), range, until: NOW + Duration::days(2) };
        let of_range: [foundation::database::Value; 1] = [range.lower.into()];
        // Killed before the file was verified, and when its rows were deleted.
        let states = ["state = 'writing', rows = NULL, bytes = NULL, sha256 = NULL", "state = 'verified'"];
        for state in states {
            let sql = format!("UPDATE archive_file SET {state} WHERE lower_bound = $1 AND state = 'archived'");
            assert_eq!(world.execute(&sql, &of_range).await, 1);
            let (table, states) = (world.table().await, world.states().await);
            let error = world.archiving.restore(&asked, &restored_event()).await.unwrap_err();
            assert_eq!(error.exit().code(), 75, "{error}");
            assert!(error.to_string().contains("a run was interrupted; run `service archive run` first"), "{error}");
            assert_eq!((world.table().await, world.states().await), (table, states), "nothing was done");
            // Other days of the type, and other types, have nothing to do with it.
            assert_eq!(restore(&world, "cpu", 22..23).await.files, 0);
            assert_eq!(restore(&world, "disk", 20..21).await.files, 0);
            assert_eq!(world.run(false).await.state, RunState::Succeeded);
        }
        let done = world.archiving.restore(&asked, &restored_event()).await.unwrap().unwrap();
        assert_eq!(done, Restored { files: 1, rows: 10, inserted: 10 });
        let before = days_ago(20);
        let expected: Rows = all.into_iter().filter(|(_, row)| row.2 == "kept" || row.0 >= before).collect();
        assert_eq!(world.table().await, expected);
    }

    /// However many files cannot be finished, each other has its turn.
    async fn more_than_a_page_of_lost_files_keep_none_from_its_turn(test: TestDatabase) {
        let world = World::start(test).await;
        let first = archived_before(&world).await;
        world.fill("cpu", [20], 5).await;
        world.policy("cpu", 10, "archive", true).await;
        assert_eq!(world.run(false).await.state, RunState::Succeeded);
        restore(&world, "cpu", 20..21).await;
        assert_eq!(world.table().await.len(), 5);
        let mut transaction = world.database.begin().await.unwrap();
        let sql = "INSERT INTO archive_file (id, run_id, metric_type, lower_bound, upper_bound, location, state, rows, bytes, \
                     sha256, restored_until, created_at, updated_at) \
                   SELECT $1, run_id, metric_type, lower_bound, upper_bound, CAST($2 AS text), state, rows, bytes, sha256, \
                     restored_until, created_at, updated_at FROM archive_file \
                   WHERE metric_type = 'cpu' AND location NOT LIKE 'lost%'";
        let statement = foundation::database::Statement::write("archive_file", sql);
        for number in 1..=1_001_u128 {
            // Their ids lie before that of the file that is there, and behind one that shows that it is the place.
            let id = uuid::Uuid::from_u128(first.as_u128() + number);
            transaction.execute(&statement, &[id.into(), format!("lost/{number}").into()]).await.unwrap();
        }
        transaction.commit().await.unwrap();
        let done = run(&world.at(NOW + Duration::days(3)), false).await;
        assert_eq!(done.state, RunState::Failed);
        assert!(done.error.as_deref().is_some_and(|it| it.contains("not there")), "{done:?}");
        assert_eq!(world.table().await, Rows::new(), "what was restored is gone again");
    }
}
