//! What the files of a folder do to the session that all of them run in ends with each of them.

use foundation::database::{Backend, Connection};
use foundation::on_both_databases;
use foundation::testing::{TestDatabase, maintenance, unique_name};

use crate::support::folders::{Contents, folder, with};
use crate::support::{backend, count, journal, texts, versions};

on_both_databases! {
    /// Where a file goes, the migrator does not follow: its own tables are where they were.
    async fn a_file_does_not_take_the_session_along(database: TestDatabase) {
        let contents: Contents<'_> = match backend(&database) {
            Backend::Postgres => &[
                ("1_dump.up.sql", "SET row_security = off;\nSELECT pg_catalog.set_config('search_path', '', false);\nCREATE SCHEMA other;\nCREATE TABLE public.one (id integer PRIMARY KEY);\nCREATE TABLE other.one (id integer);\n"),
                ("1_dump.down.sql", "SET search_path TO other;\nDROP TABLE one;\nSET search_path TO public;\nDROP TABLE one;\nDROP SCHEMA other;\n"),
                ("2_index.up.sql", "SET search_path TO other;\nCREATE INDEX CONCURRENTLY one_id ON one (id);\nALTER TABLE one ADD COLUMN name text;\n"),
                ("2_index.down.sql", "SET search_path TO other;\nDROP INDEX CONCURRENTLY one_id;\nALTER TABLE one DROP COLUMN name;\n"),
                ("3_two.up.sql", "CREATE TABLE two (id integer REFERENCES one);\n"),
                ("3_two.down.sql", "DROP TABLE two;\n"),
            ],
            Backend::Sqlite => &[
                ("1_one.up.sql", "CREATE TABLE one (id integer PRIMARY KEY);\nCREATE TABLE two (id integer REFERENCES one (id) ON DELETE CASCADE);\nINSERT INTO one VALUES (1);\nINSERT INTO two VALUES (1);\n"),
                ("1_one.down.sql", "DROP TABLE two;\nDROP TABLE one;\n"),
                ("2_on.up.sql", "PRAGMA journal_mode = WAL;\nPRAGMA foreign_keys = ON;\n"),
                ("3_rebuilt.up.sql", "PRAGMA foreign_keys = OFF;\nBEGIN TRANSACTION;\nCREATE TABLE new_one (id integer PRIMARY KEY, name text);\nINSERT INTO new_one (id) SELECT id FROM one;\nDROP TABLE one;\nALTER TABLE new_one RENAME TO one;\nCOMMIT;\nPRAGMA foreign_keys = ON;\n"),
            ],
        };
        let folder = folder(&database, "elsewhere", contents);
        with(&database, &folder, &["up"]).await.ends(0);
        with(&database, &folder, &["check", "--against-scratch"]).await.ends(0);
        with(&database, &folder, &["rehearse"]).await.ends(0);
        let mut connection = database.connect().await;
        assert_eq!(versions(&mut connection).await, ["1", "2", "3"]);
        match backend(&database) {
            Backend::Postgres => {
                let indexes = "SELECT schemaname::text AS it FROM pg_indexes WHERE indexname = 'one_id'";
                assert_eq!(texts(&mut connection, indexes).await.unwrap(), ["other"]);
                with(&database, &folder, &["down", "--to", "0"]).await.ends(0);
                assert!(versions(&mut connection).await.is_empty());
            }
            Backend::Sqlite => assert_eq!(count(&mut connection, "two").await, 1),
        }
    }

    /// A table that only the session has would be what the next file changes.
    async fn a_temporary_table_ends_with_its_file(database: TestDatabase) {
        let (real, temporary) = match backend(&database) {
            Backend::Postgres => ("public.one", "SET LOCAL search_path TO public;\n"),
            Backend::Sqlite => ("main.one", "PRAGMA ignore_check_constraints = ON;\nPRAGMA case_sensitive_like = ON;\n"),
        };
        let temporary = format!("{temporary}CREATE TEMP TABLE one AS SELECT * FROM {real};\n");
        let more = "ALTER TABLE one ADD COLUMN more text;\nUPDATE one SET name = 'b' WHERE name LIKE 'a';\n";
        let folder = folder(&database, "temporary", &[
            ("1_one.up.sql", "CREATE TABLE one (id integer PRIMARY KEY, name text CHECK (name <> 'c'));\nINSERT INTO one VALUES (1, 'A'), (2, 'a');\n"),
            ("2_temporary.up.sql", &temporary),
            ("3_more.up.sql", more),
        ]);
        with(&database, &folder, &["up"]).await.ends(0);
        with(&database, &folder, &["check", "--against-scratch"]).await.ends(0);
        let mut connection = database.connect().await;
        let changed = if backend(&database) == Backend::Sqlite { 2 } else { 1 };
        assert_eq!(count(&mut connection, "one WHERE more IS NULL AND name = 'b'").await, changed);
    }
}

