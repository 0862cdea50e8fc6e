//! What a person has to mend: one clear message, the right exit code, and no secret.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use foundation::database::Backend;
use foundation::testing::{TestDatabase, maintenance, postgres_address, program, unique_name};

use crate::support::{self, Run, migrator_with};

const SECRET: &str = "tell-nobody-1234";

/// Runs the migrator in an empty folder on the database at this address.
async fn up(address: &str, arguments: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    up_in(folder.path(), address, arguments).await
}

async fn up_in(folder: &Path, address: &str, arguments: &[&str]) -> Run {
    let mut command = program(env!("CARGO_BIN_EXE_migrator"), folder);
    command.args(arguments).env("DATABASE_URL", address);
    Run::of(command).await.hides(&[SECRET])
}

/// The host and port of the cluster, and a database in it.
fn server() -> String {
    let address = postgres_address();
    address.rsplit_once('@').unwrap().1.to_owned()
}

#[tokio::test]
async fn a_wrong_password() {
    let run = up(&format!("postgresql://postgres:{SECRET}@{}", server()), &["up"]).await.ends(78);
    let run = run.says(&["refuses the role postgres", "DATABASE_URL"]);
    assert_eq!(run.stderr.lines().count(), 1, "{run}");
    let json =
        up(&format!("postgresql://postgres:{SECRET}@{}", server()), &["status", "--format", "json"]).await;
    assert!(json.ends(78).json()["error"]["message"].as_str().unwrap().contains("refuses the role"));
}

/// However much is logged, by whichever library.
#[tokio::test]
async fn a_password_is_in_no_log() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let role = unique_name("talkative");
    maintenance(&format!("CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{SECRET}'")).await;
    let server = server();
    let (host, _) = server.split_once('/').unwrap();
    let address = format!("postgresql://{role}:{SECRET}@{host}/{}", database.url.name());
    let admin = "an-admin-password-of-ours";
    let variables = [
        ("DATABASE_URL", address.as_str()),
        ("LOG_LEVEL", "trace"),
        ("DATABASE_ECHO", "true"),
        ("ADMIN_PASSWORD", admin),
    ];
    let run = migrator_with(&database, &variables, &["up"]).await;
    drop(database);
    maintenance(&format!("DROP ROLE {role}")).await;
    run.ends(0).hides(&[SECRET, admin, "$argon2id$"]).says(&["INSERT INTO users"]);
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = up(&format!("postgresql://me:{SECRET}@{nobody}/x"), &["up", "--wait-timeout", "0"]).await;
    run.ends(69).says(&["cannot be reached", &nobody.to_string()]);
    let unknown =
        up(&format!("postgresql://me:{SECRET}@no-such-host.invalid/x"), &["up", "--wait-timeout", "0"]).await;
    unknown.ends(69).says(&["no-such-host.invalid", "cannot be reached"]);
    // Its patience has an end.
    let run = up(&format!("postgresql://me:{SECRET}@{nobody}/x"), &["up", "--wait-timeout", "300ms"]).await;
    run.ends(69).says(&["waiting for the database"]);
}

#[tokio::test]
async fn an_address_that_is_none() {
    for bad in [
        "mysql://me:SECRET@h/x",
        "postgresql://me:SECRET@h:99999999/x",
        "postgresql://me:SECRET@h/x?nonsense=1",
        "me:SECRET",
    ] {
        up(&bad.replace("SECRET", SECRET), &["up"]).await.ends(78).says(&["DATABASE_URL", "expected"]);
    }
}

#[tokio::test]
async fn a_missing_database_that_the_role_may_not_make() {
    let (role, name) = (unique_name("poor"), unique_name("missing"));
    maintenance(&format!("CREATE ROLE {role} LOGIN PASSWORD '{SECRET}' NOCREATEDB")).await;
    let server = server();
    let (host, _) = server.split_once('/').unwrap();
    let run = up(&format!("postgresql://{role}:{SECRET}@{host}/{name}"), &["up"]).await;
    maintenance(&format!("DROP ROLE {role}")).await;
    run.ends(78).says(&["does not exist", "CREATE DATABASE", "CREATEDB"]);
    for looking in ["status", "history", "down"] {
        let run = up(&format!("postgresql://postgres:postgres@{host}/{name}"), &[looking]).await;
        run.ends(78).says(&[&name, "does not exist"]);
    }
}

