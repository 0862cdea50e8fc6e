//! Rows by one prepared statement, handed to the blocking thread in chunks.

use std::sync::Arc;

use super::SqliteConnection;
use super::values::stored;
use crate::database::{DatabaseError, Value};

/// Rows that are handed over at once.
const CHUNK: usize = 512;

/// Bytes that are, about.
const CHUNK_BYTES: usize = 256 * 1024;

/// Rows on their way into a table.
pub(in crate::database) struct ChunkedInsert<'a> {
    connection: &'a mut SqliteConnection,
    sql: Arc<str>,
    chunk: Vec<Vec<Value>>,
    bytes: usize,
    finished: u64,
}

impl SqliteConnection {
    /// `sql` has its parameters as `?1`, `?2` and so on.
    pub(in crate::database) fn insert_rows(&mut self, sql: &str) -> ChunkedInsert<'_> {
        ChunkedInsert { connection: self, sql: Arc::from(sql), chunk: Vec::new(), bytes: 0, finished: 0 }
    }
}

impl ChunkedInsert<'_> {
    pub(in crate::database) async fn push(&mut self, values: &[Value]) -> Result<(), DatabaseError> {
        self.bytes += values.iter().map(size).sum::<usize>();
        self.chunk.push(values.to_vec());
        if self.chunk.len() >= CHUNK || self.bytes >= CHUNK_BYTES { self.hand_over().await } else { Ok(()) }
    }

    pub(in crate::database) async fn finish(mut self) -> Result<u64, DatabaseError> {
        self.hand_over().await?;
        Ok(self.finished)
    }

    async fn hand_over(&mut self) -> Result<(), DatabaseError> {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        self.bytes = 0;
        let (sql, before) = (Arc::clone(&self.sql), self.finished);
        let inserted = self.connection.run(move |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let mut row = before;
            for values in chunk {
                if let Err(error) = insert(&mut statement, values) {
                    return Ok(Err((row, error)));
                }
                row += 1;
            }
            Ok(Ok(row))
        });
        match inserted.await? {
            Ok(finished) => self.finished = finished,
            Err((row, error)) => return Err(DatabaseError::from(error).in_row(row)),
        }
        Ok(())
    }
}

fn insert(statement: &mut rusqlite::Statement<'_>, values: Vec<Value>) -> Result<(), rusqlite::Error> {
    for (index, value) in values.into_iter().enumerate() {
        statement.raw_bind_parameter(index + 1, stored(value))?;
    }
    statement.raw_execute().map(drop)
}

/// What the value takes, about.
fn size(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Text(text) | Value::Json(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 0,
        }
}
