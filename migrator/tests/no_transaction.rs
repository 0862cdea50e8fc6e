//! Files that run outside of a transaction: each statement once, whatever interrupts it.

use foundation::database::{Backend, Connection};
use foundation::exit::Exit;
use foundation::on_both_databases;
use foundation::testing::TestDatabase;
use migrator::Down;

use crate::support::{backend, count, has_table, library, number, texts, versions};

const ONE: (&str, &str) = ("V1__one", "CREATE TABLE one (id bigint);");

const INDEX: (&str, &str) = (
    "V2__index",
    "-- migrator: no-transaction\n\
     INSERT INTO one VALUES (1), (2);\n\
     CREATE UNIQUE INDEX CONCURRENTLY one_id ON one (id); -- ; no end\n\
     INSERT INTO one VALUES (3);\n",
);
const UNDO_INDEX: (&str, &str) = ("D2__index", "DROP INDEX one_id;\nDELETE FROM one;");

/// What the journal says of the statements of version 2.
async fn statements(connection: &mut Connection) -> Vec<String> {
    let sql = "SELECT CAST(statement AS text) || ' ' || outcome AS it FROM migrator_journal WHERE version = 2 AND statement IS NOT NULL ORDER BY id";
    texts(connection, sql).await.unwrap()
}

/// The index's number in the catalog: another one when it was made again.
async fn oid(connection: &mut Connection, name: &str) -> i64 {
    number(connection, &format!("SELECT CAST(CAST('{name}' AS regclass) AS oid)::bigint AS it")).await
}

/// As if the run had been killed after the statement was done and before it was recorded.
async fn forget_the_end_of_statement(connection: &mut Connection, number: i64) {
    forget(connection, number, true).await;
}

async fn forget(connection: &mut Connection, number: i64, later: bool) {
    connection
        .batch(&format!(
            "DELETE FROM refinery_schema_history WHERE version = 2;
             DELETE FROM migrator_journal WHERE version = 2 AND (statement IS NULL OR {later} AND statement > {number});
             UPDATE migrator_journal SET outcome = 'started', finished_at = NULL WHERE version = 2 AND statement = {number}"
        ))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_statement_that_was_finished_and_not_recorded_is_not_run_again() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let release = library(&database, &[ONE, INDEX, UNDO_INDEX]);
    release.up(None).await.unwrap();
    let mut connection = database.connect().await;
    assert_eq!(statements(&mut connection).await, ["1 applied", "2 applied", "3 applied"]);
    let first = oid(&mut connection, "one_id").await;

    forget_the_end_of_statement(&mut connection, 2).await;
    connection.batch("DELETE FROM one WHERE id = 3").await.unwrap();
    release.up(None).await.unwrap();
    assert_eq!(oid(&mut connection, "one_id").await, first, "it is the same index");
    assert_eq!(count(&mut connection, "one").await, 3, "the first statement was not run again, the last was");
    assert_eq!(statements(&mut connection).await, ["1 applied", "2 applied", "3 applied"]);

    // What was done before it was taken back does not count afterwards.
    release.down(Down::Steps(1)).await.unwrap();
    release.up(None).await.unwrap();
    assert_eq!(count(&mut connection, "one").await, 3);
    assert_ne!(oid(&mut connection, "one_id").await, first);
}

#[tokio::test]
async fn an_invalid_index_that_was_left_is_dropped_and_made_again() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let release = library(&database, &[ONE, INDEX]);
    release.up(None).await.unwrap();
    let mut connection = database.connect().await;
    let first = oid(&mut connection, "one_id").await;
    forget_the_end_of_statement(&mut connection, 2).await;
    connection
        .batch("DELETE FROM one WHERE id = 3; UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'one_id'::regclass")
        .await
        .unwrap();
    release.up(None).await.unwrap();
    assert_ne!(oid(&mut connection, "one_id").await, first, "it was made again");
    let valid = "SELECT count(*) AS it FROM pg_index WHERE indrelid = 'one'::regclass AND indisvalid";
    assert_eq!(number(&mut connection, valid).await, 1);
    assert_eq!(count(&mut connection, "one").await, 3);
}

