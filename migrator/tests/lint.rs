//! `lint`: what it finds in migrations, what it lets pass, and that our own are clean.
//!
//! This test is where our own migrations are linted, and not the build script: squawk would be compiled a second time
//! for it, and every build of the service would wait for that.

use foundation::database::Backend;
use foundation::testing::TestDatabase;
use migrator::lint::{self, Finding, Level, Rules, Source};
use migrator::source::{Dialect, embedded};

use crate::support::{self, migrator, migrator_command};

fn found(dialect: Dialect, text: &str) -> Vec<Finding> {
    lint::lint(
        &Source { file: "V1__x.sql", text, dialect, is_undo: false, no_transaction: false },
        &Rules::default(),
    )
}

fn rules(dialect: Dialect, text: &str) -> Vec<String> {
    found(dialect, text).into_iter().map(|it| it.rule).collect()
}

#[test]
fn our_own_migrations_are_clean() {
    for dialect in Dialect::ALL {
        let findings = lint::lint_catalog(embedded(dialect), &Rules::default());
        assert!(findings.is_empty(), "{}", lint::text(&findings));
    }
}

/// On both databases, and once for each statement.
#[test]
fn what_drops_renames_or_tightens_has_to_say_since_when() {
    let both = [
        "DROP TABLE one",
        "DROP TABLE IF EXISTS one",
        "DROP VIEW seen",
        "ALTER TABLE one DROP COLUMN a",
        "ALTER TABLE one RENAME COLUMN a TO b",
        "ALTER TABLE one RENAME TO two",
        "CREATE UNIQUE INDEX one_a ON one (a)",
    ];
    let postgres = [
        "ALTER TABLE one ALTER COLUMN a TYPE text",
        "ALTER TABLE one ALTER COLUMN a SET NOT NULL",
        "ALTER TABLE one ALTER COLUMN a DROP DEFAULT",
        "ALTER TABLE one ADD COLUMN b bigint NOT NULL",
        "ALTER TABLE one ADD CONSTRAINT c CHECK (a > 0) NOT VALID",
        "ALTER TABLE one ADD CONSTRAINT c UNIQUE (a)",
        "ALTER TABLE one ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES two NOT VALID",
        "ALTER TABLE one DROP COLUMN a, RENAME b TO c",
        "ALTER TYPE colour RENAME VALUE 'red' TO 'scarlet'",
        "ALTER DOMAIN mail ADD CONSTRAINT c CHECK (VALUE <> '')",
        "DROP TYPE colour",
        "DROP FUNCTION f()",
        "ALTER TABLE one SET SCHEMA other",
    ];
    let sqlite = [
        "ALTER TABLE main.one DROP COLUMN a",
        "CREATE TABLE new (a TEXT); INSERT INTO new SELECT a FROM one; DROP TABLE one; ALTER TABLE new RENAME TO one",
    ];
    let of =
        |dialect, statements: &[&'static str]| statements.iter().map(|it| (dialect, *it)).collect::<Vec<_>>();
    let all = [
        of(Dialect::Postgres, &both),
        of(Dialect::Sqlite, &both),
        of(Dialect::Postgres, &postgres),
        of(Dialect::Sqlite, &sqlite),
    ];
    for (dialect, statement) in all.concat() {
        let count =
            |text: &str| rules(dialect, text).iter().filter(|rule| *rule == "compatible-from").count();
        assert_eq!(count(&format!("{statement};")), 1, "{dialect:?} {statement}");
        assert_eq!(
            count(&format!("-- migrator: compatible-from 1\n{statement};")),
            0,
            "{dialect:?} {statement}"
        );
        let allowed = format!("-- migrator: lint-allow compatible-from nobody uses it\n{statement};");
        assert_eq!(count(&allowed), 0, "{dialect:?} {statement}");
    }
}

#[test]
fn what_every_release_can_live_with_says_nothing() {
    for (dialect, statement) in [
        (
            Dialect::Postgres,
            "CREATE TABLE one (a bigint NOT NULL CHECK (a > 0)); CREATE UNIQUE INDEX i ON one (a); ALTER TABLE one ADD CONSTRAINT c UNIQUE USING INDEX i",
        ),
        (
            Dialect::Postgres,
            "CREATE TABLE public.one (a bigint); ALTER TABLE one ADD CHECK (a > 0); ALTER TABLE \"one\" ADD CONSTRAINT c CHECK (a < 9) NOT VALID",
        ),
        (Dialect::Postgres, "CREATE TABLE \"One\" (a bigint); ALTER TABLE public.\"One\" ADD CHECK (a > 0)"),
        (Dialect::Sqlite, "ALTER TABLE one ADD COLUMN c TEXT CHECK (c IS NOT NULL OR 1)"),
        (Dialect::Postgres, "ALTER TABLE one ADD COLUMN b bigint NOT NULL DEFAULT 1"),
        (Dialect::Postgres, "ALTER TABLE one ADD COLUMN b bigint"),
        (Dialect::Postgres, "INSERT INTO one VALUES ('DROP TABLE one; ALTER TABLE')"),
        (Dialect::Sqlite, "CREATE TABLE one (a); CREATE UNIQUE INDEX i ON one (a); DROP INDEX old"),
        (Dialect::Sqlite, "ALTER TABLE one ADD COLUMN b INTEGER NOT NULL DEFAULT 1"),
        (
            Dialect::Sqlite,
            "CREATE TABLE \"rename\" (\"drop\" TEXT); -- DROP TABLE one;\nSELECT 'DROP TABLE one'",
        ),
        (
            Dialect::Sqlite,
            "CREATE TRIGGER t AFTER INSERT ON one BEGIN DELETE FROM one; SELECT 1; END; PRAGMA user_version = 3",
        ),
        (Dialect::Sqlite, "CREATE TEMP TABLE x (a); DROP TABLE x"),
    ] {
        let findings = found(dialect, &format!("{statement};"));
        assert!(findings.is_empty(), "{statement}\n{}", lint::text(&findings));
    }
}

#[test]
fn what_does_not_work_in_a_migration_is_found() {
    let no_transaction = "-- migrator: no-transaction\n";
    for (dialect, statement, rule) in [
        (Dialect::Postgres, "CREATE INDEX CONCURRENTLY i ON one (a)", "not-in-transaction"),
        (Dialect::Postgres, "VACUUM one", "not-in-transaction"),
        (Dialect::Postgres, "BEGIN; SELECT 1; COMMIT", "transaction-nesting"),
        (Dialect::Sqlite, "VACUUM", "not-in-transaction"),
        (Dialect::Sqlite, "PRAGMA foreign_keys = OFF", "not-in-transaction"),
        (Dialect::Sqlite, "BEGIN; SELECT 1; COMMIT", "transaction-nesting"),
    ] {
        let rules_of = |text: &str| rules(dialect, text);
        assert!(rules_of(&format!("{statement};")).contains(&rule.to_owned()), "{statement}");
        assert!(rules_of(&format!("{no_transaction}{statement};")).is_empty(), "{statement}");
    }
    for (dialect, text, rule) in [
        (Dialect::Postgres, "CREATE TABL one ();", "syntax-error"),
        (Dialect::Postgres, "CREATE INDEX i ON one (a);", "require-concurrent-index-creation"),
        (
            Dialect::Postgres,
            "-- migrator: no-transaction\nCREATE INDEX CONCURRENTLY ON one (a);",
            "unnamed-index",
        ),
        (Dialect::Postgres, "CREATE TABLE one (a varchar(9));", "prefer-text-field"),
        (Dialect::Sqlite, "ALTER TABLE one ADD COLUMN b TEXT NOT NULL;", "adding-required-field"),
        (Dialect::Sqlite, "CREATE TABLE one (id BIGSERIAL PRIMARY KEY);", "serial-type"),
        (Dialect::Postgres, "-- migrator: lint-allow no-such-rule why\nSELECT 1;", "unknown-rule"),
        (Dialect::Postgres, "-- migrator: lint-allow ban-drop-database why\nSELECT 1;", "unused-allow"),
        (Dialect::Sqlite, "-- migrator: no-transactions\nSELECT 1;", "instruction"),
    ] {
        assert_eq!(rules(dialect, text), [rule], "{text}");
    }
}

#[test]
fn a_finding_says_where() {
    let finding = &found(Dialect::Postgres, "-- größer\nSELECT 'größer'; DROP TABLE one;")[0];
    assert_eq!((finding.line, finding.column, finding.level), (2, 18, Level::Error));
    assert!(finding.help.as_deref().unwrap().contains("compatible-from VERSION"));
    let undo = Source {
        file: "D1__x.sql",
        text: "DROP TABLE one;",
        dialect: Dialect::Postgres,
        is_undo: true,
        no_transaction: false,
    };
    assert!(lint::lint(&undo, &Rules::default()).is_empty(), "an undo file drops what its migration made");
    let include = Rules {
        include: vec!["require-table-schema".to_owned()],
        exclude: vec!["compatible-from".to_owned()],
    };
    let source = Source { is_undo: false, ..undo };
    let rules: Vec<String> = lint::lint(&source, &include).into_iter().map(|it| it.rule).collect();
    assert_eq!(rules, ["require-table-schema"]);
}

#[tokio::test]
async fn the_program_lints_files_and_what_it_knows() {
    let database = TestDatabase::new(Backend::Sqlite).await;
    let run = migrator(&database, &["lint"]).await.ends(0);
    assert!(run.stdout.contains("nothing found"), "{run}");

    let folder = database.folder.path().join("migrations/postgres");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("V1__x.sql"), "DROP TABLE one;\n").unwrap();
    std::fs::write(database.folder.path().join("V2__y.sql"), "CREATE TABLE two (id SERIAL);\n").unwrap();
    let files = ["lint", "migrations/postgres/V1__x.sql", "V2__y.sql"];
    let run = migrator(&database, &files).await.ends(73);
    assert!(run.stdout.contains("migrations/postgres/V1__x.sql:1:1: error: "), "{run}");
    assert!(run.stdout.contains("[compatible-from]") && run.stdout.contains("[serial-type]"), "{run}");
    let json = migrator(&database, &[&files[..], &["--format", "json"]].concat()).await.ends(73).json();
    assert_eq!(json["findings"][0]["rule"], "compatible-from");
    assert_eq!(json["findings"][1]["line"], 1);

    let run = migrator(&database, &[&files[..], &["--sarif"]].concat()).await.ends(73);
    let sarif: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!((&result["ruleId"], &result["level"]), (&"compatible-from".into(), &"error".into()));
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], files[1]);
    assert_eq!(place["region"]["startLine"], 1);
    assert_eq!(sarif["runs"][0]["tool"]["driver"]["rules"][0]["id"], "compatible-from");

    migrator(&database, &["lint", "--exclude", "no-such-rule"]).await.ends(2).says(&["no rule no-such-rule"]);
    migrator(&database, &["lint", "nowhere.sql"]).await.ends(2).says(&["there is no file nowhere.sql"]);
    migrator(&database, &["lint", "migrations"]).await.ends(2).says(&["there is no file migrations"]);
    // No database is asked.
    let mut command = migrator_command(&database, &["lint"]);
    command.env("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing");
    support::Run::of(command).await.ends(0);
}

