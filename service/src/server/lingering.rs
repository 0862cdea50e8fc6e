//! The end of a connection whose client may still be sending.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

/// How long what a client sends on is read.
const TIME: Duration = Duration::from_secs(5);

/// How long it may send nothing.
const SILENCE: Duration = Duration::from_secs(1);

/// How much of it is read, in bytes: more than what a client has sent before it looks for an answer, mostly.
const BYTES: usize = 64 * 1024 * 1024;

/// How much of it is read at once, in bytes.
const BUFFER: usize = 16 * 1024;

/// Ends a connection on which an answer was written before everything was read. Closing it at once would have the
/// kernel reset it, and what a reset finds unread on the other side is lost: the answer. So the answer is ended,
/// and what the client sends on is read into nothing until it ends too, or has had its time.
pub(super) async fn close(mut stream: TcpStream) {
    // Whoever is gone already does not read.
    if stream.shutdown().await.is_err() {
        return;
    }
    let (deadline, mut left) = (Instant::now() + TIME, BYTES);
    let mut buffer = vec![0; BUFFER];
    let read_on = async {
        while left > 0 {
            match timeout(SILENCE, stream.read(&mut buffer)).await {
                Ok(Ok(count)) if count > 0 => left = left.saturating_sub(count),
                _ended_or_silent => break,
            }
        }
    };
    let _in_time = timeout_at(deadline, read_on).await;
}
