//! Migrations that fail, or must not be: whole or not at all, and said in words.

use foundation::database::Backend;
use foundation::exit::Exit;
use foundation::on_both_databases;
use foundation::testing::TestDatabase;
use migrator::{Down, MigratorError};

use crate::support::{self, backend, count, has_table, journal, library, number, texts, versions};

const ONE: (&str, &str) = ("V1__one", "CREATE TABLE one (id bigint PRIMARY KEY);");
const THREE: (&str, &str) = ("V3__three", "CREATE TABLE three (id bigint);");

/// The error of `up`, which says each of these and ends the program with this code.
async fn up_fails(database: &TestDatabase, files: support::Files<'_>, exit: Exit, parts: &[&str]) {
    let error = library(database, files).up(None).await.expect_err("it fails");
    let said = error.to_string();
    assert_eq!(error.exit(), exit, "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not said: {said}");
    }
}

on_both_databases! {
    /// What came before stays, nothing of it is left, what comes later is not tried.
    async fn a_failure_is_rolled_back(database: TestDatabase) {
        let bad = (
            "V2__two",
            "-- Makes, and brëaks;\nCREATE TABLE two (id bigint); /* so; */\nINSERT INTO one VALUES (1);\n\n  INSERT INTO nowhere VALUES (1);\nSELECT 1;",
        );
        let line = ["V2__two", "rolled back", "line 5", "nowhere"];
        up_fails(&database, &[ONE, bad, THREE], Exit::Migration, &line).await;
        let mut connection = database.connect().await;
        assert_eq!(versions(&mut connection).await, ["1"]);
        assert_eq!(journal(&mut connection).await, ["up 1", "failed up 2"]);
        assert_eq!(count(&mut connection, "one").await, 0);
        assert!(!has_table(&mut connection, "two").await && !has_table(&mut connection, "three").await);
        // Mended, it goes on where it stood.
        let good = ("V2__two", "CREATE TABLE two (id bigint);");
        let report = library(&database, &[ONE, good, THREE]).up(None).await.unwrap();
        assert_eq!(report.applied.iter().map(|it| it.version).collect::<Vec<_>>(), [2, 3]);
    }

    /// Also what fails only when it runs.
    async fn a_broken_constraint_is_a_failure(database: TestDatabase) {
        let bad = ("V2__two", "INSERT INTO one VALUES (1);\nINSERT INTO one VALUES (1);");
        up_fails(&database, &[ONE, bad], Exit::Migration, &["V2__two", "rolled back, at line 2"]).await;
        assert_eq!(count(&mut database.connect().await, "one").await, 0);
    }

    /// What the database says of a row has its values in it: they are neither in the sentence nor among the
    /// causes that the log has.
    async fn no_value_of_a_row_is_told(database: TestDatabase) {
        let bad = ("V2__two", "ALTER TABLE one ADD COLUMN secret text CHECK (length(secret) < 3);\nINSERT INTO one VALUES (1, 'hunter2');");
        let error = library(&database, &[ONE, bad]).up(None).await.expect_err("it fails");
        let mut next: Option<&dyn std::error::Error> = Some(&error);
        while let Some(cause) = next {
            assert!(!cause.to_string().contains("hunter2"), "{cause}");
            next = cause.source();
        }
    }

    /// A file cannot end the transaction that makes it whole.
    async fn a_commit_inside_is_found(database: TestDatabase) {
        for end in ["COMMIT", "ROLLBACK", "COMMIT;\nBEGIN", "ROLLBACK;\nBEGIN"] {
            let fresh = TestDatabase::new(backend(&database)).await;
            let bad = ("V2__two", format!("CREATE TABLE two (id bigint);\n{end};"));
            up_fails(&fresh, &[ONE, (bad.0, &bad.1), THREE], Exit::Schema, &["V2__two", "COMMIT"]).await;
            let mut connection = fresh.connect().await;
            assert_eq!(versions(&mut connection).await, ["1"], "{end}");
            assert!(!has_table(&mut connection, "three").await);
        }
    }

    /// The undo and its row of the history go together too.
    async fn a_failing_undo_is_rolled_back(database: TestDatabase) {
        let files = [
            ONE,
            ("V2__two", "CREATE TABLE two (id bigint);"),
            ("D2__two", "DROP TABLE two;\nDROP TABLE nowhere;"),
            THREE,
            ("D3__three", "DROP TABLE three;"),
        ];
        let migrator = library(&database, &files);
        migrator.up(None).await.unwrap();
        let error = migrator.down(Down::To(0)).await.expect_err("it fails");
        assert_eq!(error.exit(), Exit::Migration);
        assert!(error.to_string().contains("the undo of V2__two"), "{error}");
        let mut connection = database.connect().await;
        assert_eq!(versions(&mut connection).await, ["1", "2"]);
        assert!(has_table(&mut connection, "two").await && !has_table(&mut connection, "three").await);
        assert_eq!(journal(&mut connection).await, ["up 1", "up 2", "up 3", "down 3"]);
    }

    /// Refused before anything is taken back, also what lies above it.
    async fn what_is_irreversible_stays(database: TestDatabase) {
        let gone = ("V2__two", "-- migrator: irreversible the old values are not kept\nDELETE FROM one;");
        let migrator = library(&database, &[ONE, gone, THREE, ("D3__three", "DROP TABLE three;")]);
        migrator.up(None).await.unwrap();
        for attempt in [migrator.down(Down::To(0)).await, migrator.down(Down::Steps(2)).await] {
            let error = attempt.expect_err("it is refused");
            assert_eq!(error.exit(), Exit::Schema);
            assert!(
                error.to_string().contains("V2__two cannot be taken back: the old values are not kept"),
                "{error}"
            );
        }
        let mut connection = database.connect().await;
        assert_eq!(versions(&mut connection).await, ["1", "2", "3"]);
        assert_eq!(migrator.down(Down::Steps(1)).await.unwrap().current_version, Some(2));
    }

    /// `--steps`, `--to` in the middle and to the base.
    async fn down_goes_as_far_as_it_is_told(database: TestDatabase) {
        let files = [
            ONE,
            ("D1__one", "DROP TABLE one;"),
            ("V2__two", "CREATE TABLE two (id bigint);"),
            ("D2__two", "DROP TABLE two;"),
            THREE,
            ("D3__three", "DROP TABLE three;"),
        ];
        let migrator = library(&database, &files);
        assert_eq!(migrator.up(Some(2)).await.unwrap().current_version, Some(2));
        assert_eq!(migrator.up(None).await.unwrap().applied.len(), 1);
        let down = migrator.down(Down::Steps(2)).await.unwrap();
        assert_eq!(down.undone.iter().map(|it| it.version).collect::<Vec<_>>(), [3, 2]);
        migrator.up(None).await.unwrap();
        assert_eq!(migrator.down(Down::To(1)).await.unwrap().current_version, Some(1));
        assert_eq!(migrator.down(Down::To(0)).await.unwrap().current_version, None);
        let mut connection = database.connect().await;
        for table in ["one", "two", "three"] {
            assert!(!has_table(&mut connection, table).await, "{table}");
        }
    }
}

