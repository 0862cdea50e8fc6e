//! `--migrations`: folders of anybody's, named as their own tools name them.

use foundation::database::Backend;
use foundation::on_both_databases;
use foundation::testing::TestDatabase;

use crate::support::folders::{Contents, ONE, TWO, folder, with};
use crate::support::{backend, count, has_table, journal, migrator_with, number, versions};

const SECTIONS_OF_DBMATE: &str = "-- migrate:up\nCREATE TABLE two (id integer PRIMARY KEY, name text);\nCREATE INDEX two_name ON two (name);\n\n-- migrate:down\nDROP TABLE two;\n";
const SECTIONS_OF_GOOSE: &str = "-- +goose Up\n-- +goose StatementBegin\nCREATE TABLE two (id integer PRIMARY KEY, name text)\n-- +goose StatementEnd\nCREATE INDEX two_name ON two (name);\n\n-- +goose Down\nDROP TABLE two;\n";

/// Two migrations with their undo in each style: the folder's name, its files, and the two versions.
const STYLES: [(&str, Contents<'_>, [&str; 2]); 10] = [
    (
        "ours",
        &[
            ("V1__one.sql", ONE),
            ("D1__one.sql", "DROP TABLE one;"),
            ("V2__two.sql", TWO),
            ("D2__two.sql", "DROP TABLE two;"),
        ],
        ["1", "2"],
    ),
    (
        "apart",
        &[
            ("migrations/V1__one.sql", ONE),
            ("undo/D1__one.sql", "DROP TABLE one;"),
            ("migrations/V2__two.sql", TWO),
            ("undo/D2__two.sql", "DROP TABLE two;"),
        ],
        ["1", "2"],
    ),
    (
        "undo_below",
        &[
            ("V1__one.sql", ONE),
            ("undo/D1__one.sql", "DROP TABLE one;"),
            ("V2__two.SQL", TWO),
            ("undo/D2__two.SQL", "DROP TABLE two;"),
        ],
        ["1", "2"],
    ),
    (
        "flyway",
        &[
            ("V1__one.sql", ONE),
            ("U1__one.sql", "DROP TABLE one;"),
            ("V1.10__two-2.sql", TWO),
            ("U1_10__two-2.sql", "DROP TABLE two;"),
        ],
        ["1000000", "1010000"],
    ),
    (
        "golang_migrate",
        &[
            ("000001_one.up.sql", ONE),
            ("000001_one.down.sql", "DROP TABLE IF EXISTS one;"),
            ("000002_two.up.sql", TWO),
            ("000002_two.down.sql", "DROP TABLE IF EXISTS two;"),
        ],
        ["1", "2"],
    ),
    (
        "golang_migrate_from_zero",
        &[
            ("0_one.up.sql", ONE),
            ("0_one.down.sql", "DROP TABLE one;"),
            ("1_two.up.sql", TWO),
            ("1_two.down.sql", "DROP TABLE two;"),
            ("README.md", "none of them"),
        ],
        ["1", "2"],
    ),
    (
        "sqlx",
        &[
            ("20240101120000_one.up.sql", ONE),
            ("20240101120000_one.down.sql", "DROP TABLE one;"),
            ("20240102120000_two-or-so.up.sql", TWO),
            ("20240102120000_two-or-so.down.sql", "DROP TABLE two;"),
        ],
        ["20240101120000", "20240102120000"],
    ),
    (
        "dbmate",
        &[
            (
                "20240101120000_one.sql",
                "-- migrate:up\nCREATE TABLE one (id integer PRIMARY KEY);\n-- migrate:down\nDROP TABLE one;\n",
            ),
            ("20240102120000_two.sql", SECTIONS_OF_DBMATE),
        ],
        ["20240101120000", "20240102120000"],
    ),
    (
        "goose",
        &[
            (
                "00001_one.sql",
                "-- +goose Up\r\nCREATE TABLE one (id integer PRIMARY KEY);\r\n-- +goose Down\r\nDROP TABLE one;\r\n",
            ),
            ("00002_two.sql", SECTIONS_OF_GOOSE),
            ("embed.go", "package migrations"),
        ],
        ["1", "2"],
    ),
    (
        "dialects",
        &[
            ("postgres/1_one.up.sql", ONE),
            ("postgres/1_one.down.sql", "DROP TABLE one;"),
            ("postgres/2_two.up.sql", TWO),
            ("postgres/2_two.down.sql", "DROP TABLE two;"),
            ("sqlite/1_one.up.sql", ONE),
            ("sqlite/1_one.down.sql", "DROP TABLE one;"),
            ("sqlite/2_two.up.sql", TWO),
            ("sqlite/2_two.down.sql", "DROP TABLE two;"),
            ("mysql/1_one.up.sql", "no SQL at all"),
        ],
        ["1", "2"],
    ),
];

on_both_databases! {
    /// Every command does with each style what it does with the embedded migrations; no administrator is made.
    async fn each_style_goes_up_and_down(database: TestDatabase) {
        let mut connection = database.connect().await;
        for (name, contents, [first, second]) in STYLES {
            let folder = folder(&database, name, contents);
            let plan = with(&database, &folder, &["plan", "--check"]).await.ends(73);
            assert!(plan.stdout.contains("2 to apply") && plan.stdout.contains("CREATE TABLE two"), "{plan}");
            let up = with(&database, &folder, &["up"]).await.ends(0);
            assert!(up.stdout.starts_with(&format!("applied 2; at version {second}\n")), "{name} {up}");
            assert_eq!(versions(&mut connection).await, [first, second], "{name}");
            let status = with(&database, &folder, &["status"]).await.ends(0);
            assert!(status.stdout.contains(&format!("at version {second} of {second}, 0 pending")), "{name} {status}");
            with(&database, &folder, &["wait", "--timeout", "1s"]).await.ends(0);
            with(&database, &folder, &["check"]).await.ends(0);
            with(&database, &folder, &["check", "--against-scratch"]).await.ends(0);
            let rehearsed = with(&database, &folder, &["rehearse"]).await.ends(0);
            assert!(rehearsed.stdout.contains("2 of 2 can be undone exactly"), "{name} {rehearsed}");
            let plan = with(&database, &folder, &["plan", "down"]).await.ends(0);
            assert!(plan.stdout.contains("DROP TABLE") && plan.stdout.contains("1 to take back"), "{name} {plan}");
            let down = with(&database, &folder, &["down"]).await.ends(0);
            assert_eq!(down.stdout, format!("took 1 back; at version {first}\n"), "{name} {down}");
            assert!(!has_table(&mut connection, "two").await, "{name}");
            with(&database, &folder, &["up"]).await.ends(0);
            let nothing = with(&database, &folder, &["up"]).await.ends(0);
            assert_eq!(nothing.stdout, format!("nothing to do; at version {second}\n"), "{name} {nothing}");
            with(&database, &folder, &["down", "--to", "0"]).await.ends(0);
            assert!(!has_table(&mut connection, "one").await, "{name}");
            with(&database, &folder, &["stamp", first]).await.ends(0);
            assert_eq!(versions(&mut connection).await, [first], "{name}");
            with(&database, &folder, &["stamp", "0"]).await.ends(0);
        }
        assert!(!has_table(&mut connection, "users").await);
    }

    /// The journal keeps the undo, so a folder that lacks the newest file takes it back too.
    async fn the_journal_takes_back_what_the_folder_lacks(database: TestDatabase) {
        let newer = folder(&database, "newer", STYLES[6].1);
        let older = folder(&database, "older", &STYLES[6].1[..1]);
        with(&database, &newer, &["up"]).await.ends(0);
        with(&database, &older, &["up"]).await.ends(0);
        let down = with(&database, &older, &["down"]).await.ends(0);
        assert_eq!(down.stdout, "took 1 back; at version 20240101120000\n", "{down}");
        assert!(!has_table(&mut database.connect().await, "two").await);
    }

    /// The variable does what the option does, and the option overrides it; sqlx's plain files have no undo.
    async fn a_folder_without_undo(database: TestDatabase) {
        let plain = folder(&database, "plain", &[("1_one.sql", ONE), ("2_two.sql", TWO), ("3_words.sql", "-- nothing yet\n")]);
        let variable = [("MIGRATOR_MIGRATIONS", plain.to_str().unwrap())];
        let up = migrator_with(&database, &variable, &["up", "--format", "json"]).await.ends(0).json();
        assert_eq!((up["applied"].as_array().unwrap().len(), up["admin"].as_str()), (3, None));
        let rehearsed = migrator_with(&database, &variable, &["rehearse"]).await.ends(0);
        assert!(rehearsed.stdout.contains("V1__one: irreversible, only applied: it has no undo file"), "{rehearsed}");
        migrator_with(&database, &variable, &["down"]).await.ends(65).says(&["V3__words has no undo file"]);
        let config = migrator_with(&database, &variable, &["check-config"]).await.ends(0);
        assert!(config.stdout.contains("MIGRATOR_MIGRATIONS"), "{config}");
        let none = ["--migrations", "nowhere", "status"];
        migrator_with(&database, &variable, &none).await.ends(78).says(&["there is no folder nowhere"]);
        let changed = folder(&database, "plain", &[("2_two.sql", "CREATE TABLE two (id integer);\n")]);
        with(&database, &changed, &["up"]).await.ends(65).says(&["V2__two was changed after it was applied"]);
    }

    /// What a person keeps in `undo/` beside the files is no migration, whatever it is numbered.
    async fn what_is_not_named_as_an_undo_is_not_run(database: TestDatabase) {
        for (name, contents) in [
            ("same", &[("001_a.sql", ONE), ("undo/001_a.sql", "DROP TABLE one;")]),
            ("times", &[("20240101120000_a.sql", ONE), ("undo/20240101120001_a.sql", "DROP TABLE one;")]),
            ("sections", &[("1_a.sql", "-- migrate:up\nCREATE TABLE one (id integer);"), ("undo/2_a.sql", "-- migrate:up\nDROP TABLE one;")]),
            ("programs", &[("1_a.sql", ONE), ("undo/2_a.go", "package a")]),
        ] {
            let database = TestDatabase::new(backend(&database)).await;
            let folder = folder(&database, name, contents);
            with(&database, &folder, &["up"]).await.ends(0).says(&["not read", contents[1].0]);
            let mut connection = database.connect().await;
            assert_eq!(versions(&mut connection).await.len(), 1, "{name}");
            assert!(has_table(&mut connection, "one").await, "{name}");
        }
    }

    /// An undo without SQL is what a tool made for its author to fill.
    async fn an_empty_undo_takes_nothing_back(database: TestDatabase) {
        let folder = folder(&database, "empty", &[
            ("1_one.up.sql", ONE), ("1_one.down.sql", "-- it cannot be undone\n"),
            ("2_none.up.sql", "-- not needed any more\n"), ("2_none.down.sql", ""),
        ]);
        with(&database, &folder, &["up"]).await.ends(0);
        let rehearsed = with(&database, &folder, &["rehearse"]).await.ends(0);
        assert!(rehearsed.stdout.contains("there is no SQL in"), "{rehearsed}");
        with(&database, &folder, &["down"]).await.ends(0);
        with(&database, &folder, &["down"]).await.ends(65).says(&["1_one.down.sql", "`migrator stamp`"]);
        assert!(has_table(&mut database.connect().await, "one").await);
    }

    /// What cannot run in a transaction runs without, forth and back, in each of the ways to say it.
    async fn files_without_a_transaction(database: TestDatabase) {
        let (up, down) = match backend(&database) {
            Backend::Postgres => ("CREATE INDEX CONCURRENTLY one_id ON one (id);\n", "DROP INDEX CONCURRENTLY one_id;\n"),
            Backend::Sqlite => ("CREATE INDEX one_id ON one (id);\nVACUUM;\n", "DROP INDEX one_id;\nVACUUM;\n"),
        };
        let marked = |mark: &str| format!("{mark}{up}");
        let dbmate = format!("-- migrate:up transaction:false\n{up}\n-- migrate:down transaction:false\n{down}");
        let goose = format!("-- +goose NO TRANSACTION\n-- +goose Up\n{up}\n-- +goose Down\n{down}");
        let [one_of_dbmate, one_of_goose] =
            ["-- migrate:up\n", "-- +goose Up\n"].map(|mark| format!("{mark}{ONE}"));
        let sets: [(&str, Vec<(&str, &str)>); 5] = [
            ("lettered", vec![("V1__one.sql", ONE), ("V2__two.sql", up), ("D2__two.sql", down)]),
            ("pair", vec![("1_one.up.sql", ONE), ("2_two.up.sql", up), ("2_two.down.sql", down)]),
            ("sqlx", vec![("1_one.up.sql", ONE), ("2_two.up.sql", &marked("-- no-transaction\n")), ("2_two.down.sql", down)]),
            ("dbmate", vec![("1_one.sql", &one_of_dbmate), ("2_two.sql", &dbmate)]),
            ("goose", vec![("1_one.sql", &one_of_goose), ("2_two.sql", &goose)]),
        ]
        .map(|(name, contents)| (name, contents.into_iter().map(|(path, text)| (path, text.to_owned())).collect::<Vec<_>>()))
        .map(|(name, contents)| (name, contents.leak().iter().map(|(path, text)| (*path, text.as_str())).collect()));
        let mut connection = database.connect().await;
        for (name, contents) in sets {
            let folder = folder(&database, name, &contents);
            with(&database, &folder, &["up"]).await.ends(0);
            let plan = with(&database, &folder, &["plan", "down"]).await.ends(0);
            assert!(plan.stdout.contains("statement by statement, without a transaction"), "{name} {plan}");
            assert!(!plan.stdout.contains("[not-in-transaction]"), "{name} {plan}");
            let lint = with(&database, &folder, &["lint"]).await;
            assert!(!lint.stdout.contains("[not-in-transaction]"), "{name} {lint}");
            let rehearsed = with(&database, &folder, &["rehearse"]).await.ends(0);
            assert!(rehearsed.stdout.contains("two: exact"), "{name} {rehearsed}");
            with(&database, &folder, &["down"]).await.ends(0);
            assert_eq!(versions(&mut connection).await, ["1"], "{name}");
            with(&database, &folder, &["up"]).await.ends(0);
            with(&database, &folder, &["check"]).await.ends(0);
            with(&database, &folder, &["reset", "--yes"]).await.ends(0);
            with(&database, &folder, &["stamp", "0"]).await.ends(0);
            connection.batch("DROP TABLE one").await.unwrap();
        }
    }

    /// A transaction around a whole file becomes the migrator's own, with the history in it.
    async fn a_transaction_in_a_file_is_ours(database: TestDatabase) {
        let folder = folder(&database, "begun", &[
            ("1_one.up.sql", "-- one\nBEGIN;\n\nCREATE TABLE one (id integer PRIMARY KEY);\nCOMMIT;\n"),
            ("1_one.down.sql", "BEGIN; DROP TABLE one; COMMIT;"),
            ("2_two.up.sql", "BEGIN;\nCREATE TABLE two (id integer PRIMARY KEY);\nINSERT INTO missing VALUES (1);\nCOMMIT;\n"),
        ]);
        let failed = with(&database, &folder, &["up"]).await.ends(70);
        let place = if backend(&database) == Backend::Postgres { "at line 3" } else { "V2__two failed" };
        let failed = failed.says(&["V2__two failed and was rolled back", place, "missing"]);
        assert!(!failed.stdout.contains("applied"), "{failed}");
        let mut connection = database.connect().await;
        assert_eq!(versions(&mut connection).await, ["1"]);
        assert!(!has_table(&mut connection, "two").await);
        std::fs::write(folder.join("2_two.up.sql"), "BEGIN; CREATE TABLE two (id integer); COMMIT; BEGIN; INSERT INTO two VALUES (1); COMMIT;").unwrap();
        with(&database, &folder, &["up"]).await.ends(0);
        assert_eq!(count(&mut connection, "two").await, 1);
        assert_eq!(number(&mut connection, "SELECT CAST(count(*) AS BIGINT) AS it FROM migrator_journal WHERE statement IS NOT NULL").await, 2);
        std::fs::remove_file(folder.join("2_two.up.sql")).unwrap();
        connection.batch("DROP TABLE two").await.unwrap();
        with(&database, &folder, &["stamp", "1"]).await.ends(0);
        with(&database, &folder, &["down"]).await.ends(0);
        assert!(!has_table(&mut connection, "one").await);
    }

    /// An undo with transactions of its own, or one that is told to run without, is not begun in the migrator's: what
    /// fails in it leaves what was done before, and the history says that it is applied.
    async fn undos_with_transactions_of_their_own_run_in_parts(database: TestDatabase) {
        let up = "CREATE TABLE a (id integer);\nCREATE TABLE b (id integer);\n";
        let own = "BEGIN; DROP TABLE a; COMMIT;\nBEGIN; DROP TABLE b; COMMIT;\n";
        let plain = "DROP TABLE a;\nDROP TABLE b;\n";
        let sets: [(&str, Vec<(&str, String)>); 4] = [
            ("pair", vec![("1_a.up.sql", up.to_owned()), ("1_a.down.sql", own.to_owned())]),
            ("sqlx", vec![("1_a.up.sql", up.to_owned()), ("1_a.down.sql", format!("-- no-transaction\n{plain}"))]),
            ("dbmate", vec![("1_a.sql", format!("-- migrate:up\n{up}-- migrate:down transaction:false\n{plain}"))]),
            ("goose", vec![("1_a.sql", format!("-- +goose NO TRANSACTION\n-- +goose Up\n{up}-- +goose Down\n{plain}"))]),
        ];
        let mut connection = database.connect().await;
        for (name, contents) in sets {
            let contents: Vec<(&str, &str)> = contents.iter().map(|(path, text)| (*path, text.as_str())).collect();
            let files = folder(&database, name, &contents);
            with(&database, &files, &["up"]).await.ends(0);
            let plan = with(&database, &files, &["plan", "down"]).await.ends(0);
            assert!(plan.stdout.contains("statement by statement, without a transaction"), "{name} {plan}");
            let lint = with(&database, &files, &["lint"]).await;
            assert!(!lint.stdout.contains("[transaction-nesting]"), "{name} {lint}");
            let rehearsed = with(&database, &files, &["rehearse"]).await.ends(0);
            assert!(rehearsed.stdout.contains("a: exact"), "{name} {rehearsed}");

            connection.batch("ALTER TABLE b RENAME TO c").await.unwrap();
            with(&database, &files, &["down"]).await.ends(70).says(&["the undo of V1__a failed"]);
            assert!(!has_table(&mut connection, "a").await, "{name}: what was done before stays done");
            assert_eq!(versions(&mut connection).await, ["1"], "{name}");
            connection.batch("ALTER TABLE c RENAME TO b").await.unwrap();

            // The journal alone knows how it is undone.
            let older = folder(&database, &format!("{name}_older"), &[("9_later.up.sql", "SELECT 1;")]);
            let plan = with(&database, &older, &["plan", "down"]).await.ends(0);
            assert!(plan.stdout.contains("statement by statement, without a transaction"), "{name} {plan}");
            with(&database, &files, &["down"]).await.ends(0);
            assert!(!has_table(&mut connection, "a").await && !has_table(&mut connection, "b").await, "{name}");
            assert!(versions(&mut connection).await.is_empty(), "{name}");
        }
    }

    /// One that begins a transaction and never ends it is refused before anything is run.
    async fn an_undo_that_does_not_end_its_transaction_is_refused(database: TestDatabase) {
        let files = folder(&database, "open", &[("1_a.up.sql", ONE), ("1_a.down.sql", "DROP TABLE one;\nBEGIN;\n")]);
        with(&database, &files, &["up"]).await.ends(0);
        with(&database, &files, &["down"]).await.ends(65).says(&["the undo of V1__a", "line 2 begins is never committed"]);
        let mut connection = database.connect().await;
        assert!(has_table(&mut connection, "one").await);
        assert_eq!(versions(&mut connection).await, ["1"]);
    }

    /// A run with nothing to do begins no transaction, whoever's migrations they are.
    async fn a_history_that_is_applied_is_only_read(database: TestDatabase) {
        let folder = folder(&database, "ours", STYLES[0].1);
        with(&database, &folder, &["up"]).await.ends(0);
        let mut connection = database.connect().await;
        let before = journal(&mut connection).await;
        with(&database, &folder, &["up"]).await.ends(0);
        assert_eq!(journal(&mut connection).await, before);
        let entries = with(&database, &folder, &["history"]).await.ends(0);
        assert!(entries.stdout.contains("one") && entries.stdout.contains("two"), "{entries}");
    }
}
