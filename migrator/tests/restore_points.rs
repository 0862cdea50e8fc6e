//! What is made before `up` changes anything: a copy, a restore point, and whatever a command makes.

use std::time::Duration;

use foundation::database::Backend;
use foundation::exit::Exit;
use foundation::on_both_databases;
use foundation::testing::{TestDatabase, maintenance, unique_name};
use migrator::Down;
use tokio::time::Instant;

use crate::support::{
    self, Run, backend, count, has_table, library, library_with, migrator, migrator_command, migrator_with,
    versions,
};

const ONE: (&str, &str) = ("V1__one", "CREATE TABLE one (id bigint);");
const TWO: (&str, &str) = ("V2__two", "CREATE TABLE two (id bigint);");
const THREE: (&str, &str) = ("V3__three", "CREATE TABLE IF NOT EXISTS three (id bigint);");

/// The copies beside the file, oldest first.
fn copies(database: &TestDatabase) -> Vec<String> {
    let entries = std::fs::read_dir(database.folder.path()).unwrap();
    let mut names: Vec<String> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|it| it.contains(".before-"));
    names.sort();
    names
}

/// The session that has the lock does nothing while the command runs, which takes as long as it takes.
#[tokio::test]
async fn a_server_that_ends_idle_sessions_keeps_this_one() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let limit = format!("ALTER DATABASE {} SET idle_session_timeout = '500ms'", database.url.name());
    database.connect().await.batch(&limit).await.unwrap();
    let stays = "DO $$ BEGIN ASSERT current_setting('idle_session_timeout') = '0' AND coalesce(current_setting('transaction_timeout', true), '0') = '0'; END $$;";
    // The second one after the settings of the first were taken back.
    let files = [("V1__one", stays), ("V2__two", stays)];
    let count = database.folder.path().join("count");
    let line = format!("echo >> {}; sleep 1.5", count.display());
    library_with(&database, &files, &[("MIGRATOR_BACKUP_CMD", line.as_str())]).up(None).await.unwrap();
    assert_eq!(std::fs::read_to_string(&count).unwrap(), "\n", "it ran once");
}

