//! PostgreSQL and SQLite behind one small face.
//!
//! One SQL text per query, its parameters bound by position, runs on both databases. The face is by
//! statement, not by connection: a [`Statement`] says what it is (a lookup, a read, a write) and
//! [`Database`] picks where it runs; only a [`Transaction`] holds a connection. That leaves room for what
//! was measured (two cores, 32 clients, one row by its key with a session checked on every request):
//!
//! | how | requests/s |
//! | --- | ---: |
//! | pooled connection, two statements one after the other | 9,000 |
//! | pooled connection, both statements sent at once (pipelined) | 10,600 |
//! | four shared connections (*lanes*), statements of all requests pipelined | 13,500 |
//! | lanes, session and row asked at the same time | 14,300 |
//! | lanes, and the session look-ups that arrive while one is under way go together in the next | 17,200 |
//! | lanes and a session cache (stale until told): the bound, not the plan | 21,000 |
//!
//! On PostgreSQL a [`Statement::lookup`] runs on a lane, a [`Statement::reserved`] on a connection that is kept for
//! such, or one of the pool where the server admits no more; everything else has a connection of the pool, a [`Statement::read`] one of the standby's where there is one
//! that is fresh enough.
//!
//! What differs between the two databases, tried: SQLite numbers `$n` by first appearance, so parameters
//! are bound by name. `RETURNING`, `ON CONFLICT`, `FILTER` and `CAST(x AS BIGINT)` work on both; `::`,
//! `now()`, `GREATEST`, `= ANY`, `ILIKE`, `FOR UPDATE` and `date_trunc` do not. `BIGSERIAL` is silently
//! accepted by SQLite and yields no ids. Times are passed in, cut to microseconds.

mod connection;
mod error;
mod insert;
mod libpq;
mod listen;
pub mod position;
mod postgres;
mod sqlite;
mod standby;
mod statement;
mod stream;
mod together;
mod url;
mod value;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use self::postgres::PostgresPool;
use self::sqlite::SqlitePool;
use self::standby::Standby;
use self::statement::Watch;
use crate::settings::DatabaseSettings;

pub use connection::{Canceller, Connection, Transaction};
pub use error::{DatabaseError, DatabaseErrorKind};
pub use insert::{InsertRows, ValueType};
pub use listen::{Heard, Listener};
pub use position::Position;
pub use standby::StandbyReads;
pub use statement::{Access, Statement};
pub use stream::RowStream;
pub use together::{Answer, Request};
pub use url::{DatabaseUrl, PostgresUrl, SslMode};
pub use value::{FromValue, Row, Value};

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// A PostgreSQL server.
    Postgres,
    /// A SQLite file.
    Sqlite,
}

impl Backend {
    /// The name that OpenTelemetry's semantic conventions give it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgresql",
            Self::Sqlite => "sqlite",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Postgres => "PostgreSQL",
            Self::Sqlite => "SQLite",
        })
    }
}

/// The figures of a pool, in connections and in callers that wait for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStatus {
    /// Open connections.
    pub size: usize,
    /// Those of them that nobody uses.
    pub available: usize,
    /// Callers that wait for one.
    pub waiting: usize,
    /// The most connections there may be.
    pub maximum: usize,
}

/// The pool of connections to the database. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    standby: Option<Standby>,
    /// Whether reads go to a standby, those of this handle or of others: then it matters where a write ended.
    tells: bool,
    watch: Arc<Watch>,
    /// How long a stream may make its reader wait for the next row.
    wait_limit: Duration,
}

#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
enum Pool {
    Postgres(PostgresPool),
    Sqlite(SqlitePool),
}

impl Database {
    /// Sets the pool up. Nothing is connected before the first statement (with a standby, the primary is asked
    /// how far it is from now on), so this succeeds while the database is away. Must be called inside of a tokio runtime.
    ///
    /// # Errors
    /// When the certificate authorities that the settings name cannot be read.
    pub fn open(
        url: &DatabaseUrl,
        settings: &DatabaseSettings,
        application_name: &str,
    ) -> Result<Self, DatabaseError> {
        let watch = Arc::new(Watch::new(url, settings));
        let pool = match url {
            DatabaseUrl::Postgres(url) => {
                let pool = PostgresPool::new(url, settings, application_name)?;
                trim_overflow(&watch, &pool, settings);
                Pool::Postgres(pool)
            }
            DatabaseUrl::Sqlite(path) => Pool::Sqlite(SqlitePool::new(path, settings)?),
        };
        let standby = match (&settings.read_url, &pool) {
            (Some(DatabaseUrl::Postgres(read_url)), Pool::Postgres(primary)) => {
                let standby = Standby::new(read_url, settings, application_name, primary)?;
                trim_overflow(&watch, standby.pool(), settings);
                Some(standby)
            }
            _ => None,
        };
        let tells = standby.is_some();
        Ok(Self { pool, standby, tells, watch, wait_limit: settings.statement_timeout })
    }

