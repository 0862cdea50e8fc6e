//! `backup` and `restore`: the database is afterwards what it was, rights and all, or nothing is changed.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use foundation::database::Backend;
use foundation::on_both_databases;
use foundation::testing::{TestDatabase, maintenance, postgres_address, unique_name};

use crate::support::tools::{fake, path_behind, real_psql, with_path, with_tools};
use crate::support::{
    self, Run, backend, count, has_table, migrator, migrator_command, migrator_with, newest, texts,
};

const NAMES: &str = "SELECT username AS it FROM users ORDER BY username";

async fn user(database: &TestDatabase, name: &str) {
    let id = format!("01890000-0000-7000-8000-{:0>12}", name.len());
    let sql = format!(
        "INSERT INTO users (id, username, user_type, password_hash) VALUES ('{id}', '{name}', 'local', 'h')"
    );
    database.connect().await.batch(&sql).await.unwrap();
}

async fn is_clean(database: &TestDatabase) {
    is_clean_beside(database, &[]).await;
}

async fn is_clean_beside(database: &TestDatabase, variables: &[(&str, &str)]) {
    for arguments in [&["check"][..], &["check", "--against-scratch"]] {
        migrator_with(database, variables, arguments).await.ends(0);
    }
    let status = migrator(database, &["status", "--format", "json"]).await.ends(0).json();
    assert_eq!((status["pending"].as_i64(), status["problems"].as_array().unwrap().len()), (Some(0), 0));
}

