//! A project of its own on top of another one: each has numbers of its own, and a release brings migrations of the
//! other one whose versions are lower than what is applied.

use std::time::Duration;

use foundation::exit::Exit;
use foundation::on_both_databases;
use foundation::testing::TestDatabase;
use migrator::schema::{self, SchemaState};
use migrator::{Awaited, Down, Migrator};

use crate::support::folders::{Contents, folder, with};
use crate::support::{self, Files, has_table, library, library_with, migrator_with, versions};

const BASE: (&str, &str) = ("V1__base", "CREATE TABLE base (id bigint);");
const OWN: (&str, &str) = ("V20260101000000__own", "CREATE TABLE own (id bigint);");
const OWN_VERSION: i64 = 20_260_101_000_000;
const LATER: (&str, &str) = ("V20260201000000__later", "CREATE TABLE later (id bigint);");
const UNDO_LATER: (&str, &str) = ("D20260201000000__later", "DROP TABLE later;");
/// Of the next release of the project below.
const BELOW: (&str, &str) = ("V11__below", "CREATE TABLE below (id bigint);");
const UNDO_BELOW: (&str, &str) = ("D11__below", "DROP TABLE below;");

const OUT_OF_ORDER: &[(&str, &str)] = &[("MIGRATOR_OUT_OF_ORDER", "true")];

async fn state(database: &TestDatabase, release: &Migrator) -> SchemaState {
    schema::inspect_with(&mut database.connect().await, release.catalog()).await.unwrap().state
}

/// The release runs on the schema and finds nothing to do: what `up`, `status`, `plan`, `wait` and the service say.
async fn runs(database: &TestDatabase, release: &Migrator) {
    assert_eq!(state(database, release).await, SchemaState::Current);
    assert!(release.up(None).await.unwrap().nothing_done());
    assert!(release.plan_up(None).await.unwrap().migrations.is_empty());
    assert!(release.check(false).await.unwrap().clean());
    release.wait(Awaited::Schema, Duration::ZERO).await.unwrap();
    assert_eq!(release.status().await.unwrap().problems, [""; 0]);
}

async fn is_refused(database: &TestDatabase, release: &Migrator, reason: &str) {
    let error = release.up(None).await.expect_err("it is refused");
    assert_eq!(error.exit(), Exit::Schema, "{error}");
    assert!(error.to_string().contains(reason), "{error}");
    let error = release.wait(Awaited::Schema, Duration::from_secs(5)).await.expect_err("it is refused");
    assert!(error.to_string().contains(reason), "{error}");
    assert!(release.status().await.unwrap().problems.iter().any(|it| it.contains(reason)));
    let report = schema::inspect_with(&mut database.connect().await, release.catalog()).await.unwrap();
    assert!(report.refusal().is_some_and(|it| it.contains(reason)), "{report:?}");
}

/// The old release, and the next one with what came late, applied.
async fn upgraded(database: &TestDatabase, next: Files<'_>) -> (Migrator, Migrator) {
    let old = library(database, &[BASE, OWN]);
    old.up(None).await.unwrap();
    let strict = library(database, next);
    is_refused(database, &strict, "V11__below is not applied but the newer version 20260101000000 is").await;
    library_with(database, next, OUT_OF_ORDER).up(None).await.unwrap();
    (old, strict)
}

