//! Streams of snapshots: a line of JSON for each.

use super::{NewSnapshot, Rejection};

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// With gzip.
    Gzip,
    /// With zstd.
    Zstd,
}

/// The most lines of a stream that are told to be bad, one by one.
pub const MAX_ERRORS: usize = 1000;

/// The largest stream that is stored as a whole or not at all, decompressed, in bytes: it is kept in memory
/// until it is over.
pub const MAX_ATOMIC: u64 = 16 * 1024 * 1024;

/// What became of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Streamed {
    /// How many snapshots are stored.
    pub accepted: u64,
    /// How many lines are not.
    pub rejected: u64,
    /// The first of these, with the number of the line from 0.
    pub errors: Vec<(u64, Rejection)>,
}

impl Streamed {
    /// Counts a bad line.
    pub fn reject(&mut self, line: u64, rejection: Rejection) {
        self.rejected += 1;
        if self.errors.len() < MAX_ERRORS {
            self.errors.push((line, rejection));
        }
    }
}

/// Snapshots that are stored together.
#[derive(Debug, Default)]
pub struct Batch {
    /// The snapshots.
    pub snapshots: Vec<NewSnapshot>,
    /// The bytes of their lines.
    pub bytes: u64,
}
