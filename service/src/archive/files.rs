//! Files of the archive: NDJSON, a line for each row, compressed with zstd. They are written, verified and read
//! a piece at a time, however large they are.

use std::io::Write as _;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStoreExt as _};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use tokio::io::AsyncWriteExt as _;

use super::ArchiveError;
use super::objects::Objects;
use crate::domain::archive_files::{ArchiveFile, Contents, Manifest, manifest_location};
use crate::domain::archive_rows::ArchivedRow;

/// How much is sent to the place at a time, in bytes, and how many such parts are on their way at once. S3
/// takes no part smaller than 5 MiB but the last.
const PART: usize = 8 * 1024 * 1024;
const PARTS_AT_ONCE: usize = 2;

/// How much is compressed before it is handed on, in bytes.
const PIECE: usize = 256 * 1024;

/// zstd's own default: three times as fast as gzip and smaller.
const LEVEL: i32 = 3;

/// A file that is being written. Dropped unfinished it is none.
pub struct FileWriter {
    encoder: zstd::stream::write::Encoder<'static, Vec<u8>>,
    upload: BufWriter,
    hash: Sha256,
    rows: u64,
    bytes: u64,
    first_at: Option<OffsetDateTime>,
    last_at: Option<OffsetDateTime>,
}

impl FileWriter {
    /// Begins a file.
    ///
    /// # Errors
    /// The location is none, or there is no memory to compress with.
    pub fn begin(objects: &Objects, location: &str) -> Result<Self, ArchiveError> {
        let path = Path::parse(location).map_err(StoreError::from)?;
        let upload = BufWriter::with_capacity(objects.store.clone(), path, PART);
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
        encoder.include_checksum(true)?;
        Ok(Self {
            encoder,
            upload: upload.with_max_concurrency(PARTS_AT_ONCE),
            hash: Sha256::new(),
            rows: 0,
            bytes: 0,
            first_at: None,
            last_at: None,
        })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// The place cannot be written.
    pub async fn write(&mut self, row: &ArchivedRow) -> Result<(), ArchiveError> {
        serde_json::to_writer(&mut self.encoder, row).map_err(std::io::Error::from)?;
        self.encoder.write_all(b"\n")?;
        self.rows += 1;
        self.first_at = Some(self.first_at.map_or(row.timestamp, |it| it.min(row.timestamp)));
        self.last_at = Some(self.last_at.map_or(row.timestamp, |it| it.max(row.timestamp)));
        if self.encoder.get_ref().len() >= PIECE {
            let piece = std::mem::take(self.encoder.get_mut());
            self.send(&piece).await?;
        }
        Ok(())
    }

    async fn send(&mut self, piece: &[u8]) -> Result<(), ArchiveError> {
        self.hash.update(piece);
        self.bytes += piece.len() as u64;
        Ok(self.upload.write_all(piece).await?)
    }

    /// Ends the file, and says what it holds.
    ///
    /// # Errors
    /// The place cannot be written.
    pub async fn finish(mut self) -> Result<Contents, ArchiveError> {
        self.encoder.do_finish()?;
        let piece = std::mem::take(self.encoder.get_mut());
        self.send(&piece).await?;
        self.upload.shutdown().await?;
        Ok(Contents {
            rows: self.rows,
            bytes: self.bytes,
            sha256: self.hash.finalize().into(),
            first_at: self.first_at,
            last_at: self.last_at,
        })
    }
}

/// A file that is being read.
pub struct FileReader {
    location: String,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    decoder: zstd::stream::write::Decoder<'static, Vec<u8>>,
    hash: Sha256,
    bytes: u64,
    /// How much of what is decompressed was taken already.
    taken: usize,
}

impl FileReader {
    /// Begins to read a file.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub async fn open(objects: &Objects, location: &str) -> Result<Self, ArchiveError> {
        let path = Path::parse(location).map_err(StoreError::from)?;
        Ok(Self {
            location: location.to_owned(),
            stream: objects.store.get(&path).await?.into_stream(),
            decoder: zstd::stream::write::Decoder::new(Vec::new())?,
            hash: Sha256::new(),
            bytes: 0,
            taken: 0,
        })
    }

    fn damaged(&self, detail: impl std::fmt::Display) -> ArchiveError {
        ArchiveError::Damaged { location: self.location.clone(), detail: detail.to_string() }
    }

    /// Reads on; says whether there was more.
    async fn read_on(&mut self) -> Result<bool, ArchiveError> {
        let Some(piece) = self.stream.next().await else { return Ok(false) };
        let piece = piece?;
        self.hash.update(&piece);
        self.bytes += piece.len() as u64;
        let read = self.decoder.write_all(&piece).and_then(|()| self.decoder.flush());
        read.map_err(|error| self.damaged(error)).map(|()| true)
    }

    /// The next rows, at most `count`; none at the end.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it is no row.
    pub async fn next_rows(&mut self, count: usize) -> Result<Vec<ArchivedRow>, ArchiveError> {
        let mut rows = Vec::new();
        while rows.len() < count {
            let text = &self.decoder.get_ref()[self.taken..];
            if let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                rows.push(serde_json::from_slice(&text[..end]).map_err(|error| self.damaged(error))?);
                self.taken += end + 1;
                continue;
            }
            let is_whole = text.is_empty();
            let taken = std::mem::take(&mut self.taken);
            self.decoder.get_mut().drain(..taken);
            if !self.read_on().await? {
                return if is_whole { Ok(rows) } else { Err(self.damaged("it ends in the middle of a row")) };
            }
        }
        Ok(rows)
    }

    /// Reads the whole file, and compares it with what was written.
    async fn compare(mut self, contents: &Contents) -> Result<(), ArchiveError> {
        let (mut rows, mut last) = (0, b'\n');
        while self.read_on().await? {
            let text = self.decoder.get_mut();
            rows += text.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
            last = text.last().copied().unwrap_or(last);
            text.clear();
        }
        let hash: [u8; 32] = std::mem::take(&mut self.hash).finalize().into();
        if hash != contents.sha256 {
            return Err(self.damaged("its SHA-256 is not that of what was written"));
        }
        if (rows, self.bytes, last) != (contents.rows, contents.bytes, b'\n') {
            return Err(self.damaged(format_args!("it holds {rows} rows instead of {}", contents.rows)));
        }
        Ok(())
    }
}

/// Reads a file back from where it lies and compares it with what was written.
///
/// # Errors
/// [`ArchiveError::Damaged`], or what the place says.
pub async fn verify(objects: &Objects, location: &str, contents: &Contents) -> Result<(), ArchiveError> {
    FileReader::open(objects, location).await?.compare(contents).await
}

/// Writes the manifest of a file beside it.
///
/// # Errors
/// What the place says.
pub async fn write_manifest(
    objects: &Objects,
    file: &ArchiveFile,
    contents: &Contents,
) -> Result<(), ArchiveError> {
    let manifest = serde_json::to_vec_pretty(&Manifest::new(file, contents)).map_err(std::io::Error::from)?;
    objects.put(&manifest_location(&file.location), manifest).await
}
