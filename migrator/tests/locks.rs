//! Somebody else's locks: a migration waits for them without keeping others waiting, and gives up in words.

use std::time::Duration;

use foundation::database::{Backend, Connection};
use foundation::on_both_databases;
use foundation::testing::{TestDatabase, database_settings};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr};
use tokio::time::Instant;

use crate::support::child;
use crate::support::{
    self, Files, Run, backend, has_table, library, migrator_with, number, versions, write_files,
};

const FILES: Files<'_> = &[
    ("V1__item", "CREATE TABLE item (id bigint PRIMARY KEY);\nINSERT INTO item VALUES (1);"),
    ("V2__colour", "CREATE TABLE colour (id bigint);\nALTER TABLE item ADD COLUMN colour text;"),
];
const LOCK_TIMEOUT: (&str, &str) = ("MIGRATOR_LOCK_TIMEOUT", "500ms");

async fn connect_as(database: &TestDatabase, name: &str) -> Connection {
    Connection::open(&database.url, &database_settings([]), name).await.unwrap()
}

/// A transaction that keeps the second migration waiting.
async fn hold(database: &TestDatabase) -> Connection {
    let mut holder = connect_as(database, "monthly report").await;
    holder.begin().await.unwrap();
    holder.batch("SELECT * FROM item").await.unwrap();
    holder
}

/// The database with the first migration, and a folder with both.
async fn prepare(database: &TestDatabase) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_files(folder.path(), backend(database), FILES);
    library(database, &FILES[..1]).up(None).await.unwrap();
    folder
}

/// Waits until the program says something on standard error.
async fn says(program: &mut Child, what: &str) -> Lines<BufReader<ChildStderr>> {
    let mut lines = BufReader::new(program.stderr.take().unwrap()).lines();
    while !lines.next_line().await.unwrap().expect("it says so").contains(what) {}
    // It goes on to write there.
    lines
}

/// Reads the table again and again, and returns the longest time that one read took.
async fn longest_read(
    database: &TestDatabase,
    until: &tokio::sync::watch::Receiver<bool>,
) -> (Duration, u32) {
    let mut reader = connect_as(database, "reader").await;
    let (mut longest, mut reads) = (Duration::ZERO, 0);
    while !*until.borrow() {
        let started = Instant::now();
        assert_eq!(support::count(&mut reader, "item").await, 1);
        longest = longest.max(started.elapsed());
        reads += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (longest, reads)
}

on_both_databases! {
    /// It waits for the other's end, and readers do not wait for it.
    async fn a_lock_of_five_seconds_delays_it_and_nobody_else(database: TestDatabase) {
        let folder = prepare(&database).await;
        let mut holder = hold(&database).await;
        let started = Instant::now();
        let migrating = tokio::spawn(Run::of(child::up_command(&database, folder.path(), &[LOCK_TIMEOUT])));
        let (done, until) = tokio::sync::watch::channel(false);
        let reading =
            async { tokio::join!(longest_read(&database, &until), longest_read(&database, &until)) };
        let releasing = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert!(!migrating.is_finished(), "it waits");
            holder.rollback().await.unwrap();
            let run = migrating.await.unwrap();
            done.send_replace(true);
            run
        };
        let ((first, second), run) = tokio::join!(reading, releasing);
        let run = run.ends(0);
        assert!(started.elapsed() >= Duration::from_secs(5));
        for (longest, reads) in [first, second] {
            // The bound is the time that the migration queues for its lock; the rest is for a busy machine.
            assert!(longest < Duration::from_millis(500 + 1000) && reads > 20, "{longest:?} in {reads} reads");
        }
        if backend(&database) == Backend::Postgres {
            run.says(&["a lock was not given in time", "monthly report"]);
        }
        assert_eq!(versions(&mut database.connect().await).await, ["1", "2"]);
    }

    /// What is never released ends it, named; nothing of the migration is left.
    async fn a_lock_that_is_never_released_is_named(database: TestDatabase) {
        let folder = prepare(&database).await;
        let mut holder = hold(&database).await;
        let variables = [LOCK_TIMEOUT, ("MIGRATOR_DEADLINE", "2s"), ("DATABASE_WAIT_TIMEOUT", "500ms")];
        let run = Run::of(child::up_command(&database, folder.path(), &variables)).await.ends(75);
        match backend(&database) {
            Backend::Postgres => {
                let pid = number(&mut holder, "SELECT CAST(pg_backend_pid() AS BIGINT) AS it").await;
                let name =
                    format!("V2__colour waits for a lock that pid {pid} (monthly report as postgres) holds");
                run.says(&[&name, "a session is in the way", "gave up after"]);
            }
            Backend::Sqlite => drop(run.says(&["another connection to the file", "gave up after"])),
        }
        holder.rollback().await.unwrap();
        assert_eq!(versions(&mut holder).await, ["1"]);
        assert!(!has_table(&mut holder, "colour").await);
        library(&database, FILES).up(None).await.unwrap();
        assert_eq!(versions(&mut holder).await, ["1", "2"]);
    }

    /// The program is asked to stop while it waits for somebody else's lock.
    async fn a_signal_ends_the_waiting(database: TestDatabase) {
        let folder = prepare(&database).await;
        let mut holder = hold(&database).await;
        let child = child::up_command(
            &database,
            folder.path(),
            &[("MIGRATOR_LOCK_TIMEOUT", "60s"), ("DATABASE_WAIT_TIMEOUT", "60s")],
        )
        .spawn()
        .unwrap();
        // Long enough for it to begin to wait; when it has not yet, it has to end all the same.
        tokio::time::sleep(Duration::from_secs(1)).await;
        support::signal(&child, "TERM").await;
        let started = Instant::now();
        let status = child.wait_with_output().await.unwrap().status;
        assert_eq!(status.code(), Some(75));
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
        holder.rollback().await.unwrap();
        assert_eq!(versions(&mut holder).await, ["1"]);
    }
}

