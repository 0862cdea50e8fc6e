//! Files that run statement by statement, and that fail: what is done is known, and nothing else is taken for it.

use std::time::Duration;

use foundation::database::Backend;
use foundation::exit::Exit;
use foundation::on_both_databases;
use foundation::testing::TestDatabase;
use migrator::schema::{self, SchemaState};
use migrator::{Awaited, Down};

use crate::support::{backend, count, has_table, library, number, texts, versions};

const ACCOUNT: (&str, &str) = (
    "V1__account",
    "CREATE TABLE account (id bigint PRIMARY KEY, balance bigint);\nINSERT INTO account VALUES (1, 100);",
);

/// A block that begins with a setting is run once, wherever it stands.
#[tokio::test]
async fn a_block_that_begins_with_a_setting_is_run_once() {
    let pay =
        "BEGIN; SET LOCAL statement_timeout = '5s'; UPDATE account SET balance = balance + 10; COMMIT;\n";
    let index = "CREATE INDEX CONCURRENTLY account_balance ON account (balance);\n";
    let insert = "BEGIN; INSERT INTO account VALUES (2, 0); COMMIT;\n";
    for (first, second, third) in [(pay, index, insert), (index, pay, insert), (index, insert, pay)] {
        let database = TestDatabase::new(Backend::Postgres).await;
        let file = format!("-- migrator: no-transaction\n{first}{second}{third}");
        let undo = "DROP INDEX CONCURRENTLY account_balance;\nBEGIN; SET LOCAL lock_timeout = '5s'; UPDATE account SET balance = balance - 10 WHERE id = 1; COMMIT;\nDELETE FROM account WHERE id = 2;";
        let release = library(&database, &[ACCOUNT, ("V2__pay", &file), ("D2__pay", undo)]);
        release.up(None).await.unwrap();
        let mut connection = database.connect().await;
        let balance = "SELECT balance AS it FROM account WHERE id = 1";
        assert_eq!(number(&mut connection, balance).await, 110, "{file}");
        assert_eq!(count(&mut connection, "account").await, 2, "{file}");
        release.down(Down::Steps(1)).await.unwrap();
        assert_eq!(number(&mut connection, balance).await, 100, "{file}");
        assert_eq!(count(&mut connection, "account").await, 1, "{file}");
    }
}

/// What is there already is not what a statement made that the server refused, and the file may be mended.
#[tokio::test]
async fn what_somebody_else_made_is_not_taken_for_a_statement_that_failed() {
    let before = "CREATE TABLE one (id bigint, other bigint);\nCREATE INDEX taken ON one (other);\nCREATE TABLE part (id bigint);\nCREATE TABLE whole (id bigint) PARTITION BY RANGE (id);";
    for (wrong, right, proof) in [
        (
            "CREATE UNIQUE INDEX CONCURRENTLY taken ON one (id);",
            "CREATE UNIQUE INDEX CONCURRENTLY free ON one (id);",
            "SELECT CAST(count(*) AS BIGINT) AS it FROM pg_class WHERE relname = 'free'",
        ),
        (
            "DROP INDEX CONCURRENTLY takne;",
            "DROP INDEX CONCURRENTLY taken;",
            "SELECT 1 - count(*) AS it FROM pg_class WHERE relname = 'taken'",
        ),
        (
            "ALTER TABLE whole DETACH PARTITION part CONCURRENTLY;",
            "SELECT 1;",
            "SELECT CAST(1 AS BIGINT) AS it",
        ),
    ] {
        let database = TestDatabase::new(Backend::Postgres).await;
        let file = |sql: &str| format!("-- migrator: no-transaction\n{sql}");
        let (first, mended) = (file(wrong), file(right));
        for time in 1..=2 {
            let release = library(&database, &[("V1__one", before), ("V2__two", &first)]);
            let error = release.up(None).await.expect_err("the server refuses it");
            assert_eq!(error.exit(), Exit::Migration, "{time}: {error}");
        }
        let mut connection = database.connect().await;
        assert_eq!(versions(&mut connection).await, ["1"], "{wrong}");
        library(&database, &[("V1__one", before), ("V2__two", &mended)]).up(None).await.unwrap();
        assert_eq!(number(&mut connection, proof).await, 1, "{right}");
    }
}

/// A part of it is committed: whether it may run again, nobody but its author knows.
#[tokio::test]
async fn a_procedure_that_commits_and_fails_is_asked_about() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let procedure = "CREATE PROCEDURE pay() LANGUAGE plpgsql AS $$ BEGIN UPDATE account SET balance = balance + 10; COMMIT; RAISE EXCEPTION 'no more'; END $$;";
    let files =
        [ACCOUNT, ("V2__procedure", procedure), ("V3__pay", "-- migrator: no-transaction\nCALL pay();")];
    let error = library(&database, &files).up(None).await.expect_err("it fails");
    assert_eq!(error.exit(), Exit::Migration, "{error}");
    let error = library(&database, &files).up(None).await.expect_err("it is asked about");
    assert_eq!(error.exit(), Exit::Schema, "{error}");
    assert!(error.to_string().contains("UPDATE migrator_journal SET outcome = 'applied'"), "{error}");
    let mut connection = database.connect().await;
    assert_eq!(number(&mut connection, "SELECT balance AS it FROM account").await, 110);

    // One that the server did not understand was not begun.
    let database = TestDatabase::new(Backend::Postgres).await;
    let typo = ("V2__pay", "-- migrator: no-transaction\nCALL nobody_knows_it();");
    library(&database, &[ACCOUNT, typo]).up(None).await.expect_err("there is no such procedure");
    let mended = ("V2__pay", "-- migrator: no-transaction\nVACUUM account;");
    library(&database, &[ACCOUNT, mended]).up(None).await.unwrap();
}

