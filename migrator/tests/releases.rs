//! Other releases: histories that do not go together, older images on newer schemas, and refinery's own rows.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use foundation::database::Backend;
use foundation::exit::Exit;
use foundation::on_both_databases;
use foundation::testing::TestDatabase;
use migrator::schema::{self, SchemaState};
use migrator::{Awaited, Down, Migrator};

use crate::support::{Files, backend, catalog, has_table, journal, library, migrator, texts, versions};

const ONE: (&str, &str) = ("V1__one", "CREATE TABLE one (id bigint);");
const TWO: (&str, &str) = ("V2__two", "CREATE TABLE two (id bigint);");
const UNDO_TWO: (&str, &str) = ("D2__two", "DROP TABLE two;");
const THREE: (&str, &str) = ("V3__three", "CREATE TABLE three (id bigint);");

/// Whether the release runs on the schema: what `up`, `status`, `wait` and the service's gate say.
async fn assert_refused(database: &TestDatabase, files: Files<'_>, reason: &str) {
    let release = library(database, files);
    let error = release.up(None).await.expect_err("it is refused");
    assert_eq!(error.exit(), Exit::Schema, "{error}");
    assert!(error.to_string().contains(reason), "{error}");
    let status = release.status().await.unwrap();
    assert!(status.problems.iter().any(|it| it.contains(reason)), "{:?}", status.problems);
    assert!(status.table().contains(&format!("problem: {}", status.problems[0])));
    let error = release.wait(Awaited::Schema, Duration::from_secs(5)).await.expect_err("it is refused");
    assert_eq!(error.exit(), Exit::Schema, "at once, because waiting does not help: {error}");
    let catalog = catalog(backend(database), files);
    let report = schema::inspect_with(&mut database.connect().await, &catalog).await.unwrap();
    assert!(report.refusal().is_some_and(|it| it.contains(reason)), "{report:?}");
}

async fn inspect(database: &TestDatabase, release: &Migrator) -> SchemaState {
    schema::inspect_with(&mut database.connect().await, release.catalog()).await.unwrap().state
}

