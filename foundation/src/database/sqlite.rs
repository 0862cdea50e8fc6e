//! The SQLite driver: the only place that names rusqlite and deadpool-sqlite.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use deadpool_sqlite::{Config, Hook, HookError, InteractError, Manager, Object, Pool, PoolError, Runtime};
use rusqlite::types::{Value as Stored, ValueRef};
use rusqlite::{InterruptHandle, Statement};
use tokio::time::timeout;

use super::{DatabaseError, DatabaseErrorKind, Row, Value};
use crate::settings::DatabaseSettings;

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
    pub(super) async fn open(path: &Path, settings: &DatabaseSettings) -> Result<Self, DatabaseError> {
        let (file, busy_timeout) = (path.to_owned(), settings.wait_timeout);
        let opened = Own::new(Runtime::Tokio1, move || {
            let connection = rusqlite::Connection::open(file)?;
            configure(&connection, busy_timeout, false)?;
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
        self.run(move |connection| Ok(run_all(connection, &sql))).await?
    }

    /// Begins a transaction that holds the one right to write from its start, so that it cannot fail
    /// half-way because another one began to write first.
    pub(super) async fn begin(&mut self) -> Result<(), DatabaseError> {
        self.in_transaction = true;
        self.batch("BEGIN IMMEDIATE").await
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

    /// Asks for the right to write and gives it back. A file on a read-only disk has none to give; one
    /// that another connection writes to at the moment can be written.
    pub(super) async fn is_writable(&mut self) -> Result<bool, DatabaseError> {
        match self.run(|connection| connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK")).await {
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
        let closed = || DatabaseError::new(DatabaseErrorKind::Unreachable, "the connection is closed");
        let holder = self.holder.as_ref().ok_or_else(closed)?;
        self.busy = true;
        let result = match self.statement_timeout {
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
                    if let Err(error) = object.interact(roll_back).await {
                        tracing::warn!(error = %error, "a transaction could not be rolled back");
                        drop(Object::take(object));
                    }
                });
            }
            Err(_) if self.in_transaction => drop(Object::take(object)),
            _ => drop(object),
        }
    }
}

/// Runs the statements of a text. An error says where the one that failed begins, which SQLite does not.
fn run_all(connection: &rusqlite::Connection, sql: &str) -> Result<(), DatabaseError> {
    let mut done = 0;
    let mut batch = rusqlite::Batch::new(connection, sql);
    loop {
        match run_next(&mut batch, sql, &mut done) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                let begin = sql.len() - without_comments(&sql[done..]).len();
                return Err(DatabaseError::from(error).at(sql[..begin].chars().count() + 1));
            }
        }
    }
}

/// Runs one statement, unless there is none left. `done` is how far the text is run.
fn run_next(
    batch: &mut rusqlite::Batch<'_, '_>,
    sql: &str,
    done: &mut usize,
) -> Result<bool, rusqlite::Error> {
    use rusqlite::fallible_iterator::FallibleIterator as _;
    let Some(mut statement) = batch.next()? else { return Ok(false) };
    // Comments and blanks between two statements belong to neither.
    let text = statement.expanded_sql().unwrap_or_default();
    let begin = sql[*done..].find(&text).map_or(*done, |at| *done + at);
    let end = if sql[begin..].starts_with(&text) { begin + text.len() } else { begin };
    *done = begin;
    let mut rows = statement.raw_query();
    while rows.next()?.is_some() {}
    *done = end;
    Ok(true)
}

/// The text from its first statement on.
fn without_comments(sql: &str) -> &str {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|character: char| character.is_whitespace() || character == ';');
        let comment = match rest {
            _ if rest.starts_with("--") => rest.split_once('\n'),
            _ if rest.starts_with("/*") => rest.split_once("*/"),
            _ => return rest,
        };
        rest = comment.map_or("", |(_, after)| after);
    }
}

fn roll_back(connection: &mut rusqlite::Connection) -> Result<(), rusqlite::Error> {
    if connection.is_autocommit() { Ok(()) } else { connection.execute_batch("ROLLBACK") }
}

/// WAL lets readers read while one writes; NORMAL is safe with it and waits for the disk less often.
fn configure(
    connection: &rusqlite::Connection,
    busy_timeout: Duration,
    read_only: bool,
) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    if mode != "wal" {
        connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0))?;
    }
    connection.execute_batch("PRAGMA foreign_keys = ON; PRAGMA synchronous = NORMAL")?;
    if read_only { connection.execute_batch("PRAGMA query_only = ON") } else { Ok(()) }
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