on_both_databases! {
    /// A command that succeeds comes first and knows what is going to be done, and where.
    async fn a_command_runs_before_anything_is_changed(database: TestDatabase) {
        let out = database.folder.path().join("out");
        let ask = match backend(&database) {
            Backend::Postgres => "psql --no-psqlrc --tuples-only --no-align --command \"SELECT coalesce(to_regclass('users')::text, 'none')\"",
            Backend::Sqlite => "test -f \"$RESTORE_POINT_DATABASE\" && echo none",
        };
        let line = format!("{{ echo \"$RESTORE_POINT_FROM $RESTORE_POINT_TO\"; {ask}; }} > {}; echo to be shown", out.display());
        let run = migrator_with(&database, &[("PGHOST", "not.the.one.invalid")], &["up", "--to", "2", "--backup-cmd", &line]).await;
        run.ends(0).says(&["backup command: to be shown"]).hides(&["postgres:postgres"]);
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "0 2\nnone\n");
        std::fs::remove_file(&out).unwrap();
        // Nothing is pending, so there is nothing to save.
        migrator(&database, &["up", "--to", "2", "--backup-cmd", &line]).await.ends(0);
        assert!(!out.exists());
        migrator_with(&database, &[("MIGRATOR_BACKUP_CMD", "touch out")], &["up"]).await.ends(0);
        assert!(out.exists());
    }

    /// What it signs in with may stand in it: neither a log nor the settings that are shown have it.
    async fn a_command_is_a_secret(database: TestDatabase) {
        let line = "true --token tell-nobody-78";
        let shown = migrator_with(&database, &[("MIGRATOR_BACKUP_CMD", line)], &["check-config"]).await.ends(0);
        assert!(shown.hides(&["tell-nobody-78"]).stdout.contains("MIGRATOR_BACKUP_CMD"));
        let run = migrator_with(&database, &[("MIGRATOR_BACKUP_CMD", line), ("LOG_LEVEL", "debug")], &["up", "--to", "1"]).await;
        run.ends(0).says(&["running the backup command"]).hides(&["tell-nobody-78"]);
        let run = migrator(&database, &["up", "--to", "2", "--backup-cmd", line]).await;
        run.ends(0).says(&["running the backup command"]).hides(&["tell-nobody-78"]);
        let file = database.folder.path().join("command");
        std::fs::write(&file, "touch out\n").unwrap();
        migrator_with(&database, &[("MIGRATOR_BACKUP_CMD_FILE", file.to_str().unwrap())], &["up"]).await.ends(0);
        assert!(database.folder.path().join("out").exists());
        // Nor is it an argument of what runs it, which every user of the machine can read.
        migrator(&database, &["down"]).await.ends(0);
        std::fs::write(&file, "tr '\\0' ' ' </proc/$$/cmdline >arguments; : tell-nobody-78\n").unwrap();
        migrator_with(&database, &[("MIGRATOR_BACKUP_CMD_FILE", file.to_str().unwrap())], &["up"]).await.ends(0);
        let arguments = std::fs::read_to_string(database.folder.path().join("arguments")).unwrap();
        assert!(arguments.starts_with("sh -c ") && !arguments.contains("tell-nobody-78"), "{arguments}");
    }

    /// One that fails stops the run with its own words, and nothing is changed.
    async fn a_command_that_fails_stops_the_run(database: TestDatabase) {
        let fails = "echo the disk is full >&2; exit 3";
        let run = migrator(&database, &["up", "--backup-cmd", fails]).await.ends(75);
        let run = run.says(&["the backup command failed, so nothing was changed", "exit code 3", "the disk is full"]);
        assert!(run.stdout.is_empty(), "{run}");
        assert!(!has_table(&mut database.connect().await, "users").await);
        let missing = migrator(&database, &["up", "--backup-cmd", "no-such-program-anywhere"]).await;
        missing.ends(78).says(&["exit code 127", "no-such-program-anywhere"]);
        let bare = migrator_with(&database, &[("PATH", "/nowhere")], &["up", "--backup-cmd", "true"]).await;
        bare.ends(78).says(&["there is no sh on the PATH, which runs the backup command"]);
        // Nobody else is kept out by what ended.
        migrator(&database, &["up"]).await.ends(0);
    }

    /// A reset deletes nothing before it is saved, and saves it once.
    async fn a_reset_is_saved_first(database: TestDatabase) {
        migrator(&database, &["up"]).await.ends(0);
        let fails = [("MIGRATOR_BACKUP_CMD", "exit 1")];
        migrator_with(&database, &fails, &["reset", "--yes"]).await.ends(75);
        assert!(has_table(&mut database.connect().await, "users").await, "nothing was deleted");
        let counts = [("MIGRATOR_BACKUP_CMD", "echo once >> out")];
        let reset = migrator_with(&database, &counts, &["reset", "--yes"]).await.ends(0);
        assert_eq!(std::fs::read_to_string(database.folder.path().join("out")).unwrap(), "once\n");
        assert!(reset.stdout.contains("what was there before is in"), "{reset}");
        if backend(&database) == Backend::Sqlite {
            let copies = copies(&database);
            assert!(copies.len() == 1 && copies[0].ends_with(".before-reset.backup"), "{copies:?}");
        }
    }

    /// One that does not end is ended, with everything that it started.
    async fn a_command_has_a_limit(database: TestDatabase) {
        let pid = database.folder.path().join("pid");
        let line = format!("sleep 600 & echo $! > {}; wait", pid.display());
        let started = Instant::now();
        let run = migrator(&database, &["up", "--backup-timeout", "500ms", "--backup-cmd", &line]).await.ends(75);
        run.says(&["not done within 500ms", "MIGRATOR_BACKUP_TIMEOUT"]);
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
        is_gone(&pid).await;
        assert!(!has_table(&mut database.connect().await, "users").await);
        // So it is by a signal.
        std::fs::remove_file(&pid).unwrap();
        let child = migrator_command(&database, &["up", "--backup-cmd", &line]).spawn().unwrap();
        foundation::testing::eventually(Duration::from_secs(20), "it runs", async || pid.exists()).await;
        support::signal(&child, "TERM").await;
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), Some(75), "{}", String::from_utf8_lossy(&output.stderr));
        is_gone(&pid).await;
    }
}