on_both_databases! {
    /// There and back into an empty database, and over one that has something in it.
    async fn a_backup_is_restored(database: TestDatabase) {
        with_tools(&database, &["up"]).await.ends(0);
        user(&database, "before").await;
        let file = database.folder.path().join("one.backup");
        let path = file.to_str().unwrap();
        let made = with_tools(&database, &["backup", path, "--format", "json"]).await.ends(0).json();
        assert_eq!((made["file"].as_str(), made["current_version"].as_i64()), (Some(path), Some(newest())));
        assert_eq!(made["bytes"].as_u64(), Some(std::fs::metadata(&file).unwrap().len()));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        with_tools(&database, &["backup", path]).await.ends(2).says(&["exists"]);
        user(&database, "afterwards").await;

        let empty = TestDatabase::missing(backend(&database));
        let restored = with_tools(&empty, &["restore", path]).await.ends(0);
        assert_eq!(restored.stdout, format!("restored {path}; at version {}\n", newest()), "{restored}");
        assert_eq!(texts(&mut empty.connect().await, NAMES).await.unwrap(), ["admin", "before"]);
        is_clean(&empty).await;
        migrator(&empty, &["up"]).await.ends(0);

        // Over what is there, only when it is said, and without a terminal said twice.
        let mut connection = database.connect().await;
        connection.batch("CREATE TABLE by_hand (id bigint); DROP TABLE lease").await.unwrap();
        drop(connection);
        with_tools(&database, &["restore", path]).await.ends(2).says(&["there is something in", "--replace"]);
        with_tools(&database, &["restore", path, "--replace"]).await.ends(2).says(&["no terminal", "--yes"]);
        assert_eq!(count(&mut database.connect().await, "users").await, 3);
        let replaced = with_tools(&database, &["restore", path, "--replace", "--yes"]).await.ends(0);
        assert!(replaced.stdout.contains("what was there before is in"), "{replaced}");
        let mut connection = database.connect().await;
        assert_eq!(texts(&mut connection, NAMES).await.unwrap(), ["admin", "before"]);
        assert!(!has_table(&mut connection, "by_hand").await && has_table(&mut connection, "lease").await);
        drop(connection);
        is_clean(&database).await;
    }

    /// From an older schema: what came later is pending, and applied by `up`.
    async fn an_older_backup_is_brought_up_to_date(database: TestDatabase) {
        with_tools(&database, &["up", "--to", "3"]).await.ends(0);
        let file = database.folder.path().join("old.backup");
        let path = file.to_str().unwrap();
        with_tools(&database, &["backup", path]).await.ends(0);
        with_tools(&database, &["up"]).await.ends(0);
        let restored = with_tools(&database, &["restore", path, "--replace", "--yes"]).await.ends(0);
        assert!(restored.stdout.contains("at version 3, ") && restored.stdout.contains("pending: `migrator up`"), "{restored}");
        migrator(&database, &["check"]).await.ends(73);
        migrator(&database, &["up"]).await.ends(0);
        is_clean(&database).await;
    }

    /// A file that ends in the middle, one that is none, and one that is not there, change nothing.
    async fn a_backup_that_cannot_be_read_changes_nothing(database: TestDatabase) {
        with_tools(&database, &["up"]).await.ends(0);
        let folder = database.folder.path();
        let whole = folder.join("whole.backup");
        with_tools(&database, &["backup", whole.to_str().unwrap()]).await.ends(0);
        user(&database, "untouched").await;
        let bytes = std::fs::read(&whole).unwrap();
        std::fs::write(folder.join("torn"), &bytes[..bytes.len() / 2]).unwrap();
        std::fs::write(folder.join("letter"), "To somebody. ".repeat(500)).unwrap();
        std::fs::write(folder.join("nothing"), "").unwrap();
        for name in ["torn", "letter", "nothing"] {
            let run = with_tools(&database, &["restore", name, "--replace", "--yes"]).await;
            run.ends(78).says(&[name]);
        }
        with_tools(&database, &["restore", "missing"]).await.ends(2).says(&["there is no backup missing"]);
        assert_eq!(texts(&mut database.connect().await, NAMES).await.unwrap(), ["admin", "untouched"]);
        is_clean(&database).await;
    }

    /// What cannot be written is not left behind in part.
    async fn a_backup_is_whole_or_not_there(database: TestDatabase) {
        with_tools(&database, &["up", "--to", "2"]).await.ends(0);
        with_tools(&database, &["backup", "no/such/folder/x"]).await.ends(78).says(&["no/such/folder"]);
        if backend(&database) == Backend::Postgres {
            let fakes = tempfile::tempdir().unwrap();
            fake(fakes.path(), "pg_dump", "case $1 in --version) echo 'pg_dump (PostgreSQL) 99.1';; *) for it in x.*.unfinished; do echo half > $it; done; echo 'the server went away' >&2; exit 1;; esac");
            let run = with_path(&database, &[fakes.path()], &["backup", "x"]).await.ends(75);
            run.says(&["pg_dump failed", "the server went away"]);
            // A Job is to try again, and to tell a server that is away from other failures.
            fake(fakes.path(), "pg_dump", "case $1 in --version) echo 'pg_dump (PostgreSQL) 99.1';; *) echo 'pg_dump: error: query failed: server closed the connection unexpectedly' >&2; exit 1;; esac");
            with_path(&database, &[fakes.path()], &["backup", "x"]).await.ends(69).says(&["pg_dump failed"]);
        }
        let left: Vec<_> = std::fs::read_dir(database.folder.path()).unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .filter(|it| it.contains("unfinished") || it == "x").collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Several on their way to one name: one of them gets it, whole, and the others say that it is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn backups_to_one_name_are_in_nobodys_way() {
    let database = TestDatabase::new(Backend::Postgres).await;
    with_tools(&database, &["up", "--to", "2"]).await.ends(0);
    let fakes = tempfile::tempdir().unwrap();
    // The second begins while the first has its file and nothing in it yet; the first ends after it.
    let folder = fakes.path().display();
    let real = real_psql().with_file_name("pg_dump");
    fake(
        fakes.path(),
        "pg_dump",
        &format!(
            "case $1 in --version) exec {0} --version;; esac; if mkdir {folder}/first 2>/dev/null; then while ! test -e {folder}/go; do sleep 0.05; done; fi; exec {0} \"$@\"",
            real.display()
        ),
    );
    let (folders, arguments) = ([fakes.path()], ["backup", "x"]);
    let file = database.folder.path().join("x");
    let (first, second) = tokio::join!(with_path(&database, &folders, &arguments), async {
        let begun = fakes.path().join("first");
        foundation::testing::eventually(Duration::from_secs(20), "it copies", async || begun.exists()).await;
        let second = with_path(&database, &folders, &arguments).await;
        let made = std::fs::read(&file).unwrap_or_default();
        std::fs::write(fakes.path().join("go"), "").unwrap();
        (second, made)
    });
    let (second, made) = second;
    second.ends(0);
    first.ends(2).says(&["x exists", "no backup is overwritten"]);
    assert_eq!(std::fs::read(&file).unwrap(), made, "it is the one that was there first");
    let left = std::fs::read_dir(database.folder.path()).unwrap().map(|it| it.unwrap().file_name());
    assert!(left.filter_map(|it| it.into_string().ok()).all(|it| !it.contains("unfinished")));
    let empty = TestDatabase::new(Backend::Postgres).await;
    with_tools(&empty, &["restore", file.to_str().unwrap()]).await.ends(0);
}

/// Programs that are missing or too old are told in a sentence, and nothing hangs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_programs_of_postgres_are_looked_at_first() {
    let database = TestDatabase::new(Backend::Postgres).await;
    with_tools(&database, &["up", "--to", "2"]).await.ends(0);
    let empty = tempfile::tempdir().unwrap();
    let nowhere = [("PATH", empty.path().to_str().unwrap())];
    let run = migrator_with(&database, &nowhere, &["backup", "x"]).await.ends(78);
    run.says(&["there is no pg_dump on the PATH", "install"]);
    std::fs::write(database.folder.path().join("x"), "x").unwrap();
    let run = migrator_with(&database, &nowhere, &["restore", "x"]).await.ends(78);
    run.says(&["there is no pg_restore on the PATH"]);
    let old = tempfile::tempdir().unwrap();
    fake(old.path(), "pg_dump", "echo 'pg_dump (PostgreSQL) 9.6.24'");
    let run = with_path(&database, &[old.path()], &["backup", "y"]).await.ends(78);
    run.says(&["pg_dump on the PATH is of version 9", "the server of"]);
    fake(old.path(), "pg_dump", "case $1 in --version) echo 'pg_dump (PostgreSQL) 99';; *) sleep 600;; esac");
    let run = with_path(&database, &[old.path()], &["backup", "y", "--backup-timeout", "300ms"]).await;
    run.ends(75).says(&["pg_dump was not done within 300ms"]);
    assert!(!database.folder.path().join("y").exists());
}

/// The password is in no argument, which everybody on the machine could read, and in no output.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_password_is_an_argument() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let role = unique_name("owner");
    maintenance(&format!("CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'tell-nobody-77'")).await;
    let fakes = tempfile::tempdir().unwrap();
    let said = fakes.path().join("said");
    fake(
        fakes.path(),
        "pg_dump",
        &format!(
            "case $1 in --version) echo 'pg_dump (PostgreSQL) 99';; *) echo \"$@ / $PGUSER / $PGPASSWORD / $PGHOST\" > {}; exit 1;; esac",
            said.display()
        ),
    );
    let server = postgres_address().rsplit_once('@').unwrap().1.to_owned();
    let (host, _) = server.split_once('/').unwrap();
    let address = format!("postgresql+asyncpg://{role}:tell-nobody-77@{host}/{}", database.url.name());
    let mut command = migrator_command(&database, &["backup", "x"]);
    command.env("PATH", path_behind(&[fakes.path()])).env("DATABASE_URL", address);
    let run = Run::of(command).await;
    maintenance(&format!("DROP ROLE {role}")).await;
    run.ends(75).hides(&["tell-nobody-77"]);
    let said = std::fs::read_to_string(said).unwrap();
    let (arguments, rest) = said.split_once(" / ").unwrap();
    assert!(!arguments.contains("tell-nobody-77") && !arguments.contains("postgresql"), "{said}");
    assert!(rest.starts_with(&format!("{role} / tell-nobody-77 / ")), "{said}");
}