/// As pg_dump writes it at the head of a file. What one file sets, the next would be read by.
#[tokio::test]
async fn what_a_file_sets_is_forgotten_after_it() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let seen = "CREATE TABLE seen AS SELECT current_setting('check_function_bodies') || current_setting('datestyle') AS it;\n";
    let set = "SET check_function_bodies = false;\nSET datestyle = 'SQL, DMY';\n";
    let files = folder(
        &database,
        "sets",
        &[
            ("1_dump.up.sql", &format!("{set}CREATE TABLE one (id integer);\n")),
            ("1_dump.down.sql", &format!("{set}DROP TABLE one;\n")),
            ("2_seen.up.sql", seen),
            ("2_seen.down.sql", "DROP TABLE seen;\n"),
        ],
    );
    with(&database, &files, &["up"]).await.ends(0);
    let mut connection = database.connect().await;
    assert_eq!(texts(&mut connection, "SELECT it FROM seen").await.unwrap(), ["onISO, MDY"]);
    with(&database, &files, &["rehearse"]).await.ends(0);
    with(&database, &files, &["down", "--to", "0"]).await.ends(0);
    assert!(versions(&mut connection).await.is_empty());
}

/// An undo in parts that turns foreign keys on does not let the next one take the rows along that point at a
/// table which it makes again.
#[tokio::test]
async fn foreign_keys_stay_off_after_an_undo_in_parts() {
    let database = TestDatabase::new(Backend::Sqlite).await;
    let folder = folder(
        &database,
        "cascade",
        &[
            (
                "1_one.up.sql",
                "CREATE TABLE one (id integer PRIMARY KEY, name text);\nCREATE TABLE two (id integer REFERENCES one (id) ON DELETE CASCADE);\nINSERT INTO one VALUES (1, 'a');\nINSERT INTO two VALUES (1);\n",
            ),
            ("1_one.down.sql", "DROP TABLE two;\nDROP TABLE one;\n"),
            ("2_more.up.sql", "ALTER TABLE one ADD COLUMN more text;\n"),
            (
                "2_more.down.sql",
                "CREATE TABLE new_one (id integer PRIMARY KEY, name text);\nINSERT INTO new_one SELECT id, name FROM one;\nDROP TABLE one;\nALTER TABLE new_one RENAME TO one;\n",
            ),
            ("3_index.up.sql", "CREATE INDEX one_name ON one (name);\n"),
            (
                "3_index.down.sql",
                "PRAGMA foreign_keys = off;\nBEGIN;\nDROP INDEX one_name;\nCOMMIT;\nPRAGMA foreign_keys = on;\nVACUUM;\n",
            ),
        ],
    );
    with(&database, &folder, &["up"]).await.ends(0);
    with(&database, &folder, &["down", "--to", "1"]).await.ends(0);
    assert_eq!(count(&mut database.connect().await, "two").await, 1);
}

