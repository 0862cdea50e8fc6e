//! A connection to either database, and a transaction on one.

use std::sync::Arc;

use super::postgres::{Cancel, PostgresConnection};
use super::sqlite::SqliteConnection;
use super::statement::Watch;
use super::{Backend, DatabaseError, DatabaseUrl, Row, Statement, Value};
use crate::settings::DatabaseSettings;

/// One connection that its holder has for itself. Statements run on it one after the other.
pub struct Connection {
    driver: Driver,
    watch: Arc<Watch>,
}

#[expect(clippy::large_enum_variant, reason = "the larger one is the one that has to be fast")]
enum Driver {
    Postgres(PostgresConnection),
    Sqlite(SqliteConnection),
}

/// Does the same on either driver.
macro_rules! on_driver {
    ($connection:expr, $driver:ident => $work:expr) => {
        match &mut $connection.driver {
            Driver::Postgres($driver) => $work,
            Driver::Sqlite($driver) => $work,
        }
    };
}

impl Connection {
    /// Opens a connection that is not of a pool and has no statement timeout.
    ///
    /// # Errors
    /// A sentence that says which database, what is wrong and what to look at.
    pub async fn open(
        url: &DatabaseUrl,
        settings: &DatabaseSettings,
        application_name: &str,
    ) -> Result<Self, DatabaseError> {
        let watch = Arc::new(Watch::new(url, settings));
        match url {
            DatabaseUrl::Postgres(url) => {
                let connection = PostgresConnection::open(url, settings, application_name).await?;
                Ok(Self::postgres(connection, watch))
            }
            DatabaseUrl::Sqlite(path) => {
                Ok(Self::sqlite(SqliteConnection::open(path, settings).await?, watch))
            }
        }
    }

    pub(super) fn postgres(connection: PostgresConnection, watch: Arc<Watch>) -> Self {
        Self { driver: Driver::Postgres(connection), watch }
    }

    pub(super) fn sqlite(connection: SqliteConnection, watch: Arc<Watch>) -> Self {
        Self { driver: Driver::Sqlite(connection), watch }
    }

    /// Which database this is.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.watch.backend
    }

    /// All rows that the statement finds. Only for statements that bound them.
    ///
    /// # Errors
    /// What the database says.
    pub async fn query(
        &mut self,
        statement: &Statement,
        values: &[Value],
    ) -> Result<Vec<Row>, DatabaseError> {
        let watch = Arc::clone(&self.watch);
        let work = async { on_driver!(self, driver => driver.query(statement.sql(), values).await) };
        watch.statement(statement, |rows: &Vec<Row>| rows.len() as u64, work).await
    }

    /// The first row that the statement finds.
    ///
    /// # Errors
    /// What the database says.
    pub async fn query_optional(
        &mut self,
        statement: &Statement,
        values: &[Value],
    ) -> Result<Option<Row>, DatabaseError> {
        Ok(self.query(statement, values).await?.into_iter().next())
    }

    /// The number of rows that the statement changed.
    ///
    /// # Errors
    /// What the database says.
    pub async fn execute(&mut self, statement: &Statement, values: &[Value]) -> Result<u64, DatabaseError> {
        let watch = Arc::clone(&self.watch);
        let work = async { on_driver!(self, driver => driver.execute(statement.sql(), values).await) };
        watch.statement(statement, |count| *count, work).await
    }

    /// Runs any number of statements without parameters.
    ///
    /// # Errors
    /// What the database says of the first one that fails.
    pub async fn batch(&mut self, sql: &str) -> Result<(), DatabaseError> {
        on_driver!(self, driver => driver.batch(sql).await)
    }

    /// Begins a transaction. On SQLite it holds the right to write from its start.
    ///
    /// # Errors
    /// What the database says.
    pub async fn begin(&mut self) -> Result<(), DatabaseError> {
        on_driver!(self, driver => driver.begin().await)
    }

    /// Makes what the transaction did permanent.
    ///
    /// # Errors
    /// What the database says. Whether a connection that broke meanwhile committed is not known.
    pub async fn commit(&mut self) -> Result<(), DatabaseError> {
        on_driver!(self, driver => driver.commit().await)
    }

    /// Takes back what the transaction did.
    ///
    /// # Errors
    /// What the database says.
    pub async fn rollback(&mut self) -> Result<(), DatabaseError> {
        on_driver!(self, driver => driver.rollback().await)
    }

    /// Whether this database can be written at the moment: not a standby, not read-only.
    ///
    /// # Errors
    /// What the database says.
    pub async fn is_writable(&mut self) -> Result<bool, DatabaseError> {
        on_driver!(self, driver => driver.is_writable().await)
    }

    /// What cancels the statement that this connection is running.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller(match &self.driver {
            Driver::Postgres(driver) => How::Postgres(Box::new(driver.canceller())),
            Driver::Sqlite(driver) => How::Sqlite(driver.interrupter()),
        })
    }
}

/// Cancels the statement that a connection is running, from elsewhere.
#[derive(Clone)]
pub struct Canceller(How);

#[derive(Clone)]
enum How {
    Postgres(Box<Cancel>),
    Sqlite(Arc<rusqlite::InterruptHandle>),
}

impl Canceller {
    /// Asks for it. The statement ends with [`QueryCanceled`](super::DatabaseErrorKind::QueryCanceled),
    /// unless it was done before.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn cancel(&self) -> Result<(), DatabaseError> {
        match &self.0 {
            How::Postgres(cancel) => cancel.cancel().await,
            How::Sqlite(handle) => {
                handle.interrupt();
                Ok(())
            }
        }
    }
}

/// A transaction. Dropped without [`commit`](Self::commit) — on an error, or because the request went
/// away — it is rolled back.
#[must_use = "a transaction that is not committed is rolled back"]
pub struct Transaction {
    connection: Connection,
}

impl Transaction {
    pub(super) async fn begin(mut connection: Connection) -> Result<Self, DatabaseError> {
        connection.begin().await?;
        Ok(Self { connection })
    }

    /// All rows that the statement finds. Only for statements that bound them.
    ///
    /// # Errors
    /// What the database says.
    pub async fn query(
        &mut self,
        statement: &Statement,
        values: &[Value],
    ) -> Result<Vec<Row>, DatabaseError> {
        self.connection.query(statement, values).await
    }

    /// The first row that the statement finds.
    ///
    /// # Errors
    /// What the database says.
    pub async fn query_optional(
        &mut self,
        statement: &Statement,
        values: &[Value],
    ) -> Result<Option<Row>, DatabaseError> {
        self.connection.query_optional(statement, values).await
    }

    /// The number of rows that the statement changed.
    ///
    /// # Errors
    /// What the database says.
    pub async fn execute(&mut self, statement: &Statement, values: &[Value]) -> Result<u64, DatabaseError> {
        self.connection.execute(statement, values).await
    }

    /// Makes everything permanent.
    ///
    /// # Errors
    /// What the database says. Whether a connection that broke meanwhile committed is not known.
    pub async fn commit(mut self) -> Result<(), DatabaseError> {
        self.connection.commit().await
    }
}