on_both_databases! {
    /// Nothing is taken away from under a file of which a part is done.
    async fn a_file_that_is_applied_in_part_is_told(database: TestDatabase) {
        let files = |second: &'static str| {
            [
                ("V1__one", "CREATE TABLE one (id integer);"),
                ("D1__one", "DROP TABLE one;"),
                ("V2__more", second),
                ("D2__more", "ALTER TABLE one DROP COLUMN a;"),
            ]
        };
        let broken = "-- migrator: no-transaction\nALTER TABLE one ADD COLUMN a integer;\nINSERT INTO nowhere VALUES (1);";
        let mended = "-- migrator: no-transaction\nALTER TABLE one ADD COLUMN a integer;\nINSERT INTO one (a) VALUES (1);";
        let release = library(&database, &files(broken));
        release.up(None).await.expect_err("there is no such table");
        let status = release.status().await.unwrap();
        assert_eq!(status.migrations[1].state, "in part");
        let told = |reasons: &str| {
            reasons.contains("V2__more was applied in part: of its file 1 statements are done") && reasons.contains("`migrator up`")
        };
        assert!(told(&status.problems.join("\n")), "{:?}", status.problems);
        let error = release.down(Down::Steps(1)).await.expect_err("it stands on version 1");
        assert_eq!(error.exit(), Exit::Schema);
        assert!(told(&error.to_string()), "{error}");
        let error = release.plan_down(Down::Steps(1)).await.expect_err("`down` refuses");
        assert!(told(&error.to_string()), "{error}");
        assert_eq!(release.plan_up(None).await.unwrap().migrations.len(), 1, "`up` goes on there");
        let mut connection = database.connect().await;
        assert!(has_table(&mut connection, "one").await);

        // Its file is gone, and another one would do the same again.
        let other = [files(broken)[0], files(broken)[1], ("V3__more", "ALTER TABLE one ADD COLUMN a integer;"), ("D3__more", "ALTER TABLE one DROP COLUMN a;")];
        let other = library(&database, &other);
        for error in [other.up(None).await.map(drop), other.plan_up(None).await.map(drop)] {
            let error = error.expect_err("version 2 is applied in part");
            assert!(told(&error.to_string()), "{error}");
        }

        let release = library(&database, &files(mended));
        release.up(None).await.unwrap();
        assert_eq!(count(&mut connection, "one WHERE a = 1").await, 1);
        assert!(release.status().await.unwrap().problems.is_empty());
        release.down(Down::To(0)).await.unwrap();
        assert!(!has_table(&mut connection, "one").await);
    }

    async fn a_file_that_is_taken_back_in_part_is_told(database: TestDatabase) {
        let refused = match backend(&database) {
            Backend::Postgres => "VACUUM",
            Backend::Sqlite => "PRAGMA journal_mode = WAL",
        };
        let undo = format!("DROP INDEX one_id;\n{refused};\nDROP TABLE two;\nDROP TABLE one;");
        let files = [("V1__one", "CREATE TABLE one (id integer);\nCREATE INDEX one_id ON one (id);\nCREATE TABLE two (id integer);"), ("D1__one", undo.as_str())];
        library(&database, &files).up(None).await.unwrap();
        let mut connection = database.connect().await;
        connection.batch("ALTER TABLE two RENAME TO three").await.unwrap();
        let release = library(&database, &files);
        release.down(Down::Steps(1)).await.expect_err("there is no table two");

        // Nothing is pending, and yet the schema is not there.
        let told = |said: &str| said.contains("V1__one was taken back in part") && said.contains("`migrator down`");
        for refused in [release.up(None).await.map(drop), release.plan_up(None).await.map(drop)] {
            let error = refused.expect_err("the undo has begun");
            assert_eq!(error.exit(), Exit::Schema);
            assert!(told(&error.to_string()), "{error}");
        }
        let report = schema::inspect_with(&mut connection, release.catalog()).await.unwrap();
        assert!(matches!(report.state, SchemaState::Unfinished(_)), "{report:?}");
        assert!(told(&report.refusal().unwrap()), "{report:?}");
        let error = release.wait(Awaited::Schema, Duration::ZERO).await.expect_err("it is not there");
        assert_eq!(error.exit(), Exit::Interrupted);
        assert!(told(&error.to_string()), "{error}");
        assert_eq!(release.plan_down(Down::Steps(1)).await.unwrap().migrations.len(), 1, "`down` goes on there");

        let more = [files[0], files[1], ("V2__more", "CREATE TABLE four (id integer);"), ("D2__more", "DROP TABLE four;")];
        let release = library(&database, &more);
        let status = release.status().await.unwrap();
        assert_eq!(status.migrations[0].state, "in part");
        for refused in [release.up(None).await.map(drop), release.plan_up(None).await.map(drop)] {
            let error = refused.expect_err("the undo has begun");
            assert_eq!(error.exit(), Exit::Schema);
            assert!(told(&error.to_string()), "{error}");
        }
        assert!(!has_table(&mut connection, "four").await);
        connection.batch("ALTER TABLE three RENAME TO two").await.unwrap();
        release.down(Down::Steps(1)).await.unwrap();
        assert_eq!(texts(&mut connection, "SELECT CAST(version AS text) AS it FROM refinery_schema_history").await.unwrap(), Vec::<String>::new());
        release.up(None).await.unwrap();
        assert!(has_table(&mut connection, "four").await);
    }
}
