//! Many migrators started at the same moment: all of them end well, and each migration is applied once.

use foundation::database::Backend;
use foundation::on_both_databases;
use foundation::testing::TestDatabase;

use crate::support::child;
use crate::support::{Run, backend, count, each_up, journal, migrator_command, versions, write_files};

const MIGRATORS: usize = 20;

async fn start_all(database: &TestDatabase) {
    let starts: Vec<_> =
        (0..MIGRATORS).map(|_| tokio::spawn(Run::of(migrator_command(database, &["up"])))).collect();
    let (mut applied, mut admins, mut passwords) = (0, 0, 0);
    for start in starts {
        let run = start.await.unwrap().ends(0);
        applied += usize::from(run.stdout.contains(&format!("applied {}", each_up().len())));
        admins += usize::from(run.stdout.contains("made the administrator"));
        passwords += usize::from(run.stderr.contains("has the password"));
    }
    // They take turns from one migration to the next, so it may be that none of them did all.
    assert!(applied <= 1, "no two of them applied everything");
    assert_eq!((admins, passwords), (1, 1), "one of them did each");
    let mut connection = database.connect().await;
    assert_eq!(versions(&mut connection).await.len(), each_up().len());
    assert_eq!(journal(&mut connection).await, each_up());
    assert_eq!(count(&mut connection, "users").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_an_empty_postgresql_database() {
    start_all(&TestDatabase::new(Backend::Postgres).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_postgresql_database_that_is_missing() {
    start_all(&TestDatabase::missing(Backend::Postgres)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_sqlite_file_that_is_missing() {
    start_all(&TestDatabase::missing(Backend::Sqlite)).await;
}

on_both_databases! {
    /// They take turns in the middle of a long run, and whoever comes second to a migration passes it over.
    async fn with_many_migrations(database: TestDatabase) {
        let files: Vec<(String, String)> = (1..=12)
            .map(|number| {
                let sql = format!(
                    "CREATE TABLE t{number} (id bigint PRIMARY KEY);\nINSERT INTO t{number} VALUES (1);"
                );
                (format!("V{number}__t"), sql)
            })
            .collect();
        let files: Vec<(&str, &str)> =
            files.iter().map(|(name, sql)| (name.as_str(), sql.as_str())).collect();
        let folder = tempfile::tempdir().unwrap();
        write_files(folder.path(), backend(&database), &files);
        let starts: Vec<_> = (0..MIGRATORS)
            .map(|_| tokio::spawn(Run::of(child::up_command(&database, folder.path(), &[]))))
            .collect();
        for start in starts {
            start.await.unwrap().ends(0);
        }
        let mut connection = database.connect().await;
        let each_once: Vec<String> = (1..=12).map(|number| format!("up {number}")).collect();
        assert_eq!(journal(&mut connection).await, each_once);
        assert_eq!(versions(&mut connection).await.len(), 12);
        assert_eq!(count(&mut connection, "t12").await, 1);
    }
}
