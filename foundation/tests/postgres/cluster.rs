//! Connections and pools to a server of one test's own.

use foundation::database::{Connection, Database, DatabaseError, DatabaseUrl, Row, Statement};
use foundation::settings::{DatabaseSettings, Environment, FoundationSettings};

pub(crate) use foundation::testing::cluster::PrivateCluster as Cluster;

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
