//! `reset` of what migrations make beside tables, in the schema and beyond it, on PostgreSQL.

use foundation::database::Backend;
use foundation::exit::Exit;
use foundation::testing::{TestDatabase, unique_name};
use migrator::Down;

use crate::support::tools::with_tools;
use crate::support::{Files, has_table, library, library_with, number, texts, versions, write_files};

/// One of each kind that a schema can have, each of them made by one migration only.
const KINDS: (&str, &str) = (
    "V1__kinds",
    "CREATE TYPE pair AS (a bigint, b bigint);
     CREATE FUNCTION add_pair(bigint, bigint) RETURNS bigint IMMUTABLE LANGUAGE sql RETURN $1 + $2;
     CREATE FUNCTION same_pair(pair, pair) RETURNS boolean IMMUTABLE LANGUAGE sql RETURN ($1).a = ($2).a;
     CREATE AGGREGATE total(bigint) (SFUNC = add_pair, STYPE = bigint, INITCOND = '0');
     CREATE AGGREGATE nothing(*) (SFUNC = int8inc, STYPE = bigint, INITCOND = '0');
     CREATE OPERATOR === (LEFTARG = pair, RIGHTARG = pair, FUNCTION = same_pair);
     CREATE OPERATOR FAMILY pairs USING btree;
     CREATE COLLATION numeric_last (provider = icu, locale = 'en-u-kr-latn-digit');
     CREATE CONVERSION to_latin FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1;
     CREATE TEXT SEARCH DICTIONARY plain (TEMPLATE = simple);
     CREATE TEXT SEARCH CONFIGURATION short (PARSER = \"default\");
     CREATE TABLE item (id bigint, name text COLLATE numeric_last);",
);

const BEYOND: (&str, &str) = (
    "V2__beyond",
    "CREATE SCHEMA \"Reports\";
     CREATE TABLE \"Reports\".daily (id bigint);
     CREATE EXTENSION pg_trgm WITH SCHEMA \"Reports\";
     CREATE PUBLICATION item_changes FOR TABLE item;",
);

#[tokio::test]
async fn everything_is_made_again() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let release = library(&database, &[KINDS, BEYOND]);
    release.up(None).await.unwrap();
    let mut connection = database.connect().await;
    connection.batch("INSERT INTO \"Reports\".daily VALUES (1)").await.unwrap();
    release.reset().await.unwrap();
    assert_eq!(versions(&mut connection).await, ["1", "2"]);
    assert_eq!(number(&mut connection, "SELECT count(*) AS it FROM \"Reports\".daily").await, 0);
    let publications =
        texts(&mut connection, "SELECT pubname::text AS it FROM pg_publication").await.unwrap();
    assert_eq!(publications, ["item_changes"]);
}

/// What others may have made as well is theirs to drop, and nothing is dropped before that is decided.
#[tokio::test]
async fn a_schema_that_others_may_use_is_left_alone() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let shared = (
        "V1__shared",
        "CREATE SCHEMA IF NOT EXISTS shared;\nCREATE TABLE shared.item (id bigint);\nCREATE TABLE one (id bigint);",
    );
    let release = library(&database, &[shared]);
    release.up(None).await.unwrap();
    let error = release.reset().await.expect_err("it is not ours alone");
    assert_eq!(error.exit(), Exit::Schema);
    let said = error.to_string();
    assert!(said.contains("V1__shared line 1") && said.contains("DROP SCHEMA shared CASCADE"), "{said}");
    let mut connection = database.connect().await;
    assert!(has_table(&mut connection, "one").await, "nothing was dropped");
    connection.batch("DROP SCHEMA shared CASCADE").await.unwrap();
    release.reset().await.unwrap();
    assert!(has_table(&mut connection, "shared.item").await);
}

/// What was there before the migrations would be in their way afterwards.
#[tokio::test]
async fn a_schema_that_no_migration_made_is_told_first() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let mut connection = database.connect().await;
    connection.batch("CREATE SCHEMA audit").await.unwrap();
    let log = (
        "V1__log",
        "CREATE TABLE k (id bigint);\nCREATE TABLE audit.log (id bigint);\nCREATE INDEX ON audit.log (id);",
    );
    let undo = ("D1__log", "DROP TABLE k, audit.log;");
    let own = (
        "V2__own",
        "CREATE SCHEMA own;\nCREATE TABLE own.one (id bigint);\nCREATE TABLE public.two (id bigint);",
    );
    let release =
        library(&database, &[log, undo, own, ("D2__own", "DROP SCHEMA own CASCADE;\nDROP TABLE two;")]);
    release.up(None).await.unwrap();
    let error = release.reset().await.expect_err("the table would be there already");
    assert_eq!(error.exit(), Exit::Schema);
    let said = error.to_string();
    assert!(
        said.contains("V1__log line 2 works in the schema audit") && said.contains("down --to 0"),
        "{said}"
    );
    assert!(!said.contains("line 3") && !said.contains("V2__own"), "it is told once: {said}");
    assert!(has_table(&mut connection, "k").await, "nothing was dropped");
    connection.batch("DROP TABLE audit.log").await.unwrap();
    release.reset().await.unwrap();
    assert_eq!(versions(&mut connection).await, ["1", "2"]);
}

