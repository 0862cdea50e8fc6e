//! The SQLite driver: the only place that names rusqlite and deadpool-sqlite.

mod copy;
mod insert;
mod pool;
mod script;
mod stream;
mod values;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use deadpool_sqlite::{InteractError, Object, Runtime};
use rusqlite::InterruptHandle;
use tokio::time::timeout;

use super::{DatabaseError, DatabaseErrorKind, Row, Value};
use crate::settings::DatabaseSettings;
use values::{bind, read};

pub(super) use insert::ChunkedInsert;
pub(super) use pool::SqlitePool;

/// Statements that a connection keeps prepared.
const PREPARED_STATEMENTS: usize = 128;

/// One connection, of one of the two pools or of its own.
pub(super) struct SqliteConnection {
    holder: Option<Holder>,
    interrupt: Arc<InterruptHandle>,
    statement_timeout: Option<Duration>,
    /// Whether a statement is under way: true when the caller went away in the middle of it.
    busy: bool,
    in_transaction: bool,
}

enum Holder {
    Pooled(Object),
    Own(Own),
}

type Own = deadpool_sync::SyncWrapper<rusqlite::Connection>;

impl Holder {
    fn wrapper(&self) -> &Own {
        match self {
            Self::Pooled(object) => object,
            Self::Own(connection) => connection,
        }
    }

    async fn interact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut rusqlite::Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        match self.wrapper().interact(work).await {
            Ok(result) => Ok(result?),
            Err(InteractError::Panic(_)) => {
                Err(DatabaseError::new(DatabaseErrorKind::Other, "a statement panicked"))
            }
            Err(InteractError::Cancelled) => {
                Err(DatabaseError::new(DatabaseErrorKind::QueryCanceled, "the program is ending"))
            }
        }
    }
}

impl SqliteConnection {
    /// Opens a connection of its own. It may write, makes the file when it is missing, and has no
    /// statement timeout.
    pub(super) async fn open(
        path: &Path,
        settings: &DatabaseSettings,
        purpose: Purpose,
    ) -> Result<Self, DatabaseError> {
        let (file, busy_timeout) = (path.to_owned(), settings.wait_timeout);
        let opened = Own::new(Runtime::Tokio1, move || {
            let connection = rusqlite::Connection::open(file)?;
            configure(&connection, busy_timeout, purpose)?;
            Ok::<_, rusqlite::Error>(connection)
        });
        let connection = opened.await.map_err(|error| not_opened(path, error.into()))?;
        Self::new(Holder::Own(connection), None)
    }

    fn new(holder: Holder, statement_timeout: Option<Duration>) -> Result<Self, DatabaseError> {
        // Nobody else has this connection, so the lock is free.
        let interrupt = match holder.wrapper().lock() {
            Ok(connection) => Arc::new(connection.get_interrupt_handle()),
            Err(_) => return Err(DatabaseError::new(DatabaseErrorKind::Other, "a statement panicked")),
        };
        Ok(Self { holder: Some(holder), interrupt, statement_timeout, busy: false, in_transaction: false })
    }

    pub(super) fn interrupter(&self) -> Arc<InterruptHandle> {
        Arc::clone(&self.interrupt)
    }