/// Whether the process has ended whose number stands in the file.
async fn is_gone(pid: &std::path::Path) {
    let pid = pid.to_owned();
    foundation::testing::eventually(Duration::from_secs(20), "it has ended", async || {
        let number = std::fs::read_to_string(&pid).unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", number.trim())).unwrap_or_default();
        // A zombie of whoever adopted it is gone too.
        stat.is_empty() || stat.contains(") Z ")
    })
    .await;
}

/// The copy is the database as it was, sound, readable by nobody else, and the last ones are kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sqlite_file_is_copied_before_it_is_changed() {
    use std::os::unix::fs::PermissionsExt;
    let database = TestDatabase::new(Backend::Sqlite).await;
    let first = library(&database, &[ONE]).up(None).await.unwrap();
    assert_eq!(first.restore_point, None, "there was nothing to be copied");
    let mut connection = database.connect().await;
    connection.batch("INSERT INTO one VALUES (7)").await.unwrap();
    let second = library(&database, &[ONE, TWO]).up(None).await.unwrap();
    let copy = std::path::PathBuf::from(second.restore_point.unwrap());
    assert!(copy.to_str().unwrap().ends_with(".before-V2.backup"), "{copy:?}");
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(copies(&database).len(), 1, "and nothing beside it");
    let before = rusqlite::Connection::open(&copy).unwrap();
    let of = |sql: &str| before.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((of("SELECT id FROM one"), of("SELECT max(version) FROM refinery_schema_history")), (7, 1));
    drop(before);
    // It is the way back.
    let other = TestDatabase::missing(Backend::Sqlite);
    std::fs::copy(&copy, other.file()).unwrap();
    assert_eq!(versions(&mut other.connect().await).await, ["1"]);

    // Nothing pending, nothing copied; then one each time, of which two are kept.
    assert!(library(&database, &[ONE, TWO]).up(None).await.unwrap().nothing_done());
    assert_eq!(copies(&database).len(), 1);
    let two = [("MIGRATOR_RESTORE_POINTS", "2")];
    for _ in 0..3 {
        let release = library_with(&database, &[ONE, TWO, THREE], &two);
        release.up(None).await.unwrap();
        release.down(Down::To(2)).await.unwrap();
    }
    let kept = copies(&database);
    assert!(kept.len() == 2 && kept.iter().all(|it| it.ends_with(".before-V3.backup")), "{kept:?}");
    let none = library_with(&database, &[ONE, TWO, THREE], &[("MIGRATOR_RESTORE_POINTS", "0")]);
    assert_eq!(none.up(None).await.unwrap().restore_point, None);
    assert_eq!(copies(&database), kept);
}

/// The oldest of as many copies as are kept is restored, and still there afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_copy_can_be_restored() {
    let database = TestDatabase::new(Backend::Sqlite).await;
    library(&database, &[ONE]).up(None).await.unwrap();
    database.connect().await.batch("INSERT INTO one VALUES (7)").await.unwrap();
    let four = ("V4__four", "CREATE TABLE four (id bigint);");
    for release in [&[ONE, TWO][..], &[ONE, TWO, THREE], &[ONE, TWO, THREE, four]] {
        library(&database, release).up(None).await.unwrap();
    }
    let before = copies(&database);
    assert_eq!(before.len(), 3, "{before:?}");
    let oldest = database.folder.path().join(&before[0]);
    // By a link, so that it is the file that counts and not what it is called.
    let link = database.folder.path().join("link");
    std::os::unix::fs::symlink(&oldest, &link).unwrap();
    let release = library(&database, &[ONE, TWO]);
    assert_eq!(release.restore(&link, true).await.unwrap().current_version, Some(1));
    assert_eq!(count(&mut database.connect().await, "one").await, 1);
    assert!(oldest.exists() && copies(&database).last().unwrap().ends_with(".before-restore.backup"));
    let again = release.restore(&oldest, true).await.unwrap();
    assert_eq!(again.current_version, Some(1));
    assert!(oldest.exists());
}

