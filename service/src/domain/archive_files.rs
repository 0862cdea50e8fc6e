//! Files of the archive: which rows are in them, and whether they are anywhere else.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::macros::format_description;
use uuid::Uuid;

use super::partitions::Range;

/// How far a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileState {
    /// It may be incomplete, and its rows are where they were.
    Writing,
    /// It was read back whole; the rows are being deleted.
    Verified,
    /// The rows are here alone.
    Archived,
    /// They are in the table again, for a time.
    Restored,
}

/// A word that is no state of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no state of a file")]
pub struct UnknownFileState;

impl FileState {
    /// The word for it in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Writing => "writing",
            Self::Verified => "verified",
            Self::Archived => "archived",
            Self::Restored => "restored",
        }
    }
}

impl FromStr for FileState {
    type Err = UnknownFileState;

    fn from_str(word: &str) -> Result<Self, UnknownFileState> {
        let all = [Self::Writing, Self::Verified, Self::Archived, Self::Restored];
        all.into_iter().find(|it| it.name() == word).ok_or(UnknownFileState)
    }
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// How many rows.
    pub rows: u64,
    /// How large it is, in bytes.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// The time of the first row.
    pub first_at: Option<OffsetDateTime>,
    /// The time of the last row.
    pub last_at: Option<OffsetDateTime>,
}

/// A file of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveFile {
    /// Version 7.
    pub id: Uuid,
    /// The run that began it.
    pub run_id: Uuid,
    /// The type of its rows.
    pub metric_type: String,
    /// The range of time that it was made for.
    pub range: Range,
    /// The detached partition that they come from; nothing when they come from the table itself.
    pub detached: Option<String>,
    /// Where it lies, below the archive's root.
    pub location: String,
    /// How far it is.
    pub state: FileState,
    /// What it holds, once that is known.
    pub contents: Option<Contents>,
}

/// Where a file with this id lies, in the folder of its deployment. Whatever a type is called, this is a plain
/// path: the manifest has the name.
#[must_use]
pub fn location(deployment: &str, metric_type: &str, range: Range, id: Uuid) -> String {
    let plain = |it: char| if it.is_ascii_alphanumeric() || it == '-' || it == '_' { it } else { '_' };
    let folder: String = metric_type.chars().map(plain).collect();
    let minute = format_description!("[year][month][day]T[hour][minute]Z");
    // A time has all these parts, so that it can always be written.
    let text = |time: OffsetDateTime| time.format(minute).unwrap_or_default();
    format!("{deployment}/{folder}/{}-{}-{id}.ndjson.zst", text(range.lower), text(range.upper))
}

/// Where a run tries whether the place can be written: the same for all of them, so that the next one removes what
/// one left that was killed meanwhile.
#[must_use]
pub fn probe_location(deployment: &str) -> String {
    format!("{deployment}/probe")
}

/// Where the manifest of a file lies.
#[must_use]
pub fn manifest_location(location: &str) -> String {
    format!("{location}.manifest.json")
}

/// What lies beside a file, so that it is understood without the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The file's id.
    pub id: Uuid,
    /// The type of its rows.
    pub metric_type: String,
    /// Their times are not before this.
    #[serde(with = "time::serde::rfc3339")]
    pub from: OffsetDateTime,
    /// Their times are before this.
    #[serde(with = "time::serde::rfc3339")]
    pub to: OffsetDateTime,
    /// How many rows, a line for each.
    pub rows: u64,
    /// The time of the first row.
    #[serde(with = "time::serde::rfc3339::option")]
    pub first_at: Option<OffsetDateTime>,
    /// The time of the last row.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_at: Option<OffsetDateTime>,
    /// The SHA-256 of the file, in hexadecimal digits.
    pub sha256: String,
    /// How large the file is, in bytes.
    pub bytes: u64,
    /// The form of the lines: 1.
    pub schema: u32,
}

impl Manifest {
    /// What the file holds by this, if it is the manifest of this file; nothing for a form that is not known.
    #[must_use]
    pub fn contents_of(&self, file: &ArchiveFile) -> Option<Contents> {
        let digits = |at: usize| u8::from_str_radix(self.sha256.get(at * 2..at * 2 + 2)?, 16).ok();
        let sha256: Vec<u8> = (0..32).map_while(digits).collect();
        let sha256 = sha256.try_into().ok().filter(|_| self.sha256.len() == 64)?;
        let is_its = self.schema == 1 && self.id == file.id && self.metric_type == file.metric_type;
        let (rows, bytes, first_at, last_at) = (self.rows, self.bytes, self.first_at, self.last_at);
        is_its.then_some(Contents { rows, bytes, sha256, first_at, last_at })
    }

    /// The manifest of a file that holds this.
    #[must_use]
    pub fn new(file: &ArchiveFile, contents: &Contents) -> Self {
        let digits = contents.sha256.iter().map(|byte| format!("{byte:02x}"));
        Self {
            id: file.id,
            metric_type: file.metric_type.clone(),
            from: file.range.lower,
            to: file.range.upper,
            rows: contents.rows,
            first_at: contents.first_at,
            last_at: contents.last_at,
            sha256: digits.collect(),
            bytes: contents.bytes,
            schema: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn whatever_a_type_is_called_its_files_lie_below_the_root() {
        let range = Range { lower: datetime!(2026-01-31 0:00 UTC), upper: datetime!(2026-02-01 0:00 UTC) };
        for (metric_type, folder) in [("cpu", "cpu"), ("..", "__"), ("a/b\\c d", "a_b_c_d"), ("ä*", "__")] {
            let found = location("d0", metric_type, range, Uuid::nil());
            assert_eq!(
                found,
                format!("d0/{folder}/20260131T0000Z-20260201T0000Z-{}.ndjson.zst", Uuid::nil())
            );
        }
    }
}
