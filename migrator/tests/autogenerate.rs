//! `new --autogenerate` from the command line: files in both dialects, renames that are said, rows that stay.

use std::path::{Path, PathBuf};

use foundation::clock::Clock;
use foundation::database::Backend;
use foundation::entropy::Entropy;
use foundation::testing::TestDatabase;
use migrator::source::{Catalog, Dialect};
use migrator::stop::Stop;
use migrator::{Down, Migrator};

use crate::support::{self, Run, migrator, settings, texts};

const FIRST: &str = "CREATE TABLE users (id integer PRIMARY KEY, mail text, note text);\n";

/// A project with one migration, and `schema` as its desired schema in both dialects.
fn project(folder: &Path, first: &str, schema: &str) {
    for dialect in Dialect::ALL {
        let name = dialect.folder();
        write(folder, &format!("migrations/{name}/V1__first.sql"), first);
        write(folder, &format!("undo/{name}/D1__first.sql"), "DROP TABLE users;\n");
        write(folder, &format!("schema/{name}.sql"), schema);
    }
}

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn folder_of(database: &TestDatabase) -> PathBuf {
    database.folder.path().join("project")
}

async fn generate(database: &TestDatabase, more: &[&str]) -> Run {
    let folder = folder_of(database);
    let arguments = ["new", "change", "--autogenerate", "--folder", folder.to_str().unwrap()];
    migrator(database, &[&arguments[..], more].concat()).await
}