#[tokio::test]
async fn an_index_that_fails_leaves_nothing_and_the_next_run_goes_on() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let two_alike = (
        "V2__index",
        "-- migrator: no-transaction\nINSERT INTO one VALUES (1), (1);\n\nCREATE UNIQUE INDEX CONCURRENTLY one_id\n  ON one (id);\nINSERT INTO one VALUES (3);",
    );
    let error = library(&database, &[ONE, two_alike]).up(None).await.expect_err("two rows are alike");
    assert_eq!(error.exit(), Exit::Migration);
    assert!(error.to_string().contains("at line 4"), "{error}");
    let mut connection = database.connect().await;
    assert_eq!(statements(&mut connection).await, ["1 applied"]);
    assert_eq!(count(&mut connection, "pg_class WHERE relname = 'one_id'").await, 0);

    // The statement that failed may be mended, the one that is done may not.
    let mended = (two_alike.0, &*two_alike.1.replace("UNIQUE ", ""));
    let other = (two_alike.0, &*two_alike.1.replace("(1), (1)", "(1), (2)"));
    let error = library(&database, &[ONE, other]).up(None).await.expect_err("it is another file");
    assert_eq!(error.exit(), Exit::Schema);
    assert!(error.to_string().contains("statement 1 of it is another one now"), "{error}");
    library(&database, &[ONE, mended]).up(None).await.unwrap();
    assert_eq!(count(&mut connection, "one").await, 3);
    assert_eq!(versions(&mut connection).await, ["1", "2"]);
}

/// `IF NOT EXISTS` takes an index that enforces nothing for one.
#[tokio::test]
async fn an_invalid_index_of_somebody_else_is_told() {
    let database = TestDatabase::new(Backend::Postgres).await;
    library(&database, &[ONE]).up(None).await.unwrap();
    let mut connection = database.connect().await;
    connection
        .batch("CREATE INDEX one_id ON one (id); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'one_id'::regclass")
        .await
        .unwrap();
    let index = (
        "V2__index",
        "-- migrator: no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS one_id ON one (id);",
    );
    let error = library(&database, &[ONE, index]).up(None).await.expect_err("it is not valid");
    assert!(error.to_string().contains("INVALID"), "{error}");
    assert_eq!(versions(&mut connection).await, ["1"]);
}

/// What only its author can know is not guessed.
#[tokio::test]
async fn a_procedure_that_commits_runs_alone_and_is_asked_about() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let procedure = (
        "V1__procedure",
        "CREATE TABLE one (id bigint);
         CREATE PROCEDURE in_parts() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO one VALUES (1); COMMIT; INSERT INTO one VALUES (2); END $$;",
    );
    let call = ("V2__call", "-- migrator: no-transaction\nCALL in_parts();\nINSERT INTO one VALUES (3);");
    let release = library(&database, &[procedure, call]);
    release.up(None).await.unwrap();
    let mut connection = database.connect().await;
    assert_eq!(
        texts(&mut connection, "SELECT id::text AS it FROM one ORDER BY 1").await.unwrap(),
        ["1", "2", "3"]
    );

    forget_the_end_of_statement(&mut connection, 1).await;
    let error = release.up(None).await.expect_err("it cannot be known");
    assert_eq!(error.exit(), Exit::Schema);
    let sentence = error.to_string();
    let way_out = sentence.split("it has: ").nth(1).unwrap().split("; it has to").next().unwrap();
    assert!(sentence.contains("line 2"), "{sentence}");
    connection.batch(way_out).await.unwrap();
    release.up(None).await.unwrap();
    assert_eq!(count(&mut connection, "one").await, 4, "only the statement after it was run again");
}

