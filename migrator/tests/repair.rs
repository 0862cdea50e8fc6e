//! What is applied and does not go together with the files: told in words, and put right after it was shown.

use foundation::database::Backend;
use foundation::exit::Exit;
use foundation::on_both_databases;
use foundation::testing::TestDatabase;
use migrator::settings::Settings;
use migrator::{CheckReport, Down, Migrator, MigratorError, RepairReport, Repairs};

use crate::support::{
    self, Files, backend, count, has_table, journal, library, library_with, migrator, texts, versions,
};

const ONE: (&str, &str) = ("V1__one", "CREATE TABLE one (id bigint);");
const TWO: (&str, &str) = ("V2__two", "CREATE TABLE two (id bigint);\n-- A remark.\n");
const THREE: (&str, &str) = ("V3__three", "CREATE TABLE three (id bigint);");
const UNDO_THREE: (&str, &str) = ("D3__three", "DROP TABLE three;");
const UNDO_TWO: (&str, &str) = ("D2__two", "DROP TABLE two;");

/// Shows what there is to repair, and repairs it.
async fn repaired(release: &Migrator, wanted: &Repairs) -> RepairReport {
    let report = release.repairs(wanted).await.unwrap();
    release.repair(wanted, &report).await.unwrap();
    report
}

fn forget(version: i64) -> Repairs {
    Repairs { forget: vec![version], ..Repairs::default() }
}

fn only(version: i64) -> Repairs {
    Repairs { versions: vec![version], ..Repairs::default() }
}

async fn is_refused(release: &Migrator, exit: Exit, parts: &[&str]) {
    let error = release.up(None).await.expect_err("it is refused");
    assert_eq!(error.exit(), exit, "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "{part:?} is not said: {error}");
    }
}

/// Nothing is pending, nothing is left to say, and the schema is what the migrations make.
async fn is_whole(release: &Migrator) {
    assert!(release.up(None).await.unwrap().nothing_done());
    let status = release.status().await.unwrap();
    assert_eq!((status.pending, status.problems.len()), (0, 0), "{:?}", status.problems);
    for against_scratch in [false, true] {
        let report: CheckReport = release.check(against_scratch).await.unwrap();
        assert!(report.clean(), "{}", report.text());
    }
}

async fn names(database: &TestDatabase) -> Vec<String> {
    let sql =
        "SELECT CAST(version AS TEXT) || ' ' || name AS it FROM refinery_schema_history ORDER BY version";
    texts(&mut database.connect().await, sql).await.unwrap()
}