/// Rows that point at no row are refused; PostgreSQL refuses the statement that makes them.
#[tokio::test]
async fn broken_foreign_keys_are_refused_on_sqlite() {
    let database = TestDatabase::new(Backend::Sqlite).await;
    let child = (
        "V2__child",
        "CREATE TABLE child (id bigint, one_id bigint REFERENCES one (id));\nINSERT INTO one VALUES (1), (2);\nINSERT INTO child VALUES (1, 1), (2, 2);",
    );
    let bad = ("V3__three", "CREATE TABLE three (id bigint);\nDELETE FROM one WHERE id = 1;");
    up_fails(
        &database,
        &[ONE, child, bad],
        Exit::Schema,
        &["V3__three", "1 of child point at no row of one"],
    )
    .await;
    let mut connection = database.connect().await;
    assert_eq!((count(&mut connection, "one").await, versions(&mut connection).await.len()), (2, 2));
    assert!(!has_table(&mut connection, "three").await);
}

/// The way in which SQLite changes a table takes no row along that points at it.
#[tokio::test]
async fn a_rebuilt_table_keeps_its_children_on_sqlite() {
    let database = TestDatabase::new(Backend::Sqlite).await;
    let child = (
        "V2__child",
        "CREATE TABLE child (id bigint, one_id bigint REFERENCES one (id) ON DELETE CASCADE);\nINSERT INTO one VALUES (1), (2);\nINSERT INTO child VALUES (1, 1), (2, 2);",
    );
    let rebuild = (
        "V3__rebuild",
        "CREATE TABLE one_new (id bigint PRIMARY KEY, colour text NOT NULL DEFAULT 'red');\nINSERT INTO one_new (id) SELECT id FROM one;\nDROP TABLE one;\nALTER TABLE one_new RENAME TO one;",
    );
    library(&database, &[ONE, child, rebuild]).up(None).await.unwrap();
    let mut connection = database.connect().await;
    assert_eq!(count(&mut connection, "child").await, 2);
    assert_eq!(texts(&mut connection, "SELECT colour AS it FROM one").await.unwrap(), ["red", "red"]);
    connection
        .batch("INSERT INTO child VALUES (3, 3)")
        .await
        .expect_err("foreign keys are on again for others");
}