on_both_databases! {
    /// The release that still runs goes on while the next one is rolled out, and can be rolled back to.
    async fn the_old_release_runs_on_what_came_late(database: TestDatabase) {
        let (old, next) = upgraded(&database, &[BASE, BELOW, UNDO_BELOW, OWN, LATER, UNDO_LATER]).await;
        runs(&database, &next).await;
        runs(&database, &old).await;
        let states: Vec<_> = old.status().await.unwrap().migrations.iter().map(|it| it.state).collect();
        assert_eq!(states, ["applied", "newer", "applied", "newer"]);
        let states: Vec<_> = next.status().await.unwrap().migrations.iter().map(|it| it.state).collect();
        assert_eq!(states, ["applied"; 4]);
    }

    /// To the old release both are newer than what it has, so it takes both back, the one applied last first.
    async fn the_old_release_takes_back_what_came_late(database: TestDatabase) {
        let (old, next) = upgraded(&database, &[BASE, BELOW, UNDO_BELOW, OWN, LATER, UNDO_LATER]).await;
        let plan = old.plan_down(Down::To(OWN_VERSION)).await.unwrap();
        let planned: Vec<_> = plan.migrations.iter().map(|it| it.version).collect();
        assert_eq!(planned, [20_260_201_000_000, 11]);
        assert_eq!(plan.target_version, Some(OWN_VERSION));
        // To the next one it lies where its number says.
        let undone = next.plan_down(Down::Steps(1)).await.unwrap().migrations;
        assert_eq!(undone[0].version, 20_260_201_000_000);
        assert!(next.plan_down(Down::To(OWN_VERSION)).await.unwrap().migrations.iter().all(|it| it.version != 11));

        let report = old.down(Down::To(OWN_VERSION)).await.unwrap();
        let undone: Vec<_> = report.undone.iter().map(|it| it.version).collect();
        assert_eq!((undone, report.current_version), (vec![20_260_201_000_000, 11], Some(OWN_VERSION)));
        let mut connection = database.connect().await;
        assert!(!has_table(&mut connection, "below").await && !has_table(&mut connection, "later").await);
        runs(&database, &old).await;
        // And once more, one by one.
        library_with(&database, &[BASE, BELOW, UNDO_BELOW, OWN], OUT_OF_ORDER).up(None).await.unwrap();
        assert_eq!(old.down(Down::Steps(1)).await.unwrap().undone[0].version, 11);
        assert_eq!(versions(&mut connection).await, ["1", "20260101000000"]);
    }

    /// What needs a release that has it is refused by one that has a higher number and not this one.
    async fn an_incompatible_one_that_came_late_is_refused(database: TestDatabase) {
        let below = ("V11__below", "-- migrator: compatible-from 11\nCREATE TABLE below (id bigint);");
        let (old, next) = upgraded(&database, &[BASE, below, UNDO_BELOW, OWN]).await;
        runs(&database, &next).await;
        is_refused(&database, &old, "V11__below needs a release that has version 11, which this one does not have").await;
        assert!(matches!(state(&database, &old).await, SchemaState::TooNew(_)));
        assert_eq!(old.down(Down::Steps(1)).await.unwrap().undone[0].version, 11);
        runs(&database, &old).await;
    }

    /// One that needs what the old release has is none of its business.
    async fn a_compatible_one_that_came_late_is_not(database: TestDatabase) {
        let below = ("V11__below", "-- migrator: compatible-from 1\nCREATE TABLE below (id bigint);");
        let (old, _) = upgraded(&database, &[BASE, below, OWN]).await;
        runs(&database, &old).await;
    }

    /// Neither clocks that differ nor a repair change what was applied after what.
    async fn the_journal_is_believed_before_the_clocks(database: TestDatabase) {
        let (old, _) = upgraded(&database, &[BASE, BELOW, OWN]).await;
        let mut connection = database.connect().await;
        let set = |time: &str| format!("UPDATE refinery_schema_history SET applied_on = '{time}' WHERE version = 11");
        for time in ["1999-01-01T00:00:00Z", "yesterday"] {
            connection.batch(&set(time)).await.unwrap();
            runs(&database, &old).await;
        }
        // A remark was added to what is applied, which says nothing of when it was.
        let changed = ("V1__base", "-- a remark\nCREATE TABLE base (id bigint);");
        let repaired = library(&database, &[changed, BELOW, OWN]);
        let wanted = migrator::Repairs::default();
        repaired.repair(&wanted, &repaired.repairs(&wanted).await.unwrap()).await.unwrap();
        runs(&database, &library(&database, &[changed, OWN])).await;

        // Without a journal the times are all there is, and equal ones prove nothing.
        connection.batch("DELETE FROM migrator_journal").await.unwrap();
        let old = library(&database, &[changed, OWN]);
        connection.batch("UPDATE refinery_schema_history SET applied_on = '2026-01-01T00:00:00Z'").await.unwrap();
        is_refused(&database, &old, "V11__below is applied but this release does not know it").await;
        connection.batch(&set("2026-01-01T00:00:01Z")).await.unwrap();
        runs(&database, &old).await;
    }

    /// What is of another branch, and not of a newer release, is missing as ever.
    async fn what_is_missing_stays_missing(database: TestDatabase) {
        // Applied before something that the release has.
        library(&database, &[BASE, BELOW, OWN]).up(None).await.unwrap();
        is_refused(&database, &library(&database, &[BASE, OWN]), "V11__below is applied but this release does not know it").await;
        // Applied after everything else that is, while something of the release is not.
        let other = TestDatabase::new(support::backend(&database)).await;
        library(&other, &[BASE, BELOW]).up(None).await.unwrap();
        is_refused(&other, &library(&other, &[BASE, OWN]), "V11__below is applied but this release does not know it").await;
        assert!(!has_table(&mut other.connect().await, "own").await);
        // Nothing of the release is there at all.
        let foreign = TestDatabase::new(support::backend(&database)).await;
        library(&foreign, &[BELOW]).up(None).await.unwrap();
        is_refused(&foreign, &library(&foreign, &[BASE, OWN]), "V11__below is applied but this release does not know it").await;
        assert_eq!(versions(&mut foreign.connect().await).await, ["11"]);
    }

    /// The same with the programs, from two folders.
    async fn two_folders_are_two_releases(database: TestDatabase) {
        let files: Contents<'_> = &[
            ("V1__base.sql", BASE.1),
            ("V20260101000000__own.sql", OWN.1),
            ("V11__below.sql", BELOW.1),
            ("D11__below.sql", UNDO_BELOW.1),
        ];
        let old = folder(&database, "old", &files[..2]);
        let next = folder(&database, "next", files);
        with(&database, &old, &["up"]).await.ends(0);
        with(&database, &next, &["up"]).await.ends(65).says(&["came late", "--out-of-order"]);
        let variables = [("MIGRATOR_MIGRATIONS", next.to_str().unwrap()), OUT_OF_ORDER[0]];
        migrator_with(&database, &variables, &["up"]).await.ends(0);
        for folder in [&old, &next] {
            with(&database, folder, &["up"]).await.ends(0);
            with(&database, folder, &["wait", "--for", "schema", "--timeout", "0s"]).await.ends(0);
            with(&database, folder, &["plan", "--check"]).await.ends(0);
        }
        let status = with(&database, &old, &["--format", "json", "status"]).await.ends(0).json();
        assert_eq!(status["migrations"][1]["state"], "newer", "{status}");
        with(&database, &old, &["down"]).await.ends(0);
        assert!(!has_table(&mut database.connect().await, "below").await);
    }
}
