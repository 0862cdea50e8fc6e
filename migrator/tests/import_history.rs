//! `import-history`: what other tools say is applied, from tables as they make them.

use foundation::database::Backend;
use foundation::on_both_databases;
use foundation::testing::TestDatabase;

use crate::support::folders::{Contents, ONE, TWO, folder, with};
use crate::support::foreign::{self, Fixture};
use crate::support::{backend, has_table, journal, migrator, texts, versions};

const THREE: &str = "CREATE TABLE three (id integer PRIMARY KEY);\n";

/// How a tool names the files that make `one`, `two` and `three`, and what its table says when the first two
/// are applied.
const TOOLS: [(Fixture, &str, Contents<'_>, [&str; 3]); 6] = [
    (foreign::ALEMBIC, "INSERT INTO alembic_version VALUES ('3f2a9c0d1b4e')",
     &[("V1__one.sql", ONE), ("V2__two.sql", TWO), ("V3__three.sql", THREE)], ["1", "2", "3"]),
    (foreign::FLYWAY,
     "INSERT INTO flyway_schema_history (installed_rank, version, description, type, script, checksum, installed_by, execution_time, success)
      VALUES (1, '1', 'one', 'SQL', 'V1__one.sql', 1, 'app', 3, true), (2, '1.10', 'two', 'SQL', 'V1.10__two.sql', NULL, 'app', 3, true)",
     &[("V1__one.sql", ONE), ("V1.10__two.sql", TWO), ("V2__three.sql", THREE)], ["1000000", "1010000", "2000000"]),
    (foreign::GOLANG_MIGRATE, "INSERT INTO schema_migrations (version, dirty) VALUES (2, false)",
     &[("000001_one.up.sql", ONE), ("000002_two.up.sql", TWO), ("000003_three.up.sql", THREE)], ["1", "2", "3"]),
    (foreign::SQLX, "",
     &[("20240101120000_one.sql", ONE), ("20240102120000_two.sql", TWO), ("20240103120000_three.sql", THREE)],
     ["20240101120000", "20240102120000", "20240103120000"]),
    (foreign::DBMATE, "INSERT INTO schema_migrations (version) VALUES ('20240101120000'), ('20240102120000')",
     &[("20240101120000_one.sql", "-- migrate:up\nCREATE TABLE one (id integer PRIMARY KEY);\n-- migrate:down\nDROP TABLE one;\n"),
       ("20240102120000_two.sql", "-- migrate:up\nCREATE TABLE two (id integer PRIMARY KEY, name text);\nCREATE INDEX two_name ON two (name);\n"),
       ("20240103120000_three.sql", "-- migrate:up\nCREATE TABLE three (id integer PRIMARY KEY);\n")],
     ["20240101120000", "20240102120000", "20240103120000"]),
    (foreign::GOOSE,
     "INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true), (1, true), (2, true), (3, true), (3, false)",
     &[("00001_one.sql", "-- +goose Up\nCREATE TABLE one (id integer PRIMARY KEY);\n-- +goose Down\nDROP TABLE one;\n"),
       ("00002_two.sql", "-- +goose Up\nCREATE TABLE two (id integer PRIMARY KEY, name text);\nCREATE INDEX two_name ON two (name);\n"),
       ("00003_three.sql", "-- +goose Up\nCREATE TABLE three (id integer PRIMARY KEY);\n")], ["1", "2", "3"]),
];

/// A table, its rows, the files, the options, the exit code, and what is said.
type Refused<'a> = (Fixture, &'a str, Contents<'a>, &'a [&'a str], i32, &'a [&'a str]);

/// The table of the tool with the rows that say that `one` and `two` are applied, and these two tables.
async fn prepare(database: &TestDatabase, tool: &Fixture, rows: &str, contents: Contents<'_>) {
    let mut connection = database.connect().await;
    connection.batch(&format!("{ONE}{TWO}")).await.unwrap();
    connection.batch(tool.create(backend(database))).await.unwrap();
    let rows = match (tool.option, rows) {
        ("sqlx", "") => foreign::sqlx_rows(backend(database), &contents[..2]),
        ("flyway", rows) => {
            rows.replace("'V1__one.sql', 1,", &format!("'V1__one.sql', {},", foreign::crc32(ONE)))
        }
        (_, rows) => rows.to_owned(),
    };
    connection.batch(&rows).await.unwrap();
}

/// Everything in a table, as one text.
async fn content(database: &TestDatabase, table: &str) -> Vec<String> {
    let mut connection = database.connect().await;
    let sql = match backend(database) {
        Backend::Postgres => format!("SELECT t::text AS it FROM {table} t ORDER BY 1"),
        Backend::Sqlite => {
            let names = texts(&mut connection, &format!("SELECT group_concat('quote(\"' || name || '\")', '||') AS it FROM pragma_table_info('{table}')")).await.unwrap();
            format!("SELECT {} AS it FROM {table} ORDER BY 1", names[0])
        }
    };
    texts(&mut connection, &sql).await.unwrap()
}

on_both_databases! {
    /// What each tool says is applied is, the rest is pending, and its table is left alone.
    async fn each_history_is_taken_over(database: TestDatabase) {
        for (tool, rows, contents, expected) in TOOLS {
            prepare(&database, &tool, rows, contents).await;
            let before = content(&database, tool.table).await;
            let folder = folder(&database, tool.option, contents);
            let at: &[&str] = if tool.option == "alembic" { &["--at", "2"] } else { &[] };
            let import = [&["import-history"], at].concat();

            let dry = with(&database, &folder, &[&import[..], &["--dry-run"]].concat()).await.ends(0);
            assert!(dry.stdout.contains("would record 2 as applied"), "{dry}");
            let mut connection = database.connect().await;
            assert!(!has_table(&mut connection, "refinery_schema_history").await, "{}", tool.option);

            let run = with(&database, &folder, &[&import[..], &["--format", "json"]].concat()).await.ends(0);
            let report = run.json();
            assert_eq!(report["from"], tool.option, "{run}");
            assert_eq!((report["recorded"].as_array().unwrap().len(), &report["pending"]), (2, &1.into()), "{run}");
            let same: Vec<bool> = report["recorded"].as_array().unwrap().iter().map(|it| it["same_checksum"].as_bool().unwrap()).collect();
            let compared = match tool.option { "sqlx" => [true, true], "flyway" => [true, false], _ => [false, false] };
            assert_eq!(same, compared, "{run}");
            assert_eq!(versions(&mut connection).await, expected[..2], "{run}");
            assert_eq!(journal(&mut connection).await, expected[..2].iter().map(|it| format!("stamp {it}")).collect::<Vec<_>>());
            assert_eq!(content(&database, tool.table).await, before, "{run}");

            let again = with(&database, &folder, &import).await.ends(65);
            again.says(&["has a history here already, 2 migrations up to", "`migrator stamp 0`"]);
            with(&database, &folder, &["check"]).await.ends(73);
            let up = with(&database, &folder, &["up"]).await.ends(0);
            assert!(up.stdout.starts_with(&format!("applied 1; at version {}\n", expected[2])), "{up}");
            with(&database, &folder, &["check", "--against-scratch"]).await.ends(0);
            assert_eq!(content(&database, tool.table).await, before, "{}", tool.option);
            // The table of the other tool may go, and nothing misses it.
            connection.batch(&format!("DROP TABLE {}", tool.table)).await.unwrap();
            with(&database, &folder, &["check"]).await.ends(0);
            connection.batch("DROP TABLE one; DROP TABLE two; DROP TABLE three; DROP TABLE refinery_schema_history; DROP TABLE migrator_journal; DROP TABLE migrator_structure").await.unwrap();
        }
    }

    /// What does not go together is told with the way out, and nothing is made.
    async fn what_is_refused(database: TestDatabase) {
        let flyway = |rest: &str| format!("INSERT INTO flyway_schema_history (installed_rank, version, description, type, script, checksum, installed_by, execution_time, success) VALUES {rest}");
        let sqlx = foreign::sqlx_rows(backend(&database), &[("1_one.sql", ONE)]);
        let failed = sqlx.replace("true", "false");
        let changed = foreign::sqlx_rows(backend(&database), &[("1_one.sql", "CREATE TABLE one (id bigint);\n")]);
        let (bad, gone, hole, other) = (
            flyway("(1, '1', 'one', 'SQL', 'V1__one.sql', NULL, 'app', 3, true), (2, '2', 'two', 'SQL', 'V2__two.sql', NULL, 'app', 3, false)"),
            flyway("(1, '1', 'one', 'SQL', 'V1__one.sql', NULL, 'app', 3, true), (2, '7', 'two', 'JDBC', 'db.V7__two', NULL, 'app', 3, true)"),
            flyway("(1, '3', 'three', 'SQL', 'V3__three.sql', NULL, 'app', 3, true)"),
            flyway("(1, '1', 'one', 'SQL', 'V1__one.sql', 12, 'app', 3, true)"),
        );
        let lettered: Contents<'_> = &[("V1__one.sql", ONE), ("V2__two.sql", TWO), ("V3__three.sql", THREE)];
        let plain: Contents<'_> = &[("1_one.sql", ONE), ("2_two.sql", TWO)];
        let pairs: Contents<'_> = &[("1_one.up.sql", ONE), ("2_two.up.sql", TWO)];
        let cases: [Refused<'_>; 13] = [
            (foreign::GOLANG_MIGRATE, "INSERT INTO schema_migrations (version, dirty) VALUES (2, true)", pairs, &[], 65, &["version 2 is dirty", "`migrate force VERSION`"]),
            (foreign::GOLANG_MIGRATE, "INSERT INTO schema_migrations (version, dirty) VALUES (9, false)", pairs, &[], 65, &["golang-migrate has applied version 9, and there is no file of it"]),
            (foreign::GOLANG_MIGRATE, "", pairs, &["--at", "1"], 2, &["--at is for Alembic"]),
            (foreign::FLYWAY, &bad, lettered, &[], 65, &["version 2 (V2__two.sql) failed", "`flyway repair`"]),
            (foreign::FLYWAY, &gone, lettered, &[], 65, &["Flyway has applied version 7, and there is no file of it"]),
            (foreign::FLYWAY, &hole, lettered, &[], 65, &["V1__one is not applied but the newer version 3 is", "V2__two is not applied"]),
            (foreign::FLYWAY, &other, lettered, &[], 65, &["V1__one.sql is not as Flyway ran it, its checksum differs", "`flyway repair`"]),
            (foreign::SQLX, &failed, plain, &[], 65, &["version 1 did not succeed", "DELETE FROM _sqlx_migrations WHERE version = 1"]),
            (foreign::SQLX, &changed, plain, &[], 65, &["1_one.sql is not as sqlx ran it", "restore it from version control"]),
            (foreign::ALEMBIC, "INSERT INTO alembic_version VALUES ('3f2a')", lettered, &[], 2, &["at the revision 3f2a", "--at VERSION", "`migrator dump > FOLDER/V1__baseline.sql`"]),
            (foreign::ALEMBIC, "INSERT INTO alembic_version VALUES ('3f2a')", lettered, &["--at", "9"], 2, &["there is no migration with the version 9"]),
            (foreign::ALEMBIC, "INSERT INTO alembic_version VALUES ('3f2a'), ('77bc')", lettered, &["--at", "2"], 65, &["at 2 revisions at once (3f2a, 77bc)", "`alembic merge heads`"]),
            (foreign::ALEMBIC, "", lettered, &["--at", "2"], 65, &["nothing is applied here", "`migrator stamp 2`"]),
        ];
        let mut connection = database.connect().await;
        for (number, (tool, rows, contents, options, code, said)) in cases.into_iter().enumerate() {
            connection.batch(tool.create(backend(&database))).await.unwrap();
            connection.batch(rows).await.unwrap();
            let folder = folder(&database, &format!("case{number}"), contents);
            let run = with(&database, &folder, &[&["import-history"], options].concat()).await;
            run.ends(code).says(said);
            assert!(!has_table(&mut connection, "refinery_schema_history").await, "{said:?}");
            connection.batch(&format!("DROP TABLE {}", tool.table)).await.unwrap();
        }
    }

    /// It is not guessed whose history is meant.
    async fn whose_history_is_meant(database: TestDatabase) {
        let folder = folder(&database, "ours", &[("V1__one.sql", ONE), ("V2__two.sql", TWO)]);
        let mut connection = database.connect().await;
        connection.batch("CREATE TABLE schema_migrations (version bigint, inserted_at text)").await.unwrap();
        let none = with(&database, &folder, &["import-history"]).await.ends(2);
        none.says(&["there is no history of another tool here", "schema_migrations is there, but its columns (version, inserted_at)", "--table NAME", "`migrator stamp VERSION`"]);
        connection.batch("DROP TABLE schema_migrations").await.unwrap();
        connection.batch(foreign::ALEMBIC.create(backend(&database))).await.unwrap();
        connection.batch("INSERT INTO alembic_version VALUES ('3f2a')").await.unwrap();
        let other = with(&database, &folder, &["import-history", "--from", "goose"]).await.ends(2);
        other.says(&["looked for goose_db_version, which goose keeps", "alembic_version is there, and is that of Alembic"]);
        connection.batch(foreign::DBMATE.create(backend(&database))).await.unwrap();
        let two = with(&database, &folder, &["import-history", "--at", "1"]).await.ends(2);
        two.says(&["the histories of 2 tools", "--from alembic or --from dbmate"]);
        let chosen = with(&database, &folder, &["import-history", "--from", "alembic", "--at", "1"]).await.ends(0);
        assert!(chosen.stdout.ends_with("V1__one\nrecorded 1 as applied, as Alembic says in alembic_version; at version 1, 1 pending; nothing was run, and alembic_version is as it was\n"), "{chosen}");
        assert!(!has_table(&mut connection, "one").await, "nothing was run");
        with(&database, &folder, &["stamp", "0"]).await.ends(0);
        connection.batch("ALTER TABLE schema_migrations RENAME TO \"Their History\"; INSERT INTO \"Their History\" VALUES ('2'), ('1')").await.unwrap();
        let named = with(&database, &folder, &["import-history", "--table", "Their History"]).await.ends(0);
        assert!(named.stdout.contains("recorded 2 as applied, as dbmate says in Their History"), "{named}");
    }

    /// Of two at once one records, and the other finds that it is done; a file that changes afterwards is seen.
    async fn two_at_once(database: TestDatabase) {
        let contents: Contents<'_> = &[("V1__one.sql", ONE), ("V2__two.sql", TWO)];
        let ours = folder(&database, "ours", contents);
        let mut connection = database.connect().await;
        connection.batch(foreign::ALEMBIC.create(backend(&database))).await.unwrap();
        connection.batch("INSERT INTO alembic_version VALUES ('3f2a')").await.unwrap();
        let import = ["import-history", "--at", "2"];
        let (one, two) = tokio::join!(with(&database, &ours, &import), with(&database, &ours, &import));
        let mut codes = [one.code, two.code];
        codes.sort_unstable();
        assert_eq!(codes, [0, 65], "{one}\n{two}");
        assert_eq!(versions(&mut connection).await, ["1", "2"]);
        assert_eq!(journal(&mut connection).await, ["stamp 1", "stamp 2"]);
        folder(&database, "ours", &[("V1__one.sql", "SELECT 1;\n")]);
        with(&database, &ours, &["plan"]).await.ends(65).says(&["V1__one was changed after it was applied"]);
        std::fs::remove_file(ours.join("V1__one.sql")).unwrap();
        with(&database, &ours, &["plan"]).await.ends(65).says(&["V1__one is applied but this release does not know it"]);
    }

    /// Without a folder the program's own migrations are compared, and it is told.
    async fn without_a_folder(database: TestDatabase) {
        let mut connection = database.connect().await;
        connection.batch(foreign::GOOSE.create(backend(&database))).await.unwrap();
        connection.batch("INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true), (20240101120000, true)").await.unwrap();
        let run = migrator(&database, &["import-history"]).await.ends(65);
        run.says(&["goose has applied version 20240101120000, and there is no file of it", "--migrations FOLDER"]);
        connection.batch(foreign::ALEMBIC.create(backend(&database))).await.unwrap();
        connection.batch("INSERT INTO alembic_version VALUES ('3f2a')").await.unwrap();
        let json = migrator(&database, &["import-history", "--from", "alembic", "--at", "1", "--format", "json"]).await.ends(0).json();
        assert_eq!((&json["recorded"][0]["name"], &json["current_version"]), (&"create_users".into(), &1.into()), "{json}");
    }

    /// A table without rows says that nothing is applied, and then `up` does everything.
    async fn nothing_is_applied(database: TestDatabase) {
        let folder = folder(&database, "ours", &[("1_one.up.sql", ONE), ("2_two.up.sql", TWO)]);
        database.connect().await.batch(foreign::GOLANG_MIGRATE.create(backend(&database))).await.unwrap();
        let run = with(&database, &folder, &["import-history"]).await.ends(0);
        assert!(run.stdout.contains("golang-migrate says in schema_migrations that nothing is applied"), "{run}");
        let up = with(&database, &folder, &["up"]).await.ends(0);
        assert!(up.stdout.starts_with("applied 2; at version 2\n"), "{up}");
    }

    /// golang-migrate may begin with 0, which is the base here.
    async fn versions_from_zero(database: TestDatabase) {
        let folder = folder(&database, "zero", &[("0_one.up.sql", ONE), ("1_two.up.sql", TWO)]);
        let mut connection = database.connect().await;
        connection.batch(foreign::GOLANG_MIGRATE.create(backend(&database))).await.unwrap();
        connection.batch("INSERT INTO schema_migrations (version, dirty) VALUES (0, false)").await.unwrap();
        connection.batch(ONE).await.unwrap();
        with(&database, &folder, &["import-history"]).await.ends(0);
        assert_eq!(versions(&mut connection).await, ["1"]);
        with(&database, &folder, &["up"]).await.ends(0);
        with(&database, &folder, &["check", "--against-scratch"]).await.ends(0);
    }

    /// Flyway's baseline, what was undone, deleted or is repeatable, and the schema that it made.
    async fn all_rows_of_flyway(database: TestDatabase) {
        let folder = folder(&database, "flyway", &[("V1__one.sql", ONE), ("V2__two.sql", TWO), ("V3__three.sql", THREE), ("V4__four.sql", "SELECT 4;\n")]);
        let mut connection = database.connect().await;
        connection.batch(foreign::FLYWAY.create(backend(&database))).await.unwrap();
        connection.batch("INSERT INTO flyway_schema_history (installed_rank, version, description, type, script, checksum, installed_by, execution_time, success) VALUES
            (0, NULL, '<< Flyway Schema Creation >>', 'SCHEMA', 'app', NULL, 'app', 0, true),
            (1, '2', '<< Flyway Baseline >>', 'BASELINE', '<< Flyway Baseline >>', NULL, 'app', 0, true),
            (2, '3', 'three', 'SQL', 'V3__three.sql', NULL, 'app', 1, true),
            (3, '4', 'four', 'SQL', 'V4__four.sql', NULL, 'app', 1, true),
            (4, '4', 'four', 'UNDO_SQL', 'U4__four.sql', NULL, 'app', 1, true),
            (5, NULL, 'views', 'SQL', 'R__views.sql', 77, 'app', 1, true),
            (6, '9', 'gone', 'SQL', 'V9__gone.sql', NULL, 'app', 1, true),
            (7, '9', 'gone', 'DELETE', 'V9__gone.sql', NULL, 'app', 0, true)").await.unwrap();
        let run = with(&database, &folder, &["import-history"]).await.ends(0);
        assert!(run.stdout.contains("note: R__views.sql is repeatable"), "{run}");
        assert!(!run.stdout.contains("note: app"), "{run}");
        assert_eq!(versions(&mut connection).await, ["1", "2", "3"]);
    }

    /// What Flyway is told to begin after need be the version of no file.
    async fn any_baseline_of_flyway(database: TestDatabase) {
        let plain: Contents<'_> = &[("V1__one.sql", ONE), ("V2__two.sql", TWO), ("V3__three.sql", THREE)];
        let dotted: Contents<'_> = &[("V1.0__one.sql", ONE), ("V1.5__two.sql", TWO), ("V2__three.sql", THREE)];
        let mut connection = database.connect().await;
        for (number, (baseline, contents, applied, expected)) in [
            ("0", plain, "1', 'V1__one.sql", &["1"][..]),
            ("0.0", dotted, "1.0', 'V1.0__one.sql", &["1000000"]),
            ("1.0", plain, "2', 'V2__two.sql", &["1", "2"]),
            ("2.5", plain, "3', 'V3__three.sql", &["1", "2", "3"]),
            ("1.4.9.9", dotted, "1.5', 'V1.5__two.sql", &["1000000", "1005000"]),
        ].into_iter().enumerate() {
            let folder = folder(&database, &format!("case{number}"), contents);
            connection.batch(foreign::FLYWAY.create(backend(&database))).await.unwrap();
            let (version, script) = applied.split_once("', '").unwrap();
            connection.batch(&format!("INSERT INTO flyway_schema_history (installed_rank, version, description, type, script, checksum, installed_by, execution_time, success) VALUES
                (1, '{baseline}', '<< Flyway Baseline >>', 'BASELINE', '<< Flyway Baseline >>', NULL, 'app', 0, true),
                (2, '{version}', 'it', 'SQL', '{script}', NULL, 'app', 1, true)")).await.unwrap();
            let run = with(&database, &folder, &["import-history"]).await.ends(0);
            assert!(!run.stdout.contains("note:"), "{baseline}: {run}");
            assert_eq!(versions(&mut connection).await, expected, "{baseline}");
            connection.batch("DROP TABLE flyway_schema_history; DROP TABLE refinery_schema_history; DROP TABLE migrator_journal; DROP TABLE migrator_structure").await.unwrap();
        }
    }
}

/// The table is looked for where the migrator keeps its own.
#[tokio::test]
async fn in_a_schema_of_its_own() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let folder = folder(&database, "ours", &[("V1__one.sql", ONE), ("V2__two.sql", TWO)]);
    let mut connection = database.connect().await;
    connection.batch("CREATE SCHEMA app; SET search_path TO app").await.unwrap();
    connection.batch(foreign::ALEMBIC.create(Backend::Postgres)).await.unwrap();
    connection.batch("INSERT INTO alembic_version VALUES ('3f2a')").await.unwrap();
    connection.batch(ONE).await.unwrap();
    with(&database, &folder, &["import-history", "--at", "1"]).await.ends(2);
    with(&database, &folder, &["--schema", "app", "import-history", "--at", "1"]).await.ends(0);
    with(&database, &folder, &["--schema", "app", "up"]).await.ends(0);
    with(&database, &folder, &["--schema", "app", "check", "--against-scratch"]).await.ends(0);
    assert_eq!(versions(&mut connection).await, ["1", "2"]);
}
