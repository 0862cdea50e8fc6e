//! A trial in a scratch database changes nothing but that database, and is like the real one.

use foundation::database::Backend;
use foundation::exit::Exit;
use foundation::testing::{TestDatabase, maintenance, unique_name};

use crate::support::folders::{ONE, folder, with};
use crate::support::{Files, count, library};

/// Roles and the settings of databases are the server's.
#[tokio::test(flavor = "multi_thread")]
async fn a_trial_leaves_the_server_alone() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let (name, there, anew) = (database.url.name(), unique_name("there"), unique_name("anew"));
    maintenance(&format!("CREATE ROLE {there}; ALTER DATABASE {name} SET work_mem = '5MB'")).await;
    let one = format!(
        "CREATE TABLE one (id bigint);
         DO $$ BEGIN
           IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '{there}') THEN CREATE ROLE {there}; END IF;
         END $$;
         GRANT SELECT ON one TO {there};
         ALTER DATABASE {name} SET work_mem = '6MB';
         CREATE ROLE {anew};"
    );
    let undo = format!(
        "DROP TABLE one;
         DROP ROLE {there};
         DROP ROLE IF EXISTS {anew};
         ALTER DATABASE {name} RESET work_mem;"
    );
    let files = folder(&database, "roles", &[("V1__one.sql", &one), ("D1__one.sql", &undo)]);
    let run = with(&database, &files, &["rehearse"]).await.ends(0);
    run.says(&["left out of the trial", "CREATE ROLE", "DROP ROLE", "ALTER DATABASE"]);
    let mut connection = database.connect().await;
    let roles = format!("pg_roles WHERE rolname IN ('{there}', '{anew}')");
    assert_eq!(count(&mut connection, &roles).await, 1, "none is made and none is dropped");
    let settings = |size: &str| format!("pg_db_role_setting WHERE setconfig = '{{work_mem={size}}}'");
    assert_eq!(count(&mut connection, &settings("5MB")).await, 1);
    with(&database, &files, &["up"]).await.ends(0);
    with(&database, &files, &["check", "--against-scratch"]).await.ends(0);
    assert_eq!(count(&mut connection, &settings("6MB")).await, 1);
    with(&database, &files, &["down"]).await.ends(0);
    assert_eq!(count(&mut connection, &roles).await, 0);
}

/// What names a role that is not there cannot be tried, and is right all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_names_a_role_that_was_left_out_is_left_out_too() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let role = unique_name("reader");
    let one = format!("CREATE TABLE one (id bigint);\nCREATE ROLE {role};\nGRANT SELECT ON one TO {role};");
    let undo = format!("REVOKE ALL ON one FROM {role};\nDROP ROLE {role};\nDROP TABLE one;");
    let two = format!("GRANT INSERT ON one TO {role};");
    let back = format!("-- migrator: no-transaction\nREVOKE INSERT ON one FROM {role};");
    let files = folder(
        &database,
        "reader",
        &[("V1__one.sql", &one), ("D1__one.sql", &undo), ("V2__two.sql", &two), ("D2__two.sql", &back)],
    );
    let run = with(&database, &files, &["rehearse"]).await.ends(0);
    run.says(&["CREATE ROLE", "GRANT SELECT", "GRANT INSERT", "REVOKE INSERT", "names a role"]);
    with(&database, &files, &["up"]).await.ends(0);
    with(&database, &files, &["check", "--against-scratch"]).await.ends(0);
    with(&database, &files, &["down", "--to", "0"]).await.ends(0);
    // One that no file makes is missing where the file is applied, too.
    let files = folder(&database, "nobody", &[("V1__one.sql", ONE), ("V2__two.sql", &two)]);
    with(&database, &files, &["rehearse"]).await.ends(70).says(&["does not exist"]);
}

#[tokio::test]
async fn a_trial_opens_no_other_file() {
    let database = TestDatabase::new(Backend::Sqlite).await;
    let other = database.folder.path().join("other.db");
    let attach = format!("ATTACH '{}' AS other;\nCREATE TABLE other.two (id integer);", other.display());
    let in_parts = format!("-- migrator: no-transaction\n{attach}");
    for sql in [&attach, &in_parts] {
        let files: Files<'_> = &[("V1__one", "CREATE TABLE one (id integer);"), ("V2__two", sql)];
        let error = library(&database, files).rehearse(false).await.expect_err("it cannot be tried");
        assert_eq!(error.exit(), Exit::Schema);
        assert!(
            error.to_string().contains("V2__two: line ") && error.to_string().contains("another file"),
            "{error}"
        );
        assert!(!other.exists());
    }
}

/// Where a name leads without its schema is a setting of the database, and no file changes it for the next.
#[tokio::test]
async fn a_trial_looks_where_the_database_looks() {
    let database = TestDatabase::new(Backend::Postgres).await;
    maintenance(&format!("ALTER DATABASE {} SET search_path = app, public", database.url.name())).await;
    database.connect().await.batch("CREATE SCHEMA app").await.unwrap();
    let files = folder(
        &database,
        "path",
        &[
            ("V1__x.sql", "SET work_mem = '5MB';\nCREATE TABLE app.x (id bigint PRIMARY KEY);"),
            ("D1__x.sql", "DROP TABLE x;"),
            ("V2__y.sql", "CREATE TABLE public.y (id bigint REFERENCES x);\nCREATE TABLE z (id bigint);"),
            ("D2__y.sql", "DROP TABLE y;\nDROP TABLE app.z;"),
        ],
    );
    with(&database, &files, &["rehearse"]).await.ends(0);
    with(&database, &files, &["up"]).await.ends(0);
    with(&database, &files, &["check", "--against-scratch"]).await.ends(0);
}
