//! The rules for migration files: each breach is told by file, line and what is allowed.

use migrator::source::{Catalog, Dialect, NewFilesError, SourceErrors, new_files};
use proptest::prelude::*;
use std::fs;
use time::macros::datetime;

type Files<'a> = &'a [(&'a str, &'a [u8])];

fn load(migrations: Files<'_>, undo: Files<'_>) -> Result<Catalog, SourceErrors> {
    Catalog::from_files(Dialect::Sqlite, migrations.iter().copied(), undo.iter().copied())
}

fn refusal(migrations: Files<'_>, undo: Files<'_>) -> String {
    load(migrations, undo).expect_err("the files are wrong").to_string()
}

const SQL: &[u8] = b"SELECT 1;";
const V1: (&str, &[u8]) = ("V1__a.sql", SQL);
const D1: (&str, &[u8]) = ("D1__a.sql", SQL);

#[test]
fn wrong_names_are_told() {
    let cases = [
        ("V1__a", "does not end in .sql"),
        ("V1__a.rs", "does not end in .sql"),
        ("V1__a.sql.orig", "does not end in .sql"),
        ("README.md", "expected V<version>__<lower_snake_case>.sql"),
        ("V1_a.sql", "does not match: expected V<version>__<lower_snake_case>.sql"),
        ("v1__a.sql", "does not match"),
        ("create_users.sql", "does not match"),
        ("V__a.sql", "not made of digits"),
        ("V1.5__a.sql", "not made of digits"),
        ("V-1__a.sql", "not made of digits"),
        ("V1__.sql", "not lower_snake_case"),
        ("V1__Create.sql", "not lower_snake_case"),
        ("V1__a-b.sql", "not lower_snake_case"),
        ("V1__a b.sql", "not lower_snake_case"),
        ("V1__a__b.sql", "not lower_snake_case"),
        ("V1__ä.sql", "not lower_snake_case"),
        ("V0__a.sql", "version 0 is the empty base"),
        ("V01__a.sql", "leading zeros: write 1 instead of 01"),
        ("V9223372036854775808__a.sql", "above 9223372036854775807"),
        ("U1__a.sql", "refinery would run a file named U forward"),
        ("D1__a.sql", "undo files lie in undo/"),
    ];
    for (name, expected) in cases {
        let message = refusal(&[(name, SQL)], &[]);
        assert!(message.starts_with(&format!("migrations/sqlite/{name}: ")), "{name}: {message}");
        assert!(message.contains(expected), "{name}: {message}");
    }
    for (name, expected) in [
        ("V2__b.sql", "migrations lie in migrations/"),
        ("U1__a.sql", "undo files are named D"),
        ("D1__a.txt", "does not end in .sql: expected D<version>"),
    ] {
        let message = refusal(&[V1], &[D1, (name, SQL)]);
        assert!(
            message.contains(&format!("undo/sqlite/{name}: ")) && message.contains(expected),
            "{message}"
        );
    }
}

#[test]
fn wrong_sets_are_told() {
    let irreversible: (&str, &[u8]) = ("V1__a.sql", b"-- migrator: irreversible it deletes\nSELECT 1;");
    let cases: &[(Files<'_>, Files<'_>, &str)] = &[
        (&[V1, ("V1__b.sql", SQL)], &[D1], "V1__b.sql: version 1 is taken by migrations/sqlite/V1__a.sql"),
        (
            &[V1],
            &[D1, ("D1__b.sql", SQL)],
            "undo/sqlite/D1__b.sql: version 1 is taken by undo/sqlite/D1__a.sql",
        ),
        (&[V1], &[], "V1__a.sql: has no undo file undo/sqlite/D1__a.sql"),
        (
            &[V1],
            &[D1, ("D2__b.sql", SQL)],
            "D2__b.sql: undoes nothing: there is no migrations/sqlite/V2__b.sql",
        ),
        (
            &[V1],
            &[("D1__b.sql", SQL)],
            "D1__b.sql: has another name than its migration: call it undo/sqlite/D1__a",
        ),
        (&[irreversible], &[D1], "V1__a.sql: says irreversible, and yet there is undo/sqlite/D1__a.sql"),
    ];
    for (migrations, undo, expected) in cases {
        let message = refusal(migrations, undo);
        assert!(message.contains(expected), "{expected}: {message}");
    }
    assert!(load(&[irreversible], &[]).unwrap().get(1).unwrap().undo().is_none());
}

