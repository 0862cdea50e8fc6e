//! Files of the archive are read a range at a time, each in a request of its own: whoever reads may take as long
//! as it likes between two of them. Rows come only from a file that was verified, and only from the bytes that
//! were.

use std::io::{BufRead as _, Write as _};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error as StoreError, GetOptions, GetRange, ObjectStoreExt as _};
use sha2::{Digest as _, Sha256};

use super::ArchiveError;
use super::objects::Objects;
use crate::domain::archive_files::Contents;
use crate::domain::archive_rows::ArchivedRow;

/// How much is read at a time, in bytes.
const RANGE: u64 = 8 * 1024 * 1024;

/// How much of it is decompressed at a time, in bytes: what that comes to is in memory.
const PIECE: usize = 16 * 1024;

fn damaged(location: &str, detail: impl std::fmt::Display) -> ArchiveError {
    ArchiveError::Damaged { location: location.to_owned(), detail: detail.to_string() }
}

/// The ranges of a file, of one version of it.
struct Ranges {
    objects: Objects,
    location: String,
    path: Path,
    size: u64,
    etag: Option<String>,
    at: u64,
}

impl Ranges {
    async fn open(objects: &Objects, location: &str) -> Result<Self, ArchiveError> {
        let path = Path::parse(location).map_err(StoreError::from)?;
        let found = objects.store.head(&path).await.map_err(|error| told(location, error))?;
        let (objects, location) = (objects.clone(), location.to_owned());
        Ok(Self { objects, location, path, size: found.size, etag: found.e_tag, at: 0 })
    }

    /// The next range; nothing at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, ArchiveError> {
        if self.at >= self.size {
            return Ok(None);
        }
        let range = self.at..self.size.min(self.at + RANGE);
        self.at = range.end;
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            if_match: self.etag.clone(),
            ..GetOptions::default()
        };
        let read = async { self.objects.store.get_opts(&self.path, options).await?.bytes().await };
        read.await.map(Some).map_err(|error| told(&self.location, error))
    }
}

/// What the place says of a file that is not what it was, it says of this file alone.
fn told(location: &str, error: StoreError) -> ArchiveError {
    match error {
        StoreError::NotFound { .. } => ArchiveError::Missing(location.to_owned()),
        StoreError::Precondition { .. } => damaged(location, "it was changed while it was read"),
        other => other.into(),
    }
}

/// A file that was read back whole and is what was written. Rows are read from exactly these bytes.
#[derive(Debug)]
pub struct Verified {
    location: String,
    size: u64,
    /// What the place knew this version by.
    etag: Option<String>,
    /// The SHA-256 of each range.
    digests: Vec<[u8; 32]>,
}

impl Verified {
    /// Sees to it that the file is still there, as it was.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`], [`ArchiveError::Missing`], or what the place says.
    pub async fn is_unchanged(&self, objects: &Objects) -> Result<(), ArchiveError> {
        let found = Ranges::open(objects, &self.location).await?;
        if (found.size, &found.etag) == (self.size, &self.etag) {
            Ok(())
        } else {
            Err(damaged(&self.location, "it was changed after it was verified"))
        }
    }
}

/// Reads a file back from where it lies and compares it with what was written.
///
/// # Errors
/// [`ArchiveError::Damaged`], [`ArchiveError::Missing`], or what the place says.
pub async fn verify(
    objects: &Objects,
    location: &str,
    contents: &Contents,
) -> Result<Verified, ArchiveError> {
    let mut ranges = Ranges::open(objects, location).await?;
    if ranges.size != contents.bytes {
        let detail = format!("it has {} bytes instead of {}", ranges.size, contents.bytes);
        return Err(damaged(location, detail));
    }
    let (mut whole, mut digests) = (Sha256::new(), Vec::new());
    let mut lines = Lines::new()?;
    let (mut rows, mut rest) = (0, 0);
    while let Some(range) = ranges.next().await? {
        whole.update(&range);
        digests.push(Sha256::digest(&range).into());
        for piece in range.chunks(PIECE) {
            let text = lines.decompress(piece).map_err(|error| damaged(location, error))?;
            let mut left = text.as_slice();
            while !left.is_empty() {
                let length = left.skip_until(b'\n')?;
                let ends = text[text.len() - left.len() - 1] == b'\n';
                (rows, rest) = if ends { (rows + 1, 0) } else { (rows, length) };
            }
            text.clear();
        }
    }
    let hash: [u8; 32] = whole.finalize().into();
    if hash != contents.sha256 {
        return Err(damaged(location, "its SHA-256 is not that of what was written"));
    }
    if (rows, rest) != (contents.rows, 0) {
        return Err(damaged(location, format_args!("it holds {rows} rows instead of {}", contents.rows)));
    }
    Ok(Verified { location: location.to_owned(), size: ranges.size, etag: ranges.etag, digests })
}

