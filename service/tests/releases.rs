//! Two releases on one database: this one, and a newer one that is built from these sources and two migrations more.
//!
//! Building it takes minutes, so that this runs with `BEDPLATE_TEST_LONG` alone; `migrator/tests/releases.rs` asks the
//! same of the library each time.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use foundation::database::Backend;
use foundation::testing::TestDatabase;
use migrator::source::{Dialect, embedded};
use reqwest::StatusCode;

use crate::support::{Program, client, wait_for};

const ADMIN: (&str, &str) = ("ADMIN_PASSWORD", "a password of the test");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The sources of the newer release: one migration that this one can live with, and one that it cannot.
fn sources_of_newer_release(folder: &Path, newest: i64) {
    let root = root();
    for part in ["foundation", "migrator", "service"] {
        copy(&root.join(part), &folder.join(part));
    }
    for file in ["Cargo.toml", "Cargo.lock", "clippy.toml"] {
        std::fs::copy(root.join(file), folder.join(file)).unwrap();
    }
    let (first, second) = (newest + 1, newest + 2);
    let table = "CREATE TABLE newer (id bigint PRIMARY KEY);\nINSERT INTO newer VALUES (1);\n";
    let renamed = format!("-- migrator: compatible-from {first}\nALTER TABLE newer RENAME TO newest;\n");
    for dialect in ["postgres", "sqlite"] {
        let migrations = folder.join("migrator/migrations").join(dialect);
        let undo = folder.join("migrator/undo").join(dialect);
        std::fs::write(migrations.join(format!("V{first}__add_newer.sql")), table).unwrap();
        std::fs::write(undo.join(format!("D{first}__add_newer.sql")), "DROP TABLE newer;\n").unwrap();
        std::fs::write(migrations.join(format!("V{second}__rename_newer.sql")), &renamed).unwrap();
        let back = "ALTER TABLE newest RENAME TO newer;\n";
        std::fs::write(undo.join(format!("D{second}__rename_newer.sql")), back).unwrap();
    }
}

/// Builds the newer migrator, what it depends on only once.
#[allow(clippy::disallowed_methods, reason = "it is cargo that says where cargo is")]
fn newer_migrator(folder: &Path, newest: i64) -> PathBuf {
    sources_of_newer_release(folder, newest);
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("newer-release");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--locked", "--package", "migrator", "--target-dir"])
        .arg(&target)
        .current_dir(folder)
        .status();
    assert!(built.unwrap().success(), "the newer release is built");
    target.join("debug/migrator")
}

fn run(program: &Path, database: &TestDatabase, arguments: &[&str], code: i32) -> String {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().current_dir(database.folder.path());
    command.env("DATABASE_URL", &database.address).env(ADMIN.0, ADMIN.1);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert_eq!(status.code(), Some(code), "{} {arguments:?}: {said}", program.display());
    said
}

async fn the_service_is_ready(database: &TestDatabase) {
    let mut service = Program::serve(&[("DATABASE_URL", &database.address), ADMIN]);
    let base = format!("http://{}", service.address());
    wait_for(&client(), &format!("{base}/readyz"), StatusCode::OK).await;
}

/// With PostgreSQL it runs and is not ready, with its own file it does not start.
async fn the_service_refuses(database: &TestDatabase, reason: &str) {
    let mut service = Program::serve(&[("DATABASE_URL", &database.address), ADMIN]);
    if database.address.starts_with("sqlite") {
        assert_eq!(service.ended().code(), Some(65));
        let said = service.everything();
        assert!(said.contains(reason), "{said}");
        return;
    }
    let base = format!("http://{}", service.address());
    let refused = wait_for(&client(), &format!("{base}/readyz"), StatusCode::SERVICE_UNAVAILABLE).await;
    let mut said = refused.text().await.unwrap();
    for _ in 0..100 {
        if said.contains(reason) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        said = client().get(format!("{base}/readyz")).send().await.unwrap().text().await.unwrap();
    }
    panic!("{reason:?} is not said: {said}");
}

async fn live_on_one_database(backend: Backend, older: &Path, newer: &Path) {
    let database = TestDatabase::new(backend).await;
    let newest = embedded(Dialect::Sqlite).newest();
    let (first, second) = ((newest + 1).to_string(), newest + 2);
    run(older, &database, &["up"], 0);
    run(newer, &database, &["up", "--to", &first], 0);
    // The older image goes on: its job ends well, its service is ready.
    assert!(run(older, &database, &["up"], 0).contains("nothing to do"));
    run(older, &database, &["wait", "--for", "schema", "--timeout", "5s"], 0);
    the_service_is_ready(&database).await;

    run(newer, &database, &["up"], 0);
    let reason = format!("V{second}__rename_newer needs a release that has version {first} or later");
    for command in ["up", "wait", "plan"] {
        let said = run(older, &database, &[command], 65);
        assert!(said.contains(&reason), "{command}: {said}");
    }
    the_service_refuses(&database, &reason).await;

    // The image that does not know the newer files takes them back with what the journal kept.
    let said = run(older, &database, &["plan", "down", "--to", &newest.to_string()], 0);
    assert!(
        said.contains("ALTER TABLE newest RENAME TO newer") && said.contains("DROP TABLE newer"),
        "{said}"
    );
    run(older, &database, &["down", "--to", &newest.to_string()], 0);
    run(older, &database, &["up"], 0);
    the_service_is_ready(&database).await;
    // And the newer release comes back.
    run(newer, &database, &["up"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(
    clippy::disallowed_methods,
    reason = "it chooses how long the tests take, which is no setting of a program"
)]
async fn an_older_release_lives_on_the_database_of_a_newer_one() {
    if std::env::var_os("BEDPLATE_TEST_LONG").is_none() {
        println!("a second release is built with BEDPLATE_TEST_LONG only");
        return;
    }
    let older = PathBuf::from(env!("CARGO_BIN_EXE_service")).with_file_name("migrator");
    assert!(older.exists(), "{} is missing: cargo build -p migrator makes it", older.display());
    let folder = tempfile::tempdir().unwrap();
    let newer = newer_migrator(folder.path(), embedded(Dialect::Sqlite).newest());
    for backend in [Backend::Postgres, Backend::Sqlite] {
        live_on_one_database(backend, &older, &newer).await;
    }
}