#[test]
fn wrong_texts_are_told() {
    let cases: &[(&[u8], &str)] = &[
        (b"SELECT 1;\nSELECT 2;\r\n", "a.sql:2: has CRLF line ends"),
        (b"\xef\xbb\xbfSELECT 1;", "a.sql: begins with a byte order mark"),
        (b"SELECT '\xff';", "a.sql: is not UTF-8: byte 9"),
        (b"SELECT 1;\0SELECT 2;", "a.sql: has a NUL in it, byte 10"),
        (b"", "a.sql: contains no SQL"),
        (b" \n ; -- a\n /* b /* c */ ; */ ;", "a.sql: contains no SQL"),
    ];
    for (text, expected) in cases {
        for message in [refusal(&[("V1__a.sql", text)], &[D1]), refusal(&[V1], &[("D1__a.sql", text)])] {
            assert!(message.contains(expected), "{expected}: {message}");
        }
    }
    let message = refusal(&[V1], &[("D1__a.sql", b"-- migrator: no-transaction\nSELECT 1;")]);
    assert_eq!(
        message,
        "undo/sqlite/D1__a.sql:1: undo files take no instructions: they stand in the migration"
    );
}

#[test]
fn wrong_instructions_are_told() {
    let cases = [
        (
            "-- migrator: reversible\n",
            ":1: unknown instruction \"reversible\"; allowed are: irreversible WHY",
        ),
        ("-- migrator: No-Transaction\n", ":1: unknown instruction \"No-Transaction\""),
        ("--\n\n-- migrator:\n", ":3: an instruction without a word; allowed are"),
        ("-- migrator: irreversible\n", ":1: an argument is missing: write irreversible WHY"),
        ("-- migrator: lint-allow\n", ":1: an argument is missing: write lint-allow RULE WHY"),
        ("-- migrator: lint-allow rule\n", ":1: an argument is missing: write lint-allow RULE WHY"),
        ("-- migrator: compatible-from\n", ":1: an argument is missing: write compatible-from VERSION"),
        ("-- migrator: compatible-from V1\n", ":1: \"V1\" is no version"),
        ("-- migrator: compatible-from -1\n", ":1: \"-1\" is no version"),
        ("-- migrator: compatible-from 0\n", ":1: version 0 is the empty base"),
        ("-- migrator: compatible-from 2\n", ": compatible-from 2 is above its own version 1"),
        ("-- migrator: no-transaction now\n", ":1: no-transaction takes nothing after it"),
        ("-- migrator: no-transaction\n-- migrator: no-transaction\n", ":2: no-transaction is given twice"),
        (
            "-- migrator: compatible-from 1\n--migrator:compatible-from 1\n",
            ":2: compatible-from is given twice",
        ),
        ("-- Migrator: no-transaction\n", ":1: write `-- migrator:` in lower case"),
        ("SELECT 0;\n  -- migrator: no-transaction\n", ":2: instructions stand at the head"),
        ("/* x */\n-- migrator: no-transaction\n", ":2: instructions stand at the head"),
    ];
    for (head, expected) in cases {
        let message = refusal(&[("V1__a.sql", format!("{head}SELECT 1;").as_bytes())], &[D1]);
        assert_eq!(message.lines().count(), 1, "{head}: {message}");
        assert!(message.starts_with(&format!("migrations/sqlite/V1__a.sql{expected}")), "{head}: {message}");
    }
}