/// What cannot run in a transaction.
#[tokio::test]
async fn an_index_is_made_without_a_transaction_on_postgresql() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let index =
        ("V2__index", "-- migrator: no-transaction\nCREATE INDEX CONCURRENTLY one_index ON one (id);");
    up_fails(
        &database,
        &[ONE, ("V2__index", "CREATE INDEX CONCURRENTLY one_index ON one (id);")],
        Exit::Migration,
        &["V2__index"],
    )
    .await;
    library(&database, &[ONE, index, THREE]).up(None).await.unwrap();
    let mut connection = database.connect().await;
    let valid = "SELECT CAST(count(*) AS BIGINT) AS it FROM pg_index WHERE indexrelid = 'one_index'::regclass AND indisvalid";
    assert_eq!(number(&mut connection, valid).await, 1);
    assert_eq!(versions(&mut connection).await, ["1", "2", "3"]);
}

#[tokio::test]
async fn a_vacuum_runs_without_a_transaction_on_sqlite() {
    let database = TestDatabase::new(Backend::Sqlite).await;
    let vacuum = ("V2__vacuum", "-- migrator: no-transaction\nVACUUM;");
    library(&database, &[ONE, vacuum, THREE]).up(None).await.unwrap();
    assert_eq!(versions(&mut database.connect().await).await, ["1", "2", "3"]);
}

/// Behind a transaction pooler another backend has the lock. A migration that gives it back looks the same.
#[tokio::test]
async fn a_backend_without_the_lock_is_refused() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let unlock = ("V2__two", "SELECT pg_advisory_unlock_all();");
    let error = library(&database, &[ONE, unlock, THREE]).up(None).await.expect_err("it is refused");
    assert!(matches!(error, MigratorError::Pooler), "{error}");
    assert_eq!(error.exit(), Exit::Configuration);
    assert!(error.to_string().contains("pgbouncer") && error.to_string().contains("DATABASE_URL"), "{error}");
    let mut connection = database.connect().await;
    assert!(!has_table(&mut connection, "three").await);
}

/// It must not be said that everything was rolled back when a part of it was not.
#[tokio::test]
async fn a_failure_after_a_commit_is_told_apart_on_postgresql() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let bad = ("V2__two", "CREATE TABLE two (id bigint);\nCOMMIT;\nINSERT INTO nowhere VALUES (1);");
    up_fails(&database, &[ONE, bad], Exit::Schema, &["V2__two", "COMMIT", "applied in part"]).await;
    assert_eq!(versions(&mut database.connect().await).await, ["1"]);
}

/// A statement that takes longer than it may is stopped and rolled back.
#[tokio::test]
async fn a_statement_has_its_limit_on_postgresql() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let slow = ("V2__slow", "CREATE TABLE two (id bigint);\nSELECT pg_sleep(60);");
    let limit = [("MIGRATOR_STATEMENT_TIMEOUT", "200ms")];
    let error = support::library_with(&database, &[ONE, slow], &limit).up(None).await.expect_err("too long");
    assert_eq!(error.exit(), Exit::Migration);
    assert!(error.to_string().contains("statement timeout"), "{error}");
    assert!(!has_table(&mut database.connect().await, "two").await);
}