/// SQLite numbers `$1` by first appearance, so the parameters are found by their names.
fn bind(statement: &mut Statement<'_>, values: Vec<Value>) -> Result<(), rusqlite::Error> {
    for (index, value) in values.into_iter().enumerate() {
        let name = format!("${}", index + 1);
        let place = statement.parameter_index(&name)?.ok_or(rusqlite::Error::InvalidParameterName(name))?;
        statement.raw_bind_parameter(place, stored(value))?;
    }
    Ok(())
}

fn stored(value: Value) -> Stored {
    match value {
        Value::Null => Stored::Null,
        Value::Bool(value) => Stored::Integer(value.into()),
        Value::Integer(value) => Stored::Integer(value),
        Value::Float(value) => Stored::Real(value),
        Value::Text(text) | Value::Json(text) => Stored::Text(text),
        Value::Bytes(bytes) => Stored::Blob(bytes),
        Value::Uuid(id) => Stored::Text(id.to_string()),
        // The years that a time can have fit: i64 holds 292,000 of them in microseconds.
        Value::Timestamp(time) => {
            Stored::Integer(i64::try_from(time.unix_timestamp_nanos().div_euclid(1000)).unwrap_or(i64::MAX))
        }
    }
}

fn read(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Real(value) => Value::Float(value),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    }
}

/// The connections of a service: one that writes and several that read.
#[derive(Clone)]
pub(super) struct SqlitePool {
    path: PathBuf,
    writer: Pool,
    readers: Pool,
    statement_timeout: Duration,
    wait_timeout: Duration,
}

impl SqlitePool {
    /// Sets the pools up. Nothing is opened yet.
    pub(super) fn new(path: &Path, settings: &DatabaseSettings) -> Result<Self, DatabaseError> {
        let readers = usize::try_from(settings.pool_size.get()).unwrap_or(usize::MAX);
        Ok(Self {
            path: path.to_owned(),
            writer: pool(path, settings, 1, false)?,
            readers: pool(path, settings, readers, true)?,
            statement_timeout: settings.statement_timeout,
            wait_timeout: settings.wait_timeout,
        })
    }

    pub(super) async fn get_writer(&self) -> Result<SqliteConnection, DatabaseError> {
        self.get(&self.writer).await
    }

    pub(super) async fn get_reader(&self) -> Result<SqliteConnection, DatabaseError> {
        self.get(&self.readers).await
    }

    async fn get(&self, pool: &Pool) -> Result<SqliteConnection, DatabaseError> {
        let object = pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                not_opened(&self.path, error.into())
            }
            PoolError::Timeout(_) => {
                let waited = humantime::format_duration(self.wait_timeout);
                let message = format!("no connection of the pool became free within {waited}");
                DatabaseError::new(DatabaseErrorKind::PoolTimeout, message)
            }
            other => DatabaseError::new(DatabaseErrorKind::Unreachable, other.to_string()).caused_by(other),
        })?;
        SqliteConnection::new(Holder::Pooled(object), Some(self.statement_timeout))
    }

    /// The figures of the two pools together.
    pub(super) fn status(&self) -> deadpool_sqlite::Status {
        let (writer, readers) = (self.writer.status(), self.readers.status());
        deadpool_sqlite::Status {
            max_size: writer.max_size + readers.max_size,
            size: writer.size + readers.size,
            available: writer.available + readers.available,
            waiting: writer.waiting + readers.waiting,
        }
    }

    pub(super) fn close(&self) {
        self.writer.close();
        self.readers.close();
    }
}

fn pool(
    path: &Path,
    settings: &DatabaseSettings,
    size: usize,
    read_only: bool,
) -> Result<Pool, DatabaseError> {
    let busy_timeout = settings.wait_timeout;
    Pool::builder(Manager::from_config(&Config::new(path), Runtime::Tokio1))
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(settings.wait_timeout))
        .create_timeout(Some(settings.create_timeout))
        .recycle_timeout(Some(settings.recycle_timeout))
        .post_create(Hook::async_fn(move |wrapper, _| {
            Box::pin(async move {
                match wrapper.interact(move |it| configure(it, busy_timeout, read_only)).await {
                    Ok(configured) => configured.map_err(HookError::Backend),
                    Err(error) => Err(HookError::message(error.to_string())),
                }
            })
        }))
        .build()
        .map_err(|error| {
            DatabaseError::new(DatabaseErrorKind::Other, "the pool cannot be set up").caused_by(error)
        })
}