/// Rights are restored as they were: what a migration took away from everybody stays taken away, and what the
/// role of the service was given it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_are_restored_as_they_were() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let role = unique_name("service");
    maintenance(&format!("CREATE ROLE {role} LOGIN PASSWORD 'x'")).await;
    with_tools(&database, &["up", "--grant-to", &role]).await.ends(0);
    let rights = "SELECT CAST(oid::regclass AS text) || ' ' || coalesce(relacl::text, '') AS it FROM pg_class
          WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'S')
        UNION ALL SELECT CAST(oid::regprocedure AS text) || ' ' || coalesce(proacl::text, '') FROM pg_proc
          WHERE pronamespace = 'public'::regnamespace ORDER BY 1";
    let before = texts(&mut database.connect().await, rights).await.unwrap();
    let revoked = before.iter().find(|it| it.contains("metrics_snapshot_drop_detached")).unwrap();
    assert!(revoked.contains(&role) && !revoked.contains("{=X") && !revoked.contains(",=X"), "{revoked}");
    with_tools(&database, &["backup", "x"]).await.ends(0);
    let file = database.folder.path().join("x");
    let restored = TestDatabase::new(Backend::Postgres).await;
    with_tools(&restored, &["restore", file.to_str().unwrap()]).await.ends(0);
    assert_eq!(texts(&mut restored.connect().await, rights).await.unwrap(), before);
    is_clean_beside(&restored, &[("MIGRATOR_GRANT_TO", &role)]).await;
    // Where the role is missing it is said, and nothing was restored.
    let elsewhere = TestDatabase::new(Backend::Postgres).await;
    std::fs::copy(&file, elsewhere.folder.path().join("x")).unwrap();
    drop((database, restored));
    maintenance(&format!("DROP ROLE {role}")).await;
    let run = with_tools(&elsewhere, &["restore", "x"]).await.ends(78);
    run.says(&[&role, "does not exist", "roles are not in a backup", "the database is what it was"]);
    assert!(!has_table(&mut elsewhere.connect().await, "users").await);
}