/// What fails again and again leaves the ways back to older schemas, and does not fill the disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tries_that_fail_push_no_older_copy_out() {
    let database = TestDatabase::new(Backend::Sqlite).await;
    let four = ("V4__four", "CREATE TABLE four (id bigint);");
    library(&database, &[ONE]).up(None).await.unwrap();
    for release in [&[ONE, TWO][..], &[ONE, TWO, THREE], &[ONE, TWO, THREE, four]] {
        library(&database, release).up(None).await.unwrap();
    }
    let before = copies(&database);
    let failing =
        library(&database, &[ONE, TWO, THREE, four, ("V5__five", "INSERT INTO nowhere VALUES (1);")]);
    let mut first = None;
    for _ in 0..5 {
        failing.up(None).await.expect_err("there is no such table");
        let kept = copies(&database);
        assert_eq!(kept[..3], before, "nothing older is gone");
        first.get_or_insert_with(|| kept[3].clone());
        assert!(kept.len() <= 5 && Some(&kept[3]) == first.as_ref(), "the first and the last: {kept:?}");
    }
    // Once it succeeds, as many are kept as always.
    let mended = library(&database, &[ONE, TWO, THREE, four, ("V5__five", "CREATE TABLE five (id bigint);")]);
    mended.up(None).await.unwrap();
    let kept = copies(&database);
    assert_eq!((kept.len(), &kept[0]), (3, &before[2]), "{kept:?}");
}

/// A copy that cannot be made stops the run: its folder takes no file more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_cannot_be_made_stops_the_run() {
    let database = TestDatabase::new(Backend::Sqlite).await;
    // A name that is too long for any file once the time stands in it.
    let long = database.folder.path().join(format!("{}.db", "x".repeat(210)));
    let address = format!("sqlite:///{}", long.display());
    let release = |files| support::library_at(&address, Backend::Sqlite, files, &[]);
    release(&[ONE]).up(None).await.unwrap();
    let release = release(&[ONE, TWO]);
    let error = release.up(None).await.expect_err("there can be no copy");
    assert_eq!(error.exit(), Exit::Configuration, "{error}");
    assert_eq!(release.status().await.unwrap().current_version, Some(1));
}

/// On PostgreSQL it is a name in the server's log; a role that may not make one is told so once and goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_gets_a_restore_point_where_that_is_allowed() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let run = migrator(&database, &["up", "--to", "1", "--format", "json"]).await.ends(0);
    let name = run.json()["restore_point"].as_str().unwrap().to_owned();
    assert!(name.starts_with("bedplate_before_V1_") && name.len() < 64, "{name}");
    run.says(&["made a restore point"]);
    let role = unique_name("owner");
    maintenance(&format!("CREATE ROLE {role} LOGIN PASSWORD 'of the owner'")).await;
    let name = database.url.name();
    maintenance(&format!("ALTER DATABASE {name} OWNER TO {role}")).await;
    let fresh = unique_name("fresh");
    maintenance(&format!("CREATE DATABASE {fresh} OWNER {role}")).await;
    let server = database.address.rsplit_once('@').unwrap().1.rsplit_once('/').unwrap().0.to_owned();
    let mut command = migrator_command(&database, &["up"]);
    command.env("DATABASE_URL", format!("postgresql://{role}:of%20the%20owner@{server}/{fresh}"));
    let run = Run::of(command).await;
    maintenance(&format!("DROP DATABASE {fresh} WITH (FORCE)")).await;
    drop(database);
    maintenance(&format!("DROP ROLE {role}")).await;
    let run = run.ends(0);
    assert_eq!(run.stderr.matches("no restore point was made").count(), 1, "{run}");
    assert!(!run.stdout.contains("what was there before"), "{run}");
}

/// Many at once: each sees to its own, and the migrations are applied once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_are_not_in_each_others_way() {
    let database = TestDatabase::new(Backend::Sqlite).await;
    library(&database, &[ONE]).up(None).await.unwrap();
    let mut running = Vec::new();
    for _ in 0..8 {
        let release = library(&database, &[ONE, TWO, THREE]);
        running.push(tokio::spawn(async move { release.up(None).await }));
    }
    let mut applied = 0;
    for run in running {
        applied += run.await.unwrap().unwrap().applied.len();
    }
    assert_eq!(applied, 2);
    assert_eq!(count(&mut database.connect().await, "refinery_schema_history").await, 3);
    let kept = copies(&database);
    assert!((1..=3).contains(&kept.len()) && kept.iter().all(|it| !it.ends_with("unfinished")), "{kept:?}");
}
