//! `rehearse`: an undo that does not bring back what was before is found.

use foundation::database::Backend;
use foundation::on_both_databases;
use foundation::testing::{TestDatabase, address_of_database, maintenance, unique_name};
use migrator::{MigratorError, Outcome};

use crate::support::{self, Files, library, library_at, texts};

const TABLE: (&str, &str) = ("V1__a", "CREATE TABLE a (id integer PRIMARY KEY, name text);");
const TABLE_UNDO: (&str, &str) = ("D1__a", "DROP TABLE a;");

/// No scratch database of this one is left.
async fn nothing_is_left(database: &TestDatabase) {
    if support::backend(database) == Backend::Postgres {
        let like = format!(
            "SELECT datname::text AS it FROM pg_database WHERE datname LIKE '{}\\_rehearsal\\_%'",
            database.url.name()
        );
        let left = texts(&mut database.connect().await, &like).await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
}

on_both_databases! {
    /// With nothing pending there is nothing to say a number of.
    async fn nothing_pending_is_said(database: TestDatabase) {
        let release = library(&database, &[("V1__one", "CREATE TABLE one (id bigint);"), ("D1__one", "DROP TABLE one;")]);
        assert!(release.rehearse(true).await.unwrap().text().ends_with("1 of 1 can be undone exactly"));
        release.up(None).await.unwrap();
        let text = release.rehearse(true).await.unwrap().text();
        assert!(text.starts_with("nothing is pending, so nothing was tried"), "{text}");
        assert!(release.rehearse(false).await.unwrap().text().ends_with("1 of 1 can be undone exactly"));
    }

    /// It leaves an index and a column behind, and the difference is told.
    async fn an_undo_that_leaves_something_is_told(database: TestDatabase) {
        let files: Files<'_> = &[
            TABLE, TABLE_UNDO,
            ("V2__b", "ALTER TABLE a ADD COLUMN colour text; CREATE INDEX a_name ON a (name);"),
            ("D2__b", "DROP INDEX a_name;"),
        ];
        let report = library(&database, files).rehearse(false).await.unwrap();
        assert!(!report.exact);
        let (outcome, said) = (report.migrations[1].outcome, report.text());
        assert_eq!(outcome, Outcome::SecondFails);
        assert!(said.contains("V2__b: it cannot be applied after its undo: ") && said.contains("  column a.colour: is not expected"), "{said}");
        nothing_is_left(&database).await;

        let files: Files<'_> = &[TABLE, TABLE_UNDO, ("V2__b", "CREATE INDEX a_name ON a (name);"), ("D2__b", "DROP INDEX a_name; CREATE INDEX other ON a (id, name);"),
            ("V3__c", "DROP INDEX IF EXISTS other;")];
        let report = library(&database, files).rehearse(false).await.unwrap();
        assert!(!report.exact);
        assert_eq!(report.migrations[1].outcome, Outcome::UndoDiffers);
        assert_eq!(report.migrations[1].differences[0].to_string(), "index other on a: is not expected");
        assert!(report.text().contains("V2__b: its undo does not bring back the schema before it\n  index other"), "{}", report.text());
        nothing_is_left(&database).await;
    }

    /// What says that it is irreversible is applied, and what is applied already is not tried.
    async fn irreversible_and_applied_ones_are_said(database: TestDatabase) {
        let files: Files<'_> = &[
            TABLE, TABLE_UNDO,
            ("V2__b", "-- migrator: irreversible it deletes rows\nDELETE FROM a;"),
            ("V3__c", "CREATE TABLE c (id integer);"), ("D3__c", "DROP TABLE c;"),
        ];
        let migrator = library(&database, files);
        migrator.up(Some(1)).await.unwrap();
        let outcomes = async |pending| -> Vec<Outcome> {
            migrator.rehearse(pending).await.unwrap().migrations.iter().map(|it| it.outcome).collect()
        };
        assert_eq!(outcomes(false).await, [Outcome::Exact, Outcome::Irreversible, Outcome::Exact]);
        assert_eq!(outcomes(true).await, [Outcome::Skipped, Outcome::Irreversible, Outcome::Exact]);
        nothing_is_left(&database).await;
    }

    /// What goes wrong with one undo does not hide what is wrong with the next.
    async fn every_undo_is_tried(database: TestDatabase) {
        let files: Files<'_> = &[
            TABLE, TABLE_UNDO,
            ("V2__b", "CREATE TABLE b (id integer);"), ("D2__b", "DROP TABLE b; DROP TABLE missing;"),
            ("V3__c", "CREATE TABLE c (id integer);"), ("D3__c", "SELECT 1;"),
            ("V4__d", "CREATE INDEX b_id ON b (id); CREATE INDEX c_id ON c (id);"), ("D4__d", "DROP INDEX b_id; DROP INDEX c_id;"),
        ];
        let report = library(&database, files).rehearse(false).await.unwrap();
        let outcomes: Vec<Outcome> = report.migrations.iter().map(|it| it.outcome).collect();
        assert_eq!(outcomes, [Outcome::Exact, Outcome::UndoFails, Outcome::SecondFails, Outcome::Exact]);
        let said = report.text();
        assert!(said.contains("V2__b: the undo of V2__b failed and was rolled back") && said.contains("missing"), "{said}");
        nothing_is_left(&database).await;
    }

    /// SQL that fails ends the rehearsal with its line, and the scratch database is gone.
    async fn what_fails_is_told_with_its_line(database: TestDatabase) {
        let files: Files<'_> = &[TABLE, TABLE_UNDO, ("V2__b", "SELECT 1;\n\nSELECT nonsense FROM a;")];
        let error = library(&database, files).rehearse(false).await.unwrap_err();
        assert!(matches!(&error, MigratorError::Failed { line: Some(3), .. }), "{error:?}");
        assert_eq!(error.exit().code(), 70);
        nothing_is_left(&database).await;
    }

    /// A trial runs the statements that `up` runs, where a semicolon or END stands in the middle of one too.
    async fn statements_end_where_they_end(database: TestDatabase) {
        let (rule, undo) = match support::backend(&database) {
            Backend::Postgres => (
                "CREATE TABLE log (name text);\nCREATE RULE twice AS ON INSERT TO a DO ALSO (INSERT INTO log VALUES ('x'); INSERT INTO log VALUES ('y'));",
                "DROP RULE twice ON a; DROP TABLE log;",
            ),
            Backend::Sqlite => (
                "CREATE TABLE log (\"start\" text, end text);\nCREATE TRIGGER twice AFTER INSERT ON a BEGIN INSERT INTO log (end) VALUES ('x'); UPDATE log SET end = log.end; INSERT INTO log (end) VALUES ('y'); END;",
                "DROP TRIGGER twice; DROP TABLE log;",
            ),
        };
        let one_by_one = format!("-- migrator: no-transaction\n{rule}\nINSERT INTO a VALUES (1, 'a');");
        let undo = format!("DELETE FROM a; {undo}");
        for up in [rule.to_owned(), one_by_one] {
            let failing = format!("{up}\n\nSELECT nonsense;");
            let line = failing.lines().count();
            let files: Files<'_> = &[TABLE, TABLE_UNDO, ("V2__b", &up), ("D2__b", &undo)];
            let report = library(&database, files).rehearse(false).await.unwrap();
            assert!(report.exact, "{}", report.text());
            let files: Files<'_> = &[TABLE, TABLE_UNDO, ("V2__b", &failing), ("D2__b", &undo)];
            let error = library(&database, files).rehearse(false).await.unwrap_err();
            let told = match &error {
                MigratorError::Failed { line, .. } | MigratorError::FailedInPart { line, .. } => *line,
                _ => panic!("{error:?}"),
            };
            assert_eq!(told, Some(line), "{error}");
        }
        nothing_is_left(&database).await;
    }
}

