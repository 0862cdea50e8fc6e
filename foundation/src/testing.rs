//! What the tests of all three crates share: throwaway databases of both kinds, and waiting.
//!
//! `make test` starts a throwaway PostgreSQL cluster and names it in `TEST_POSTGRES_URL`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::disallowed_methods,
    reason = "a test ends by panicking"
)]

pub mod cluster;
pub mod evidence;
pub mod otlp;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

use crate::database::{Backend, Connection, Database, DatabaseUrl};
use crate::entropy::Entropy;
use crate::settings::{DatabaseSettings, Environment, Section};

/// A database of its own for one test, gone when it is dropped.
pub struct TestDatabase {
    /// Its address.
    pub url: DatabaseUrl,
    /// Its address as a program takes it in `DATABASE_URL`.
    pub address: String,
    /// A folder for whatever else the test writes.
    pub folder: TempDir,
}

/// The address of the throwaway cluster's superuser.
#[must_use]
pub fn postgres_address() -> String {
    std::env::var("TEST_POSTGRES_URL").expect("TEST_POSTGRES_URL names a throwaway cluster: run `make test`")
}

/// `address` as the service is to be given it: through the transaction pooler that stands before the throwaway
/// cluster, where there is one (`make test-pgbouncer`). Migrations and what a test looks up go to the server.
#[must_use]
pub fn pooled(address: &str) -> String {
    match (std::env::var("TEST_POOLER_PORT"), std::env::var("TEST_POSTGRES_URL")) {
        (Ok(pooler), Ok(server)) => {
            let (server, _) = server.rsplit_once('/').expect("the address ends with a database");
            let (_, port) = server.rsplit_once(':').expect("it names its port");
            address.replace(&format!("127.0.0.1:{port}/"), &format!("127.0.0.1:{pooler}/"))
        }
        _ => address.to_owned(),
    }
}

/// A name that no other test uses.
#[must_use]
pub fn unique_name(prefix: &str) -> String {
    format!("{prefix}_{:016x}", u64::from_le_bytes(Entropy::system().bytes()))
}

/// `address` with another database.
#[must_use]
pub fn address_of_database(address: &str, name: &str) -> String {
    let (server, _) = address.rsplit_once('/').expect("the address ends with a database");
    format!("{server}/{name}")
}

/// The default settings of a database with these variables.
#[must_use]
pub fn database_settings<const N: usize>(variables: [(&str, &str); N]) -> DatabaseSettings {
    let mut environment = Environment::from_pairs(variables);
    let settings = DatabaseSettings::read(&mut environment);
    environment.finish().expect("the settings of a test are right");
    settings
}

impl TestDatabase {
    /// An empty database.
    pub async fn new(backend: Backend) -> Self {
        let empty = Self::missing(backend);
        match backend {
            Backend::Postgres => {
                let name = empty.url.name();
                maintenance(&format!("CREATE DATABASE {name} TEMPLATE template0")).await;
                hook("made", &empty.address);
            }
            Backend::Sqlite => drop(empty.connect().await),
        }
        empty
    }

    /// A database that does not exist yet.
    #[must_use]
    pub fn missing(backend: Backend) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = match backend {
            Backend::Postgres => address_of_database(&postgres_address(), &unique_name("test")),
            Backend::Sqlite => format!("sqlite:///{}", folder.path().join("test.db").display()),
        };
        Self { url: address.parse().unwrap(), address, folder }
    }

    /// A connection with the default settings.
    pub async fn connect(&self) -> Connection {
        Connection::open(&self.url, &database_settings([]), "test").await.unwrap()
    }

    /// A pool with the default settings, as the service has one.
    #[must_use]
    pub fn open(&self) -> Database {
        let url: DatabaseUrl = pooled(&self.address).parse().unwrap();
        let mut settings = database_settings([]);
        if url != self.url {
            settings.direct_url = Some(self.url.clone());
        }
        Database::open(&url, &settings, "test").unwrap()
    }

    /// The file, for SQLite.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        PathBuf::from(self.url.name())
    }
}

/// Runs this on a runtime of its own, also where there is one around.
fn apart(work: impl Future<Output = ()> + Send) -> std::thread::Result<()> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(work);
        });
        thread.join()
    })
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // What cannot be read is missed by the sweep when it is missing everywhere.
        let _unread = apart(evidence::tables(self));
        if matches!(self.url, DatabaseUrl::Postgres(_)) {
            let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.url.name());
            if apart(maintenance(&sql)).is_err() && !std::thread::panicking() {
                panic!("the test's database could not be dropped");
            }
            hook("dropped", &self.url.name());
        }
    }
}

/// Tells the program in `TEST_DATABASE_HOOK`, where there is one, of a database that was made or dropped: it brings
/// into it what the server needs beyond an empty one.
fn hook(verb: &str, what: &str) {
    let Some(hook) = std::env::var_os("TEST_DATABASE_HOOK") else { return };
    let output = std::process::Command::new(hook).args([verb, what]).output().expect("the hook runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || std::thread::panicking(), "{verb} {what}: {said}");
}

/// Runs a statement as the cluster's superuser.
pub async fn maintenance(sql: &str) {
    let url: DatabaseUrl = postgres_address().parse().unwrap();
    let mut connection = Connection::open(&url, &database_settings([]), "test").await.unwrap();
    connection.batch(sql).await.unwrap();
}

/// Waits until `condition` holds, at most `limit`; panics with `what` when it does not come.
pub async fn eventually<F: Future<Output = bool>>(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> F,
) {
    let deadline = Instant::now() + limit;
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A program of this workspace, to be started with no variable but `PATH` and those given, in `folder`.
#[must_use]
pub fn program(path: &str, folder: &Path) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(path);
    command.env_clear().current_dir(folder).stdin(std::process::Stdio::null()).kill_on_drop(true);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// Stamps each test on PostgreSQL and on SQLite: `postgres::NAME` and `sqlite::NAME`.
#[macro_export]
macro_rules! on_both_databases {
    ($( $(#[doc = $doc:literal])* async fn $name:ident($database:ident: TestDatabase) $body:block )*) => {
        $( $(#[doc = $doc])* async fn $name($database: $crate::testing::TestDatabase) $body )*

        mod postgres {
            $( #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::testing::TestDatabase::new($crate::database::Backend::Postgres).await).await;
            } )*
        }

        mod sqlite {
            $( #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::testing::TestDatabase::new($crate::database::Backend::Sqlite).await).await;
            } )*
        }
    };
}