#[tokio::test]
async fn what_else_cannot_run_in_a_transaction_is_taken_up_again() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let tables = (
        "V1__tables",
        "CREATE TABLE p (id bigint) PARTITION BY RANGE (id);
         CREATE TABLE c PARTITION OF p FOR VALUES FROM (1) TO (9);
         CREATE TABLE one (id bigint); CREATE INDEX one_id ON one (id); CREATE INDEX one_more ON one (id);",
    );
    let others = (
        "V2__others",
        "-- migrator: no-transaction
         SET lock_timeout = '10s';
         ALTER TABLE p DETACH PARTITION c CONCURRENTLY;
         DROP INDEX CONCURRENTLY one_id;
         REINDEX INDEX CONCURRENTLY one_more;
         VACUUM (ANALYZE) one;
         BEGIN; INSERT INTO one VALUES (1); INSERT INTO one VALUES (2); COMMIT;",
    );
    let release = library(&database, &[tables, others]);
    release.up(None).await.unwrap();
    let mut connection = database.connect().await;
    let all = ["2 applied", "3 applied", "4 applied", "5 applied", "6 applied"];
    assert_eq!(statements(&mut connection).await, all, "a setting of the session is no work");
    for number in [2, 3, 4, 5] {
        forget(&mut connection, number, false).await;
        release.up(None).await.unwrap_or_else(|error| panic!("statement {number}: {error}"));
        assert_eq!(statements(&mut connection).await, all);
    }
    // A partition that only waits to be detached: the catalog of a run that was killed in the middle.
    connection
        .batch("ALTER TABLE p ATTACH PARTITION c FOR VALUES FROM (1) TO (9); UPDATE pg_inherits SET inhdetachpending = true")
        .await
        .unwrap();
    forget(&mut connection, 2, false).await;
    release.up(None).await.unwrap();
    assert_eq!(count(&mut connection, "pg_inherits WHERE inhparent = 'p'::regclass").await, 0);
}

/// Neither in a transaction nor outside of one, neither forth nor back, is a setting left to the next file.
#[tokio::test]
async fn what_a_file_sets_ends_with_it() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let keep = |column: &str| {
        format!(
            "INSERT INTO kept SELECT '{column} ' || current_setting('work_mem') || current_setting('TimeZone');"
        )
    };
    let (up, down) = (keep("up"), keep("down"));
    let table = (
        "V1__table",
        "CREATE TABLE kept (it text); INSERT INTO kept SELECT current_setting('work_mem') || current_setting('TimeZone');",
    );
    let sets = "SET work_mem = '7MB';\nSET TimeZone = 'Asia/Tokyo';\nINSERT INTO kept SELECT current_setting('work_mem');\nVACUUM kept;";
    let marked = format!("-- migrator: no-transaction\n{sets}");
    let release = library(
        &database,
        &[
            table,
            ("V2__keep", "SELECT 1;"),
            ("D2__keep", &down),
            ("V3__sets", &marked),
            ("D3__sets", sets),
            ("V4__keep", &up),
            ("D4__keep", "SELECT 1;"),
        ],
    );
    release.up(None).await.unwrap();
    release.down(Down::Steps(3)).await.unwrap();
    let mut connection = database.connect().await;
    let kept = texts(&mut connection, "SELECT it FROM kept").await.unwrap();
    let default = &kept[0];
    assert!(!default.contains("7MB") && !default.contains("Tokyo"), "{kept:?}");
    assert_eq!(
        kept[1..],
        ["7MB".to_owned(), format!("up {default}"), "7MB".to_owned(), format!("down {default}")]
    );
    assert_eq!(versions(&mut connection).await, ["1"]);
}

/// As if the run had been killed after the statement was done and before it was recorded.
#[tokio::test]
async fn an_undo_goes_on_with_a_statement_that_was_not_recorded() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let undo = ("D2__index", "DROP INDEX CONCURRENTLY one_id;\nDELETE FROM two;\nDELETE FROM one;");
    let two = ("V3__two", "CREATE TABLE two (id bigint);");
    let release = library(&database, &[ONE, INDEX, undo]);
    release.up(None).await.unwrap();
    let error = release.down(Down::Steps(1)).await.expect_err("there is no such table");
    assert!(error.to_string().contains("at line 2"), "{error}");
    let mut connection = database.connect().await;
    let begun = "UPDATE migrator_journal SET outcome = 'started', finished_at = NULL WHERE action = 'down' AND statement = 1";
    connection.batch(&format!("{begun}; {}", two.1)).await.unwrap();
    release.down(Down::Steps(1)).await.unwrap();
    assert_eq!(versions(&mut connection).await, ["1"]);
    let expected = ["1 applied", "2 applied", "3 applied", "1 applied", "2 applied", "3 applied"];
    assert_eq!(statements(&mut connection).await, expected);

    // What was done before it was applied again does not count afterwards.
    release.up(None).await.unwrap();
    release.down(Down::Steps(1)).await.unwrap();
    assert_eq!(count(&mut connection, "pg_class WHERE relname = 'one_id'").await, 0);
}