/// Killed or stopped in the middle, the database is what it was: COMMIT is the last that is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_is_killed_changes_nothing() {
    let database = TestDatabase::new(Backend::Postgres).await;
    with_tools(&database, &["up"]).await.ends(0);
    with_tools(&database, &["backup", "x"]).await.ends(0);
    user(&database, "later").await;
    let fakes = tempfile::tempdir().unwrap();
    let begun = fakes.path().join("begun");
    let real = real_psql().with_file_name("pg_restore");
    let script = format!(
        "case \"$*\" in *--no-owner*) {0} \"$@\" | head -n 400; touch {1}; sleep 30;; *) exec {0} \"$@\";; esac",
        real.display(),
        begun.display()
    );
    fake(fakes.path(), "pg_restore", &script);
    let path = path_behind(&[fakes.path()]);
    for (signal, code) in [("KILL", None), ("TERM", Some(75))] {
        let mut command = migrator_command(&database, &["restore", "x", "--replace", "--yes"]);
        let child = command.env("PATH", &path).spawn().unwrap();
        foundation::testing::eventually(Duration::from_secs(20), "it restores", async || begun.exists())
            .await;
        support::signal(&child, signal).await;
        let ended = child.wait_with_output().await.unwrap();
        assert_eq!(ended.status.code(), code, "{}", String::from_utf8_lossy(&ended.stderr));
        let sessions = "SELECT CAST(count(*) AS BIGINT) AS it FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'bedplate-backup'";
        foundation::testing::eventually(Duration::from_secs(20), "psql has ended", async || {
            support::number(&mut database.connect().await, sessions).await == 0
        })
        .await;
        assert_eq!(texts(&mut database.connect().await, NAMES).await.unwrap(), ["admin", "later"]);
        is_clean(&database).await;
        std::fs::remove_file(&begun).unwrap();
    }
}

/// A SQLite file that somebody has open is the same file afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_the_file_open_sees_what_was_restored() {
    let database = TestDatabase::new(Backend::Sqlite).await;
    with_tools(&database, &["up"]).await.ends(0);
    with_tools(&database, &["backup", "x"]).await.ends(0);
    user(&database, "later").await;
    let mut open = database.connect().await;
    assert_eq!(count(&mut open, "users").await, 2);
    // While it is written to, nothing is restored.
    open.batch("BEGIN IMMEDIATE").await.unwrap();
    let busy = migrator_with(
        &database,
        &[("DATABASE_WAIT_TIMEOUT", "200ms")],
        &["restore", "x", "--replace", "--yes"],
    )
    .await;
    busy.ends(75).says(&["in use"]);
    open.batch("ROLLBACK").await.unwrap();
    with_tools(&database, &["restore", "x", "--replace", "--yes"]).await.ends(0);
    assert_eq!(count(&mut open, "users").await, 1);
}
