//! What the tests of the migrator share: running the program, sets of migrations, and looking into databases.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "each file of tests takes what it needs, and a test ends by panicking"
)]

pub(crate) mod child;
pub(crate) mod folders;
pub(crate) mod foreign;
pub(crate) mod schemas;
pub(crate) mod tools;
pub(crate) mod users_rules;

use std::fmt;
use std::path::Path;
use std::process::Stdio;

use foundation::clock::Clock;
use foundation::database::{Backend, Connection, DatabaseError, Statement};
use foundation::entropy::Entropy;
use foundation::settings::Environment;
use foundation::testing::{TestDatabase, evidence, program};
use migrator::Migrator;
use migrator::settings::Settings;
use migrator::source::{Catalog, Dialect, embedded};
use migrator::stop::Stop;
use tokio::process::Command;

/// How a program ended, and what it wrote.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl fmt::Display for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "exit {}\nstdout: {}\nstderr: {}", self.code, self.stdout, self.stderr)
    }
}

impl Run {
    /// Waits for the end of a program.
    pub(crate) async fn of(mut command: Command) -> Self {
        let variables = command.as_std().get_envs();
        evidence::variables(variables.filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?))));
        let output = command.output().await.unwrap();
        let run = Self {
            code: output.status.code().expect("it ended by itself"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        evidence::said("program", &run.to_string());
        run
    }

    /// The same when it ended with this code.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// The same when its logs and messages say each of these.
    #[track_caller]
    pub(crate) fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not said\n{self}");
        }
        self
    }

    /// The same when none of these occurs anywhere.
    #[track_caller]
    pub(crate) fn hides(self, secrets: &[&str]) -> Self {
        for secret in secrets {
            assert!(
                !self.stdout.contains(secret) && !self.stderr.contains(secret),
                "{secret:?} is shown\n{self}"
            );
        }
        self
    }

    /// The one document on standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.stdout.lines().count(), 1, "one document on one line\n{self}");
        let document: serde_json::Value = serde_json::from_str(&self.stdout).unwrap();
        assert_eq!(document["exit_code"], self.code, "{self}");
        document
    }
}

/// The migrator on this database, not started yet.
pub(crate) fn migrator_command(database: &TestDatabase, arguments: &[&str]) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_migrator"), database.folder.path());
    command.args(arguments).env("DATABASE_URL", &database.address).kill_on_drop(true);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the migrator on this database.
pub(crate) async fn migrator(database: &TestDatabase, arguments: &[&str]) -> Run {
    Run::of(migrator_command(database, arguments)).await
}

/// Runs the migrator on this database with these variables beside `DATABASE_URL`.
pub(crate) async fn migrator_with(
    database: &TestDatabase,
    variables: &[(&str, &str)],
    arguments: &[&str],
) -> Run {
    let mut command = migrator_command(database, arguments);
    command.envs(variables.iter().copied());
    Run::of(command).await
}

/// The versions of the migrations that the program carries, in their order.
pub(crate) fn embedded_versions() -> Vec<i64> {
    embedded(Dialect::Sqlite).iter().map(|it| it.version()).collect()
}

/// The newest of them.
pub(crate) fn newest() -> i64 {
    embedded(Dialect::Sqlite).newest()
}

/// What the journal says when each of them was applied, once.
pub(crate) fn each_up() -> Vec<String> {
    embedded_versions().iter().map(|version| format!("up {version}")).collect()
}

/// The kind of database.
pub(crate) fn backend(database: &TestDatabase) -> Backend {
    if database.address.starts_with("sqlite") { Backend::Sqlite } else { Backend::Postgres }
}

/// Migrations and undo files by their names without `.sql`. What has no undo file gets one that does nothing.
pub(crate) type Files<'a> = &'a [(&'a str, &'a str)];

/// A file's name and its text.
type File = (String, String);

fn split(files: Files<'_>) -> (Vec<File>, Vec<File>) {
    let (mut migrations, mut undo) = (Vec::new(), Vec::new());
    for (name, sql) in files {
        let file = (format!("{name}.sql"), (*sql).to_owned());
        if name.starts_with('D') {
            undo.push(file);
            continue;
        }
        migrations.push(file);
        let undo_name = format!("D{}", name.trim_start_matches('V'));
        if !sql.contains("-- migrator: irreversible") && files.iter().all(|(name, _)| *name != undo_name) {
            undo.push((format!("{undo_name}.sql"), "SELECT 1;\n".to_owned()));
        }
    }
    (migrations, undo)
}