on_both_databases! {
    /// The difference is shown from what was applied, because the journal kept it; the SQL is not run.
    async fn a_changed_file_is_recorded_after_it_was_shown(database: TestDatabase) {
        library(&database, &[ONE, TWO]).up(None).await.unwrap();
        let when = "SELECT applied_on AS it FROM refinery_schema_history WHERE version = 2";
        let before = texts(&mut database.connect().await, when).await.unwrap();
        let release = library(&database, &[ONE, ("V2__two", "CREATE TABLE two (id bigint);\n-- Another remark.\n"), THREE]);
        is_refused(&release, Exit::Schema, &["V2__two was changed after it was applied", "`migrator repair 2`"]).await;
        assert_eq!(release.status().await.unwrap().migrations[1].state, "changed");
        let report = release.repairs(&Repairs::default()).await.unwrap();
        let [repair] = report.repairs.as_slice() else { panic!("{report:?}") };
        assert_eq!((repair.version, repair.kind, repair.file.as_deref()), (2, "changed", Some("V2__two")));
        let difference = repair.difference.as_deref().unwrap();
        for line in ["--- V2__two as it was applied", "+++ V2__two.sql", "-- A remark.", "+-- Another remark."] {
            assert!(difference.lines().any(|it| it.ends_with(line)), "{line}\n{difference}");
        }
        assert_eq!(journal(&mut database.connect().await).await, ["up 1", "up 2"], "looking changes nothing");
        release.repair(&Repairs::default(), &report).await.unwrap();
        let mut connection = database.connect().await;
        assert_eq!(journal(&mut connection).await, ["up 1", "up 2", "repair 2"]);
        assert_eq!(texts(&mut connection, when).await.unwrap(), before, "it was applied when it was");
        assert_eq!(release.up(None).await.unwrap().applied.len(), 1);
        is_whole(&release).await;
        // What is recorded now is what is compared with the next time.
        let third = library(&database, &[ONE, ("V2__two", "CREATE TABLE two (id bigint);\n"), THREE]);
        let report = third.repairs(&Repairs::default()).await.unwrap();
        assert!(report.repairs[0].difference.as_deref().unwrap().contains("--- V2__two as it was applied\n+++ V2__two.sql\n@@ -1,2 +1 @@\n CREATE TABLE two (id bigint);\n--- Another remark."), "{report:?}");
        assert_eq!(third.down(Down::To(1)).await.expect_err("its undo may not fit").exit(), Exit::Schema);
        repaired(&third, &Repairs::default()).await;
        assert_eq!(third.down(Down::To(1)).await.unwrap().undone.len(), 2);
    }

    /// A name alone, and a number alone, as merged branches give them.
    async fn a_file_that_was_renamed_or_renumbered_is_recorded_so(database: TestDatabase) {
        library(&database, &[ONE, TWO]).up(None).await.unwrap();
        let renamed = library(&database, &[ONE, ("V2__deux", TWO.1)]);
        is_refused(&renamed, Exit::Schema, &["as V2__two", "its name, and nothing else"]).await;
        let report = repaired(&renamed, &Repairs::default()).await;
        assert_eq!((report.repairs[0].kind, report.repairs[0].difference.as_deref()), ("renamed", Some("")));
        assert_eq!(names(&database).await, ["1 one", "2 deux"]);
        is_whole(&renamed).await;

        // The other branch had a 2 as well, and was merged first.
        let other = ("V2__other", "CREATE TABLE other (id bigint);");
        let merged = library(&database, &[ONE, other, ("V3__deux", TWO.1)]);
        is_refused(&merged, Exit::Schema, &["V2__deux is applied, and its file is V3__deux now", "`migrator repair 2`"]).await;
        let report = repaired(&merged, &Repairs::default()).await;
        assert_eq!((report.repairs[0].kind, report.repairs[0].version), ("renumbered", 2));
        assert_eq!(names(&database).await, ["1 one", "3 deux"]);
        let done = journal(&mut database.connect().await).await;
        assert_eq!(done[done.len() - 2..], ["repair 2", "repair 3"]);
        // Which leaves the other one, that came late.
        is_refused(&merged, Exit::Schema, &["V2__other is not applied but the newer version 3 is"]).await;
        let late = library_with(&database, &[ONE, other, ("V3__deux", TWO.1)], &[("MIGRATOR_OUT_OF_ORDER", "true")]);
        assert_eq!(late.up(None).await.unwrap().applied[0].version, 2);
        assert!(has_table(&mut database.connect().await, "other").await);
        is_whole(&merged).await;
    }

    /// Many at once, in one transaction, whoever had the number before.
    async fn a_row_takes_the_number_of_another(database: TestDatabase) {
        library(&database, &[ONE, TWO, THREE]).up(None).await.unwrap();
        let swapped = library(&database, &[ONE, ("V2__three", THREE.1), ("V3__two", TWO.1)]);
        let report = release_reports(&swapped).await;
        assert!(report.repairs.is_empty() && report.left.len() == 2, "two files in two places are not guessed: {report:?}");
        let moved = library(&database, &[ONE, ("V4__two", TWO.1), ("V5__three", THREE.1)]);
        repaired(&moved, &Repairs::default()).await;
        assert_eq!(names(&database).await, ["1 one", "4 two", "5 three"]);
        // Each takes the place of the next, and a new one that of the first.
        let new = ("V4__new", "CREATE TABLE new (id bigint);");
        let chained = library(&database, &[ONE, new, ("V5__two", TWO.1), ("V6__three", THREE.1)]);
        let report = repaired(&chained, &Repairs::default()).await;
        assert_eq!((report.repairs.len(), report.left.len()), (2, 1), "{report:?}");
        assert_eq!(names(&database).await, ["1 one", "5 two", "6 three"]);
        is_refused(&chained, Exit::Schema, &["V4__new is not applied but the newer version 6 is"]).await;
    }

    /// What `status` says about one of them works, because those in its way go on with it.
    async fn a_row_moves_together_with_those_in_its_way(database: TestDatabase) {
        let new = ("V2__new", "CREATE TABLE new (id bigint);");
        for (wanted, moved) in [(2, vec![2, 3]), (3, vec![2, 3])] {
            library(&database, &[ONE, TWO, THREE]).stamp(3).await.unwrap();
            let chained = library(&database, &[ONE, new, ("V3__two", TWO.1), ("V4__three", THREE.1)]);
            let problems = chained.status().await.unwrap().problems.join("\n");
            assert!(problems.contains(&format!("`migrator repair {wanted}`")), "{problems}");
            let report = repaired(&chained, &only(wanted)).await;
            let mut versions: Vec<i64> = report.repairs.iter().map(|it| it.version).collect();
            versions.sort_unstable();
            assert_eq!(versions, moved, "{report:?}");
            assert_eq!(names(&database).await, ["1 one", "3 two", "4 three"]);
            is_refused(&chained, Exit::Schema, &["V2__new is not applied but the newer version 4 is"]).await;
        }
        // The other way round, and nothing that is in nobody's way.
        library(&database, &[ONE, ("V3__two", TWO.1), ("V4__three", THREE.1)]).stamp(4).await.unwrap();
        let back = library(&database, &[ONE, TWO, THREE]);
        assert_eq!(repaired(&back, &only(4)).await.repairs.len(), 2);
        assert_eq!(names(&database).await, ["1 one", "2 two", "3 three"]);
        let back = library(&database, &[("V5__one", ONE.1), TWO, ("V7__three", THREE.1)]);
        assert_eq!(repaired(&back, &only(3)).await.repairs.len(), 1);
        assert_eq!(names(&database).await, ["1 one", "2 two", "7 three"]);
    }

    /// Two migrations that had one number are not taken for each other unless somebody says so.
    async fn another_migration_of_that_number_is_asked_about(database: TestDatabase) {
        library(&database, &[ONE, TWO]).up(None).await.unwrap();
        let release = library(&database, &[ONE, ("V2__other", "CREATE TABLE other (id bigint);")]);
        is_refused(&release, Exit::Schema, &["two migrations have had the version 2"]).await;
        let report = release_reports(&release).await;
        assert!(report.repairs.is_empty(), "{report:?}");
        assert!(report.left[0].contains("two migrations have had the version 2"), "{report:?}");
        let report = repaired(&release, &only(2)).await;
        assert_eq!(report.repairs[0].kind, "replaced");
        assert_eq!(names(&database).await, ["1 one", "2 other"]);
        // Somebody said so, and it was wrong, which `check` tells.
        assert!(!release.check(true).await.unwrap().clean());
    }

    /// What came late is applied where that is wanted, and planned before.
    async fn what_came_late_is_applied_out_of_order(database: TestDatabase) {
        library(&database, &[ONE, THREE]).up(None).await.unwrap();
        let files = [ONE, TWO, UNDO_TWO, THREE];
        let strict = library(&database, &files);
        is_refused(&strict, Exit::Schema, &["V2__two is not applied but the newer version 3 is", "--out-of-order"]).await;
        assert_eq!(strict.status().await.unwrap().migrations[1].state, "late");
        let error = strict.repairs(&only(2)).await.expect_err("that is not for repair");
        assert!(error.to_string().contains("--out-of-order"), "{error}");
        let late = library_with(&database, &files, &[("MIGRATOR_OUT_OF_ORDER", "true")]);
        assert_eq!(late.plan_up(None).await.unwrap().migrations[0].version, 2);
        let error = late.wait(migrator::Awaited::Schema, std::time::Duration::ZERO).await.expect_err("not yet");
        assert_eq!(error.exit(), Exit::Interrupted, "it will come: {error}");
        assert_eq!(late.up(None).await.unwrap().applied[0].version, 2);
        is_whole(&strict).await;
        assert_eq!(strict.down(Down::To(1)).await.unwrap().undone.len(), 2);
    }

    /// No file any more: back with it, down, or out of the history by name.
    async fn a_missing_file_is_forgotten_only_by_name(database: TestDatabase) {
        library(&database, &[ONE, TWO, UNDO_TWO, THREE]).up(None).await.unwrap();
        let release = library(&database, &[ONE, THREE]);
        is_refused(&release, Exit::Schema, &["V2__two is applied but this release does not know it", "--forget 2"]).await;
        assert_eq!(release.status().await.unwrap().migrations[1].state, "missing");
        let report = release_reports(&release).await;
        assert_eq!((report.repairs.len(), report.left.len()), (0, 1), "{report:?}");
        for (wanted, said) in [
            (forget(3), "V3__three has its file"),
            (forget(9), "the version 9 is not applied"),
            (only(1), "is applied as its file is"),
            (only(9), "is not applied"),
        ] {
            let error = release.repairs(&wanted).await.expect_err(said);
            assert!(matches!(error, MigratorError::Usage(_)) && error.to_string().contains(said), "{error}");
        }
        database.connect().await.batch("DROP TABLE two").await.unwrap();
        let report = repaired(&release, &forget(2)).await;
        assert!(report.repairs[0].difference.as_deref().unwrap().contains("-CREATE TABLE two"), "{report:?}");
        assert_eq!(versions(&mut database.connect().await).await, ["1", "3"]);
        is_whole(&release).await;
        // Or it is taken back by what the journal kept.
        let again = TestDatabase::new(backend(&database)).await;
        library(&again, &[ONE, TWO, UNDO_TWO, THREE, UNDO_THREE]).up(None).await.unwrap();
        library(&again, &[ONE, THREE, UNDO_THREE]).down(Down::To(1)).await.unwrap();
        assert!(!has_table(&mut again.connect().await, "two").await);
        assert_eq!(library(&again, &[ONE, THREE]).up(None).await.unwrap().applied.len(), 1);
    }

    /// What was shown is what is done, or nothing is.
    async fn a_history_that_changed_meanwhile_is_left(database: TestDatabase) {
        library(&database, &[ONE, TWO]).up(None).await.unwrap();
        let release = library(&database, &[("V1__one", "CREATE TABLE one (id int);"), ("V2__two", "CREATE TABLE two (id int);")]);
        let shown = release.repairs(&Repairs::default()).await.unwrap();
        repaired(&release, &only(1)).await;
        let error = release.repair(&Repairs::default(), &shown).await.expect_err("one of them is done");
        assert!(matches!(error, MigratorError::Usage(_)), "{error}");
        assert_eq!(journal(&mut database.connect().await).await, ["up 1", "up 2", "repair 1"]);
    }

    /// What somebody changed by hand is told before a repair and after it.
    async fn drift_is_not_blessed(database: TestDatabase) {
        library(&database, &[ONE, TWO]).up(None).await.unwrap();
        database.connect().await.batch("CREATE TABLE by_hand (id bigint)").await.unwrap();
        for files in [[("V1__first", ONE.1), TWO], [("V1__first", ONE.1), ("V3__two", TWO.1)]] {
            let release = library(&database, &files);
            assert_eq!(repaired(&release, &Repairs::default()).await.repairs.len(), 1);
            for against_scratch in [false, true] {
                let report = release.check(against_scratch).await.unwrap();
                assert!(!report.clean() && report.text().contains("by_hand"), "{}", report.text());
            }
            // It is what was kept that is compared with, and no scratch database.
            let text = release.check(false).await.unwrap().text();
            assert!(!text.contains("scratch"), "{text}");
        }
        database.connect().await.batch("DROP TABLE by_hand").await.unwrap();
        is_whole(&library(&database, &[("V1__first", ONE.1), ("V3__two", TWO.1)])).await;
    }

    /// A journal from before the text was kept gets a place for it, and says that it does not have it.
    async fn an_older_journal_is_brought_along(database: TestDatabase) {
        library(&database, &[ONE]).up(None).await.unwrap();
        let mut connection = database.connect().await;
        let older = match backend(&database) {
            Backend::Postgres => "ALTER TABLE migrator_journal DROP COLUMN sql,
                DROP CONSTRAINT migrator_journal_action_check,
                DROP CONSTRAINT migrator_journal_outcome_check,
                ADD CONSTRAINT migrator_journal_action_check CHECK (action IN ('up', 'down', 'stamp', 'reset')),
                ADD CONSTRAINT migrator_journal_outcome_check CHECK (outcome IN ('started', 'applied', 'undone', 'stamped', 'reset', 'failed'))",
            Backend::Sqlite => "CREATE TABLE older (id INTEGER PRIMARY KEY, version INTEGER, name TEXT, statement INTEGER,
                  action TEXT NOT NULL CHECK (action IN ('up', 'down', 'stamp', 'reset')),
                  outcome TEXT NOT NULL CHECK (outcome IN ('started', 'applied', 'undone', 'stamped', 'reset', 'failed')),
                  started_at INTEGER NOT NULL, finished_at INTEGER, compatible_from INTEGER, checksum TEXT, undo_sql TEXT,
                  migrator_version TEXT NOT NULL, error TEXT, CHECK (version IS NOT NULL OR action = 'reset')) STRICT;
                INSERT INTO older SELECT id, version, name, statement, action, outcome, started_at, finished_at, compatible_from, checksum, undo_sql, migrator_version, error FROM migrator_journal;
                DROP TABLE migrator_journal; ALTER TABLE older RENAME TO migrator_journal",
        };
        connection.batch(older).await.unwrap();
        drop(connection);
        let release = library(&database, &[("V1__one", "CREATE TABLE one (id bigint); -- changed")]);
        let report = release_reports(&release).await;
        assert_eq!(report.repairs[0].difference, None);
        assert!(report.text().contains("does not have the SQL that was applied"), "{}", report.text());
        // Twice at once: one of them brings the journal along.
        let wanted = Repairs::default();
        release.repair(&wanted, &report).await.unwrap();
        let mut connection = database.connect().await;
        assert_eq!(journal(&mut connection).await, ["up 1", "repair 1"]);
        assert_eq!(count(&mut connection, "migrator_journal WHERE sql IS NOT NULL").await, 1);
        is_whole(&release).await;
    }

    /// By the program: what differs is shown, and without an answer nothing is changed.
    async fn the_program_asks_before_it_records(database: TestDatabase) {
        migrator(&database, &["up"]).await.ends(0);
        let mut connection = database.connect().await;
        connection.batch("UPDATE refinery_schema_history SET checksum = '1' WHERE version = 2").await.unwrap();
        connection.batch("UPDATE migrator_journal SET checksum = '1', sql = 'SELECT 1;' WHERE version = 2").await.unwrap();
        drop(connection);
        migrator(&database, &["up"]).await.ends(65).says(&["V2__create_session was changed", "migrator repair 2"]);
        let asked = migrator(&database, &["repair"]).await.ends(2);
        asked.says(&["-SELECT 1;", "+CREATE TABLE session", "no terminal", "--yes"]);
        let asked = migrator(&database, &["repair", "--format", "json"]).await.ends(2).json();
        assert!(asked["error"]["message"].as_str().unwrap().contains("no terminal"), "{asked}");
        assert!(asked["repairs"][0]["difference"].as_str().unwrap().contains("-SELECT 1;"), "{asked}");
        migrator(&database, &["up"]).await.ends(65);
        let done = migrator(&database, &["repair", "--yes", "--format", "json"]).await.ends(0).json();
        assert_eq!(done["repairs"][0]["recorded"], "V2__create_session");
        assert!(done["repairs"][0]["difference"].as_str().unwrap().contains("-SELECT 1;"), "{done}");
        migrator(&database, &["up"]).await.ends(0);
        let again = migrator(&database, &["repair", "--yes"]).await.ends(0);
        assert_eq!(again.stdout, "there is nothing to repair\n");
        migrator(&database, &["check"]).await.ends(0);
        migrator(&database, &["repair", "2", "--yes"]).await.ends(2).says(&["nothing to repair about it"]);
        let history = migrator(&database, &["history"]).await.ends(0);
        let line = history.stdout.lines().last().unwrap();
        assert!(line.contains("repair") && line.contains("repaired"), "{history}");
    }
}