#[test]
fn every_problem_is_told_at_once_by_file_and_line() {
    let text = b"-- migrator: a\n-- migrator: b\nSELECT 1;";
    let errors = load(&[("V2__b.sql", text), ("U3__c.sql", SQL), V1], &[D1]).unwrap_err();
    let places: Vec<_> =
        errors.problems().iter().map(|problem| (problem.file.as_str(), problem.line)).collect();
    let second = "migrations/sqlite/V2__b.sql";
    assert_eq!(
        places,
        [("migrations/sqlite/U3__c.sql", None), (second, None), (second, Some(1)), (second, Some(2))]
    );
}

#[test]
fn right_files_are_sorted_and_read() {
    let text = b"-- Why.\n\n-- migrator: compatible-from 2\n--migrator: no-transaction\n\
        -- migrator: lint-allow rule-a it is empty\n-- migrator: lint-allow rule-b so  it is\nSELECT 1;";
    let catalog = load(
        &[("V20260131120000__c.sql", SQL), ("V2__b.sql", text), V1],
        &[("D20260131120000__c.sql", SQL), ("D2__b.sql", SQL), D1],
    )
    .unwrap();
    let names: Vec<String> = catalog.iter().map(|migration| migration.display()).collect();
    assert_eq!(names, ["V1__a", "V2__b", "V20260131120000__c"]);
    assert_eq!(catalog.newest(), 20_260_131_120_000);
    assert_eq!(catalog.after(1).len(), 2);
    let migration = catalog.get(2).unwrap();
    let instructions = migration.instructions();
    assert_eq!((instructions.compatible_from, instructions.no_transaction), (Some(2), true));
    let allowed = [("rule-a", "it is empty"), ("rule-b", "so  it is")];
    assert_eq!(instructions.lint_allow, allowed.map(|(rule, why)| (rule.to_owned(), why.to_owned())));
    let refinery = refinery_core::Migration::unapplied("V2__b", std::str::from_utf8(text).unwrap()).unwrap();
    assert_eq!((migration.checksum(), migration.as_refinery()), (refinery.checksum(), &refinery));
}

#[test]
fn dialects_that_differ_are_told() {
    let catalog = |dialect, name: &str, head: &str| {
        let files = [(format!("V1__{name}.sql"), format!("{head}SELECT 1;"))];
        Catalog::from_files(dialect, files, [(format!("D1__{name}.sql"), "SELECT 1;".to_owned())]).unwrap()
    };
    let postgres = catalog(Dialect::Postgres, "a", "");
    let none: [(&str, &str); 0] = [];
    let empty = Catalog::from_files(Dialect::Sqlite, none, none).unwrap();
    assert_eq!((empty.newest(), empty.is_empty()), (0, true));
    let cases = [
        (empty, "migrations/postgres/V1__a.sql: has no counterpart migrations/sqlite/V1__a.sql"),
        (catalog(Dialect::Sqlite, "b", ""), "V1__a.sql: has another name than migrations/sqlite/V1__b.sql"),
        (
            catalog(Dialect::Sqlite, "a", "-- migrator: compatible-from 1\n"),
            "has another compatible-from than",
        ),
    ];
    for (sqlite, expected) in cases {
        let message = Catalog::check_pair(&postgres, &sqlite).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    Catalog::check_pair(&postgres, &catalog(Dialect::Sqlite, "a", "-- Another text.\n")).unwrap();
}

#[test]
fn folders_are_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let message = Catalog::from_folder(path, Dialect::Sqlite).unwrap_err().to_string();
    assert!(message.starts_with("migrations/sqlite: cannot read the folder"), "{message}");

    fs::create_dir_all(path.join("migrations/sqlite/old")).unwrap();
    fs::write(path.join("migrations/sqlite/.V1__a.sql.swp"), "x").unwrap();
    fs::write(path.join("migrations/sqlite/V1__a.sql"), "-- migrator: irreversible x\nSELECT 1;").unwrap();
    let message = Catalog::from_folder(path, Dialect::Sqlite).unwrap_err().to_string();
    assert!(
        message.starts_with("migrations/sqlite/old: is a folder") && !message.contains('\n'),
        "{message}"
    );

    fs::remove_dir(path.join("migrations/sqlite/old")).unwrap();
    assert_eq!(Catalog::from_folder(path, Dialect::Sqlite).unwrap().len(), 1);
}

