//! Lines, as the chunks of a stream bring them: decompressed, told apart and read on a thread of their own,
//! because that takes more time than a thread that others wait for has.

use std::io::{self, BufRead, BufReader, Read};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;

use super::Snapshots;
use super::streams::{ReadLine, StreamError};
use crate::domain::metrics_snapshots::streams::{Batch, Encoding, MAX_ATOMIC, Streamed};
use crate::domain::metrics_snapshots::{Rejection, Rules};

/// Snapshots that are stored in one transaction.
const BATCH_ROWS: usize = 2500;

/// The bytes of their lines, about.
const BATCH_BYTES: u64 = 1024 * 1024;

/// What a line has beside its document, at most.
const BESIDE_DOCUMENT: usize = 4 * 1024;

/// How far zstd may make its reader look back, as a power of two: the 8 MiB that RFC 9659 allows in HTTP.
const ZSTD_WINDOW_LOG: u32 = 23;

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
pub(super) struct ChunkReader {
    chunks: mpsc::Receiver<Chunk>,
    chunk: Bytes,
    ended: bool,
}

impl ChunkReader {
    pub(super) fn new(chunks: mpsc::Receiver<Chunk>) -> Self {
        Self { chunks, chunk: Bytes::new(), ended: false }
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
            match self.chunks.blocking_recv() {
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

/// Reads lines into batches.
pub(super) struct Lines {
    pub(super) snapshots: Snapshots,
    pub(super) read_line: ReadLine,
    pub(super) atomic: bool,
    pub(super) batches: mpsc::Sender<Batch>,
    /// The end of a line whose beginning was in another buffer.
    begun: Vec<u8>,
    is_too_long: bool,
    number: u64,
    batch: Batch,
    rules: Rules,
    streamed: Streamed,
}

impl Lines {
    pub(super) fn new(
        snapshots: Snapshots,
        read_line: ReadLine,
        atomic: bool,
        batches: mpsc::Sender<Batch>,
    ) -> Self {
        Self {
            rules: snapshots.rules(),
            snapshots,
            read_line,
            atomic,
            batches,
            begun: Vec::new(),
            is_too_long: false,
            number: 0,
            batch: Batch::default(),
            streamed: Streamed::default(),
        }
    }

    /// Reads to the end, and says how many lines were bad. Blocks.
    ///
    /// # Errors
    /// Why the end was not reached.
    pub(super) fn read(mut self, mut from: Box<dyn BufRead>) -> Result<Streamed, StreamError> {
        let limit = self.snapshots.settings.stream_limit.as_u64();
        let mut read = 0_u64;
        loop {
            let buffer = match from.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {
                    return Err(StreamError::Broken);
                }
                Err(error) => return Err(StreamError::Undecodable(error)),
            };
            if buffer.is_empty() {
                break;
            }
            let count = buffer.len();
            read += count as u64;
            if read > limit {
                return Err(StreamError::TooLarge(limit));
            }
            self.take(buffer)?;
            from.consume(count);
        }
        let last = std::mem::take(&mut self.begun);
        if !last.is_empty() || self.is_too_long {
            self.line(&last)?;
        }
        // All of it or nothing.
        if !(self.atomic && self.streamed.rejected > 0) {
            self.hand_over()?;
        }
        Ok(self.streamed)
    }

    fn take(&mut self, buffer: &[u8]) -> Result<(), StreamError> {
        let longest = self.rules.document.bytes + BESIDE_DOCUMENT;
        let mut rest = buffer;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, behind) = (&rest[..end], &rest[end + 1..]);
            rest = behind;
            if self.begun.len() + line.len() > longest {
                self.is_too_long = true;
            }
            if self.begun.is_empty() {
                self.line(line)?;
            } else {
                let mut begun = std::mem::take(&mut self.begun);
                if !self.is_too_long {
                    begun.extend_from_slice(line);
                }
                self.line(&begun)?;
                begun.clear();
                self.begun = begun;
            }
        }
        if self.begun.len() + rest.len() > longest {
            self.is_too_long = true;
        } else {
            self.begun.extend_from_slice(rest);
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), StreamError> {
        let number = self.number;
        self.number += 1;
        if std::mem::take(&mut self.is_too_long) {
            let longest = self.rules.document.bytes + BESIDE_DOCUMENT;
            let detail = format!("a line may have {longest} bytes at most");
            self.streamed.reject(number, Rejection::new("too_large", "", detail));
            return Ok(());
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        match (self.read_line)(line, &self.rules) {
            Ok(snapshot) => self.batch.snapshots.push(snapshot),
            Err(rejection) => self.streamed.reject(number, rejection),
        }
        self.batch.bytes += line.len() as u64;
        if self.atomic {
            return if self.batch.bytes > MAX_ATOMIC { Err(StreamError::TooLargeToKeep) } else { Ok(()) };
        }
        if self.batch.snapshots.len() >= BATCH_ROWS || self.batch.bytes >= BATCH_BYTES {
            self.hand_over()?;
            self.rules = self.snapshots.rules();
        }
        Ok(())
    }

    fn hand_over(&mut self) -> Result<(), StreamError> {
        let full = std::mem::take(&mut self.batch);
        if full.snapshots.is_empty() {
            return Ok(());
        }
        self.batch.snapshots.reserve(full.snapshots.len());
        // Whoever stores them knows why it does not any more.
        self.batches.blocking_send(full).map_err(|_| StreamError::Broken)
    }
}