async fn release_reports(release: &Migrator) -> RepairReport {
    release.repairs(&Repairs::default()).await.unwrap()
}

/// Another migrator has the lock: a repair waits for it, and gives up like everything else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_works_under_the_lock() {
    let database = TestDatabase::new(Backend::Postgres).await;
    library(&database, &[ONE]).up(None).await.unwrap();
    let files: Files<'_> = &[("V1__one", "CREATE TABLE one (id bigint); -- changed")];
    let mut other = database.connect().await;
    other.batch("SELECT pg_advisory_lock(7090183622382154853)").await.unwrap();
    let release = library_with(&database, files, &[("MIGRATOR_DEADLINE", "300ms")]);
    let report = release_reports(&release).await;
    let error = release.repair(&Repairs::default(), &report).await.expect_err("the lock is taken");
    assert!(matches!(error, MigratorError::Locked { .. }), "{error}");
    drop(other);
    release.repair(&Repairs::default(), &report).await.unwrap();
}

/// SQLite has no lock for a whole repair: a row that another one has put right between the last look and the
/// change is not moved halfway, and nothing of the repair is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_changes_at_the_last_moment_is_left() {
    let database = TestDatabase::new(Backend::Sqlite).await;
    library(&database, &[ONE, TWO, THREE]).up(None).await.unwrap();
    // Stands for the other one, at the only moment that counts.
    let other =
        "CREATE TRIGGER other AFTER UPDATE OF version ON refinery_schema_history WHEN new.version = -3
        BEGIN UPDATE refinery_schema_history SET checksum = 'of the other' WHERE version = -3; END";
    database.connect().await.batch(other).await.unwrap();
    let release = library(&database, &[("V1__first", ONE.1), TWO, ("V4__three", THREE.1)]);
    let shown = release_reports(&release).await;
    assert_eq!(shown.repairs.len(), 2, "{shown:?}");
    let error = release.repair(&Repairs::default(), &shown).await.expect_err("the row is another one");
    assert!(matches!(error, MigratorError::Usage(_)) && error.to_string().contains("look again"), "{error}");
    assert_eq!(names(&database).await, ["1 one", "2 two", "3 three"]);
    assert_eq!(journal(&mut database.connect().await).await, ["up 1", "up 2", "up 3"]);
}