/// What other tools' files say is read as theirs, with their folder and without it.
#[tokio::test]
async fn files_of_other_tools_are_read_as_theirs() {
    let database = TestDatabase::missing(Backend::Sqlite);
    let write = |path: &str, text: &str| {
        let path = database.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let lint = async |arguments: &[&str]| {
        let mut command = migrator_command(&database, arguments);
        command.env("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing");
        support::Run::of(command).await
    };
    write(
        "goose/00001_a.sql",
        "-- +goose NO TRANSACTION\n-- +goose Up\nCREATE INDEX CONCURRENTLY i ON one (a);\n-- +goose Down\nDROP INDEX CONCURRENTLY i;\nDROP TABLE two;\n",
    );
    write("goose/00002_b.sql", "-- +goose Up\n\nDROP TABLE one;\n-- +goose Down\nDROP TABLE two;\n");
    write("flyway/V1__a.sql", "CREATE TABLE one (a bigint);\n");
    write("flyway/U1__a.sql", "DROP INDEX CONCURRENTLY i;\nDROP TABLE one;\n");
    write("pairs/1_a.up.sql", "BEGIN;\nCREATE TABLE one (a bigint);\nCOMMIT;\n");
    write("pairs/1_a.down.sql", "DROP TABLE one;\n");
    write("sqlx/1_a.sql", "-- no-transaction\nCREATE INDEX CONCURRENTLY i ON one (a);\n");
    write("sqlx/2_b.sql", "CREATE TABLE two (id BIGSERIAL);\n");
    // What stands above the sections is said of the migration.
    write(
        "dbmate/1_a.sql",
        "-- migrator: lint-allow compatible-from nobody reads it\n\n-- migrate:up\nDROP TABLE one;\n-- migrate:down\nCREATE TABLE one (a bigint);\n",
    );
    write("broken/00001_a.sql", "-- +goose Up\nSELECT 1;\n-- +goose Sideways\n");
    write("any.sql", "DROP TABLE one;\n");
    for file in [
        "goose/00001_a.sql",
        "flyway/U1__a.sql",
        "pairs/1_a.up.sql",
        "pairs/1_a.down.sql",
        "sqlx/1_a.sql",
        "dbmate/1_a.sql",
    ] {
        let folder = file.split('/').next().unwrap();
        lint(&["--migrations", folder, "lint", file]).await.ends(0);
        lint(&["lint", file]).await.ends(0);
    }
    for arguments in
        [&["--migrations", "goose", "lint", "./goose/00002_b.sql"][..], &["lint", "./goose/00002_b.sql"]]
    {
        let run = lint(arguments).await.ends(73);
        assert!(
            run.stdout.starts_with("./goose/00002_b.sql:3:1: error: ") && run.stdout.ends_with("1 found\n"),
            "{run}"
        );
    }
    let run = lint(&["lint", "broken/00001_a.sql"]).await.ends(73);
    assert!(run.stdout.contains("broken/00001_a.sql:3:1: error: has the unknown annotation"), "{run}");
    lint(&["lint", "any.sql"]).await.ends(73);
    // For another database it is no file of that folder.
    let run = lint(&["--migrations", "sqlx", "lint", "--dialect", "sqlite", "sqlx/2_b.sql"]).await.ends(73);
    assert!(run.stdout.contains("[serial-type]"), "{run}");
}