/// Whoever a file acts as, the next one acts as before.
#[tokio::test]
async fn a_file_does_not_hand_the_session_over() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let role = unique_name("other");
    maintenance(&format!("CREATE ROLE {role}")).await;
    let handed = format!("SET SESSION AUTHORIZATION {role};\n");
    let files = folder(
        &database,
        "handed",
        &[("1_handed.up.sql", &handed), ("2_two.up.sql", "CREATE TABLE two (id integer);\n")],
    );
    with(&database, &files, &["up"]).await.ends(0);
    let owner = "SELECT tableowner::text AS it FROM pg_tables WHERE tablename = 'two'";
    assert_eq!(texts(&mut database.connect().await, owner).await.unwrap(), ["postgres"]);
    maintenance(&format!("DROP ROLE {role}")).await;
}

/// A SQLite file in which a row of `c` points at no row of `p`.
async fn with_an_orphan() -> (TestDatabase, Connection) {
    let database = TestDatabase::new(Backend::Sqlite).await;
    let mut connection = database.connect().await;
    connection
        .batch("PRAGMA foreign_keys = OFF; CREATE TABLE p (id integer PRIMARY KEY, name text); CREATE TABLE c (id integer REFERENCES p (id)); INSERT INTO c VALUES (7)")
        .await
        .unwrap();
    (database, connection)
}

/// Foreign keys that were broken before keep no migration back, and those that it breaks do.
#[tokio::test]
async fn old_broken_foreign_keys_are_not_the_migrations() {
    let (database, mut connection) = with_an_orphan().await;
    let more = ("1_more.up.sql", "CREATE TABLE more (id integer);\n");
    let broken = ("2_broken.up.sql", "INSERT INTO c VALUES (8);\n");
    let folder_of = |name: &str, contents: Contents<'_>| folder(&database, name, contents);
    let run = with(&database, &folder_of("more", &[more]), &["up"]).await.ends(0);
    run.says(&["foreign keys were broken before", "1 of c point at no row of p"]);
    let run = with(&database, &folder_of("broken", &[more, broken]), &["up"]).await.ends(65);
    run.says(&["V2__broken leaves broken foreign keys: 2 of c point at no row of p"]);

    connection.batch("DELETE FROM c; CREATE TABLE odd (name text REFERENCES p (name))").await.unwrap();
    let other = ("2_other.up.sql", "CREATE TABLE other (id integer);\n");
    let run = with(&database, &folder_of("odd", &[more, other]), &["up"]).await.ends(0);
    run.says(&["could not before", "foreign key mismatch"]);
}

/// Nobody knows any more what was broken before a file that was interrupted, and what can never be looked at keeps it
/// from its end no more than any other.
#[tokio::test]
async fn old_broken_foreign_keys_are_not_those_of_an_interrupted_migration() {
    let (database, mut connection) = with_an_orphan().await;
    let text = "CREATE TABLE more (id integer);\nVACUUM;\nINSERT INTO late VALUES (1);\n";
    let files = folder(&database, "interrupted", &[("1_more.up.sql", text)]);
    with(&database, &files, &["up"]).await.ends(70).says(&["at line 3"]);
    connection.batch("CREATE TABLE late (id integer)").await.unwrap();
    let run = with(&database, &files, &["up"]).await.ends(65);
    run.says(&["foreign keys are broken, perhaps from before it: 1 of c point at no row of p"])
        .hides(&["has left"]);

    connection.batch("DELETE FROM c; CREATE TABLE odd (name text REFERENCES p (name))").await.unwrap();
    let run = with(&database, &files, &["up"]).await.ends(0);
    run.says(&["cannot be looked at, perhaps from before", "foreign key mismatch"]);
    assert_eq!(versions(&mut connection).await, ["1"]);
}

