//! A connection to either database, and a transaction on one.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::position;
use super::postgres::{Cancel, PostgresConnection};
use super::sqlite::{Purpose, SqliteConnection};
use super::statement::Watch;
use super::{Backend, DatabaseError, DatabaseErrorKind, DatabaseUrl, Row, Statement, Value};
use crate::settings::DatabaseSettings;

/// One connection that its holder has for itself. Statements run on it one after the other.
pub struct Connection {
    pub(super) driver: Driver,
    pub(super) watch: Arc<Watch>,
}

#[expect(clippy::large_enum_variant, reason = "the larger one is the one that has to be fast")]
pub(super) enum Driver {
    Postgres(PostgresConnection),
    Sqlite(SqliteConnection),
}

pub(super) const BEGIN: Statement = Statement::write("transaction", "BEGIN");
pub(super) const COMMIT: Statement = Statement::write("transaction", "COMMIT");
const ROLLBACK: Statement = Statement::write("transaction", "ROLLBACK");

/// Does the same on either driver.
macro_rules! on_driver {
    ($on:expr, $driver:ident => $work:expr) => {
        match $on {
            Driver::Postgres($driver) => $work,
            Driver::Sqlite($driver) => $work,
        }
    };
}

impl Connection {
    /// Opens a connection that is not of a pool and has no statement timeout. A SQLite file is made when it is
    /// missing, and put into WAL mode, in which it stays.
    ///
    /// # Errors
    /// A sentence that says which database, what is wrong and what to look at.
    pub async fn open(
        url: &DatabaseUrl,
        settings: &DatabaseSettings,
        application_name: &str,
    ) -> Result<Self, DatabaseError> {
        Self::open_for(url, settings, application_name, Purpose::Write).await
    }