on_both_databases! {
    /// An undo in parts that failed goes on where it was. Between its parts rows may point at nothing.
    async fn an_undo_goes_on_where_it_failed(database: TestDatabase) {
        let up = (
            "V1__tables",
            "CREATE TABLE one (id bigint PRIMARY KEY);
             CREATE TABLE two (id bigint REFERENCES one (id));
             CREATE TABLE three (id bigint);
             INSERT INTO one VALUES (1);
             INSERT INTO two VALUES (1);",
        );
        let drop = if backend(&database) == Backend::Sqlite { "DROP TABLE one" } else { "DROP TABLE one CASCADE" };
        let text = format!("{drop};\nVACUUM;\nDROP TABLE three;\nDROP TABLE two;");
        let release = library(&database, &[up, ("D1__tables", text.as_str())]);
        release.up(None).await.unwrap();
        let mut connection = database.connect().await;
        connection.batch("ALTER TABLE three RENAME TO four").await.unwrap();
        let error = release.down(Down::Steps(1)).await.expect_err("there is no such table");
        assert_eq!(error.exit(), Exit::Migration);
        assert!(error.to_string().contains("the undo of V1__tables failed, at line 3"), "{error}");
        assert_eq!(versions(&mut connection).await, ["1"]);

        let other = text.replace("VACUUM", "VACUUM one");
        let error = library(&database, &[up, ("D1__tables", other.as_str())]).down(Down::Steps(1)).await.expect_err("it is another file");
        assert!(error.to_string().contains("statement 2 of it is another one now"), "{error}");
        connection.batch("ALTER TABLE four RENAME TO three").await.unwrap();
        release.down(Down::Steps(1)).await.unwrap();
        assert!(versions(&mut connection).await.is_empty());
        release.up(None).await.unwrap();
        release.down(Down::Steps(1)).await.unwrap();
        assert!(!has_table(&mut connection, "two").await);
    }

    /// Each statement is a transaction of its own, and BEGIN and COMMIT make one of several.
    async fn a_file_goes_on_where_it_failed(database: TestDatabase) {
        let session = if backend(&database) == Backend::Sqlite { "PRAGMA cache_size = 100" } else { "SET work_mem = '4MB'" };
        let text = format!(
            "-- migrator: no-transaction\n{session};\nINSERT INTO one VALUES (1);\nVACUUM;\nBEGIN;\nINSERT INTO one VALUES (2);\nINSERT INTO nowhere VALUES (3);\nCOMMIT;\nINSERT INTO one VALUES (4);"
        );
        let files = [ONE, ("V2__parts", text.as_str())];
        let error = library(&database, &files).up(None).await.expect_err("there is no such table");
        assert_eq!(error.exit(), Exit::Migration);
        assert!(error.to_string().contains("at line 7"), "{error}");
        let mut connection = database.connect().await;
        assert_eq!(count(&mut connection, "one").await, 1, "the transaction was rolled back whole");
        assert_eq!(statements(&mut connection).await, ["2 applied", "3 applied"]);
        assert_eq!(library(&database, &files).status().await.unwrap().pending, 1);

        let mended = text.replace("nowhere", "one");
        let files = [ONE, ("V2__parts", mended.as_str())];
        assert_eq!(library(&database, &files).up(None).await.unwrap().applied.len(), 1);
        assert_eq!(count(&mut connection, "one").await, 4);
        assert_eq!(statements(&mut connection).await, ["2 applied", "3 applied", "4 applied", "5 applied"]);
    }

    async fn a_file_that_rolls_back_is_refused_before_it_begins(database: TestDatabase) {
        let bad = ("V2__bad", "-- migrator: no-transaction\nINSERT INTO one VALUES (1);\nBEGIN;\nROLLBACK;");
        let error = library(&database, &[ONE, bad]).up(None).await.expect_err("it is refused");
        assert_eq!(error.exit(), Exit::Schema);
        assert!(error.to_string().contains("line 4"), "{error}");
        assert_eq!(count(&mut database.connect().await, "one").await, 0);
    }
}
