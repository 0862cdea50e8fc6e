//! What a run tells that did a part of what it was asked for.

use std::time::Duration;

use foundation::database::Backend;
use foundation::on_both_databases;
use foundation::testing::TestDatabase;
use serde_json::Value;

use crate::support::folders::{ONE, TWO, folder, with};
use crate::support::{backend, library, versions};

fn of(report: &Value, what: &str) -> Vec<i64> {
    report[what].as_array().unwrap().iter().map(|it| it["version"].as_i64().unwrap()).collect()
}

on_both_databases! {
    async fn what_was_done_before_a_failure_is_told(database: TestDatabase) {
        let files = folder(&database, "three", &[
            ("V1__one.sql", ONE), ("D1__one.sql", "DROP TABLE one;"),
            ("V2__two.sql", TWO), ("D2__two.sql", "DROP TABLE two;"),
            ("V3__three.sql", "CREATE TABLE three (id integer);\nINSERT INTO nowhere VALUES (1);"), ("D3__three.sql", "DROP TABLE three;"),
        ]);
        with(&database, &files, &["up", "--to", "1"]).await.ends(0);
        let up = with(&database, &files, &["up", "--format", "json"]).await.ends(70).json();
        assert_eq!(of(&up, "applied"), [2], "{up}");
        assert_eq!(up["current_version"], 2, "{up}");
        assert!(up["error"]["message"].as_str().unwrap().contains("V3__three failed"), "{up}");
        if backend(&database) == Backend::Sqlite {
            assert!(up["restore_point"].as_str().unwrap().contains("before-V2"), "{up}");
        }
        // The schema is kept as this run left it, and what is pending is no drift.
        let check = with(&database, &files, &["check", "--format", "json"]).await.ends(73).json();
        assert!(check["differences"].as_array().unwrap().is_empty(), "{check}");
        assert!(check["compared_with"].as_str().unwrap().starts_with("what the last run left"), "{check}");
    }

    async fn what_was_taken_back_before_a_failure_is_told(database: TestDatabase) {
        let files = folder(&database, "two", &[
            ("V1__one.sql", ONE), ("D1__one.sql", "DROP TABLE nowhere;"),
            ("V2__two.sql", TWO), ("D2__two.sql", "DROP TABLE two;"),
        ]);
        with(&database, &files, &["up"]).await.ends(0);
        let down = with(&database, &files, &["down", "--to", "0", "--format", "json"]).await.ends(70).json();
        assert_eq!(of(&down, "undone"), [2], "{down}");
        assert_eq!(down["current_version"], 1, "{down}");
        let check = with(&database, &files, &["check", "--format", "json"]).await.ends(73).json();
        assert!(check["compared_with"].as_str().unwrap().starts_with("what the last run left"), "{check}");
    }

    /// Everything is gone by then, and the way back is told.
    async fn a_reset_that_fails_half_way_tells_what_there_is(database: TestDatabase) {
        let one = ("V1__one", "CREATE TABLE one (id bigint);");
        library(&database, &[one]).up(None).await.unwrap();
        let files = folder(&database, "reset", &[("V1__one.sql", one.1), ("V2__bad.sql", "INSERT INTO nowhere VALUES (1);")]);
        let reset = with(&database, &files, &["reset", "--yes", "--format", "json"]).await.ends(70).json();
        assert_eq!(of(&reset, "applied"), [1], "{reset}");
        if backend(&database) == Backend::Sqlite {
            assert!(reset["restore_point"].as_str().unwrap().contains("before-reset"), "{reset}");
        }
        assert_eq!(versions(&mut database.connect().await).await, ["1"]);
    }
}

/// Whoever holds a table whose default is to be worded keeps the run from its migration, and not from its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_gives_up_ends_while_the_table_is_held() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let one = "CREATE TABLE one (id bigint DEFAULT 1 + 2);";
    let files = folder(
        &database,
        "held",
        &[
            ("V1__one.sql", one),
            ("V2__two.sql", TWO),
            ("V3__one.sql", "ALTER TABLE one ADD COLUMN note text;"),
        ],
    );
    with(&database, &files, &["up", "--to", "1"]).await.ends(0);
    let mut blocker = database.connect().await;
    blocker.batch("BEGIN; LOCK TABLE one").await.unwrap();
    let up = with(
        &database,
        &files,
        &["up", "--lock-timeout", "100ms", "--deadline", "300ms", "--format", "json"],
    );
    let up = tokio::time::timeout(Duration::from_secs(60), up).await.expect("it ends").ends(75);
    assert_eq!(of(&up.json(), "applied"), [2], "{up}");
    up.says(&["could not be recorded"]);
    blocker.batch("ROLLBACK").await.unwrap();
}
