//! What a file that runs outside of a transaction sets for itself, where its statements are taken up again.

use foundation::database::Backend;
use foundation::exit::Exit;
use foundation::testing::TestDatabase;

use crate::support::{count, library, texts, versions};

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

/// It would take the migrator's lock away, which looks as if a pooler were in between.
#[tokio::test]
async fn nobody_discards_the_session() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let discards = (
        "V2__discards",
        "-- migrator: no-transaction\nCREATE TABLE more (id bigint);\nDISCARD ALL;\nVACUUM s.d;",
    );
    let error = library(&database, &[TABLES, discards]).up(None).await.expect_err("it is refused");
    assert_eq!(error.exit(), Exit::Schema, "{error}");
    assert!(error.to_string().contains("V2__discards: line 3 discards all"), "{error}");
    assert_eq!(count(&mut database.connect().await, "pg_class WHERE relname = 'more'").await, 0);
}

/// Several statements between BEGIN and COMMIT run in a transaction, so one that is refused there never ran, and the
/// file may be mended.
#[tokio::test]
async fn a_block_that_cannot_run_may_be_mended() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let bad = "-- migrator: no-transaction\nINSERT INTO s.d VALUES (2);\nBEGIN;\nINSERT INTO s.d VALUES (3);\nCREATE INDEX CONCURRENTLY i ON s.d (a);\nCOMMIT;";
    let error = library(&database, &[TABLES, ("V2__block", bad)]).up(None).await.expect_err("it is refused");
    assert_eq!(error.exit(), Exit::Migration, "{error}");
    assert!(error.to_string().contains("25001") && error.to_string().contains("at line 5"), "{error}");
    let mut connection = database.connect().await;
    let journal = "SELECT statement::text || outcome AS it FROM migrator_journal WHERE version = 2 AND statement IS NOT NULL";
    assert_eq!(texts(&mut connection, journal).await.unwrap(), ["1applied"]);
    let mended = "-- migrator: no-transaction\nINSERT INTO s.d VALUES (2);\nINSERT INTO s.d VALUES (3);\nCREATE INDEX CONCURRENTLY i ON s.d (a);";
    library(&database, &[TABLES, ("V2__block", mended)]).up(None).await.unwrap();
    assert_eq!(count(&mut connection, "s.d WHERE a > 1").await, 2);
}

/// The way out of what is begun is told where its file is another one now.
#[tokio::test]
async fn what_is_begun_can_be_forgotten() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let begun = "-- migrator: no-transaction\nINSERT INTO s.d VALUES (2);\nSELECT 1 / 0;";
    library(&database, &[TABLES, ("V2__begun", begun)])
        .up(None)
        .await
        .expect_err("nothing is divided by zero");
    let other = ("V2__begun", "-- migrator: no-transaction\nINSERT INTO s.d VALUES (4);");
    let said =
        library(&database, &[TABLES, other]).up(None).await.expect_err("it is another one").to_string();
    let way_out = said.split("is done of it: ").nth(1).unwrap();
    let mut connection = database.connect().await;
    connection.batch(&format!("DELETE FROM s.d WHERE a = 2; {way_out}")).await.unwrap();
    library(&database, &[TABLES, other]).up(None).await.unwrap();
    assert_eq!(count(&mut connection, "s.d WHERE a > 1").await, 1);
}
