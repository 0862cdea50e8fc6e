//! Rows as they come. The server sends no more of them than are taken: the connection is not read from
//! while the reader is busy.

use std::pin::Pin;

use futures_util::{StreamExt as _, stream};
use tokio_postgres::Statement;

use super::{OUTDATED, PostgresConnection, parameters, values};
use crate::database::stream::{Held, Rows};
use crate::database::{DatabaseError, Row, Value};

/// Takes the server's time limit off the statements of a transaction. Those that need one on this side have it
/// still.
pub(super) const LIFT_TIME_LIMIT: &str = "SET LOCAL statement_timeout = 0";

/// Begins a transaction that streams.
const BEGIN: &str = "BEGIN READ ONLY; SET LOCAL statement_timeout = 0; SET LOCAL enable_sort = off";

/// A stream of rows, and the connection that they come from.
struct State<'a> {
    connection: Held<'a, PostgresConnection>,
    sql: String,
    statement: Statement,
    values: Vec<Value>,
    running: Option<Running>,
}

/// The rows of a statement that is under way.
type Running = Pin<Box<tokio_postgres::RowStream>>;

impl PostgresConnection {
    /// Streams in a transaction of its own that may only read: its end takes with it that the statement
    /// has no time limit, and that nothing is sorted as a whole before the first row where an index brings
    /// the rows in their order, or nearly so.
    pub(in crate::database) async fn into_stream(
        mut self,
        sql: String,
        values: Vec<Value>,
    ) -> Result<Rows<'static>, DatabaseError> {
        self.in_transaction = true;
        self.batch(BEGIN).await?;
        streamed(Held::Own(Box::new(self)), sql, values).await
    }

    /// Streams in the transaction that is going on.
    pub(in crate::database) async fn stream(
        &mut self,
        sql: String,
        values: Vec<Value>,
    ) -> Result<Rows<'_>, DatabaseError> {
        self.batch(LIFT_TIME_LIMIT).await?;
        streamed(Held::Lent(self), sql, values).await
    }

    /// What puts the server's time limit back.
    pub(super) fn restoring_time_limit(&self) -> String {
        let limit = self.statement_timeout.unwrap_or_default().as_millis();
        format!("SET LOCAL statement_timeout = {limit}")
    }
}

async fn streamed(
    mut connection: Held<'_, PostgresConnection>,
    sql: String,
    values: Vec<Value>,
) -> Result<Rows<'_>, DatabaseError> {
    let statement = connection.run(async |client| client.prepare_cached(&sql).await).await?;
    let state = State { connection, sql, statement, values, running: None };
    Ok(Box::pin(stream::try_unfold(state, State::next)))
}

impl<'a> State<'a> {
    async fn next(mut self) -> Result<Option<(Row, Self)>, DatabaseError> {
        let running = match &mut self.running {
            Some(running) => running,
            None => {
                let started = self.start_or_again().await?;
                self.running.insert(started)
            }
        };
        match running.next().await {
            Some(Ok(row)) => Ok(Some((values::row(row), self))),
            Some(Err(error)) => {
                self.connection.busy = false;
                Err(error.into())
            }
            None => {
                self.connection.busy = false;
                if matches!(self.connection, Held::Lent(_)) {
                    let restore = self.connection.restoring_time_limit();
                    self.connection.batch(&restore).await?;
                }
                Ok(None)
            }
        }
    }

    /// Asks for the rows, and once more where a migration changed what the statement finds since it was prepared.
    /// A transaction of others has failed with it, and is its caller's to repeat.
    async fn start_or_again(&mut self) -> Result<Running, DatabaseError> {
        match self.start().await {
            Err(error) if error.sqlstate() == Some(OUTDATED.code()) => {
                self.connection.forget_statements();
                if matches!(self.connection, Held::Lent(_)) {
                    return Err(error);
                }
                self.connection.batch(&format!("ROLLBACK; {BEGIN}")).await?;
                let Self { connection, sql, .. } = self;
                self.statement = connection.run(async |client| client.prepare_cached(sql).await).await?;
                self.start().await
            }
            started => started,
        }
    }

    /// Asks for the rows. From here on the connection is busy until they have all come.
    async fn start(&mut self) -> Result<Running, DatabaseError> {
        let bound = parameters(&self.values);
        self.connection.busy = true;
        let started = self.connection.client()?.query_raw(&self.statement, bound).await;
        let rows = started.inspect_err(|_| self.connection.busy = false)?;
        Ok(Box::pin(rows))
    }
}