/// Two services share a database, each in its schema.
#[tokio::test]
async fn what_another_service_has_is_not_deleted_along() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let first = (
        "V1__first",
        "CREATE EXTENSION citext SCHEMA public;
         CREATE TABLE u (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name public.citext, parent bigint REFERENCES u);
         CREATE VIEW named AS SELECT name FROM u;
         CREATE TYPE pair AS (a bigint, b bigint);
         CREATE FUNCTION show(pair) RETURNS text IMMUTABLE LANGUAGE sql RETURN $1.a::text;
         CREATE CAST (pair AS text) WITH FUNCTION show(pair);
         CREATE SCHEMA first_more;
         CREATE TABLE first_more.v (id bigint DEFAULT nextval('u_id_seq') REFERENCES u);",
    );
    let second = (
        "V1__second",
        "CREATE TABLE t (id bigint PRIMARY KEY, name public.citext);
         INSERT INTO t VALUES (1, 'kept');
         CREATE VIEW seen AS SELECT id FROM a.u;",
    );
    let a = library_with(&database, &[first], &[("DATABASE_SCHEMA", "a")]);
    let b = library_with(&database, &[second], &[("DATABASE_SCHEMA", "b")]);
    a.up(None).await.unwrap();
    b.up(None).await.unwrap();
    let error = a.reset().await.expect_err("the other one needs it");
    assert_eq!(error.exit(), Exit::Schema);
    let said = error.to_string();
    assert!(said.contains("b.t.name") && said.contains("b.seen"), "{said}");
    assert!(!said.contains("a.") && !said.contains("first_more"), "what is its own is not named: {said}");
    let mut connection = database.connect().await;
    assert_eq!(texts(&mut connection, "SELECT name::text AS it FROM b.t").await.unwrap(), ["kept"]);
    assert!(has_table(&mut connection, "b.seen").await && has_table(&mut connection, "a.u").await);

    connection.batch("DROP VIEW b.seen; ALTER TABLE b.t ALTER COLUMN name TYPE text").await.unwrap();
    a.reset().await.unwrap();
    assert_eq!(texts(&mut connection, "SELECT name::text AS it FROM b.t").await.unwrap(), ["kept"]);
    assert!(has_table(&mut connection, "first_more.v").await);
}

#[tokio::test]
async fn what_belongs_to_the_server_is_told_first() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let role = unique_name("reader");
    let sql = format!("CREATE TABLE one (id bigint);\nCREATE ROLE {role};");
    let undo = format!("DROP TABLE one;\nDROP ROLE {role};");
    let files: Files<'_> = &[("V1__role", &sql), ("D1__role", &undo)];
    let release = library(&database, files);
    release.up(None).await.unwrap();
    let error = release.reset().await.expect_err("the role is there").to_string();
    assert!(error.contains("V1__role line 2") && error.contains("down --to 0"), "{error}");
    assert!(has_table(&mut database.connect().await, "one").await, "nothing was dropped");
    release.down(Down::Steps(1)).await.unwrap();
}

/// Of a file that is applied in part nobody knows which of its statements are done.
#[tokio::test]
async fn what_is_applied_in_part_is_told_first() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let one = ("V1__one", "CREATE TABLE one (id bigint);\nINSERT INTO one VALUES (1), (1);");
    let part = "-- migrator: no-transaction\nCREATE SCHEMA audit;\nCREATE UNIQUE INDEX CONCURRENTLY one_id ON one (id);";
    let release = library(&database, &[one, ("V2__part", part)]);
    release.up(None).await.expect_err("the index cannot be made");
    let error = release.reset().await.expect_err("the schema is there").to_string();
    assert!(error.contains("V2__part was applied in part"), "{error}");
    assert!(has_table(&mut database.connect().await, "one").await, "nothing was dropped");
}

/// A backup with such things replaces what is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_them_replaces_them() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let folder = database.folder.path().join("files");
    write_files(&folder, Backend::Postgres, &[KINDS]);
    let with_files = |command: &'static [&'static str]| {
        let mut arguments = vec!["--migrations", "files"];
        arguments.extend_from_slice(command);
        arguments
    };
    with_tools(&database, &with_files(&["up"])).await.ends(0);
    with_tools(&database, &with_files(&["backup", "x"])).await.ends(0);
    with_tools(&database, &with_files(&["restore", "x", "--replace", "--yes"])).await.ends(0);
    assert_eq!(versions(&mut database.connect().await).await, ["1"]);
}
