//! `--migrations`: folders that cannot be used, and new files in those that can.

use std::path::{Path, PathBuf};

use foundation::database::Backend;
use foundation::on_both_databases;
use foundation::testing::TestDatabase;

use crate::support::folders::{Contents, ONE, TWO, folder, with};
use crate::support::{backend, has_table};

on_both_databases! {
    /// Each with the words that say what to do, and the exit code that says who mends it.
    async fn bad_folders_are_told(database: TestDatabase) {
        let refused = async |name: &str, contents: Contents<'_>, code: i32, said: &[&str]| {
            let folder = folder(&database, name, contents);
            with(&database, &folder, &["up"]).await.ends(code).says(said);
            let status = with(&database, &folder, &["status", "--format", "json"]).await.ends(code).json();
            assert!(status["error"]["message"].as_str().unwrap().contains(said[0]), "{status}");
        };
        with(&database, Path::new("nowhere"), &["up"]).await.ends(78).says(&["there is no folder nowhere"]);
        refused("empty", &[], 78, &["there are no migrations in", "V1__create_users.sql"]).await;
        refused("readme", &[("README.md", "none")], 78, &["there are no migrations in"]).await;
        let other = if backend(&database) == Backend::Postgres { "sqlite3/1_a.sql" } else { "postgresql/1_a.sql" };
        refused("other", &[(other, ONE)], 78, &["there are no migrations for", "only those in"]).await;
        let file = folder(&database, "a_file", &[("V1__a.sql", ONE)]).join("V1__a.sql");
        with(&database, &file, &["up"]).await.ends(78).says(&["is no folder"]);
        let broken = folder(&database, "broken", &[]);
        std::os::unix::fs::symlink("nowhere", broken.join("1_a.sql")).unwrap();
        with(&database, &broken, &["up"]).await.ends(78).says(&["1_a.sql cannot be read"]);

        refused("mixed", &[("1_a.up.sql", ONE), ("V2__b.sql", TWO)], 65, &["V2__b.sql: is named as by refinery", "1_a.up.sql is named as by golang-migrate"]).await;
        refused("sections", &[("1_a.sql", "-- migrate:up\n"), ("2_b.sql", "-- +goose Up\n")], 65, &["2_b.sql: is divided as by goose", "1_a.sql is divided as by dbmate"]).await;
        refused("twice", &[("V1__a.sql", ONE), ("V01__b.sql", TWO)], 65, &["V1__a.sql: is the second migration with the version 1", "V01__b.sql"]).await;
        refused("two_undos", &[("V1__a.sql", ONE), ("D1__a.sql", ONE), ("U1__a.sql", ONE)], 65, &["second undo with the version 1"]).await;
        refused("orphan", &[("1_a.up.sql", ONE), ("2_b.down.sql", TWO)], 65, &["2_b.down.sql: undoes nothing"]).await;
        refused("repeatable", &[("V1__a.sql", ONE), ("R__b.sql", TWO)], 65, &["R__b.sql: is a repeatable migration"]).await;
        refused("program", &[("00001_a.sql", "-- +goose Up\n"), ("00002_b.go", "package b")], 65, &["00002_b.go: is a migration written as a program"]).await;
        refused("schema", &[("1_a.sql", ONE), ("schema.sql", TWO)], 65, &["schema.sql: is named like no migration"]).await;
        // PostgreSQL runs what follows such a line end, and SQLite would take it for a part of the comment.
        let line_ends = folder(&database, "line_ends", &[("1_a.sql", "-- a\rCREATE TABLE mac (id integer);\r")]);
        let run = with(&database, &line_ends, &["plan", "--format", "json"]).await;
        if backend(&database) == Backend::Postgres {
            let plan = run.ends(0).json();
            assert_eq!(plan["migrations"][0]["statements"][0]["sql"], "CREATE TABLE mac (id integer)", "{plan}");
        } else {
            run.ends(65).says(&["1_a.sql: line 1 has a comment with a CR"]);
        }
        refused("high", &[("20191100000001000000_a.sql", ONE)], 65, &["is above 9223372036854775807"]).await;
        refused("instruction", &[("1_a.sql", "-- migrator: sideways\nSELECT 1;")], 65, &["1_a.sql:1: unknown instruction"]).await;
        for (name, up, down) in [("dbmate", "-- migrate:up", "-- migrate:down"), ("goose", "-- +goose Up", "-- +goose Down")] {
            for (what, text, said) in [
                ("above", format!("-- why\n-- migrator: sideways\n{up}\n{ONE}"), "1_a.sql:2: unknown instruction"),
                ("twice", format!("-- migrator: irreversible a\n{up}\n-- migrator: irreversible b\n{ONE}"), "1_a.sql:3: irreversible is given twice"),
                ("below", format!("{up}\n{ONE}{down}\n-- migrator: sideways\nDROP TABLE one;"), "1_a.sql:4: unknown instruction"),
                ("undo", format!("{up}\n{ONE}{down}\n-- migrator: irreversible a\nDROP TABLE one;"), "stands at the head of the migration"),
            ] {
                refused(&format!("{name}_{what}"), &[("1_a.sql", &text)], 65, &[said]).await;
            }
        }
        refused("orphan_below", &[("V1__a.sql", ONE), ("undo/D2__b.sql", TWO)], 65, &["undo/D2__b.sql: undoes nothing"]).await;
        let among_undos = &[("migrations/1_a.sql", ONE), ("undo/2_a.sql", "DROP TABLE one;")];
        refused("among_undos", among_undos, 65, &["undo/2_a.sql: lies among the undo files and is not named as one"]).await;
        let own = if backend(&database) == Backend::Postgres { "postgres" } else { "sqlite" };
        let in_own = format!("{own}/1_a.sql");
        refused("above_own", &[(&in_own, ONE), ("2_b.sql", TWO)], 65, &["2_b.sql: is not read, because", own]).await;
        refused("above", &[("migrations/V1__a.sql", ONE), ("V2__b.sql", TWO)], 65, &["V2__b.sql: is not read, because"]).await;
        let in_own = format!("migrations/{own}/V1__a.sql");
        refused("above_both", &[(&in_own, ONE), ("migrations/V2__b.sql", TWO), ("schema.sql", ONE)], 65, &["V2__b.sql: is not read, because"]).await;
        let not_text = folder(&database, "not_text", &[]);
        std::fs::write(not_text.join("1_a.sql"), b"SELECT '\xff';").unwrap();
        with(&database, &not_text, &["up"]).await.ends(65).says(&["1_a.sql: is not UTF-8: byte 9"]);
        // SQLite would stop reading there, and the rest would count as applied.
        let cut_short = "CREATE TABLE a (id integer);\0CREATE TABLE b (id integer);";
        refused("cut_short", &[("1_a.sql", cut_short)], 65, &["1_a.sql: has a NUL in it, byte 29"]).await;
        refused("cut_short_undo", &[("1_a.up.sql", ONE), ("1_a.down.sql", "DROP TABLE one;\0")], 65, &["1_a.down.sql: has a NUL in it, byte 16"]).await;
        if backend(&database) == Backend::Postgres {
            refused("psql", &[("1_a.sql", "SELECT 1;\n\\connect other\n")], 65, &["1_a.sql:2: has", "connect, a command of psql"]).await;
            refused("copy", &[("1_a.sql", "-- migrate:up\nCOPY a (b) FROM stdin;\n1\n\\.\n")], 65, &["1_a.sql:2: has COPY FROM stdin"]).await;
        } else {
            refused("shell", &[("1_a.sql", "SELECT 1;\n.read b.sql\n")], 65, &["1_a.sql:2: has .read"]).await;
        }
        let mut connection = database.connect().await;
        assert!(!has_table(&mut connection, "refinery_schema_history").await, "nothing was begun");
    }

    /// `new` goes on as the folder does.
    async fn new_files_are_in_the_style_of_the_folder(database: TestDatabase) {
        for (name, contents, expected) in [
            ("golang", &[("000009_a.up.sql", ONE), ("000009_a.down.sql", "")][..], &["000010_add_team.up.sql", "000010_add_team.down.sql"][..]),
            ("flyway", &[("V1.2__a.sql", ONE), ("U1.2__a.sql", "DROP TABLE one;")], &["V2__add_team.sql", "U2__add_team.sql"]),
            ("ours", &[("migrations/V7__a.sql", ONE), ("undo/D7__a.sql", "DROP TABLE one;")], &["migrations/V8__add_team.sql", "undo/D8__add_team.sql"]),
            ("goose", &[("00001_a.sql", "-- +goose Up\n")], &["00002_add_team.sql"]),
            ("dbmate", &[("99990101000000_a.sql", "-- migrate:up\n")], &["99990101000001_add_team.sql"]),
            ("sqlx", &[("99990101000000_a.sql", "SELECT 1;")], &["99990101000001_add_team.sql"]),
        ] {
            let folder = folder(&database, name, contents);
            let written = with(&database, &folder, &["new", "add team", "--format", "json"]).await.ends(0).json();
            let paths: Vec<PathBuf> = expected.iter().map(|file| folder.join(file)).collect();
            assert_eq!(written["files"], serde_json::json!(paths), "{name}");
            assert!(paths.iter().all(|path| path.is_file()), "{name}");
        }
        let fresh = folder(&database, "fresh", &[]);
        let written = with(&database, &fresh, &["new", "first"]).await.ends(0);
        assert!(written.stdout.contains("V20") && written.stdout.contains("D20"), "{written}");
        with(&database, &fresh, &["new", "first", "--autogenerate"]).await.ends(2).says(&["leave --migrations out"]);
    }

    /// What `new` writes is no migration before somebody has written it.
    async fn what_nobody_has_written_yet_is_not_applied(database: TestDatabase) {
        for (name, file, text) in [
            ("lettered", "V1__a.sql", ONE.to_owned()),
            ("pair", "1_a.up.sql", ONE.to_owned()),
            ("dbmate", "1_a.sql", format!("-- migrate:up\n{ONE}")),
            ("goose", "1_a.sql", format!("-- +goose Up\n{ONE}")),
        ] {
            let database = TestDatabase::new(backend(&database)).await;
            let folder = folder(&database, name, &[(file, &text)]);
            let new = with(&database, &folder, &["new", "b", "--format", "json"]).await.ends(0).json();
            let written = new["files"][0].as_str().unwrap();
            for command in [&["up"][..], &["plan"]] {
                with(&database, &folder, command).await.ends(65).says(&[written, "is not written yet"]);
            }
            let lint = with(&database, &folder, &["lint", "--format", "json"]).await.json();
            let is_found = |it: &serde_json::Value| it["rule"] == "unwritten" && it["file"] == written;
            assert!(lint["findings"].as_array().unwrap().iter().any(is_found), "{lint}");
            assert!(!has_table(&mut database.connect().await, "one").await, "nothing was begun");
            // Nothing is dropped that would not be made again.
            with(&database, &folder, &["up", "--to", "1"]).await.ends(0);
            with(&database, &folder, &["reset", "--yes"]).await.ends(65).says(&[written, "is not written yet"]);
            assert!(has_table(&mut database.connect().await, "one").await, "nothing was dropped");
            // One with another behind it is empty on purpose, and what is applied is left in peace.
            let last = file.replace('1', "99990101000000");
            std::fs::write(folder.join(&last), text.replace("one", "last")).unwrap();
            with(&database, &folder, &["up"]).await.ends(0);
            std::fs::remove_file(folder.join(&last)).unwrap();
            with(&database, &folder, &["repair", "--forget", "99990101000000", "--yes"]).await.ends(0);
            with(&database, &folder, &["up"]).await.ends(0);
        }
    }
}

/// A transaction of the file's own becomes the migrator's, but not one whose options would be lost with it.
#[tokio::test]
async fn options_of_a_transaction_are_not_lost() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let text = "BEGIN ISOLATION LEVEL SERIALIZABLE;\nCREATE TABLE one (id integer);\nCOMMIT;\n";
    let folder = folder(&database, "options", &[("1_a.sql", text)]);
    with(&database, &folder, &["up"]).await.ends(65).says(&["line 1 begins a transaction with options"]);
    assert!(!has_table(&mut database.connect().await, "one").await);
}
