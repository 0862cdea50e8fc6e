//! `wait` and `check-config`.

use std::time::Duration;

use foundation::database::Backend;
use foundation::on_both_databases;
use foundation::testing::{TestDatabase, eventually, program};

use crate::support::{self, Run, backend, migrator, migrator_command};

on_both_databases! {
    /// What does not come in time ends it; what is there already does at once.
    async fn wait_gives_up_and_finds(database: TestDatabase) {
        migrator(&database, &["wait", "--for", "database", "--timeout", "2s"]).await.ends(0);
        let early = migrator(&database, &["wait", "--for", "schema", "--timeout", "0s"]).await.ends(75);
        early.says(&["no migration is applied yet"]);
        migrator(&database, &["up"]).await.ends(0);
        migrator(&database, &["wait", "--for", "schema", "--timeout", "2s"]).await.ends(0);
        migrator(&database, &["wait", "--timeout", "2s"]).await.ends(0);
    }

    /// A release waits for the migrator of the same release.
    async fn wait_returns_when_the_schema_comes(database: TestDatabase) {
        let missing = TestDatabase::missing(backend(&database));
        let early = migrator(&missing, &["wait", "--for", "database", "--timeout", "0s"]).await;
        early.ends(75);
        if backend(&database) == Backend::Sqlite {
            assert!(!missing.file().exists(), "waiting makes no file");
        }
        let mut waiting = migrator_command(&missing, &["wait", "--timeout", "30s"]).spawn().unwrap();
        let mut log = String::new();
        let stderr = waiting.stderr.take().unwrap();
        let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(stderr));
        while !log.contains("waiting") {
            log = lines.next_line().await.unwrap().expect("it says that it waits");
        }
        assert!(waiting.try_wait().unwrap().is_none());
        migrator(&missing, &["up"]).await.ends(0);
        let ended = tokio::time::timeout(Duration::from_secs(10), waiting.wait()).await;
        assert!(ended.expect("it sees the schema").unwrap().success());
    }
}

/// Looking at a file that is missing does not make it.
#[tokio::test]
async fn looking_makes_no_file() {
    let missing = TestDatabase::missing(Backend::Sqlite);
    for command in ["status", "history", "down"] {
        migrator(&missing, &[command]).await.ends(78).says(&["there is no file", "migrator up"]);
    }
    assert!(!missing.file().exists());
}

/// Each value with where it came from, and no secret.
#[tokio::test]
async fn check_config_tells_origins_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("admin.txt");
    std::fs::write(&secret, "tell-nobody-admin\n").unwrap();
    std::fs::write(folder.path().join(".env"), "MIGRATOR_DEADLINE=7m\n").unwrap();
    let run = async |arguments: &[&str]| {
        let mut command = program(env!("CARGO_BIN_EXE_migrator"), folder.path());
        command.args(["check-config", "--lock-timeout", "3s"]).args(arguments);
        command.env("DATABASE_URL", "postgresql+asyncpg://me:tell-nobody-database@db/x");
        command.env("ADMIN_PASSWORD_FILE", &secret).env("MIGRATOR_WAIT_TIMEOUT", "9s");
        Run::of(command).await.ends(0).hides(&["tell-nobody"])
    };
    let table = run(&[]).await;
    assert!(table.stdout.contains("postgresql://me:[redacted]@db:5432/x"), "{table}");
    let document = run(&["--format", "json"]).await.json();
    let of = |name: &str| {
        let found = document["settings"].as_array().unwrap().iter().find(|it| it["name"] == name).unwrap();
        (found["value"].as_str().unwrap().to_owned(), found["origin"].clone())
    };
    assert_eq!(of("MIGRATOR_LOCK_TIMEOUT"), ("3s".to_owned(), "command_line".into()));
    assert_eq!(of("MIGRATOR_DEADLINE"), ("7m".to_owned(), "dot_env".into()));
    assert_eq!(of("MIGRATOR_WAIT_TIMEOUT"), ("9s".to_owned(), "environment".into()));
    assert_eq!(of("ADMIN_USERNAME"), ("admin".to_owned(), "default".into()));
    assert_eq!(of("ADMIN_PASSWORD").1["file"], secret.to_str().unwrap());
}

/// Without any setting it is the file in the working folder, and production does not fall back to that.
#[tokio::test]
async fn nothing_configured_is_a_file_here() {
    let folder = tempfile::tempdir().unwrap();
    Run::of(program(env!("CARGO_BIN_EXE_migrator"), folder.path())).await.ends(0);
    assert!(folder.path().join("bedplate.db").is_file());
    let mut command = program(env!("CARGO_BIN_EXE_migrator"), folder.path());
    command.env("BEDPLATE_ENV", "production");
    Run::of(command).await.ends(78).says(&["DATABASE_URL", "production"]);
}

/// A container's database takes its time.
#[tokio::test]
async fn up_waits_for_a_server_that_is_starting() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let cluster = folder.path().join("cluster");
    open_to_all(folder.path());
    let port = free_port();
    let port_text = port.to_string();
    let address = format!("postgresql://postgres:postgres@127.0.0.1:{port}/app");
    let database = TestDatabase::missing(Backend::Sqlite);
    let mut command = migrator_command(&database, &["up", "--wait-timeout", "60s"]);
    command.env("DATABASE_URL", &address);
    let migrating = tokio::spawn(Run::of(command));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/development/throwaway-postgres.sh");
    let mut start = tokio::process::Command::new(script);
    let started = start.arg("start").arg(&cluster).arg(&port_text).output().await.unwrap();
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    let run = migrating.await.unwrap();
    let stopped = tokio::process::Command::new(script).arg("stop").arg(&cluster).output().await.unwrap();
    assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
    let run = run.ends(0).says(&["waiting for the database", "the database is missing"]);
    assert!(run.stdout.contains(&format!("applied {}", support::each_up().len())), "{run}");
    eventually(Duration::from_secs(5), "the server is gone", async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err()
    })
    .await;
}

/// The server runs as another user.
fn open_to_all(folder: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711)).unwrap();
}

/// A port of those that the kernel does not give to outgoing connections, so that it stays free.
fn free_port() -> u16 {
    let first = 20000 + u16::from(foundation::entropy::Entropy::system().bytes::<1>()[0]) * 40;
    (first..).find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}
