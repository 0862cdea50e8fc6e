//! Rows by `COPY ... FROM STDIN BINARY`.

use std::pin::Pin;

use bytes::{BufMut as _, Bytes, BytesMut};
use deadpool_postgres::ClientWrapper;
use futures_util::SinkExt as _;
use futures_util::future::try_join;
use tokio_postgres::types::{IsNull, ToSql as _, Type};
use tokio_postgres::{CopyInSink, Statement};

use super::PostgresConnection;
use super::stream::LIFT_TIME_LIMIT;
use super::values::JSONB_VERSION;
use crate::database::{DatabaseError, DatabaseErrorKind, Value};

/// <https://www.postgresql.org/docs/current/sql-copy.html>: signature, flags, length of the extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// Where a count of fields would stand after the last row.
const TRAILER: i16 = -1;

/// Bytes that are sent at once.
const CHUNK: usize = 64 * 1024;

/// Rows of one command. The server tells what is wrong with a row only when its command is finished, so
/// that a bad row does not go unnoticed until all others were sent, one command follows the other.
const ROWS_PER_COMMAND: u64 = 100_000;

/// Rows on their way into a table.
pub(in crate::database) struct CopyIn<'a> {
    connection: &'a mut PostgresConnection,
    statement: Statement,
    types: Vec<Type>,
    /// Where the rows go. Dropped unfinished it makes the command fail.
    sink: Pin<Box<CopyInSink<Bytes>>>,
    buffer: BytesMut,
    /// Rows of the commands that are finished.
    finished: u64,
    /// Rows of the one that is not.
    rows: u64,
}

impl PostgresConnection {
    /// Starts the command. `described` is a statement that finds the same columns, which has their types.
    pub(in crate::database) async fn copy_in(
        &mut self,
        sql: &str,
        described: &str,
    ) -> Result<CopyIn<'_>, DatabaseError> {
        let described = self.run(async |client| client.prepare_cached(described).await).await?;
        let types = described.columns().iter().map(|column| column.type_().clone()).collect();
        let statement = self.run(async |client| client.prepare_cached(sql).await).await?;
        // Sent at once, without an answer in between.
        let sink = self
            .run(async |client| {
                let started = async { client.copy_in(&statement).await.map(Box::pin) };
                try_join(client.batch_execute(LIFT_TIME_LIMIT), started).await.map(|((), sink)| sink)
            })
            .await?;
        let buffer = fresh_buffer();
        Ok(CopyIn { connection: self, statement, types, sink, buffer, finished: 0, rows: 0 })
    }

    async fn start(&mut self, statement: &Statement) -> Result<Pin<Box<CopyInSink<Bytes>>>, DatabaseError> {
        self.run(async |client| client.copy_in(statement).await.map(Box::pin)).await
    }

    /// Waits for the server to take what is sent. One that does not is given up with its connection.
    async fn wait<T>(
        &mut self,
        work: impl AsyncFnOnce(&ClientWrapper) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, DatabaseError> {
        let done = self.within_limit(work).await?;
        // The types that the rows were written by may be those of before a migration.
        Ok(done.inspect_err(|_| self.forget_statements())?)
    }
}

impl CopyIn<'_> {
    pub(in crate::database) async fn push(&mut self, values: &[Value]) -> Result<(), DatabaseError> {
        if self.rows == ROWS_PER_COMMAND {
            self.finish_command(None).await?;
            self.sink = self.connection.start(&self.statement).await?;
            self.buffer = fresh_buffer();
        }
        encode(&mut self.buffer, &self.types, values).map_err(|error| {
            self.connection.forget_statements();
            error.in_row(self.finished + self.rows)
        })?;
        self.rows += 1;
        if self.buffer.len() >= CHUNK {
            let full = std::mem::replace(&mut self.buffer, BytesMut::with_capacity(CHUNK + CHUNK / 4));
            let Self { connection, sink, .. } = self;
            connection.wait(async |_| sink.send(full.freeze()).await).await?;
        }
        Ok(())
    }

    pub(in crate::database) async fn finish(mut self) -> Result<u64, DatabaseError> {
        let restore = self.connection.restoring_time_limit();
        self.finish_command(Some(&restore)).await?;
        Ok(self.finished)
    }

    /// Ends the command, and sends another statement behind it without waiting for its answer first.
    async fn finish_command(&mut self, then: Option<&str>) -> Result<(), DatabaseError> {
        self.buffer.put_i16(TRAILER);
        let last = self.buffer.split().freeze();
        let Self { connection, sink, .. } = self;
        let copied = connection.wait(async |client| {
            sink.send(last).await?;
            let ended = sink.as_mut().finish();
            match then {
                Some(then) => try_join(ended, client.batch_execute(then)).await.map(|(copied, ())| copied),
                None => ended.await,
            }
        });
        // The server counts the rows of each command from the first one.
        let copied = copied.await.map_err(|error| error.after_rows(self.finished))?;
        self.finished += copied;
        self.rows = 0;
        Ok(())
    }
}

fn fresh_buffer() -> BytesMut {
    let mut buffer = BytesMut::with_capacity(CHUNK + CHUNK / 4);
    buffer.put_slice(HEADER);
    buffer
}

/// A count of fields, then each with its length before it, or -1 for none.
fn encode(buffer: &mut BytesMut, types: &[Type], values: &[Value]) -> Result<(), DatabaseError> {
    let too_long = || DatabaseError::new(DatabaseErrorKind::Conversion, "a row is too long");
    buffer.put_i16(i16::try_from(values.len()).map_err(|_| too_long())?);
    for (value, column) in values.iter().zip(types) {
        let place = buffer.len();
        buffer.put_i32(0);
        let length = match encode_value(buffer, column, value)? {
            IsNull::Yes => -1,
            IsNull::No => i32::try_from(buffer.len() - place - 4).map_err(|_| too_long())?,
        };
        buffer[place..place + 4].copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

fn encode_value(buffer: &mut BytesMut, column: &Type, value: &Value) -> Result<IsNull, DatabaseError> {
    // The server looks whether a document is well-formed; once is enough.
    if let (Value::Json(text), &(Type::JSON | Type::JSONB)) = (value, column) {
        if *column == Type::JSONB {
            buffer.put_u8(JSONB_VERSION);
        }
        buffer.put_slice(text.as_bytes());
        return Ok(IsNull::No);
    }
    value.to_sql(column, buffer).map_err(|error| {
        let message = format!("a value does not fit a column of type {column}");
        DatabaseError::new(DatabaseErrorKind::Conversion, message).caused_by(error)
    })
}
