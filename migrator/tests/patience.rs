//! How long a run waits for others where it cannot simply roll back and try again.

use std::time::Duration;

use foundation::database::Backend;
use foundation::exit::Exit;
use foundation::testing::{TestDatabase, eventually, maintenance, unique_name};

use crate::support::{
    Files, Run, count, journal, library, library_with, migrator, migrator_command, versions,
};

const ITEM: (&str, &str) = (
    "V1__item",
    "CREATE TABLE item (id bigint);
     CREATE PROCEDURE in_parts() LANGUAGE plpgsql AS $$
     BEGIN INSERT INTO item VALUES (1); COMMIT; LOCK TABLE item; INSERT INTO item VALUES (2); END $$;",
);

/// Given up, it would leave the next run without a way to go on.
#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_no_trace_waits_for_as_long_as_it_takes() {
    for statement in ["CALL in_parts();", "CREATE INDEX CONCURRENTLY ON item (id);"] {
        let database = TestDatabase::new(Backend::Postgres).await;
        let text = format!("-- migrator: no-transaction\n{statement}");
        let files: Files<'_> = &[ITEM, ("V2__waits", &text)];
        library(&database, &files[..1]).up(None).await.unwrap();
        let mut holder = database.connect().await;
        holder.batch("BEGIN; INSERT INTO item VALUES (9)").await.unwrap();
        let variables = [("MIGRATOR_LOCK_TIMEOUT", "100ms"), ("MIGRATOR_DEADLINE", "300ms")];
        let release = library_with(&database, files, &variables);
        let migrating = tokio::spawn(async move { release.up(None).await });
        eventually(Duration::from_secs(20), "it waits for longer than its deadline", async || {
            let waiting = "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' \
                AND query_start < clock_timestamp() - interval '1s'";
            count(&mut database.connect().await, waiting).await == 1
        })
        .await;
        assert!(!migrating.is_finished(), "{statement}");
        holder.batch("ROLLBACK").await.unwrap();
        migrating.await.unwrap().unwrap();
        assert_eq!(versions(&mut database.connect().await).await, ["1", "2"], "{statement}");
    }
}

/// What stands before the statement that was given up is done, and the service has its rights on it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_before_a_statement_that_was_given_up_is_kept() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let service = unique_name("service");
    maintenance(&format!("CREATE ROLE {service}")).await;
    let text = "-- migrator: no-transaction\nCREATE TABLE made (id bigint);\nCREATE INDEX CONCURRENTLY item_id ON item (id);";
    let files: Files<'_> = &[ITEM, ("V2__parts", text)];
    library(&database, &files[..1]).up(None).await.unwrap();
    let mut holder = database.connect().await;
    holder.batch("BEGIN; INSERT INTO item VALUES (9)").await.unwrap();
    let variables = [("MIGRATOR_DEADLINE", "500ms"), ("MIGRATOR_GRANT_TO", service.as_str())];
    let error = library_with(&database, files, &variables).up(None).await.expect_err("it gives up");
    assert_eq!(error.exit(), Exit::Interrupted, "{error}");
    let mut observer = database.connect().await;
    let may = format!("pg_class WHERE relname = 'made' AND has_table_privilege('{service}', oid, 'INSERT')");
    assert_eq!(count(&mut observer, &may).await, 1);
    let told = journal(&mut observer).await;
    assert!(told.contains(&"failed up 2".to_owned()), "{told:?}");
    holder.batch("ROLLBACK").await.unwrap();
    library_with(&database, files, &variables).up(None).await.unwrap();
    assert_eq!(versions(&mut observer).await, ["1", "2"]);
    drop((holder, observer, database));
    maintenance(&format!("DROP ROLE {service}")).await;
}

/// Where the server gives no second connection to look for them with, they are waited for no longer than others.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_be_looked_for_is_not_waited_for_for_ever() {
    let database = TestDatabase::new(Backend::Postgres).await;
    migrator(&database, &["up"]).await.ends(0);
    let owner = unique_name("owner");
    maintenance(&format!("CREATE ROLE {owner} LOGIN PASSWORD 'secret' CONNECTION LIMIT 1")).await;
    let mut holder = database.connect().await;
    holder
        .batch(&format!(
            "GRANT ALL ON ALL TABLES IN SCHEMA public TO {owner};
             BEGIN; LOCK TABLE refinery_schema_history IN ACCESS EXCLUSIVE MODE"
        ))
        .await
        .unwrap();
    let (_, server) = database.address.rsplit_once('@').unwrap();
    let mut command = migrator_command(&database, &["up", "--deadline", "500ms"]);
    command.env("DATABASE_URL", format!("postgresql://{owner}:secret@{server}"));
    let run = tokio::time::timeout(Duration::from_secs(20), Run::of(command)).await.expect("it gives up");
    run.ends(75).says(&["who is in the way could not be asked", "too many connections", "gave up after"]);
    drop((holder, database));
    maintenance(&format!("DROP ROLE {owner}")).await;
}