/// Eight at once: one of them does it, and the others say so or find it done.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn repairs_at_once_are_done_once() {
    let database = TestDatabase::new(Backend::Sqlite).await;
    library(&database, &[ONE, TWO, THREE]).up(None).await.unwrap();
    let files: Files<'_> = &[ONE, TWO, ("V4__three", THREE.1)];
    let shown = release_reports(&library(&database, files)).await;
    let mut running = Vec::new();
    for _ in 0..8 {
        let (release, shown) = (library(&database, files), shown.clone());
        running.push(tokio::spawn(async move { release.repair(&Repairs::default(), &shown).await }));
    }
    let mut done = 0;
    for run in running {
        match run.await.unwrap() {
            Ok(()) => done += 1,
            Err(error) => assert!(error.to_string().contains("look again"), "{error}"),
        }
    }
    assert_eq!(done, 1);
    assert_eq!(names(&database).await, ["1 one", "2 two", "4 three"]);
    assert_eq!(journal(&mut database.connect().await).await[3..], ["repair 3", "repair 4"]);
}

/// The defaults of what these tests set.
#[test]
fn nothing_is_out_of_order_unless_it_is_said() {
    let settings: Settings = support::settings("sqlite:///x.db", &[]);
    assert!(!settings.migrator.out_of_order);
}
