//! What is true of SQLite alone, whose database is a file: its name, its pages, its journal and its lock.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use foundation::database::Backend;
use foundation::testing::{TestDatabase, eventually};

use crate::support::folders::{folder, with};
use crate::support::{Run, has_table, migrator, migrator_command, texts, versions};

const NAMES: &str = "SELECT username AS it FROM users ORDER BY username";

/// A name that SQLite would read as an address is one all the same, and one that it cannot be told is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_may_have_any_name_that_sqlite_can_be_told() {
    let database = TestDatabase::new(Backend::Sqlite).await;
    migrator(&database, &["up"]).await.ends(0);
    migrator(&database, &["backup", "file:b.db"]).await.ends(0);
    let folder = database.folder.path();
    assert!(std::fs::metadata(folder.join("file:b.db")).unwrap().len() > 0);
    let empty = TestDatabase::missing(Backend::Sqlite);
    let copy = folder.join("file:b.db");
    migrator(&empty, &["restore", copy.to_str().unwrap()]).await.ends(0);
    assert_eq!(texts(&mut empty.connect().await, NAMES).await.unwrap(), ["admin"]);

    let mut command = migrator_command(&database, &["backup"]);
    command.arg(OsStr::from_bytes(b"b\xff.db"));
    Run::of(command).await.ends(2).says(&["UTF-8"]);
    let names = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name());
    let left: Vec<_> = names
        .filter(|it| {
            it.to_string_lossy().contains("b\u{fffd}") || it.to_string_lossy().contains("unfinished")
        })
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// What another program made need not have pages of the size that SQLite gives a new file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_with_pages_of_another_size_is_restored() {
    let database = TestDatabase::missing(Backend::Sqlite);
    rusqlite::Connection::open(database.file())
        .and_then(|file| file.execute_batch("PRAGMA page_size = 8192; CREATE TABLE by_hand (id integer)"))
        .unwrap();
    migrator(&database, &["up"]).await.ends(0);
    migrator(&database, &["backup", "x"]).await.ends(0);
    let copy = database.folder.path().join("x");
    let (empty, full) = (TestDatabase::missing(Backend::Sqlite), TestDatabase::new(Backend::Sqlite).await);
    migrator(&full, &["up", "--to", "2"]).await.ends(0);
    for (target, say) in [(&empty, &[][..]), (&full, &["--replace", "--yes"])] {
        migrator(target, &[&["restore", copy.to_str().unwrap()], say].concat()).await.ends(0);
        let mut connection = target.connect().await;
        assert!(has_table(&mut connection, "by_hand").await);
        assert_eq!(texts(&mut connection, NAMES).await.unwrap(), ["admin"]);
    }
}

/// SQLite keeps its own tables when those are dropped for which it made them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_whose_tables_were_all_dropped_is_backed_up() {
    let database = TestDatabase::missing(Backend::Sqlite);
    let dropped = "CREATE TABLE gone (id integer PRIMARY KEY AUTOINCREMENT); DROP TABLE gone";
    rusqlite::Connection::open(database.file()).and_then(|file| file.execute_batch(dropped)).unwrap();
    migrator(&database, &["backup", "x"]).await.ends(0);
    migrator(&database, &["up"]).await.ends(0);
}

/// Whether the file is in WAL mode, as its head says.
fn is_in_wal_mode(file: &std::path::Path) -> bool {
    std::fs::read(file).unwrap()[18] == 2
}

/// What only looks changes nothing, also not how the file is written. A copy is one file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_at_a_file_does_not_change_it() {
    let database = TestDatabase::missing(Backend::Sqlite);
    let file = database.file();
    let by_hand = "CREATE TABLE by_hand (id integer)";
    rusqlite::Connection::open(&file).and_then(|file| file.execute_batch(by_hand)).unwrap();
    let before = std::fs::read(&file).unwrap();
    for arguments in [
        &["plan"][..],
        &["status"],
        &["history"],
        &["dump"],
        &["backup", "x"],
        &["wait", "--for", "database"],
    ] {
        migrator(&database, arguments).await.ends(0);
        assert!(std::fs::read(&file).unwrap() == before, "{arguments:?}");
    }
    migrator(&database, &["up"]).await.ends(0);
    assert!(is_in_wal_mode(&file));
    migrator(&database, &["backup", "y"]).await.ends(0);
    let names = std::fs::read_dir(database.folder.path()).unwrap().map(|it| it.unwrap().file_name());
    let mut copies: Vec<_> = names.filter(|it| it.to_string_lossy().starts_with(['x', 'y'])).collect();
    copies.sort();
    assert_eq!(copies, ["x", "y"]);
    assert!(!is_in_wal_mode(&database.folder.path().join("y")));
}

/// As everywhere else: a statement outside of a transaction is tried again until the deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_in_parts_wait_for_whoever_writes() {
    for statement in ["VACUUM other", "PRAGMA other.user_version = 7"] {
        let (database, other) =
            (TestDatabase::new(Backend::Sqlite).await, TestDatabase::new(Backend::Sqlite).await);
        // The migrator's own records are not what waits: they are in the first file.
        let text = format!("ATTACH '{}' AS other;\n{statement};\n", other.file().display());
        let files = folder(&database, "files", &[("1_other.up.sql", &text)]);
        let arguments = |deadline| ["--migrations", files.to_str().unwrap(), "up", "--deadline", deadline];
        let mut writer = other.connect().await;
        writer.batch("BEGIN IMMEDIATE").await.unwrap();
        let refused = migrator(&database, &arguments("300ms")).await.ends(75);
        refused.says(&["another connection to the file"]);
        let said = database.folder.path().join("said");
        let mut command = migrator_command(&database, &arguments("30s"));
        let mut waiting = command.stderr(std::fs::File::create(&said).unwrap()).spawn().unwrap();
        eventually(Duration::from_secs(20), "it waits", async || {
            std::fs::read_to_string(&said).unwrap().contains("a lock was not given in time")
        })
        .await;
        writer.batch("ROLLBACK").await.unwrap();
        let ended = waiting.wait().await.unwrap();
        assert!(ended.success(), "{statement}: {}", std::fs::read_to_string(&said).unwrap());
        assert_eq!(versions(&mut database.connect().await).await, ["1"]);
    }
}

/// A copy, and a file that was made smaller, has the tables of a virtual table before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_virtual_tables_is_emptied() {
    let database = TestDatabase::new(Backend::Sqlite).await;
    let text = "CREATE VIRTUAL TABLE docs USING fts5 (body);\nINSERT INTO docs VALUES ('one');\nCREATE VIRTUAL TABLE places USING rtree (id, low, high);\nCREATE VIEW bodies AS SELECT body FROM docs;\n";
    let files = folder(&database, "files", &[("1_docs.up.sql", text)]);
    with(&database, &files, &["up"]).await.ends(0);
    let mut connection = database.connect().await;
    connection.batch("VACUUM").await.unwrap();
    let order = "SELECT name AS it FROM sqlite_schema WHERE name LIKE 'docs%' ORDER BY rowid";
    assert_ne!(texts(&mut connection, order).await.unwrap()[0], "docs", "its tables come first");
    with(&database, &files, &["reset", "--yes"]).await.ends(0);
    assert_eq!(texts(&mut connection, "SELECT body AS it FROM docs").await.unwrap(), ["one"]);
    with(&database, &files, &["check"]).await.ends(0);
}
