//! Rows as they come, read on a blocking thread that waits while the reader is busy.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use rusqlite::InterruptHandle;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::SqliteConnection;
use super::values::{bind, read};
use crate::database::stream::{Held, Rows};
use crate::database::{DatabaseError, Row, Value};

/// Rows that go through the channel at once.
const CHUNK: usize = 256;

/// Chunks that are ready before they are asked for.
const CHUNKS: usize = 2;

type Work<'a> = Pin<Box<dyn Future<Output = Result<(), DatabaseError>> + Send + 'a>>;

struct Chunks<'a> {
    chunk: std::vec::IntoIter<Row>,
    chunks: Receiver<Vec<Row>>,
    /// What reads the rows, until it is done.
    work: Option<Work<'a>>,
}

/// Stops the statement when its rows are not wanted any more.
struct Stop(Option<Arc<InterruptHandle>>);

impl Drop for Stop {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.interrupt();
        }
    }
}

impl SqliteConnection {
    /// Streams on this connection, which goes back to its pool afterwards.
    pub(in crate::database) fn into_stream(self, sql: String, values: Vec<Value>) -> Rows<'static> {
        streamed(Held::Own(Box::new(self)), sql, values)
    }

    /// Streams in the transaction that is going on.
    pub(in crate::database) fn stream(&mut self, sql: String, values: Vec<Value>) -> Rows<'_> {
        streamed(Held::Lent(self), sql, values)
    }
}

fn streamed(mut connection: Held<'_, SqliteConnection>, sql: String, values: Vec<Value>) -> Rows<'_> {
    let (sender, chunks) = channel(CHUNKS);
    let work = async move {
        let mut stop = Stop(Some(connection.interrupter()));
        let done = connection.run_within(None, move |it| send_rows(it, &sql, values, &sender)).await;
        stop.0 = None;
        done
    };
    Box::pin(Chunks { chunk: Vec::new().into_iter(), chunks, work: Some(Box::pin(work)) })
}

fn send_rows(
    connection: &rusqlite::Connection,
    sql: &str,
    values: Vec<Value>,
    chunks: &Sender<Vec<Row>>,
) -> Result<(), rusqlite::Error> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, values)?;
    let columns: Arc<[String]> = statement.column_names().into_iter().map(str::to_owned).collect();
    let mut found = statement.raw_query();
    let mut chunk = Vec::with_capacity(CHUNK);
    while let Some(row) = found.next()? {
        let value = |index| row.get_ref(index).map(read);
        let values = (0..columns.len()).map(value).collect::<Result<_, _>>()?;
        chunk.push(Row::new(Arc::clone(&columns), values));
        if chunk.len() == CHUNK {
            let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK));
            if chunks.blocking_send(full).is_err() {
                return Ok(());
            }
        }
    }
    // Nobody there to take them is no failure of the statement.
    let _taken = chunks.blocking_send(chunk);
    Ok(())
}

impl Stream for Chunks<'_> {
    type Item = Result<Row, DatabaseError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(row) = this.chunk.next() {
                return Poll::Ready(Some(Ok(row)));
            }
            // The work is polled in any case: it does not begin by itself.
            let worked = this.work.as_mut().map(|work| work.as_mut().poll(context));
            let failed = match worked {
                Some(Poll::Ready(done)) => {
                    this.work = None;
                    done.err()
                }
                _ => None,
            };
            if let Some(error) = failed {
                return Poll::Ready(Some(Err(error)));
            }
            match this.chunks.poll_recv(context) {
                Poll::Ready(Some(chunk)) => this.chunk = chunk.into_iter(),
                Poll::Ready(None) if this.work.is_none() => return Poll::Ready(None),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}
