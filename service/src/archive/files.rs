//! Files of the archive: NDJSON, a line for each row, compressed with zstd. They are written, verified and read
//! a piece at a time, however large they are.

use std::io::Write as _;

use object_store::Error as StoreError;
use object_store::path::Path;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use super::ArchiveError;
use super::objects::Objects;
use super::upload::Upload;
use crate::domain::archive_files::{ArchiveFile, Contents, Manifest, manifest_location};
use crate::domain::archive_rows::ArchivedRow;

/// How much text is compressed at a time, in bytes: a line comes in many small pieces.
const LINES: usize = 64 * 1024;

/// How much is compressed before it is handed on, in bytes.
const PIECE: usize = 256 * 1024;

/// zstd's own default: three times as fast as gzip and smaller.
const LEVEL: i32 = 3;

/// A file that is being written. Dropped unfinished it is none, and what was sent of it is taken back.
pub struct FileWriter {
    /// Lines that are not compressed yet.
    lines: Vec<u8>,
    encoder: zstd::stream::write::Encoder<'static, Vec<u8>>,
    upload: Upload,
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
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
        encoder.include_checksum(true)?;
        Ok(Self {
            lines: Vec::with_capacity(LINES),
            encoder,
            upload: Upload::begin(objects, path),
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
        serde_json::to_writer(&mut self.lines, row).map_err(std::io::Error::from)?;
        self.lines.push(b'\n');
        if self.lines.len() >= LINES {
            self.compress()?;
        }
        self.rows += 1;
        self.first_at = Some(self.first_at.map_or(row.timestamp, |it| it.min(row.timestamp)));
        self.last_at = Some(self.last_at.map_or(row.timestamp, |it| it.max(row.timestamp)));
        if self.encoder.get_ref().len() >= PIECE {
            let piece = std::mem::take(self.encoder.get_mut());
            self.send(&piece).await?;
        }
        Ok(())
    }

    fn compress(&mut self) -> std::io::Result<()> {
        self.encoder.write_all(&self.lines)?;
        self.lines.clear();
        Ok(())
    }

    async fn send(&mut self, piece: &[u8]) -> Result<(), ArchiveError> {
        self.hash.update(piece);
        self.bytes += piece.len() as u64;
        Ok(self.upload.write(piece).await?)
    }

    /// Ends the file, and says what it holds.
    ///
    /// # Errors
    /// The place cannot be written.
    pub async fn finish(mut self) -> Result<Contents, ArchiveError> {
        self.compress()?;
        self.encoder.do_finish()?;
        let piece = std::mem::take(self.encoder.get_mut());
        self.send(&piece).await?;
        self.upload.finish().await?;
        Ok(Contents {
            rows: self.rows,
            bytes: self.bytes,
            sha256: self.hash.finalize().into(),
            first_at: self.first_at,
            last_at: self.last_at,
        })
    }
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

/// What a file holds by the manifest beside it; nothing when there is none that can be understood.
///
/// # Errors
/// What the place says.
pub async fn read_manifest(objects: &Objects, file: &ArchiveFile) -> Result<Option<Contents>, ArchiveError> {
    let bytes = objects.get(&manifest_location(&file.location)).await?;
    let manifest = bytes.and_then(|it| serde_json::from_slice::<Manifest>(&it).ok());
    Ok(manifest.and_then(|it| it.contents_of(file)))
}
