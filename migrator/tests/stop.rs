//! SIGTERM in the middle of a long statement: it ends soon, and nothing is half applied.

use std::time::Duration;

use foundation::database::Backend;
use foundation::on_both_databases;
use foundation::testing::eventually;
use tokio::time::Instant;

use crate::support::child;
use crate::support::{backend, has_table, library, number, signal, versions, write_files};

on_both_databases! {
    /// The statement is cancelled and rolled back; what was finished before stays.
    async fn a_signal_cancels_the_statement(database: TestDatabase) {
        let slow = match backend(&database) {
            Backend::Postgres => "CREATE TABLE two (id bigint);\nSELECT pg_sleep(600);",
            Backend::Sqlite => {
                "CREATE TABLE two (id bigint);\nINSERT INTO two WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n;"
            }
        };
        let files = [
            ("V1__one", "CREATE TABLE one (id bigint);"),
            ("V2__two", slow),
            ("V3__three", "CREATE TABLE three (id bigint);"),
        ];
        let folder = tempfile::tempdir().unwrap();
        write_files(folder.path(), backend(&database), &files);
        for name in ["TERM", "INT"] {
            let child = child::up_command(&database, folder.path(), &[]).spawn().unwrap();
            eventually(Duration::from_secs(20), "it is at the long statement", async || match backend(&database) {
                Backend::Postgres => {
                    let sleeping = "SELECT CAST(count(*) AS BIGINT) AS it FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
                    number(&mut database.connect().await, sleeping).await == 1
                }
                Backend::Sqlite => {
                    let connection = rusqlite::Connection::open(database.file()).unwrap();
                    connection.busy_timeout(Duration::ZERO).unwrap();
                    let one = connection.execute_batch("SELECT 1 FROM one").is_ok();
                    one && connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_err()
                }
            })
            .await;
            signal(&child, name).await;
            let started = Instant::now();
            let output = child.wait_with_output().await.unwrap();
            let log = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(75), "{log}");
            assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
            assert!(log.contains("stopped by a signal"), "{log}");
            let mut connection = database.connect().await;
            assert_eq!(versions(&mut connection).await, ["1"]);
            assert!(!has_table(&mut connection, "two").await && !has_table(&mut connection, "three").await);
            // Nobody holds a lock any more.
            library(&database, &files[..1]).up(None).await.unwrap();
        }
    }
}