    pub(super) async fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, DatabaseError> {
        let (sql, values) = (sql.to_owned(), values.to_vec());
        self.run(move |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            bind(&mut statement, values)?;
            let columns: Arc<[String]> = statement.column_names().into_iter().map(str::to_owned).collect();
            let mut found = statement.raw_query();
            let mut rows = Vec::new();
            while let Some(row) = found.next()? {
                let value = |index| row.get_ref(index).map(read);
                let values = (0..columns.len()).map(value).collect::<Result<_, _>>()?;
                rows.push(Row::new(Arc::clone(&columns), values));
            }
            Ok(rows)
        })
        .await
    }

    pub(super) async fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, DatabaseError> {
        let (sql, values) = (sql.to_owned(), values.to_vec());
        self.run(move |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            bind(&mut statement, values)?;
            let count = statement.raw_execute()?;
            Ok(u64::try_from(count).unwrap_or(u64::MAX))
        })
        .await
    }

    /// Runs statements without parameters.
    pub(super) async fn batch(&mut self, sql: &str) -> Result<(), DatabaseError> {
        let sql = sql.to_owned();
        self.run(move |connection| Ok(script::run(connection, &sql))).await?
    }

    /// The same, and how many rows the statements wrote.
    pub(super) async fn batch_rows(&mut self, sql: &str) -> Result<u64, DatabaseError> {
        let sql = sql.to_owned();
        self.run(move |connection| {
            let before = connection.total_changes();
            Ok(script::run(connection, &sql).map(|()| connection.total_changes() - before))
        })
        .await?
    }

    /// Begins a transaction that holds the one right to write from its start, so that it cannot fail
    /// half-way because another one began to write first.
    pub(super) async fn begin(&mut self) -> Result<(), DatabaseError> {
        self.in_transaction = true;
        self.batch("BEGIN IMMEDIATE").await
    }

    pub(super) async fn commit_with(&mut self, before: &str, after: &str) -> Result<(), DatabaseError> {
        self.batch(before).await?;
        self.commit().await?;
        self.batch(after).await
    }

    pub(super) async fn commit(&mut self) -> Result<(), DatabaseError> {
        self.batch("COMMIT").await?;
        self.in_transaction = false;
        Ok(())
    }

    pub(super) async fn rollback(&mut self) -> Result<(), DatabaseError> {
        self.run(roll_back).await?;
        self.in_transaction = false;
        Ok(())
    }

    /// Asks for the right to write and gives it back, without waiting for it. A file on a read-only disk
    /// has none to give; one that another connection writes to at the moment can be written.
    pub(super) async fn is_writable(&mut self) -> Result<bool, DatabaseError> {
        let asked = self.run(|connection| {
            let patience: u32 = connection.query_row("PRAGMA busy_timeout", [], |row| row.get(0))?;
            connection.busy_timeout(Duration::ZERO)?;
            let asked = connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK");
            connection.busy_timeout(Duration::from_millis(patience.into()))?;
            asked
        });
        match asked.await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == DatabaseErrorKind::LockNotAvailable => Ok(true),
            Err(error) if error.kind() == DatabaseErrorKind::ReadOnly => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut rusqlite::Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        self.run_within(self.statement_timeout, work).await
    }

    async fn run_within<T: Send + 'static>(
        &mut self,
        limit: Option<Duration>,
        work: impl FnOnce(&mut rusqlite::Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let closed = || DatabaseError::new(DatabaseErrorKind::Unreachable, "the connection is closed");
        let holder = self.holder.as_ref().ok_or_else(closed)?;
        self.busy = true;
        let result = match limit {
            Some(limit) => match timeout(limit, holder.interact(work)).await {
                Ok(result) => result,
                Err(_) => {
                    let limit = humantime::format_duration(limit);
                    let message = format!("the database did not answer within {limit}");
                    return Err(DatabaseError::new(DatabaseErrorKind::Timeout, message));
                }
            },
            None => holder.interact(work).await,
        };
        self.busy = false;
        result
    }
}

impl Drop for SqliteConnection {
    /// A statement that nobody waits for any more is interrupted; a transaction that was not committed is
    /// rolled back at once, so that it does not keep the others from writing.
    fn drop(&mut self) {
        if self.busy {
            self.interrupt.interrupt();
        }
        let Some(Holder::Pooled(object)) = self.holder.take() else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if self.in_transaction => {
                runtime.spawn(async move {
                    let error = match object.interact(roll_back).await {
                        Ok(Ok(())) => return,
                        Ok(Err(error)) => error.to_string(),
                        Err(error) => error.to_string(),
                    };
                    // Given back like this it would swallow what others write.
                    tracing::warn!(error, "a transaction could not be rolled back; its connection is closed");
                    drop(Object::take(object));
                });
            }
            Err(_) if self.in_transaction => drop(Object::take(object)),
            _ => drop(object),
        }
    }
}

fn roll_back(connection: &mut rusqlite::Connection) -> Result<(), rusqlite::Error> {
    if connection.is_autocommit() { Ok(()) } else { connection.execute_batch("ROLLBACK") }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It writes.
    Write,
    /// It reads what others write.
    Read,
    /// It looks at a file that may be of another program, and changes nothing about it.
    Look,
}

/// WAL lets readers read while one writes; NORMAL is safe with it and waits for the disk less often.
fn configure(
    connection: &rusqlite::Connection,
    busy_timeout: Duration,
    purpose: Purpose,
) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    if mode != "wal" && purpose != Purpose::Look {
        connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0))?;
    }
    connection.execute_batch("PRAGMA foreign_keys = ON; PRAGMA synchronous = NORMAL")?;
    if purpose == Purpose::Read { connection.execute_batch("PRAGMA query_only = ON") } else { Ok(()) }
}

/// Says which file could not be opened, and what to look at.
fn not_opened(path: &Path, error: DatabaseError) -> DatabaseError {
    let file = path.display();
    let advice = match error.kind() {
        DatabaseErrorKind::NotADatabase => {
            format!("{file} is no SQLite database; name another file in DATABASE_URL, or move this one away")
        }
        DatabaseErrorKind::CannotOpen => {
            format!("{file} cannot be opened or made; check that its folder exists and may be written")
        }
        DatabaseErrorKind::ReadOnly => {
            format!("{file} cannot be written; check the rights of the file, its folder and its disk")
        }
        _ => format!("{file} cannot be used"),
    };
    error.while_trying(advice)
}
