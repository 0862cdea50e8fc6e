//! Snapshots as streams of lines, in and out.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use foundation::database::{DatabaseError, RowStream};
use futures_util::StreamExt as _;
use poem::Body;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout, timeout_at};

use super::bodies::write_snapshot;
use crate::actions::ActionError;
use crate::actions::metrics_snapshots::streams::{Incomplete, StreamError};
use crate::api::conventions::bodies::bounded;
use crate::api::problem::Failure;
use crate::domain::metrics_snapshots::streams::MAX_ATOMIC;
use crate::store::metrics_snapshots::from_row;

/// How much is sent at once, in bytes.
const CHUNK: usize = 32 * 1024;

/// Chunks that wait to be sent.
const CHUNKS: usize = 4;

/// How long whoever comes when there are too many streams is told to wait.
const BUSY: Duration = Duration::from_secs(1);

/// Why a stream was not stored, for the client.
pub(super) fn failure(incomplete: Incomplete) -> Failure {
    let Incomplete { error, stored } = incomplete;
    let unreadable = |detail: String| Failure::Unreadable("/body", detail);
    let failure = match error {
        StreamError::TooLarge(limit) => Failure::BodyTooLarge(limit),
        StreamError::TooLargeToKeep => Failure::BodyTooLarge(MAX_ATOMIC),
        StreamError::Silent(time) => Failure::BodySilent(time),
        StreamError::Undecodable(error) => {
            let said = bounded(&error.to_string());
            unreadable(format!("it is not compressed as Content-Encoding says: {said}"))
        }
        StreamError::Truncated => unreadable("what is compressed ends before its end".to_owned()),
        StreamError::WindowTooLarge(limit) => {
            let limit = ByteSize(limit).display().iec();
            unreadable(format!("the window of zstd may have {limit} at most, as with --long=23"))
        }
        StreamError::Interrupted(error) => Failure::Body(error),
        StreamError::Broken => unreadable("it ended early".to_owned()),
        StreamError::Busy => Failure::Action(ActionError::Busy { retry_after: BUSY }),
        StreamError::Action(error) => Failure::Action(error),
    };
    if stored == 0 { failure } else { Failure::Incomplete(Box::new(failure), stored) }
}

/// Why a stream that is read is broken off, for the log.
#[derive(Debug, thiserror::Error)]
enum BrokenOff {
    #[error("nobody takes it")]
    Idle,
    #[error("it took as long as one may")]
    TooLong,
}

/// Rows on their way to a client.
pub(super) struct Outgoing {
    pub(super) rows: RowStream<'static>,
    pub(super) metric_type: String,
    /// How long the client may take no chunk.
    pub(super) patience: Duration,
    /// When it is broken off at the latest: until then it holds a snapshot of the database, which nothing that
    /// is deleted meanwhile can be cleaned up behind, and a lock that keeps partitions from being dropped.
    pub(super) until: Instant,
    pub(super) permit: OwnedSemaphorePermit,
}

impl Outgoing {
    /// Waits for the first chunk, so that what goes wrong at once is answered as such, and sends the rest
    /// while it is found. What goes wrong later breaks the answer off, so that nobody takes it for whole.
    pub(super) async fn into_body(mut self) -> Result<Body, DatabaseError> {
        let (first, is_end) = self.next_chunk().await?;
        let (sender, chunks) = mpsc::channel(CHUNKS);
        tokio::spawn(async move {
            // Nobody else has the sender, and there is room for one.
            let _has_room = sender.try_send(Ok(first));
            if !is_end {
                self.send(&sender).await;
            }
        });
        let body =
            futures_util::stream::unfold(chunks, |mut chunks: mpsc::Receiver<io::Result<Bytes>>| async {
                chunks.recv().await.map(|chunk| (chunk, chunks))
            });
        Ok(Body::from_bytes_stream(body))
    }

    async fn send(mut self, sender: &mpsc::Sender<io::Result<Bytes>>) {
        if let Err(reason) = self.send_all(sender).await {
            tracing::warn!(%reason, "a stream of snapshots is broken off");
            // The channel may be full, so that this waits until somebody takes it, or is gone.
            drop(self.rows);
            drop(self.permit);
            let _sent = sender.send(Err(io::ErrorKind::TimedOut.into())).await;
        }
    }

    async fn send_all(&mut self, sender: &mpsc::Sender<io::Result<Bytes>>) -> Result<(), BrokenOff> {
        loop {
            // Whatever is ready at once comes before the end of the time.
            if Instant::now() >= self.until {
                return Err(BrokenOff::TooLong);
            }
            let next = timeout_at(self.until, self.next_chunk()).await.map_err(|_| BrokenOff::TooLong)?;
            let (chunk, is_end) = match next {
                Ok((chunk, is_end)) => (Ok(chunk), is_end),
                Err(error) => {
                    tracing::warn!(%error, "a stream of snapshots is broken off");
                    (Err(io::Error::other(error)), true)
                }
            };
            let left = self.until.saturating_duration_since(Instant::now());
            match timeout(self.patience.min(left), sender.send(chunk)).await {
                Ok(Ok(())) if !is_end => {}
                Ok(_) => return Ok(()),
                Err(_) if left < self.patience => return Err(BrokenOff::TooLong),
                Err(_) => return Err(BrokenOff::Idle),
            }
        }
    }

    /// As many lines as are sent at once, and whether they are the last.
    async fn next_chunk(&mut self) -> Result<(Bytes, bool), DatabaseError> {
        let mut chunk = Vec::with_capacity(CHUNK + CHUNK / 4);
        while chunk.len() < CHUNK {
            let Some(row) = self.rows.next().await else { return Ok((chunk.into(), true)) };
            let row = row?;
            let snapshot = from_row(&row, &self.metric_type)?;
            write_snapshot(&mut chunk, &snapshot).map_err(|error| {
                let kind = foundation::database::DatabaseErrorKind::Conversion;
                DatabaseError::new(kind, "a snapshot has no form in JSON").caused_by(error)
            })?;
            chunk.push(b'\n');
        }
        Ok((chunk.into(), false))
    }
}