/// What takes the table outside of a transaction keeps readers waiting no longer than what does so inside of one.
#[tokio::test]
async fn a_table_is_rewritten_when_nobody_has_it() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let folder = tempfile::tempdir().unwrap();
    let rewrite = "-- migrator: no-transaction\nVACUUM FULL item;\nINSERT INTO item VALUES (2);";
    let files: Files<'_> = &[FILES[0], ("V2__rewrite", rewrite)];
    write_files(folder.path(), Backend::Postgres, files);
    library(&database, &files[..1]).up(None).await.unwrap();
    let mut holder = hold(&database).await;

    let given_up = [LOCK_TIMEOUT, ("MIGRATOR_DEADLINE", "2s")];
    let run = Run::of(child::up_command(&database, folder.path(), &given_up)).await.ends(75);
    run.says(&["V2__rewrite waits for a lock that pid", "monthly report as postgres"]);

    let migrating = tokio::spawn(Run::of(child::up_command(&database, folder.path(), &[LOCK_TIMEOUT])));
    let mut observer = connect_as(&database, "observer").await;
    let waiting = "SELECT count(*) AS it FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' AND relation = 'item'::regclass";
    let deadline = Instant::now() + Duration::from_secs(30);
    while number(&mut observer, waiting).await == 0 {
        assert!(Instant::now() < deadline, "it never waited for the table");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut reader = connect_as(&database, "reader").await;
    reader.batch("SET lock_timeout = '20s'").await.unwrap();
    assert_eq!(support::count(&mut reader, "item").await, 1, "read while the table is waited for");
    assert!(!migrating.is_finished(), "it waits");
    holder.rollback().await.unwrap();
    migrating.await.unwrap().ends(0);
    assert_eq!(support::count(&mut reader, "item").await, 2);
    assert_eq!(versions(&mut reader).await, ["1", "2"]);
}

/// What is asked before anything is changed waits for a table too.
#[tokio::test]
async fn a_table_that_cannot_be_looked_at_is_named() {
    let database = TestDatabase::new(Backend::Postgres).await;
    support::migrator(&database, &["up"]).await.ends(0);
    let mut holder = connect_as(&database, "monthly report").await;
    let pid = number(&mut holder, "SELECT CAST(pg_backend_pid() AS BIGINT) AS it").await;
    for (table, asked) in
        [("refinery_schema_history", "reading what is applied"), ("users", "looking for an administrator")]
    {
        holder.begin().await.unwrap();
        holder.batch(&format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).await.unwrap();
        let up = migrator_with(&database, &[("MIGRATOR_DEADLINE", "500ms")], &["up"]);
        let run = tokio::time::timeout(Duration::from_secs(20), up).await.expect("it gives up").ends(75);
        let name = format!("{asked} waits for a lock that pid {pid} (monthly report as postgres) holds");
        run.says(&["a session is in the way", &name, "gave up after"]);

        let mut waiting = support::migrator_command(&database, &["up"]).spawn().unwrap();
        let _stderr = says(&mut waiting, "a session is in the way").await;
        support::signal(&waiting, "TERM").await;
        let ended = tokio::time::timeout(Duration::from_secs(8), waiting.wait()).await.unwrap();
        assert_eq!(ended.unwrap().code(), Some(75));
        holder.rollback().await.unwrap();
    }
    support::migrator(&database, &["up"]).await.ends(0);
}