/// What is decompressed.
struct Lines {
    decoder: zstd::stream::write::Decoder<'static, Vec<u8>>,
}

impl Lines {
    fn new() -> std::io::Result<Self> {
        Ok(Self { decoder: zstd::stream::write::Decoder::new(Vec::new())? })
    }

    /// Decompresses a piece, behind what was left of those before it.
    fn decompress(&mut self, piece: &[u8]) -> std::io::Result<&mut Vec<u8>> {
        self.decoder.write_all(piece)?;
        self.decoder.flush()?;
        Ok(self.decoder.get_mut())
    }
}

/// The rows of a verified file, in their order.
pub struct FileReader {
    ranges: Ranges,
    digests: std::vec::IntoIter<[u8; 32]>,
    /// What was read and is not decompressed yet.
    range: Bytes,
    lines: Lines,
    /// How much of what is decompressed was taken already.
    taken: usize,
}

impl FileReader {
    /// Begins to read a file.
    ///
    /// # Errors
    /// The location is none, or there is no memory to decompress with.
    pub fn open(objects: &Objects, file: &Verified) -> Result<Self, ArchiveError> {
        let ranges = Ranges {
            objects: objects.clone(),
            location: file.location.clone(),
            path: Path::parse(&file.location).map_err(StoreError::from)?,
            size: file.size,
            etag: file.etag.clone(),
            at: 0,
        };
        let digests = file.digests.clone().into_iter();
        Ok(Self { ranges, digests, range: Bytes::new(), lines: Lines::new()?, taken: 0 })
    }

    fn damaged(&self, detail: impl std::fmt::Display) -> ArchiveError {
        damaged(&self.ranges.location, detail)
    }

    /// Reads on; says whether there was more.
    async fn read_on(&mut self) -> Result<bool, ArchiveError> {
        if self.range.is_empty() {
            let Some(range) = self.ranges.next().await? else { return Ok(false) };
            let digest: [u8; 32] = Sha256::digest(&range).into();
            if self.digests.next() != Some(digest) {
                return Err(self.damaged("it is not what it was when it was verified"));
            }
            self.range = range;
        }
        let piece = self.range.split_to(PIECE.min(self.range.len()));
        let taken = std::mem::take(&mut self.taken);
        self.lines.decoder.get_mut().drain(..taken);
        match self.lines.decompress(&piece) {
            Ok(_) => Ok(true),
            Err(error) => Err(self.damaged(error)),
        }
    }

    /// The next rows, at most `count`; none at the end.
    ///
    /// # Errors
    /// The file cannot be read, is not what was verified, or a line of it is no row.
    pub async fn next_rows(&mut self, count: usize) -> Result<Vec<ArchivedRow>, ArchiveError> {
        let mut rows = Vec::new();
        while rows.len() < count {
            let text = &self.lines.decoder.get_ref()[self.taken..];
            let length = (&mut &*text).skip_until(b'\n')?;
            if length > 0 && text[length - 1] == b'\n' {
                let row = serde_json::from_slice(&text[..length - 1]);
                rows.push(row.map_err(|error| self.damaged(error))?);
                self.taken += length;
                continue;
            }
            let is_whole = text.is_empty();
            if !self.read_on().await? {
                return if is_whole { Ok(rows) } else { Err(self.damaged("it ends in the middle of a row")) };
            }
        }
        Ok(rows)
    }
}