    /// The same for looking at it: a SQLite file stays in the mode that it is in.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn look_at(
        url: &DatabaseUrl,
        settings: &DatabaseSettings,
        application_name: &str,
    ) -> Result<Self, DatabaseError> {
        Self::open_for(url, settings, application_name, Purpose::Look).await
    }

    async fn open_for(
        url: &DatabaseUrl,
        settings: &DatabaseSettings,
        application_name: &str,
        purpose: Purpose,
    ) -> Result<Self, DatabaseError> {
        let watch = Arc::new(Watch::new(url, settings));
        match url {
            DatabaseUrl::Postgres(url) => {
                let connection = PostgresConnection::open(url, settings, application_name).await?;
                Ok(Self::postgres(connection, watch))
            }
            DatabaseUrl::Sqlite(path) => {
                Ok(Self::sqlite(SqliteConnection::open(path, settings, purpose).await?, watch))
            }
        }
    }

    /// Has the server end each statement from now on that takes longer. SQLite waits for nobody longer than the
    /// settings say.
    ///
    /// # Errors
    /// What the database says.
    pub async fn limit_statements(&mut self, limit: Duration) -> Result<(), DatabaseError> {
        match &mut self.driver {
            Driver::Postgres(driver) => driver.limit_statements(limit).await,
            Driver::Sqlite(_) => Ok(()),
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

    /// Before a statement: of those that are put together at run time there is no end.
    pub(super) fn prepare_for(&self, statement: &Statement) {
        if let (Driver::Postgres(driver), Cow::Owned(sql)) = (&self.driver, &statement.sql) {
            driver.keep_latest(sql);
        }
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
        self.prepare_for(statement);
        let watch = Arc::clone(&self.watch);
        let work =
            async { on_driver!(&mut self.driver, driver => driver.query(statement.sql(), values).await) };
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
        self.prepare_for(statement);
        let watch = Arc::clone(&self.watch);
        let work =
            async { on_driver!(&mut self.driver, driver => driver.execute(statement.sql(), values).await) };
        watch.statement(statement, |count| *count, work).await
    }

    /// Runs any number of statements without parameters.
    ///
    /// # Errors
    /// What the database says of the first one that fails.
    pub async fn batch(&mut self, sql: &str) -> Result<(), DatabaseError> {
        let statements = Statement::write("statements", "").with_sql(sql.to_owned());
        self.watched(&statements, async |driver| on_driver!(driver, driver => driver.batch(sql).await)).await
    }

    /// Runs any number of statements without parameters, as [`batch`](Self::batch) does, and says how many rows
    /// they wrote, those that they found counted too on PostgreSQL. What they find is passed over.
    ///
    /// # Errors
    /// What the database says of the first one that fails.
    pub async fn batch_rows(&mut self, sql: &str) -> Result<u64, DatabaseError> {
        let statements = Statement::write("statements", "").with_sql(sql.to_owned());
        let watch = Arc::clone(&self.watch);
        let work = async { on_driver!(&mut self.driver, driver => driver.batch_rows(sql).await) };
        watch.statement(&statements, |count| *count, work).await
    }

    /// Begins a transaction. On SQLite it holds the right to write from its start.
    ///
    /// # Errors
    /// What the database says.
    pub async fn begin(&mut self) -> Result<(), DatabaseError> {
        self.watched(&BEGIN, async |driver| on_driver!(driver, driver => driver.begin().await)).await
    }

    /// Runs the statements `before`, which have no parameters, makes permanent what the transaction did, and runs
    /// those `after`. On PostgreSQL all of them go to the server together.
    ///
    /// # Errors
    /// What the database says; of a statement `before` that fails, nothing was committed. Whether a connection
    /// that broke meanwhile committed is not known.
    pub async fn commit_with(&mut self, before: &str, after: &str) -> Result<(), DatabaseError> {
        let commit =
            async |driver: &mut Driver| on_driver!(driver, driver => driver.commit_with(before, after).await);
        self.watched(&COMMIT, commit).await
    }

    /// Makes what the transaction did permanent.
    ///
    /// # Errors
    /// What the database says. Whether a connection that broke meanwhile committed is not known.
    pub async fn commit(&mut self) -> Result<(), DatabaseError> {
        self.watched(&COMMIT, async |driver| on_driver!(driver, driver => driver.commit().await)).await
    }

    /// The same, and notes where the primary was after it for the work that is followed.
    async fn commit_and_tell(&mut self) -> Result<(), DatabaseError> {
        let commit = async |driver: &mut Driver| match driver {
            Driver::Postgres(driver) => {
                driver.commit_and_tell().await?.into_iter().for_each(position::note);
                Ok(())
            }
            Driver::Sqlite(driver) => driver.commit().await,
        };
        self.watched(&COMMIT, commit).await
    }

    /// Takes back what the transaction did.
    ///
    /// # Errors
    /// What the database says.
    pub async fn rollback(&mut self) -> Result<(), DatabaseError> {
        self.watched(&ROLLBACK, async |driver| on_driver!(driver, driver => driver.rollback().await)).await
    }

    /// Replaces everything in this SQLite file by what `copy` has, in one transaction: whoever has the file
    /// open sees either the old or the new. `copy` is looked at from its first page to its last before.
    ///
    /// # Errors
    /// When this is no SQLite file, `copy` is not sound or has nothing in it, or the file is in use.
    pub async fn replace_by(&mut self, copy: &Path) -> Result<(), DatabaseError> {
        match &mut self.driver {
            Driver::Sqlite(driver) => driver.replace_by(copy).await,
            Driver::Postgres(_) => {
                Err(DatabaseError::new(DatabaseErrorKind::Other, "a server is no file that could be copied"))
            }
        }
    }

    /// Whether this database can be written at the moment: not a standby, not read-only.
    ///
    /// # Errors
    /// What the database says.
    pub async fn is_writable(&mut self) -> Result<bool, DatabaseError> {
        on_driver!(&mut self.driver, driver => driver.is_writable().await)
    }

    /// Which run of which server this is, for telling it from others; nothing for a file.
    ///
    /// # Errors
    /// What the database says.
    pub async fn server(&mut self) -> Result<Option<String>, DatabaseError> {
        match &mut self.driver {
            Driver::Postgres(driver) => driver.server().await,
            Driver::Sqlite(_) => Ok(None),
        }
    }

    /// Does something on the driver that changes no rows which could be counted.
    async fn watched(
        &mut self,
        statement: &Statement,
        work: impl AsyncFnOnce(&mut Driver) -> Result<(), DatabaseError>,
    ) -> Result<(), DatabaseError> {
        let watch = Arc::clone(&self.watch);
        watch.statement(statement, |()| 0, work(&mut self.driver)).await
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
    pub(super) connection: Connection,
    /// Whether a statement failed. PostgreSQL does nothing more then; SQLite would, so it is kept from it.
    pub(super) failed: bool,
    /// How long a stream may make its reader wait for the next row.
    pub(super) wait_limit: Duration,
    /// Whether there is a standby, so that it matters where the transaction ends.
    tells: bool,
}

impl Transaction {
    pub(super) async fn begin(
        mut connection: Connection,
        wait_limit: Duration,
        tells: bool,
    ) -> Result<Self, DatabaseError> {
        connection.begin().await?;
        Ok(Self { connection, failed: false, wait_limit, tells })
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
        let found = self.connection.query(statement, values).await;
        self.failed |= found.is_err();
        found
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
        let changed = self.connection.execute(statement, values).await;
        self.failed |= changed.is_err();
        changed
    }

    /// Makes everything permanent. A transaction of which a statement failed is rolled back, on either
    /// database, whatever was done about the failure.
    ///
    /// # Errors
    /// What the database says. Whether a connection that broke meanwhile committed is not known.
    pub async fn commit(mut self) -> Result<(), DatabaseError> {
        if self.failed {
            self.connection.rollback().await?;
            let message = "the transaction was rolled back, because a statement of it had failed";
            return Err(DatabaseError::new(DatabaseErrorKind::Other, message));
        }
        if self.tells && position::is_followed() {
            return self.connection.commit_and_tell().await;
        }
        self.connection.commit().await
    }
}
