//! A PostgreSQL server of a test's own, which it may freeze, kill and start again.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::database_settings;
use crate::database::Connection;

/// A PostgreSQL server in a folder of its own, stopped when it is dropped.
pub struct PrivateCluster {
    folder: TempDir,
    /// Its superuser's address.
    pub address: String,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/development/throwaway-postgres.sh")
}

fn run(folder: &Path, verb: &str, of: Option<&Path>) -> String {
    let mut command = Command::new(script());
    command.arg(verb).arg(folder).args(of);
    let output = command.output().expect("the script runs");
    assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

impl PrivateCluster {
    /// Makes one and starts it.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address = run(folder.path(), "start", None);
        Self { folder, address }
    }

    /// Makes a standby of this one, which follows it as it is written, and starts it.
    #[must_use]
    pub fn standby(&self) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address = run(folder.path(), "standby", Some(self.folder()));
        Self { folder, address }
    }

    /// Where it lies: `data` below it holds `postgresql.conf`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The port that it listens at.
    #[must_use]
    pub fn port(&self) -> u16 {
        let (server, _) = self.address.rsplit_once('/').expect("the address ends with a database");
        server.rsplit_once(':').expect("a port").1.parse().expect("a number")
    }

    /// Writes a file below its folder that the server can read and nobody else.
    #[must_use]
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder().join(name);
        std::fs::write(&path, text).expect("the file is written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("it is ours");
        let owner = std::fs::metadata(self.folder().join("data")).expect("it was started");
        chown(&path, Some(owner.uid()), Some(owner.gid())).expect("it is given away");
        path
    }

    /// Runs statements as the superuser, each by itself.
    pub async fn batch(&self, statements: &[&str]) {
        let url = self.address.parse().expect("an address");
        let mut connection =
            Connection::open(&url, &database_settings([]), "test").await.expect("a connection");
        for sql in statements {
            connection.batch(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
    }

    /// Ends it at once; the data stay.
    pub fn stop(&self) {
        run(self.folder(), "stop", None);
    }

    /// Starts it again, on the same port and with the same data.
    pub fn start_again(&self) {
        run(self.folder(), "start", None);
    }

    /// Stops every process of it without ending any: it accepts connections and answers nothing.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets a frozen one go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Sends a signal to the postmaster and then to its children.
    fn signal(&self, name: &str) {
        let file = self.folder().join("data/postmaster.pid");
        let postmaster = std::fs::read_to_string(file).expect("it runs");
        let postmaster = postmaster.lines().next().expect("its first line is the process id").to_owned();
        let send = |process: &str| {
            // A child may have ended meanwhile.
            let _sent = Command::new("kill").args(["-s", name, process]).output();
        };
        send(&postmaster);
        let mut reached = BTreeSet::new();
        loop {
            // Asked again until it is the same twice: one may have been born while the first got theirs.
            let children = Command::new("pgrep").args(["-P", &postmaster]).output().expect("pgrep runs");
            let children = String::from_utf8(children.stdout).expect("text");
            let new: Vec<_> = children.split_whitespace().filter(|it| !reached.contains(*it)).collect();
            if new.is_empty() {
                break;
            }
            new.iter().for_each(|process| send(process));
            reached.extend(new.into_iter().map(str::to_owned));
        }
    }
}

impl Drop for PrivateCluster {
    fn drop(&mut self) {
        if self.folder().join("data/postmaster.pid").exists() {
            self.thaw();
            self.stop();
        }
    }
}
