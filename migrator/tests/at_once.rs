//! Many migrators started at the same moment: all of them end well, and each migration is applied once.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

mod support;

use foundation::database::Backend;
use foundation::testing::TestDatabase;
use support::{Run, count, journal, migrator_command, versions};

const MIGRATORS: usize = 20;

async fn start_all(database: &TestDatabase) {
    let starts: Vec<_> =
        (0..MIGRATORS).map(|_| tokio::spawn(Run::of(migrator_command(database, &["up"])))).collect();
    let (mut applied, mut admins, mut passwords) = (0, 0, 0);
    for start in starts {
        let run = start.await.unwrap().ends(0);
        applied += usize::from(run.stdout.contains("applied 1"));
        admins += usize::from(run.stdout.contains("made the administrator"));
        passwords += usize::from(run.stderr.contains("has the password"));
    }
    assert_eq!((applied, admins, passwords), (1, 1, 1), "one of them did each");
    let mut connection = database.connect().await;
    assert_eq!(versions(&mut connection).await, ["1"]);
    assert_eq!(journal(&mut connection).await, ["up 1"]);
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