#[test]
fn new_files_are_numbered_by_time_and_never_overwrite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let now = datetime!(2026-01-31 13:04:05 +1);
    assert!(matches!(new_files(path, "a", now), Err(NewFilesError::NoMigrations { .. })));
    fs::create_dir(path.join("migrations")).unwrap();

    let written = new_files(path, "Add user-locale ", now).unwrap();
    let names: Vec<_> =
        written.iter().map(|file| file.strip_prefix(path).unwrap().to_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "migrations/postgres/V20260131120405__add_user_locale.sql",
            "undo/postgres/D20260131120405__add_user_locale.sql",
            "migrations/sqlite/V20260131120405__add_user_locale.sql",
            "undo/sqlite/D20260131120405__add_user_locale.sql",
        ]
    );
    let again = new_files(path, "add_user_locale", now).unwrap();
    assert!(again[0].ends_with("V20260131120406__add_user_locale.sql"), "{again:?}");

    // Only the missing SQL is wrong with them: their headers hold no instruction.
    let errors = Catalog::from_folder(path, Dialect::Sqlite).unwrap_err();
    assert!(errors.problems().iter().all(|problem| problem.reason.contains("contains no SQL")), "{errors}");
    for file in written.iter().chain(&again) {
        let header = fs::read_to_string(file).unwrap();
        fs::write(file, format!("{header}SELECT 1;\n")).unwrap();
    }
    let catalog = Catalog::from_folder(path, Dialect::Sqlite).unwrap();
    assert!(catalog.iter().all(|migration| *migration.instructions() == Default::default()));
}

#[test]
fn wrong_names_for_new_files_are_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("migrations")).unwrap();
    let long = "a".repeat(101);
    for name in ["", "-", "a/b", "../a", "a.sql", "ä", "a;b", &long] {
        let error = new_files(folder.path(), name, datetime!(2026-01-31 12:00 UTC)).unwrap_err();
        assert!(error.to_string().contains("words of a-z and 0-9"), "{name}: {error}");
    }
    fs::create_dir(folder.path().join("migrations/sqlite")).unwrap();
    fs::write(folder.path().join("migrations/sqlite/V9223372036854775807__a.sql"), "").unwrap();
    let error = new_files(folder.path(), "b", datetime!(2026-01-31 12:00 UTC)).unwrap_err();
    assert!(matches!(error, NewFilesError::NoVersion { .. }), "{error}");
}

proptest! {
    #[test]
    fn no_text_makes_the_rules_panic(name in "[VDUv]?[0-9]{0,20}_{0,2}[a-zA-Z_ ]{0,5}(\\.sql)?", text in any::<Vec<u8>>()) {
        drop(load(&[(name.as_str(), text.as_slice())], &[(name.as_str(), text.as_slice())]));
    }

    #[test]
    fn heads_are_read_as_they_are_written(why in "[a-z]{1,9}( [a-z:;-]{1,9}){0,3}", version in 1..=i64::MAX, blank in "(\n|-- [a-z ]*\n){0,3}") {
        let head = format!("{blank}-- migrator: irreversible {why}\n{blank}-- migrator: compatible-from {version}\n");
        let file = format!("V{}__a.sql", i64::MAX);
        let catalog = load(&[(file.as_str(), format!("{head}SELECT 1;").as_bytes())], &[]).unwrap();
        let instructions = catalog.get(i64::MAX).unwrap().instructions();
        prop_assert_eq!(instructions.irreversible.as_deref(), Some(why.as_str()));
        prop_assert_eq!(instructions.compatible_from, Some(version));
    }
}
