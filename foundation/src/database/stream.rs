//! Rows as they come, however many there are.

use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::connection::Driver;
use super::statement::Watched;
use super::{
    Access, Connection, Database, DatabaseError, DatabaseErrorKind, Row, Statement, Transaction, Value,
};

/// The rows of one answer, which a driver brings.
pub(super) type Rows<'a> = Pin<Box<dyn Stream<Item = Result<Row, DatabaseError>> + Send + 'a>>;

/// A connection that a stream has for itself, or has from a transaction until it ends.
pub(super) enum Held<'a, T> {
    /// Its own.
    Own(Box<T>),
    /// The transaction's.
    Lent(&'a mut T),
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Own(it) => it,
            Self::Lent(it) => it,
        }
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        match self {
            Self::Own(it) => it,
            Self::Lent(it) => it,
        }
    }
}

/// Rows as they come: a few of them are in memory, whatever their number.
///
/// The statement has no time limit as a whole, because the reader may take as long as it likes. Each wait
/// for the next row has one, at first that of `DATABASE_STATEMENT_TIMEOUT`; see
/// [`with_wait_limit`](Self::with_wait_limit). The statement starts when the first row is asked for, so
/// what is wrong with it may be told then; on a standby it starts at once, so that the primary can be asked in its
/// place, and the wait for the first row begins then. After an error nothing more comes.
///
/// Dropped in the middle, it stops the statement.
#[must_use = "a stream does nothing before its first row is asked for"]
pub struct RowStream<'a> {
    rows: Option<Rows<'a>>,
    /// What was asked for before anybody wanted it.
    first: Option<Result<Row, DatabaseError>>,
    /// When the wait that is going on is over. Kept from wait to wait.
    deadline: Option<Pin<Box<Sleep>>>,
    /// When the wait that is going on began.
    waiting_since: Option<Instant>,
    wait_limit: Option<Duration>,
    /// Told of the end: a transaction whose stream did not get there has failed.
    failed: Option<&'a mut bool>,
    watched: Watched,
    count: u64,
}

impl RowStream<'_> {
    /// The same rows with another limit for each wait, or with none.
    pub fn with_wait_limit(mut self, limit: Option<Duration>) -> Self {
        self.wait_limit = limit;
        self
    }

    /// The same rows, once the first of them is there: what keeps the statement from starting is told here. That
    /// it takes its time is told where it is read, as of every other row, by the limit that is set until then.
    async fn begun(mut self) -> Result<Self, DatabaseError> {
        let Some(limit) = self.wait_limit.take() else { return Ok(self) };
        let first = timeout(limit, self.next()).await;
        self.wait_limit = Some(limit);
        match first {
            Ok(Some(Err(error))) if error.kind() != DatabaseErrorKind::Timeout => Err(error),
            Ok(first) => {
                self.first = first;
                Ok(self)
            }
            Err(_) => Ok(self),
        }
    }

    fn end(&mut self, error: Option<&DatabaseError>) {
        self.rows = None;
        self.watched.finish(Some(self.count), error);
        if let Some(failed) = self.failed.take() {
            *failed = error.is_some();
        }
    }

    /// Whether the wait that is going on has taken too long.
    fn is_late(&mut self, context: &mut Context<'_>) -> Option<Duration> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let limit = self.wait_limit?;
        let end = since + limit;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if deadline.deadline() != end {
            deadline.as_mut().reset(end);
        }
        deadline.as_mut().poll(context).is_ready().then_some(limit)
    }
}

impl Stream for RowStream<'_> {
    type Item = Result<Row, DatabaseError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(first));
        }
        let Some(rows) = &mut this.rows else { return Poll::Ready(None) };
        match rows.as_mut().poll_next(context) {
            Poll::Ready(Some(Ok(row))) => {
                this.waiting_since = None;
                this.count += 1;
                Poll::Ready(Some(Ok(row)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.end(Some(&error));
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => {
                this.end(None);
                Poll::Ready(None)
            }
            Poll::Pending => {
                let Some(limit) = this.is_late(context) else { return Poll::Pending };
                let limit = humantime::format_duration(limit);
                let message = format!("the database did not send a row within {limit}");
                let error = DatabaseError::new(DatabaseErrorKind::Timeout, message);
                this.end(Some(&error));
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

impl Connection {
    /// Streams on a connection that nobody else needs.
    pub(super) async fn into_stream(
        self,
        statement: &Statement,
        values: &[Value],
        wait_limit: Duration,
    ) -> Result<RowStream<'static>, DatabaseError> {
        self.prepare_for(statement);
        let watched = self.watch.begin(statement);
        let (sql, values) = (statement.sql().to_owned(), values.to_vec());
        let rows = match self.driver {
            Driver::Postgres(driver) => driver.into_stream(sql, values).await,
            Driver::Sqlite(driver) => Ok(driver.into_stream(sql, values)),
        };
        RowStream::new(rows, watched, wait_limit, None)
    }
}

impl<'a> RowStream<'a> {
    fn new(
        rows: Result<Rows<'a>, DatabaseError>,
        mut watched: Watched,
        wait_limit: Duration,
        failed: Option<&'a mut bool>,
    ) -> Result<Self, DatabaseError> {
        let rows = rows.inspect_err(|error| watched.finish(None, Some(error)))?;
        let (wait_limit, deadline) = (Some(wait_limit), None);
        Ok(Self {
            rows: Some(rows),
            first: None,
            deadline,
            waiting_since: None,
            wait_limit,
            failed,
            watched,
            count: 0,
        })
    }
}

impl Database {
    /// The rows that a reading statement finds, as they come. It holds a connection until it ends or is
    /// dropped, and sees the database as it was when it began.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn query_stream(
        &self,
        statement: &Statement,
        values: &[Value],
    ) -> Result<RowStream<'static>, DatabaseError> {
        if let Some(standby) = self.standby_for(statement) {
            let read = match standby.connection(&self.watch).await {
                Some(Ok(connection)) => {
                    match connection.into_stream(statement, values, self.wait_limit).await {
                        // What it replays gets in the way of a statement, and it starts with the first row.
                        Ok(rows) => Some(rows.begun().await),
                        Err(error) => Some(Err(error)),
                    }
                }
                Some(Err(error)) => Some(Err(error)),
                None => None,
            };
            if let Some(answer) = standby.answer(read) {
                return answer;
            }
        }
        self.connection(Access::Read).await?.into_stream(statement, values, self.wait_limit).await
    }
}

impl Transaction {
    /// The rows that the statement finds, as they come, seen by this transaction. A transaction of which
    /// a stream was not read to its end is rolled back, as after a failure.
    ///
    /// # Errors
    /// What the database says.
    pub async fn query_stream(
        &mut self,
        statement: &Statement,
        values: &[Value],
    ) -> Result<RowStream<'_>, DatabaseError> {
        self.connection.prepare_for(statement);
        let watched = self.connection.watch.begin(statement);
        let (sql, values) = (statement.sql().to_owned(), values.to_vec());
        let had_failed = std::mem::replace(&mut self.failed, true);
        let rows = match &mut self.connection.driver {
            Driver::Postgres(driver) => driver.stream(sql, values).await,
            Driver::Sqlite(driver) => Ok(driver.stream(sql, values)),
        };
        // A failure of before is not forgotten at the end of the stream.
        let failed = (!had_failed).then_some(&mut self.failed);
        RowStream::new(rows, watched, self.wait_limit, failed)
    }
}