/// What each statement locks, beyond the statements before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_are_recorded_by_statement() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let files: Files<'_> = &[
        TABLE,
        TABLE_UNDO,
        (
            "V2__b",
            "CREATE INDEX a_name ON a (name);\nALTER TABLE a ADD COLUMN c integer;\nCREATE TABLE b (a_id integer REFERENCES a);",
        ),
        ("D2__b", "DROP TABLE b; ALTER TABLE a DROP COLUMN c; DROP INDEX a_name;"),
        ("V3__c", "-- migrator: no-transaction\nCREATE INDEX CONCURRENTLY a_id ON a (id, name);"),
        ("D3__c", "DROP INDEX a_id;"),
    ];
    let report = library(&database, files).rehearse(false).await.unwrap();
    assert!(report.exact, "{}", report.text());
    let locks: Vec<Vec<String>> = report.migrations[1]
        .statements
        .iter()
        .map(|it| it.locks.iter().map(|it| format!("{} {}", it.relation, it.mode)).collect())
        .collect();
    assert_eq!(locks[0], ["a ShareLock"]);
    assert_eq!(locks[1], ["a AccessExclusiveLock"]);
    assert!(
        locks[2].contains(&"a RowShareLock".to_owned())
            || locks[2].contains(&"a ShareRowExclusiveLock".to_owned()),
        "{locks:?}"
    );
    assert_eq!(report.migrations[2].statements.len(), 1);
}

/// A role that may not make a database is told so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_right_to_make_a_database_it_says_so() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let role = unique_name("owner");
    maintenance(&format!("CREATE ROLE {role} LOGIN PASSWORD 'secret-of-the-owner'")).await;
    let address = database.address.replacen("postgres:postgres@", &format!("{role}:secret-of-the-owner@"), 1);
    let address = address_of_database(&address, &database.url.name());
    let error =
        library_at(&address, Backend::Postgres, &[TABLE, TABLE_UNDO], &[]).rehearse(false).await.unwrap_err();
    assert_eq!(error.exit().code(), 78);
    assert!(error.to_string().contains("CREATEDB"), "{error}");
    maintenance(&format!("DROP ROLE {role}")).await;
}