/// So is one outside of a transaction, and what it leaves is cleared away.
#[tokio::test]
async fn a_statement_alone_has_its_limit_on_postgresql() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let slow = (
        "V2__slow",
        "-- migrator: no-transaction\n\
         CREATE FUNCTION slow(bigint) RETURNS bigint IMMUTABLE LANGUAGE sql RETURN (SELECT $1 FROM pg_sleep(60));\n\
         INSERT INTO one VALUES (1);\n\
         CREATE INDEX CONCURRENTLY one_slow ON one (slow(id));",
    );
    let limit = [("MIGRATOR_STATEMENT_TIMEOUT", "500ms")];
    let error = support::library_with(&database, &[ONE, slow], &limit).up(None).await.expect_err("too long");
    assert_eq!(error.exit(), Exit::Migration);
    assert!(error.to_string().contains("statement timeout"), "{error}");
    let mut connection = database.connect().await;
    let left = "SELECT count(*) AS it FROM pg_class WHERE relname = 'one_slow'";
    assert_eq!(number(&mut connection, left).await, 0, "no invalid index is left");
    assert_eq!(count(&mut connection, "one").await, 1);
}

/// A file that fails inside of its transaction has not ended it, also where the server is not who refuses it.
#[tokio::test]
async fn what_is_not_understood_is_rolled_back() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let bad = ("V2__two", "CREATE TABLE two (id bigint);\nCOPY one TO STDOUT;");
    up_fails(&database, &[ONE, bad], Exit::Migration, &["V2__two failed and was rolled back"]).await;
    let mut connection = database.connect().await;
    assert_eq!(versions(&mut connection).await, ["1"]);
    assert!(!has_table(&mut connection, "two").await);
    // One that did end it, and fails then, is told as before.
    let bad = ("V2__two", "CREATE TABLE two (id bigint);\nCOMMIT;\nCOPY one TO STDOUT;");
    up_fails(&database, &[ONE, bad], Exit::Schema, &["ends the transaction"]).await;
    assert!(has_table(&mut connection, "two").await);
}

/// What only that database says when a statement runs has no place in the text.
#[tokio::test]
async fn the_line_of_what_fails_when_it_runs_is_told_on_postgresql() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let bad = "-- Makes;\nINSERT INTO one VALUES (0); /* ; */\nCREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$\nBEGIN RETURN 1; END $$;\n\nUPDATE one\n  SET id = 1 / id;\nSELECT 1;";
    up_fails(&database, &[ONE, ("V2__two", bad)], Exit::Migration, &["22012", "at line 6"]).await;
    let undo = "DROP TABLE one;\nDO $$ BEGIN\nRAISE 'no'; END $$;";
    let release = library(&database, &[ONE, ("D1__one", undo)]);
    release.up(None).await.unwrap();
    let error = release.down(Down::Steps(1)).await.expect_err("it raises an error");
    assert!(error.to_string().contains("at line 2"), "{error}");
    // Outside of a transaction too, where a block has several statements.
    let parts = "-- migrator: no-transaction\nSELECT 1;\nBEGIN;\nSELECT 2;\nSELECT 1 / 0;\nCOMMIT;";
    up_fails(&database, &[ONE, ("V2__parts", parts)], Exit::Migration, &["22012", "at line 5"]).await;
}

/// The way out is told with what the server refuses in a transaction.
#[tokio::test]
async fn what_is_refused_in_a_transaction_is_told_the_way_out() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let index = ("V2__index", "CREATE INDEX CONCURRENTLY i ON one (id);");
    up_fails(&database, &[ONE, index], Exit::Migration, &["25001", "`-- migrator: no-transaction`"]).await;
    let procedure =
        ("V2__call", "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$;\nCALL p();");
    up_fails(
        &database,
        &[ONE, procedure],
        Exit::Migration,
        &["2D000", "at line 2", "`-- migrator: no-transaction`"],
    )
    .await;
    let level = ("V2__level", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;\nSELECT 1;");
    up_fails(&database, &[ONE, level], Exit::Migration, &["25001", "default_transaction_isolation"]).await;
}
