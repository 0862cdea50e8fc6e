//! What a file that runs outside of a transaction sets for itself, where its statements are taken up again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod support;

use foundation::database::Backend;
use foundation::exit::Exit;
use foundation::testing::TestDatabase;
use support::{count, library, texts, versions};

const TABLES: (&str, &str) = (
    "V1__tables",
    "CREATE SCHEMA s;
     CREATE TABLE s.d (a bigint);
     INSERT INTO s.d VALUES (1), (1);
     CREATE TABLE s.p (id bigint) PARTITION BY RANGE (id);
     CREATE TABLE s.p1 PARTITION OF s.p FOR VALUES FROM (1) TO (9);",
);

const STARTED: &str = "DELETE FROM refinery_schema_history WHERE version = 2;
    DELETE FROM migrator_journal WHERE version = 2 AND statement IS NULL;
    UPDATE migrator_journal SET outcome = 'started', finished_at = NULL WHERE version = 2";

/// The index is looked for where the file makes it, not where the migrator's tables are.
#[tokio::test]
async fn an_index_in_another_schema_is_never_taken_for_done() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let index = (
        "V2__index",
        "-- migrator: no-transaction\nSET search_path TO s;\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS u ON d (a);",
    );
    let release = library(&database, &[TABLES, index]);
    let mut connection = database.connect().await;
    for _ in 0..2 {
        let error = release.up(None).await.expect_err("two rows are alike");
        assert_eq!(error.exit(), Exit::Migration, "{error}");
        assert!(error.to_string().contains("23505"), "{error}");
        assert_eq!(count(&mut connection, "pg_class WHERE relname = 'u'").await, 0, "nothing is left of it");
    }
    connection.batch("DELETE FROM s.d; INSERT INTO s.d VALUES (1)").await.unwrap();
    release.up(None).await.unwrap();
    let valid = "SELECT indexrelid::regclass::text || indisvalid AS it FROM pg_index WHERE indrelid = 's.d'::regclass";
    assert_eq!(texts(&mut connection, valid).await.unwrap(), ["s.utrue"]);

    // A run whose server session was lost in the middle left one that is not valid.
    let invalid = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 's.u'::regclass";
    connection.batch(&format!("{STARTED}; {invalid}")).await.unwrap();
    release.up(None).await.unwrap();
    assert_eq!(texts(&mut connection, valid).await.unwrap(), ["s.utrue"]);
    // One of somebody else's is told.
    connection.batch(&format!("DELETE FROM refinery_schema_history WHERE version = 2; DELETE FROM migrator_journal WHERE version = 2; {invalid}")).await.unwrap();
    let error = release.up(None).await.expect_err("it enforces nothing");
    assert!(error.to_string().contains("INVALID"), "{error}");
    assert_eq!(versions(&mut connection).await, ["1"]);
}

#[tokio::test]
async fn a_partition_in_another_schema_is_detached_to_the_end() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let detach = (
        "V2__detach",
        "-- migrator: no-transaction\nSET search_path TO s;\nALTER TABLE p DETACH PARTITION p1 CONCURRENTLY;",
    );
    let release = library(&database, &[TABLES, detach]);
    release.up(None).await.unwrap();
    let mut connection = database.connect().await;
    connection
        .batch(&format!("ALTER TABLE s.p ATTACH PARTITION s.p1 FOR VALUES FROM (1) TO (9); UPDATE pg_inherits SET inhdetachpending = true; {STARTED}"))
        .await
        .unwrap();
    release.up(None).await.unwrap();
    assert_eq!(count(&mut connection, "pg_inherits WHERE inhparent = 's.p'::regclass").await, 0);
    assert_eq!(versions(&mut connection).await, ["1", "2"]);
}