fn migrations(database: &TestDatabase, dialect: &str) -> Vec<String> {
    let files = std::fs::read_dir(folder_of(database).join("migrations").join(dialect)).unwrap();
    let mut names: Vec<String> = files.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn loaded(database: &TestDatabase) -> Migrator {
    let dialect = Dialect::from(support::backend(database));
    let (_nobody_stops_it, stop) = Stop::new();
    Migrator::new(&settings(&database.address, &[]), Clock::system(), Entropy::system(), stop)
        .with_catalog(Catalog::from_folder(&folder_of(database), dialect).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rename_is_never_guessed_and_keeps_the_rows() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let desired = "CREATE TABLE users (id integer PRIMARY KEY, email text NOT NULL, note text);\n";
    project(&folder_of(&database), FIRST, desired);
    generate(&database, &[]).await.ends(2).says(&[
        "--rename users.mail=email",
        "--no-rename",
        "nothing was written",
    ]);
    assert_eq!(migrations(&database, "postgres").len(), 1);
    generate(&database, &["--rename", "users.letter=email"])
        .await
        .ends(2)
        .says(&["users.letter=email does not fit"]);
    let written = generate(&database, &["--rename", "users.mail=email"]).await.ends(0);
    assert!(written.stdout.contains("postgres: users.email refuses NULL now"), "{written}");

    let sqlite = TestDatabase::new(Backend::Sqlite).await;
    let copied = folder_of(&sqlite);
    std::process::Command::new("cp").arg("-r").args([folder_of(&database), copied]).status().unwrap();
    for database in [&database, &sqlite] {
        let (first, second) = (loaded(database), loaded(database));
        let files = migrations(database, Dialect::from(support::backend(database)).folder());
        let text = std::fs::read_to_string(
            folder_of(database)
                .join("migrations")
                .join(Dialect::from(support::backend(database)).folder())
                .join(&files[1]),
        )
        .unwrap();
        assert!(text.contains("-- migrator: compatible-from 2"), "{text}");
        assert!(text.contains("RENAME COLUMN mail TO email"), "{text}");
        first.up(Some(1)).await.unwrap();
        let mut connection = database.connect().await;
        connection.batch("INSERT INTO users (id, mail) VALUES (1, 'a@b.c')").await.unwrap();
        second.up(None).await.unwrap();
        assert_eq!(texts(&mut connection, "SELECT email AS it FROM users").await.unwrap(), ["a@b.c"]);
        second.down(Down::Steps(1)).await.unwrap();
        assert_eq!(texts(&mut connection, "SELECT mail AS it FROM users").await.unwrap(), ["a@b.c"]);
    }
    generate(&database, &[]).await.ends(0);
    assert_eq!(migrations(&database, "postgres").len(), 2, "nothing to do writes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_to_do_writes_nothing_and_a_missing_server_is_told() {
    let database = TestDatabase::new(Backend::Postgres).await;
    project(&folder_of(&database), FIRST, FIRST);
    let nothing = generate(&database, &[]).await.ends(0);
    assert!(nothing.stdout.starts_with("nothing to do"), "{nothing}");
    assert_eq!(migrations(&database, "sqlite").len(), 1);

    let sqlite = TestDatabase::new(Backend::Sqlite).await;
    project(&folder_of(&sqlite), FIRST, "CREATE TABLE users (id integer PRIMARY KEY);\n");
    generate(&sqlite, &[]).await.ends(78).says(&["let DATABASE_URL name a PostgreSQL server"]);
    assert_eq!(migrations(&sqlite, "sqlite").len(), 1);
    for path in ["schema/postgres.sql", "migrations/postgres/V1__first.sql", "undo/postgres/D1__first.sql"] {
        std::fs::remove_file(folder_of(&sqlite).join(path)).unwrap();
    }
    std::fs::remove_dir(folder_of(&sqlite).join("migrations/postgres")).unwrap();
    let dropped = generate(&sqlite, &["--no-rename"]).await.ends(0);
    assert!(dropped.stdout.contains("users.note is dropped with what is in it"), "{dropped}");
    assert_eq!(migrations(&sqlite, "sqlite").len(), 2);
    std::fs::remove_file(folder_of(&sqlite).join("schema/sqlite.sql")).unwrap();
    generate(&sqlite, &[]).await.ends(2).says(&["no schema/postgres.sql and no schema/sqlite.sql"]);
}

/// A rename may be one of a single database, whose other one never had the name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rename_of_one_database_alone_is_taken() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let folder = folder_of(&database);
    project(&folder, FIRST, FIRST);
    write(&folder, "migrations/postgres/V1__first.sql", &format!("{FIRST}CREATE TABLE more (mail text);"));
    write(&folder, "schema/postgres.sql", &format!("{FIRST}CREATE TABLE more (email text);"));
    generate(&database, &["--rename", "more.letter=email"])
        .await
        .ends(2)
        .says(&["more.letter=email does not fit"]);
    generate(&database, &["--rename", "more.mail=email"]).await.ends(0);
    assert_eq!(migrations(&database, "sqlite").len(), 2);
}

/// What fails is told with its statement, since nobody has seen the text; where only the undo fails, there is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_taken_back_is_written_without_an_undo() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let folder = folder_of(&database);
    let function = |argument: &str| {
        format!(
            "CREATE FUNCTION f({argument} int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true';\n"
        )
    };
    let (plain, checked) = ("CREATE DOMAIN d AS int;\n", "CREATE DOMAIN d AS int CHECK (f(VALUE));\n");
    write(&folder, "migrations/postgres/V1__first.sql", &format!("{}{plain}", function("a")));
    write(&folder, "undo/postgres/D1__first.sql", "DROP DOMAIN d; DROP FUNCTION f(int);\n");
    write(&folder, "schema/postgres.sql", &format!("{}{checked}", function("b")));
    let written = generate(&database, &[]).await.ends(0);
    let why = "there is no undo: the generated undo, in `DROP FUNCTION f(integer)`, failed and was rolled back: cannot drop function";
    assert!(written.stdout.contains(why), "{written}");
    let files = migrations(&database, "postgres");
    let text = std::fs::read_to_string(folder.join("migrations/postgres").join(&files[1])).unwrap();
    assert!(text.contains("-- migrator: irreversible the generated undo, in `DROP FUNCTION"), "{text}");
    assert!(text.contains(&format!("-- Look at: {why}")), "{text}");
    assert_eq!(std::fs::read_dir(folder.join("undo/postgres")).unwrap().count(), 1);
    loaded(&database).up(None).await.unwrap();
    write(&folder, "schema/postgres.sql", &format!("{}{checked}", function("c")));
    generate(&database, &[]).await.ends(70).says(&[
        "the generated migration, in `DROP FUNCTION f(integer)`, failed and was rolled back: cannot drop function",
    ]);
    assert_eq!(migrations(&database, "postgres").len(), 2);
}

/// A name is the same in quotes and without: the undo of a rename, which SQLite puts in quotes in a view and a
/// trigger, brings back what was before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_undo_of_a_rename_is_exact() {
    let database = TestDatabase::new(Backend::Sqlite).await;
    let folder = folder_of(&database);
    let schema = |table: &str, column: &str| {
        format!(
            "CREATE TABLE {table} (id INTEGER PRIMARY KEY, {column} TEXT);
            CREATE VIEW v AS SELECT {column} FROM {table};
            CREATE TRIGGER tr AFTER UPDATE OF {column} ON {table} BEGIN DELETE FROM {table} WHERE id = old.id; END;\n"
        )
    };
    write(&folder, "migrations/sqlite/V1__first.sql", &schema("users", "mail"));
    write(&folder, "undo/sqlite/D1__first.sql", "DROP VIEW v; DROP TABLE users;\n");
    write(&folder, "schema/sqlite.sql", &schema("people", "email"));
    let renames = ["--rename", "users=people", "--rename", "people.mail=email"];
    let written = generate(&database, &renames).await.ends(0);
    assert!(!written.stdout.contains("does not reach"), "{written}");
    migrator(&database, &["rehearse", "--migrations", folder.to_str().unwrap()]).await.ends(0);
}

