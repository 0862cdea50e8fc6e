//! The chunks of a stream, as something to read from, and what reads them decompressed.

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use bytes::{Buf as _, Bytes};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use zstd::zstd_safe::get_error_name;
use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;

use super::filling::Filling;
use crate::domain::metrics_snapshots::streams::Encoding;

/// How far zstd may make its reader look back, as a power of two: the 8 MiB that RFC 9659 allows in HTTP.
pub(super) const ZSTD_WINDOW_LOG: u32 = 23;

/// How much is read at once.
const BUFFER: usize = 64 * 1024;

/// What comes through the channel of chunks.
pub(super) enum Chunk {
    /// A part of the body.
    Data(Bytes),
    /// Its end.
    End,
}

/// The chunks, as something to read from. Without an end it breaks.
///
/// Only here is it known that nothing comes, because a decompressor may stand between this and the lines: so this
/// is where a batch that has waited long enough is handed over.
pub(super) struct ChunkReader {
    chunks: mpsc::Receiver<Chunk>,
    filling: Rc<RefCell<Filling>>,
    chunk: Bytes,
    ended: bool,
}

impl ChunkReader {
    pub(super) fn new(chunks: mpsc::Receiver<Chunk>, filling: Rc<RefCell<Filling>>) -> Self {
        Self { chunks, filling, chunk: Bytes::new(), ended: false }
    }

    /// Waits for what comes next.
    fn receive(&mut self) -> io::Result<Option<Chunk>> {
        // Whoever stores batches or sends chunks knows why it ended.
        let broken = |_| io::Error::from(io::ErrorKind::ConnectionAborted);
        loop {
            let Some(due) = self.filling.borrow().due() else { return Ok(self.chunks.blocking_recv()) };
            if Instant::now() < due
                && let Ok(chunk) = Handle::current().block_on(timeout_at(due, self.chunks.recv()))
            {
                return Ok(chunk);
            }
            self.filling.borrow_mut().hand_over().map_err(broken)?;
        }
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for ChunkReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.chunk.is_empty() && !self.ended {
            match self.receive()? {
                Some(Chunk::Data(chunk)) => self.chunk = chunk,
                Some(Chunk::End) => self.ended = true,
                // Whoever sent the chunks knows why.
                None => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, count: usize) {
        self.chunk.advance(count);
    }
}

/// What reads the chunks decompressed.
///
/// # Errors
/// The decompressor cannot be made.
pub(super) fn decompressed(chunks: ChunkReader, encoding: Encoding) -> io::Result<Box<dyn BufRead>> {
    Ok(match encoding {
        Encoding::Identity => Box::new(chunks),
        Encoding::Gzip => {
            Box::new(BufReader::with_capacity(BUFFER, flate2::bufread::MultiGzDecoder::new(chunks)))
        }
        Encoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(chunks)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(BufReader::with_capacity(BUFFER, decoder))
        }
    })
}

/// Whether zstd says so because of [`ZSTD_WINDOW_LOG`]. It has nothing but words for it.
pub(super) fn is_window_too_large(error: &io::Error) -> bool {
    // An error is told from a length by its sign.
    let code = (ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge as usize).wrapping_neg();
    error.get_ref().is_some_and(|it| it.to_string() == get_error_name(code))
}