/// Other files that a file opens are not there for the next one, which would find their tables where its own are
/// missing. Within a file they are, also where it runs statement by statement.
#[tokio::test]
async fn what_a_file_attaches_ends_with_it() {
    let database = TestDatabase::new(Backend::Sqlite).await;
    let other = TestDatabase::new(Backend::Sqlite).await;
    let mut elsewhere = other.connect().await;
    elsewhere.batch("CREATE TABLE extra (id integer); INSERT INTO extra VALUES (1), (2)").await.unwrap();
    let attach = format!("ATTACH '{}' AS other;\n", other.file().display());
    let contents = [
        (
            "1_two.up.sql",
            format!(
                "{attach}CREATE TABLE two AS SELECT * FROM other.extra;\nCREATE TEMP TABLE both AS SELECT * FROM other.extra;\nINSERT INTO two SELECT * FROM both;\n"
            ),
        ),
        ("2_extra.up.sql", "DROP TABLE IF EXISTS extra;\nCREATE TABLE extra (id integer);\n".to_owned()),
        (
            "3_again.up.sql",
            format!("{attach}BEGIN;\nINSERT INTO main.extra SELECT * FROM other.extra;\nCOMMIT;\n"),
        ),
        ("4_read.up.sql", "PRAGMA query_only = ON;\n".to_owned()),
        ("5_last.up.sql", "CREATE TABLE last (id integer);\n".to_owned()),
    ];
    let contents: Vec<_> = contents.iter().map(|(name, text)| (*name, text.as_str())).collect();
    with(&database, &folder(&database, "attached", &contents), &["up"]).await.ends(0);
    let mut connection = database.connect().await;
    assert_eq!(versions(&mut connection).await, ["1", "2", "3", "4", "5"]);
    assert_eq!((count(&mut connection, "two").await, count(&mut connection, "extra").await), (4, 2));
    assert_eq!(count(&mut elsewhere, "extra").await, 2, "it is nobody's to drop");
}

/// What a file that fails has set keeps nobody from recording that.
#[tokio::test]
async fn a_failure_is_recorded_whatever_its_file_has_set() {
    let database = TestDatabase::new(Backend::Sqlite).await;
    let files = folder(
        &database,
        "fails",
        &[("1_fails.up.sql", "PRAGMA query_only = ON;\nCREATE TABLE one (id integer);\n")],
    );
    with(&database, &files, &["up"]).await.ends(78).says(&["readonly"]);
    assert_eq!(journal(&mut database.connect().await).await, ["failed up 1"]);
}

/// Also where no transaction holds its statements together, so that they are there to stay: the next run asks again.
#[tokio::test]
async fn broken_foreign_keys_are_found_in_parts() {
    for delete in ["DELETE FROM p;\n", "BEGIN;\nDELETE FROM p;\nCOMMIT;\n"] {
        let database = TestDatabase::new(Backend::Sqlite).await;
        let first = (
            "1_one.up.sql",
            "CREATE TABLE p (id integer PRIMARY KEY);\nCREATE TABLE c (id integer REFERENCES p (id));\nINSERT INTO p VALUES (1);\nINSERT INTO c VALUES (1);\n",
        );
        let text = format!("{delete}VACUUM;\n");
        let files = folder(&database, "broken", &[first, ("2_gone.up.sql", &text)]);
        with(&database, &files, &["rehearse"]).await.ends(65).says(&["leaves broken foreign keys"]);
        for told in ["has left broken foreign keys", "foreign keys are broken, perhaps from before it"] {
            let run = with(&database, &files, &["up"]).await.ends(65);
            run.says(&["V2__gone", told, ": 1 of c point at no row of p"]).hides(&["were broken before"]);
        }
        let mut connection = database.connect().await;
        assert_eq!(versions(&mut connection).await, ["1"]);
        connection.batch("DELETE FROM c").await.unwrap();
        with(&database, &files, &["up"]).await.ends(0);

        // What was broken before the file is not its own, here either.
        connection.batch("PRAGMA foreign_keys = OFF; INSERT INTO c VALUES (7)").await.unwrap();
        let more = folder(
            &database,
            "more",
            &[
                first,
                ("2_gone.up.sql", &text),
                ("3_more.up.sql", "CREATE TABLE more (id integer);\nVACUUM;\n"),
            ],
        );
        with(&database, &more, &["up"]).await.ends(0).says(&["foreign keys were broken before"]);
    }
}