#[tokio::test]
async fn a_file_that_is_no_database() {
    let folder = tempfile::tempdir().unwrap();
    let content = "This is a letter to somebody, and not a database at all.\n".repeat(200);
    std::fs::write(folder.path().join("letter.txt"), &content).unwrap();
    for command in ["up", "status"] {
        let run = up_in(folder.path(), "sqlite:///./letter.txt", &[command]).await;
        run.ends(78).says(&["letter.txt is no SQLite database"]);
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("letter.txt")).unwrap(), content);
    up_in(folder.path(), "sqlite:///./no/such/folder.db", &["up"])
        .await
        .ends(78)
        .says(&["no/such/folder.db", "folder exists"]);
    up_in(folder.path(), "sqlite:///.", &["up"]).await.ends(78);
}

/// Runs the migrator as somebody for whom the rights of files count: root has every right.
async fn as_nobody(folder: &Path, address: &str) -> Run {
    let nobody = std::process::Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    // Whoever may not enter this program's folder runs a copy.
    let copy = folder.join("migrator");
    std::fs::copy(env!("CARGO_BIN_EXE_migrator"), &copy).unwrap();
    let mut command = if nobody {
        let mut command = program("setpriv", folder);
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy);
        command
    } else {
        program(copy.to_str().unwrap(), folder)
    };
    command.env("DATABASE_URL", address);
    Run::of(command).await
}

#[tokio::test]
async fn what_may_not_be_written() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let mode =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    // A folder that takes no new file.
    mode(folder.path(), 0o755);
    let file = folder.path().join("closed.db");
    let address = format!("sqlite:///{}", file.display());
    if std::process::Command::new("id").arg("-u").output().unwrap().stdout != b"0\n" {
        as_nobody(folder.path(), "sqlite:////nowhere.db")
            .await
            .ends(78)
            .says(&["nowhere.db", "may be written"]);
    } else {
        as_nobody(folder.path(), &address).await.ends(78).says(&["closed.db", "may be written"]);
    }
    // A file that may be read only, in such a folder.
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    let file = inner.join("old.db");
    rusqlite::Connection::open(&file).unwrap().execute_batch("CREATE TABLE t (id INTEGER)").unwrap();
    mode(&file, 0o444);
    mode(&inner, 0o555);
    let run = as_nobody(folder.path(), &format!("sqlite:///{}", file.display())).await;
    mode(&inner, 0o755);
    run.ends(78).says(&["old.db", "cannot be written"]);
}

#[tokio::test]
async fn a_database_in_read_only_mode() {
    let database = TestDatabase::new(Backend::Postgres).await;
    maintenance(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.url.name()))
        .await;
    let run = support::migrator(&database, &["up"]).await.ends(78);
    run.says(&["read-only"]);
}

#[tokio::test]
async fn a_half_written_dot_env() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join(".env"),
        format!("LOG_LEVEL=info\nDATABASE_URL=\"postgresql://me:{SECRET}@h/x\n"),
    )
    .unwrap();
    let run = Run::of(program(env!("CARGO_BIN_EXE_migrator"), folder.path())).await.ends(78).hides(&[SECRET]);
    run.says(&[".env", "line 2", "quote"]);
}

/// Every problem is told at once, by the variable's full name.
#[tokio::test]
async fn several_problems_at_once() {
    let database = TestDatabase::missing(Backend::Sqlite);
    let file = database.folder.path().join("password");
    std::fs::write(&file, SECRET).unwrap();
    let variables = [
        ("ADMIN_PASSWORD", SECRET),
        ("ADMIN_PASSWORD_FILE", file.to_str().unwrap()),
        ("MIGRATOR_DEADLINE", "soon"),
        ("MIGRATOR_LOCK_TIMOUT", "1s"),
        ("DATABASE_POOL_SIZE", "0"),
        ("BEDPLATE_ENV", "staging"),
    ];
    let run = migrator_with(&database, &variables, &["up"]).await.ends(78).hides(&[SECRET]);
    let run = run.says(&[
        "5 problems",
        "both it and ADMIN_PASSWORD_FILE are set",
        "MIGRATOR_DEADLINE",
        "did you mean MIGRATOR_LOCK_TIMEOUT?",
        "DATABASE_POOL_SIZE",
        "BEDPLATE_ENV",
    ]);
    assert!(run.stdout.is_empty() && !database.file().exists(), "{run}");
    let json = migrator_with(&database, &variables, &["up", "--format", "json"]).await.ends(78);
    assert!(json.json()["error"]["message"].as_str().unwrap().contains("MIGRATOR_DEADLINE"));
}