/// A set of migrations of a test's own.
pub(crate) fn catalog(backend: Backend, files: Files<'_>) -> Catalog {
    let (migrations, undo) = split(files);
    Catalog::from_files(Dialect::from(backend), migrations, undo).unwrap()
}

/// Writes the same set into a folder, for [`Catalog::from_folder`].
pub(crate) fn write_files(folder: &Path, backend: Backend, files: Files<'_>) {
    let (migrations, undo) = split(files);
    for (kind, files) in [("migrations", migrations), ("undo", undo)] {
        let folder = folder.join(kind).join(Dialect::from(backend).folder());
        std::fs::create_dir_all(&folder).unwrap();
        for (name, sql) in files {
            std::fs::write(folder.join(name), sql).unwrap();
        }
    }
}

/// The settings for an address, with these variables beside `DATABASE_URL`.
pub(crate) fn settings(address: &str, variables: &[(&str, &str)]) -> Settings {
    let pairs = variables.iter().copied().chain([("DATABASE_URL", address)]);
    let mut environment = Environment::from_pairs(pairs);
    let settings = Settings::read(&mut environment);
    environment.finish().unwrap();
    settings
}

/// The library with these migrations on this database, with these variables.
pub(crate) fn library_with(
    database: &TestDatabase,
    files: Files<'_>,
    variables: &[(&str, &str)],
) -> Migrator {
    library_at(&database.address, backend(database), files, variables)
}

/// The library with these migrations on the database at this address.
pub(crate) fn library_at(
    address: &str,
    backend: Backend,
    files: Files<'_>,
    variables: &[(&str, &str)],
) -> Migrator {
    let settings = settings(address, variables);
    let (_nobody_stops_it, stop) = Stop::new();
    Migrator::new(&settings, Clock::system(), Entropy::system(), stop).with_catalog(catalog(backend, files))
}

/// The library with these migrations on this database.
pub(crate) fn library(database: &TestDatabase, files: Files<'_>) -> Migrator {
    library_with(database, files, &[])
}

/// The rows of a query as texts, the columns called `it`.
pub(crate) async fn texts(connection: &mut Connection, sql: &str) -> Result<Vec<String>, DatabaseError> {
    let statement = Statement::write("test", "").with_sql(sql.to_owned());
    connection.query(&statement, &[]).await?.iter().map(|row| row.get("it")).collect()
}

/// The one number that a query gives, its column called `it`.
pub(crate) async fn number(connection: &mut Connection, sql: &str) -> i64 {
    let statement = Statement::write("test", "").with_sql(sql.to_owned());
    let row = connection.query_optional(&statement, &[]).await.unwrap().expect("a row");
    row.get("it").unwrap()
}

/// How many rows the table has.
pub(crate) async fn count(connection: &mut Connection, table: &str) -> i64 {
    number(connection, &format!("SELECT CAST(count(*) AS BIGINT) AS it FROM {table}")).await
}

/// Whether there is a table of this name.
pub(crate) async fn has_table(connection: &mut Connection, table: &str) -> bool {
    connection.batch(&format!("SELECT 1 FROM {table} LIMIT 1")).await.is_ok()
}

/// The versions in the history, in order.
pub(crate) async fn versions(connection: &mut Connection) -> Vec<String> {
    let sql = "SELECT CAST(version AS TEXT) AS it FROM refinery_schema_history ORDER BY version";
    texts(connection, sql).await.unwrap()
}

/// What the journal says was done, in order: `up 1`, `failed up 2`.
pub(crate) async fn journal(connection: &mut Connection) -> Vec<String> {
    let sql = "SELECT CASE outcome WHEN 'failed' THEN 'failed ' ELSE '' END || action || ' ' || CAST(version AS TEXT) AS it
        FROM migrator_journal ORDER BY id";
    texts(connection, sql).await.unwrap()
}

/// Sends a signal to a program that was started here.
pub(crate) async fn signal(child: &tokio::process::Child, name: &str) {
    let pid = child.id().expect("it has not ended").to_string();
    assert!(Command::new("kill").args(["-s", name, &pid]).status().await.unwrap().success());
}
