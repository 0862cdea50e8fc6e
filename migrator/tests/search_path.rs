//! Where the search path leads elsewhere than it did, nothing is begun anew.

use foundation::database::Backend;
use foundation::exit::Exit;
use foundation::testing::TestDatabase;
use migrator::Down;

use crate::support::folders::{folder, with};
use crate::support::{count, has_table, library, library_at, library_with, versions};

const TWO: (&str, &str) = ("V2__two", "CREATE TABLE two (id bigint);");

/// Who signs in is called so, and `"$user"` stands before `public`.
const OWN: (&str, &str) = ("V1__own", "CREATE SCHEMA postgres;\nCREATE TABLE postgres.one (id bigint);");

async fn tables_of_the_migrator(database: &TestDatabase) -> i64 {
    count(&mut database.connect().await, "pg_class WHERE relname = 'refinery_schema_history'").await
}

#[tokio::test]
async fn a_migration_that_makes_another_schema_the_first_one_is_rolled_back() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let marked = format!("-- migrator: no-transaction\n{}", OWN.1);
    for first in [OWN, (OWN.0, marked.as_str())] {
        let error =
            library(&database, &[first, TWO]).up(None).await.expect_err("it would not be found again");
        assert_eq!(error.exit(), Exit::Schema);
        let said = error.to_string();
        assert!(said.contains("V1__own was rolled back") && said.contains("DATABASE_SCHEMA"), "{said}");
        assert!(said.contains("to the schema postgres first, and not to public"), "{said}");
        assert!(!has_table(&mut database.connect().await, "postgres.one").await);
    }
    // The way out that is told.
    let named = [("DATABASE_SCHEMA", "public")];
    assert_eq!(library_with(&database, &[OWN, TWO], &named).up(None).await.unwrap().applied.len(), 2);
    let again = library_with(&database, &[OWN, TWO], &named).up(None).await.unwrap();
    assert!(again.nothing_done());
    assert_eq!(tables_of_the_migrator(&database).await, 1);
}

/// The same in a trial, and in an undo.
#[tokio::test]
async fn it_is_found_by_a_rehearsal_and_refused_in_an_undo() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let run = with(
        &database,
        &folder(
            &database,
            "own",
            &[("V1__own.sql", OWN.1), ("D1__own.sql", "DROP SCHEMA postgres CASCADE;")],
        ),
        &["rehearse"],
    )
    .await
    .ends(65);
    run.says(&["V1__own", "DATABASE_SCHEMA"]);
    let release = library(&database, &[TWO, ("D2__two", "DROP TABLE two;\nCREATE SCHEMA postgres;")]);
    release.up(None).await.unwrap();
    let error = release.down(Down::Steps(1)).await.expect_err("the history would be out of sight");
    assert!(error.to_string().contains("the undo of V2__two was rolled back"), "{error}");
    assert_eq!(versions(&mut database.connect().await).await, ["2"]);
}

/// Somebody makes a schema that comes first, or another path, between two runs.
#[tokio::test]
async fn a_history_that_was_left_behind_is_told() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let name = database.url.name();
    let change =
        format!("CREATE TABLE one (id bigint);\nALTER DATABASE {name} SET search_path = app9, public;");
    let files = [("V1__path", change.as_str()), TWO];
    library(&database, &files[..1]).up(None).await.unwrap();
    let mut connection = database.connect().await;
    connection.batch("CREATE SCHEMA app9").await.unwrap();
    let release = library(&database, &files);
    let refusals = [
        release.up(None).await.expect_err("it would begin anew"),
        release.status().await.expect_err("nothing is not what is applied"),
        release.plan_up(None).await.expect_err("it would begin anew"),
        release.check(false).await.expect_err("there is nothing there"),
        release.down(Down::Steps(1)).await.expect_err("there is nothing to take back"),
        release.stamp(1).await.expect_err("it would begin anew"),
        release.reset().await.expect_err("it would begin anew"),
    ];
    for error in refusals {
        assert_eq!(error.exit(), Exit::Schema, "{error}");
        let said = error.to_string();
        assert!(said.contains("in the schema app9") && said.contains("applied in public"), "{said}");
    }
    assert_eq!(tables_of_the_migrator(&database).await, 1, "nothing was begun anew");
    let named = [("DATABASE_SCHEMA", "public")];
    assert_eq!(library_with(&database, &files, &named).up(None).await.unwrap().applied.len(), 1);
    // Who begins anew on purpose says so.
    let anew = [("DATABASE_SCHEMA", "app9")];
    let other = [("V1__path", "CREATE TABLE one (id bigint);"), TWO];
    assert_eq!(library_with(&database, &other, &anew).up(None).await.unwrap().applied.len(), 2);
}

/// Each tenant has a schema of its own before one that all of them share, and its address names both.
#[tokio::test]
async fn a_path_that_the_address_names_is_deliberate() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let files = [("V1__one", "CREATE TABLE one (id bigint);"), TWO];
    library(&database, &files).up(None).await.unwrap();
    database.connect().await.batch("CREATE SCHEMA tenant_a").await.unwrap();
    let separator = if database.address.contains('?') { '&' } else { '?' };
    let tenant = format!("{}{separator}options=-c%20search_path%3Dtenant_a,public", database.address);
    let release = library_at(&tenant, Backend::Postgres, &files, &[]);
    assert_eq!(release.status().await.unwrap().current_version, None);
    assert_eq!(release.up(None).await.unwrap().applied.len(), 2);
    assert!(release.up(None).await.unwrap().nothing_done());
    assert!(has_table(&mut database.connect().await, "tenant_a.two").await);
    assert_eq!(tables_of_the_migrator(&database).await, 2);
}