on_both_databases! {
    /// A file must not be changed after it was applied.
    async fn a_changed_migration_is_refused(database: TestDatabase) {
        library(&database, &[ONE, TWO]).up(None).await.unwrap();
        let changed = ("V2__two", "CREATE TABLE two (id bigint, extra bigint);");
        assert_refused(&database, &[ONE, changed, THREE], "V2__two was changed after it was applied").await;
        let renamed = ("V2__deux", TWO.1);
        assert_refused(&database, &[ONE, renamed], "V2__deux was changed after it was applied (as V2__two)")
            .await;
        assert_eq!(versions(&mut database.connect().await).await, ["1", "2"]);
        let error =
            library(&database, &[ONE, changed]).down(Down::Steps(1)).await.expect_err("its undo may not fit");
        assert_eq!(error.exit(), Exit::Schema);
    }

    /// A file must not come late.
    async fn a_late_migration_is_refused(database: TestDatabase) {
        library(&database, &[ONE, THREE]).up(None).await.unwrap();
        assert_refused(&database, &[ONE, TWO, THREE], "V2__two is not applied but the newer version 3 is")
            .await;
        assert!(!has_table(&mut database.connect().await, "two").await);
    }

    /// A migration in the middle that this release does not know.
    async fn an_unknown_migration_below_the_newest_is_refused(database: TestDatabase) {
        library(&database, &[ONE, TWO, THREE]).up(None).await.unwrap();
        assert_refused(&database, &[ONE, THREE], "V2__two is applied but this release does not know it")
            .await;
    }

    /// An older image on a newer schema goes on, as long as nothing says that it cannot.
    async fn an_older_release_runs_on_a_newer_schema(database: TestDatabase) {
        let newer = ("V3__three", "-- migrator: compatible-from 1\nCREATE TABLE three (id bigint);");
        library(&database, &[ONE, TWO, newer]).up(None).await.unwrap();
        let older = library(&database, &[ONE]);
        assert!(older.up(None).await.unwrap().nothing_done());
        older.wait(Awaited::Schema, Duration::from_secs(5)).await.unwrap();
        assert_eq!(inspect(&database, &older).await, SchemaState::Current);
        let status = older.status().await.unwrap();
        assert!(status.problems.is_empty());
        assert_eq!(
            status.migrations.iter().map(|it| it.state).collect::<Vec<_>>(),
            ["applied", "newer", "newer"]
        );
    }

    /// A migration that drops something says since which release the schema can be used.
    async fn a_release_that_is_too_old_is_refused(database: TestDatabase) {
        let newer = ("V3__three", "-- migrator: compatible-from 2\nCREATE TABLE three (id bigint);");
        let undo = ("D3__three", "DROP TABLE three;");
        library(&database, &[ONE, TWO, newer, undo]).up(None).await.unwrap();
        assert_refused(
            &database,
            &[ONE],
            "V3__three needs a release that has version 2 or later, and the newest of this one is 1",
        )
        .await;
        let catalog = catalog(backend(&database), &[ONE]);
        let state = schema::inspect_with(&mut database.connect().await, &catalog).await.unwrap().state;
        assert!(matches!(state, SchemaState::TooNew(_)), "{state:?}");
        assert!(library(&database, &[ONE, TWO]).up(None).await.unwrap().nothing_done());
        // It can be taken back by a release that does not know it, with what the journal kept.
        let older = library(&database, &[ONE, TWO]);
        assert_eq!(older.down(Down::Steps(1)).await.unwrap().undone[0].version, 3);
        assert!(!has_table(&mut database.connect().await, "three").await);
        assert!(library(&database, &[ONE]).up(None).await.unwrap().nothing_done());
    }

    /// The undo of what this release does not know, and that there may be none.
    async fn the_journal_takes_back_what_is_unknown(database: TestDatabase) {
        library(
            &database,
            &[
                ONE,
                TWO,
                UNDO_TWO,
                ("V3__three", "-- migrator: irreversible ask nobody\nCREATE TABLE three (id bigint);"),
            ],
        )
        .up(None)
        .await
        .unwrap();
        let older = library(&database, &[ONE]);
        let error = older.down(Down::To(1)).await.expect_err("the newest has no undo");
        assert_eq!(error.exit(), Exit::Schema);
        assert!(error.to_string().contains("V3__three is not known to this release"), "{error}");
        let mut connection = database.connect().await;
        assert!(has_table(&mut connection, "two").await);
        library(
            &database,
            &[
                ONE,
                TWO,
                UNDO_TWO,
                ("V3__three", "-- migrator: irreversible ask nobody\nCREATE TABLE three (id bigint);"),
            ],
        )
        .stamp(2)
        .await
        .unwrap();
        older.down(Down::To(1)).await.unwrap();
        assert!(!has_table(&mut connection, "two").await);
        assert_eq!(journal(&mut connection).await, ["up 1", "up 2", "up 3", "stamp 3", "down 2"]);
    }

    /// Each state of the schema, as the service's gate sees it.
    async fn the_gate_tells_every_state(database: TestDatabase) {
        let release = library(&database, &[ONE, TWO]);
        assert_eq!(inspect(&database, &release).await, SchemaState::Unmigrated);
        release.up(Some(1)).await.unwrap();
        assert_eq!(inspect(&database, &release).await, SchemaState::Behind { pending: 1 });
        release.up(None).await.unwrap();
        assert_eq!(inspect(&database, &release).await, SchemaState::Current);
        release.down(Down::To(0)).await.unwrap();
        assert_eq!(inspect(&database, &release).await, SchemaState::Unmigrated);
        assert_eq!(
            schema::inspect(&mut database.connect().await).await.unwrap().state,
            SchemaState::Unmigrated
        );
    }

    /// Rows that refinery wrote with versions of 32 bits count, and make room for timestamps.
    async fn a_history_of_refinery_is_recognised(database: TestDatabase) {
        let mut connection = database.connect().await;
        let checksum = narrow_checksum("one", 1, ONE.1);
        connection.batch(ONE.1).await.unwrap();
        connection.batch(&format!(
            "CREATE TABLE refinery_schema_history (version int4 PRIMARY KEY, name VARCHAR(255), applied_on VARCHAR(255), checksum VARCHAR(255));
             INSERT INTO refinery_schema_history VALUES (1, 'one', '2026-01-02T03:04:05.123456789Z', '{checksum}')"
        )).await.unwrap();
        let stamped = ("V20260102030405__two", TWO.1);
        let release = library(&database, &[ONE, stamped]);
        assert_eq!(release.status().await.unwrap().pending, 1);
        assert_eq!(inspect(&database, &release).await, SchemaState::Behind { pending: 1 });
        let report = release.up(None).await.unwrap();
        assert_eq!((report.applied.len(), report.current_version), (1, Some(20_260_102_030_405)));
        assert_eq!(versions(&mut connection).await, ["1", "20260102030405"]);
        if backend(&database) == Backend::Postgres {
            let kind = "SELECT CAST(atttypid::regtype AS text) AS it FROM pg_attribute WHERE attrelid = 'refinery_schema_history'::regclass AND attname = 'version'";
            assert_eq!(texts(&mut connection, kind).await.unwrap(), ["bigint"]);
        }
        let status = release.status().await.unwrap();
        assert_eq!(status.migrations[0].applied_on.unwrap().year(), 2026);
        release.down(Down::To(0)).await.unwrap();
        assert!(versions(&mut connection).await.is_empty());
    }

    /// A history that nobody could have written is an error in words, not the end of the program.
    async fn a_malformed_history_is_an_error(database: TestDatabase) {
        migrator(&database, &["up"]).await.ends(0);
        let mut connection = database.connect().await;
        connection
            .batch("UPDATE refinery_schema_history SET checksum = NULL, applied_on = 'yesterday'")
            .await
            .unwrap();
        migrator(&database, &["up"]).await.ends(65).says(&["its checksum differs"]);
        let status = migrator(&database, &["status"]).await.ends(0);
        assert!(status.stdout.contains("problem: V1__create_users was changed"), "{status}");
        migrator(&database, &["wait", "--timeout", "5s"]).await.ends(65);
    }
}

/// As refinery computes it without its feature `int8-versions`.
fn narrow_checksum(name: &str, version: i32, sql: &str) -> u64 {
    let mut hasher = siphasher::sip::SipHasher13::new();
    name.hash(&mut hasher);
    version.hash(&mut hasher);
    sql.hash(&mut hasher);
    hasher.finish()
}
