//! Streams of snapshots: stored in batches as they come, read as they are found.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Snapshots;
use super::chunks::{Chunk, ZSTD_WINDOW_LOG, is_window_too_large};
use super::lines::Lines;
use crate::actions::ActionError;
use crate::domain::metrics_snapshots::streams::{Batch, Encoding, Streamed};
use crate::domain::metrics_snapshots::{NewSnapshot, Rejection, Rules};

/// Chunks that wait to be read.
const CHUNKS: usize = 4;

/// Batches that wait to be stored, beside the one that is being stored and the one that is being filled.
const BATCHES: usize = 1;

/// Reads one line.
pub type ReadLine = fn(&[u8], &Rules) -> Result<NewSnapshot, Rejection>;

/// Why a stream was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// It is larger than this many bytes.
    #[error("the stream has more than {0} bytes")]
    TooLarge(u64),
    /// It is larger than what is stored as a whole.
    #[error("the stream is too large to be stored as a whole")]
    TooLargeToKeep,
    /// Nothing came for this long.
    #[error("nothing came for {0:?}")]
    Silent(Duration),
    /// It is not compressed as it says.
    #[error("the stream cannot be decompressed")]
    Undecodable(#[source] io::Error),
    /// What is compressed ends before its end.
    #[error("what is compressed ends before its end")]
    Truncated,
    /// zstd would have to look back further than so many bytes.
    #[error("the window of zstd has more than {0} bytes")]
    WindowTooLarge(u64),
    /// The client broke it off.
    #[error("the stream broke off")]
    Interrupted(#[source] io::Error),
    /// Another part of the work ended it.
    #[error("the stream broke off")]
    Broken,
    /// Too many streams are being stored.
    #[error("too many streams are stored at the same time")]
    Busy,
    /// What came could not be stored.
    #[error(transparent)]
    Action(#[from] ActionError),
}

impl StreamError {
    /// What the reader of a body means.
    pub(super) fn of_reading(error: io::Error) -> Self {
        match error.kind() {
            // Whoever ended the reading knows why.
            io::ErrorKind::ConnectionAborted => Self::Broken,
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ if is_window_too_large(&error) => Self::WindowTooLarge(1 << ZSTD_WINDOW_LOG),
            _ => Self::Undecodable(error),
        }
    }
}

/// Why a stream was not stored to its end, and how much of it is stored.
#[derive(Debug)]
pub struct Incomplete {
    /// Why.
    pub error: StreamError,
    /// How many snapshots are stored.
    pub stored: u64,
}

impl Snapshots {
    /// Stores a stream: the good lines of it in batches, each in a transaction, while further ones come, and at the
    /// latest about a second after they came. With `atomic`, all in one when it is over, or nothing where a line is bad.
    ///
    /// # Errors
    /// Why it was not stored to its end.
    pub async fn store<S, E>(
        &self,
        body: S,
        encoding: Encoding,
        read_line: ReadLine,
        atomic: bool,
    ) -> Result<Streamed, Incomplete>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<io::Error>,
    {
        let mut stored = 0;
        let done = self.try_store(body, encoding, read_line, atomic, &mut stored).await;
        match done {
            Ok(streamed) => Ok(Streamed { accepted: stored, ..streamed }),
            Err(error) => Err(Incomplete { error, stored }),
        }
    }

    async fn try_store<S, E>(
        &self,
        body: S,
        encoding: Encoding,
        read_line: ReadLine,
        atomic: bool,
        stored: &mut u64,
    ) -> Result<Streamed, StreamError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<io::Error>,
    {
        let _slot = self.writers.try_acquire().map_err(|_| StreamError::Busy)?;
        let (chunk_sender, chunks) = mpsc::channel(CHUNKS);
        let (batch_sender, batches) = mpsc::channel(BATCHES);
        let snapshots = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            Lines::new(snapshots, read_line, atomic, batch_sender).read(chunks, encoding)
        });
        let reading = async { reading.await.map_err(|_| StreamError::Broken)? };
        let fed = self.feed(body, chunk_sender);
        let (fed, read, written) = tokio::join!(fed, reading, self.write_batches(batches, stored));
        // When one of the three ends early the others break: its reason is the one to tell.
        match (written, fed, read) {
            (Err(error), _, _) | (Ok(()), Err(error), Err(StreamError::Broken)) => Err(error),
            (Ok(()), _, read) => read,
        }
    }

    /// Passes the chunks of the body on.
    async fn feed<S, E>(&self, mut body: S, chunks: mpsc::Sender<Chunk>) -> Result<(), StreamError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<io::Error>,
    {
        let limit = self.settings.stream_idle_timeout;
        loop {
            let chunk = tokio::select! {
                chunk = timeout(limit, body.next()) => chunk.map_err(|_| StreamError::Silent(limit))?,
                // Nobody reads on: the rest is of no use.
                () = chunks.closed() => return Ok(()),
            };
            let (chunk, is_end) = match chunk {
                Some(Ok(chunk)) => (Chunk::Data(chunk), false),
                Some(Err(error)) => return Err(StreamError::Interrupted(error.into())),
                None => (Chunk::End, true),
            };
            if chunks.send(chunk).await.is_err() || is_end {
                return Ok(());
            }
        }
    }

    async fn write_batches(
        &self,
        mut batches: mpsc::Receiver<Batch>,
        stored: &mut u64,
    ) -> Result<(), StreamError> {
        while let Some(batch) = batches.recv().await {
            self.write(&batch.snapshots).await?;
            *stored += batch.snapshots.len() as u64;
        }
        Ok(())
    }
}