/// SQLite makes the table anew: its rows, those that point at it, its numbers and its triggers stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_made_anew_keeps_everything() {
    let database = TestDatabase::new(Backend::Sqlite).await;
    let rest = "CREATE TABLE posts (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE);
        CREATE INDEX users_note ON users (note);
        CREATE VIEW noted AS SELECT id FROM users WHERE note IS NOT NULL;
        CREATE TRIGGER users_note_change AFTER UPDATE OF note ON users BEGIN SELECT 1; SELECT 2; END;\n";
    let before = format!("CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, note text);\n{rest}");
    let after = format!(
        "CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, note TEXT NOT NULL DEFAULT 'none', CHECK (note <> ''));\n{rest}"
    );
    let folder = folder_of(&database);
    write(&folder, "migrations/sqlite/V1__first.sql", &before);
    write(&folder, "undo/sqlite/D1__first.sql", "DROP TABLE posts; DROP TABLE users;\n");
    write(&folder, "schema/sqlite.sql", &after);
    loaded(&database).up(None).await.unwrap();
    let mut connection = database.connect().await;
    let rows = "INSERT INTO users (note) VALUES ('a'), (NULL), ('c'); DELETE FROM users WHERE id = 3;
        INSERT INTO posts (user_id) VALUES (1), (2)";
    connection.batch(rows).await.unwrap();
    generate(&database, &[]).await.ends(0);
    loaded(&database).up(None).await.unwrap();
    let notes = texts(&mut connection, "SELECT id || note AS it FROM users ORDER BY id").await.unwrap();
    assert_eq!(notes, ["1a", "2none"]);
    assert_eq!(support::count(&mut connection, "posts").await, 2);
    connection.batch("INSERT INTO users (note) VALUES ('d')").await.unwrap();
    let ids = texts(&mut connection, "SELECT CAST(id AS TEXT) AS it FROM users ORDER BY id").await.unwrap();
    assert_eq!(ids, ["1", "2", "4"], "no number is given twice");
    loaded(&database).down(Down::Steps(1)).await.unwrap();
    assert_eq!(support::count(&mut connection, "posts").await, 2);
}
