//! Lines, as the chunks of a stream bring them: decompressed, told apart and read on a thread of their own,
//! because that takes more time than a thread that others wait for has.

use std::cell::RefCell;
use std::io::{self, BufRead};
use std::rc::Rc;

use tokio::sync::mpsc;

use super::Snapshots;
use super::chunks::{Chunk, ChunkReader, decompressed};
use super::filling::Filling;
use super::streams::{ReadLine, StreamError};
use crate::domain::metrics_snapshots::streams::{Batch, Encoding, MAX_ATOMIC, Streamed};
use crate::domain::metrics_snapshots::{Rejection, Rules};

/// What a line has beside its document, at most.
const BESIDE_DOCUMENT: usize = 4 * 1024;

/// Reads lines into batches.
pub(super) struct Lines {
    snapshots: Snapshots,
    read_line: ReadLine,
    atomic: bool,
    filling: Rc<RefCell<Filling>>,
    /// The end of a line whose beginning was in another buffer.
    begun: Vec<u8>,
    is_too_long: bool,
    number: u64,
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
            filling: Rc::new(RefCell::new(Filling::new(batches, atomic))),
            begun: Vec::new(),
            is_too_long: false,
            number: 0,
            streamed: Streamed::default(),
        }
    }

    /// Reads the chunks to the end, and says how many lines were bad. Blocks, on a thread of a runtime.
    ///
    /// # Errors
    /// Why the end was not reached.
    pub(super) fn read(
        mut self,
        chunks: mpsc::Receiver<Chunk>,
        encoding: Encoding,
    ) -> Result<Streamed, StreamError> {
        let chunks = ChunkReader::new(chunks, Rc::clone(&self.filling));
        let mut from = decompressed(chunks, encoding).map_err(StreamError::Undecodable)?;
        let limit = self.snapshots.settings.stream_limit.as_u64();
        let mut read = 0_u64;
        loop {
            let buffer = match from.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(StreamError::of_reading(error)),
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
            self.filling.borrow_mut().hand_over()?;
        }
        Ok(self.streamed)
    }

    /// Takes the lines in a buffer, by the rules of this moment: a stream may last longer than the times that are
    /// taken reach ahead.
    fn take(&mut self, buffer: &[u8]) -> Result<(), StreamError> {
        self.rules = self.snapshots.rules();
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
        let mut filling = self.filling.borrow_mut();
        match (self.read_line)(line, &self.rules) {
            Ok(snapshot) => filling.push(snapshot),
            Err(rejection) => self.streamed.reject(number, rejection),
        }
        let bytes = filling.count(line.len());
        if self.atomic {
            return if bytes > MAX_ATOMIC { Err(StreamError::TooLargeToKeep) } else { Ok(()) };
        }
        if filling.is_full() { filling.hand_over() } else { Ok(()) }
    }
}