/// What waits for whole transactions outside of one gives up as everything does, and the next run goes on.
#[tokio::test]
async fn an_index_is_not_waited_for_for_ever() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let folder = tempfile::tempdir().unwrap();
    let index = "-- migrator: no-transaction\nCREATE INDEX CONCURRENTLY item_id ON item (id);";
    let files: Files<'_> = &[FILES[0], ("V2__index", index), ("D2__index", "DROP INDEX item_id;")];
    write_files(folder.path(), Backend::Postgres, files);
    library(&database, &files[..1]).up(None).await.unwrap();
    let mut holder = connect_as(&database, "monthly report").await;
    let pid = number(&mut holder, "SELECT CAST(pg_backend_pid() AS BIGINT) AS it").await;
    let name = format!("V2__index waits for a lock that pid {pid} (monthly report as postgres) holds");
    // Long enough for a busy machine to see who is in the way.
    let given_up = [LOCK_TIMEOUT, ("MIGRATOR_DEADLINE", "3s")];
    // A snapshot keeps the index from becoming valid and not from being dropped, a write both.
    for (transaction, left) in
        [("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1", 0), ("INSERT INTO item VALUES (2)", 1)]
    {
        holder.begin().await.unwrap();
        holder.batch(transaction).await.unwrap();
        let up = Run::of(child::up_command(&database, folder.path(), &given_up));
        let run = tokio::time::timeout(Duration::from_secs(30), up).await.expect("it gives up").ends(75);
        run.says(&["a session is in the way", &name, "gave up after"]);
        let mut observer = connect_as(&database, "observer").await;
        assert_eq!(support::count(&mut observer, "pg_class WHERE relname = 'item_id'").await, left);
        assert_eq!(versions(&mut observer).await, ["1"]);
        holder.rollback().await.unwrap();
        library(&database, files).up(None).await.unwrap();
        let valid = "pg_index WHERE indexrelid = 'item_id'::regclass AND indisvalid";
        assert_eq!(support::count(&mut observer, valid).await, 1);
        library(&database, files).down(migrator::Down::Steps(1)).await.unwrap();
    }
}

/// SQLite's reader holds nothing that a writer waits for; its writer does.
#[tokio::test]
async fn sqlite_waits_for_a_writer() {
    let database = TestDatabase::new(Backend::Sqlite).await;
    let mut writer = database.connect().await;
    writer.begin().await.unwrap();
    let short = [("DATABASE_WAIT_TIMEOUT", "200ms"), ("MIGRATOR_DEADLINE", "1s")];
    let run = migrator_with(&database, &short, &["up"]).await.ends(75);
    run.says(&["another connection to the file"]);
    writer.rollback().await.unwrap();
    migrator_with(&database, &short, &["up"]).await.ends(0);
}

/// The lock of all migrators, held by a session that forgot it.
#[tokio::test]
async fn the_migrators_own_lock_is_named() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let mut holder = connect_as(&database, "forgotten shell").await;
    holder.batch("SELECT pg_advisory_lock(x'626564706c617465'::bigint)").await.unwrap();
    let pid = number(&mut holder, "SELECT CAST(pg_backend_pid() AS BIGINT) AS it").await;
    let run = migrator_with(&database, &[("MIGRATOR_DEADLINE", "1s")], &["up"]).await.ends(75);
    run.says(&[
        "another migrator is at work",
        &format!("the session with pid {pid} (forgotten shell from 127.0.0.1"),
        "gave up after",
    ]);
    // The lock of another database is not in the way.
    let other = TestDatabase::new(Backend::Postgres).await;
    migrator_with(&other, &[("MIGRATOR_DEADLINE", "1s")], &["up"]).await.ends(0);

    let mut waiting = support::migrator_command(&database, &["up"]).spawn().unwrap();
    let _stderr = says(&mut waiting, "waiting for it").await;
    support::signal(&waiting, "TERM").await;
    let status = tokio::time::timeout(Duration::from_secs(3), waiting.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(75));
    assert!(!has_table(&mut holder, "users").await);
}

/// PostgreSQL ends a deadlock by one of the two: when that is the migration, it is tried again.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_is_tried_again() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let tables = ("V1__tables", "CREATE TABLE first (id bigint);\nCREATE TABLE second (id bigint);");
    let both = ("V2__both", "ALTER TABLE first ADD COLUMN x int;\nALTER TABLE second ADD COLUMN x int;");
    library(&database, &[tables]).up(None).await.unwrap();
    let mut other = connect_as(&database, "other").await;
    other.batch("SET deadlock_timeout = '1min'").await.unwrap();
    other.begin().await.unwrap();
    other.batch("SELECT * FROM second").await.unwrap();
    let variables = [("MIGRATOR_LOCK_TIMEOUT", "30s")];
    let migrator = support::library_with(&database, &[tables, both], &variables);
    let migrating = tokio::spawn(async move { migrator.up(None).await });
    foundation::testing::eventually(Duration::from_secs(10), "it waits for the second table", async || {
        let waiting = "pg_locks WHERE NOT granted AND relation = 'second'::regclass";
        support::count(&mut database.connect().await, waiting).await == 1
    })
    .await;
    // It holds the first one, so neither can go on.
    other.batch("SELECT * FROM first").await.unwrap();
    other.commit().await.unwrap();
    assert_eq!(migrating.await.unwrap().unwrap().applied.len(), 1);
    assert_eq!(versions(&mut other).await, ["1", "2"]);
}