    /// Which database this is.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.watch.backend
    }

    /// All rows that the statement finds. Only for statements that bound them.
    ///
    /// # Errors
    /// What the database says, or [`DatabaseErrorKind::PoolTimeout`].
    pub async fn query(&self, statement: &Statement, values: &[Value]) -> Result<Vec<Row>, DatabaseError> {
        match &self.pool {
            Pool::Postgres(pool) if statement.access == Access::Lookup => {
                let asked = pool.lanes().query(statement.sql(), values);
                self.watch.statement(statement, |rows: &Vec<Row>| rows.len() as u64, asked).await
            }
            _ => {
                if let Some(standby) = self.standby_for(statement) {
                    let read = match standby.connection(&self.watch).await {
                        Some(Ok(mut connection)) => Some(connection.query(statement, values).await),
                        Some(Err(error)) => Some(Err(error)),
                        None => None,
                    };
                    if let Some(answer) = standby.answer(read) {
                        return answer;
                    }
                }
                self.connection(statement.access).await?.query(statement, values).await
            }
        }
    }

    /// The first row that the statement finds.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn query_optional(
        &self,
        statement: &Statement,
        values: &[Value],
    ) -> Result<Option<Row>, DatabaseError> {
        Ok(self.query(statement, values).await?.into_iter().next())
    }

    /// The number of rows that the statement changed.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn execute(&self, statement: &Statement, values: &[Value]) -> Result<u64, DatabaseError> {
        self.connection(statement.access).await?.execute(statement, values).await
    }

    /// A transaction on a connection of its own. On SQLite it may write, and waits for the one that does.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn begin(&self) -> Result<Transaction, DatabaseError> {
        let connection = self.connection(Access::Write).await?;
        Transaction::begin(connection, self.wait_limit, self.tells).await
    }

    /// Notes where the primary is for the work that is [followed](position::following), because something of
    /// it was written before: by another request, or by a statement without a transaction.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn note_position(&self) -> Result<(), DatabaseError> {
        if let (Pool::Postgres(pool), true) = (&self.pool, self.tells && position::is_followed()) {
            let rows = pool.lanes().query(postgres::WRITTEN, &[]).await?;
            postgres::position(&rows)?.into_iter().for_each(position::note);
        }
        Ok(())
    }

    async fn connection(&self, access: Access) -> Result<Connection, DatabaseError> {
        let watch = Arc::clone(&self.watch);
        match &self.pool {
            Pool::Postgres(pool) if access == Access::Reserved => {
                Ok(Connection::postgres(pool.get_reserved().await?, watch))
            }
            Pool::Postgres(pool) => Ok(Connection::postgres(pool.get().await?, watch)),
            Pool::Sqlite(pool) if matches!(access, Access::Write | Access::Reserved) => {
                Ok(Connection::sqlite(pool.get_writer().await?, watch))
            }
            Pool::Sqlite(pool) => Ok(Connection::sqlite(pool.get_reader().await?, watch)),
        }
    }

    /// The figures of the pool at this moment.
    #[must_use]
    pub fn pool_status(&self) -> PoolStatus {
        match &self.pool {
            Pool::Postgres(pool) => pool.status(),
            Pool::Sqlite(pool) => pool.status(),
        }
    }

    /// Gives up the connections that are open, to the standby as well, because another server is the primary now:
    /// statements that wait on them fail as on a connection that broke, and new ones are opened. How far a standby
    /// has to be is learned anew, from the primary of now.
    pub fn renew(&self) {
        if let Pool::Postgres(pool) = &self.pool {
            pool.renew();
        }
        if let Some(standby) = &self.standby {
            standby.renew();
        }
    }

    /// Closes the pool: no new connections, and those in use are closed when they are given back.
    pub fn close(&self) {
        match &self.pool {
            Pool::Postgres(pool) => pool.close(),
            Pool::Sqlite(pool) => pool.close(),
        }
        if let Some(standby) = &self.standby {
            standby.close();
        }
    }
}

impl Watch {
    fn new(url: &DatabaseUrl, settings: &DatabaseSettings) -> Self {
        let backend = match url {
            DatabaseUrl::Postgres(_) => Backend::Postgres,
            DatabaseUrl::Sqlite(_) => Backend::Sqlite,
        };
        Self { backend, namespace: url.name(), echo: settings.echo }
    }
}

/// Closes what was opened above the pool's size and is idle, until the last handle of the pool is gone.
fn trim_overflow(watch: &Arc<Watch>, pool: &PostgresPool, settings: &DatabaseSettings) {
    if settings.max_overflow == 0 {
        return;
    }
    let (alive, pool) = (Arc::downgrade(watch), pool.clone());
    let keep = usize::try_from(settings.pool_size.get()).unwrap_or(usize::MAX);
    let idle_timeout = settings.idle_timeout;
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(idle_timeout.max(Duration::from_secs(1)));
        while alive.upgrade().is_some() {
            interval.tick().await;
            pool.trim(keep, idle_timeout);
        }
    });
}
