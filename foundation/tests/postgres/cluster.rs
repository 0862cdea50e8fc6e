//! A PostgreSQL server of one test's own, to be stopped, frozen and set up as it likes.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use foundation::database::{Connection, Database, DatabaseError, DatabaseUrl, Row, Statement};
use foundation::settings::{DatabaseSettings, Environment, FoundationSettings};
use tempfile::TempDir;

/// A server in a folder, stopped when it is dropped.
pub(crate) struct Cluster {
    folder: TempDir,
    /// The address of its superuser.
    pub(crate) address: String,
}

fn script(verb: &str, folder: &Path) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/development/throwaway-postgres.sh");
    let output = Command::new(path).arg(verb).arg(folder).output().unwrap();
    assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Cluster {
    /// A server that runs.
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new().permissions(readable()).tempdir_in("/tmp").unwrap();
        let address = script("start", &folder.path().join("cluster"));
        Self { folder, address }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("cluster")
    }

    /// The folder of the sockets.
    pub(crate) fn sockets(&self) -> PathBuf {
        self.path()
    }

    /// Starts it again, at the port that it had.
    pub(crate) fn start_again(&self) {
        script("start", &self.path());
    }

    pub(crate) fn stop(&self) {
        script("stop", &self.path());
    }

    /// Writes a file that the server can read and nobody else.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let (path, data) = (self.path().join(name), self.path().join("data"));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let owner = std::fs::metadata(data).unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        path
    }

    /// Runs statements as the superuser.
    pub(crate) async fn batch(&self, sql: &[&str]) {
        let (url, settings) = settings(&self.address, &[]);
        let mut connection = Connection::open(&url, &settings, "test").await.unwrap();
        for sql in sql {
            connection.batch(sql).await.unwrap();
        }
    }

    /// The port that it listens at.
    pub(crate) fn port(&self) -> u16 {
        let (server, _) = self.address.rsplit_once('/').unwrap();
        server.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// All of its processes. The first one is named in a file, the others are its children.
    fn processes(&self) -> Vec<String> {
        let first = std::fs::read_to_string(self.path().join("data/postmaster.pid")).unwrap();
        let first = first.lines().next().unwrap().to_owned();
        let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
        std::iter::once(first).chain(children.split_whitespace().map(str::to_owned)).collect()
    }

    fn signal(&self, signal: &str) {
        // A process that ended meanwhile is no failure, so the exit status says nothing.
        let _all_or_some = Command::new("kill").arg(signal).args(self.processes()).status().unwrap();
    }

    /// Stops every process of it where it stands: it accepts connections and never answers.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It lies in the way of no other test, so what fails here is only said.
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/development/throwaway-postgres.sh");
        let stopped = Command::new(path).arg("stop").arg(self.path()).status();
        assert!(stopped.is_ok_and(|it| it.success()) || std::thread::panicking(), "the server did not stop");
    }
}

fn readable() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o755)
}

/// The settings as the programs have them, of this address and these variables.
pub(crate) fn settings(address: &str, pairs: &[(&str, &str)]) -> (DatabaseUrl, DatabaseSettings) {
    let pairs = pairs.iter().copied().chain([("DATABASE_URL", address)]);
    let mut environment = Environment::from_pairs(pairs);
    let settings = FoundationSettings::read(&mut environment);
    environment.finish().unwrap();
    (settings.database_url, settings.database)
}

/// A connection of its own.
pub(crate) async fn connect(address: &str, pairs: &[(&str, &str)]) -> Result<Connection, DatabaseError> {
    let (url, settings) = settings(address, pairs);
    Connection::open(&url, &settings, "test").await
}

/// A pool.
pub(crate) fn open(address: &str, pairs: &[(&str, &str)]) -> Database {
    let (url, settings) = settings(address, pairs);
    Database::open(&url, &settings, "test").unwrap()
}

/// The one row of a statement, on a new connection to `address`.
pub(crate) async fn ask(address: &str, sql: &'static str) -> Result<Row, DatabaseError> {
    let row = connect(address, &[]).await?.query_optional(&Statement::read("nothing", sql), &[]).await?;
    Ok(row.unwrap())
}
