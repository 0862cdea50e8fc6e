//! What `migrator new NAME` writes.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::folder::FolderError;
use super::{Dialect, Version};

/// Why no files were written. None is left behind.
#[derive(Debug, thiserror::Error)]
pub enum NewFilesError {
    /// The name cannot be made into words of letters and digits.
    #[error(
        "{name:?} is no name for a migration: give words of a-z and 0-9 (blanks and dashes become _), \
         at most {MAXIMUM_NAME_LENGTH} characters, such as add_user_locale"
    )]
    Name {
        /// What was given.
        name: String,
    },
    /// The folder is not the migrator's.
    #[error("{} has no folder migrations/ in it: run this in the migrator's folder, or name it", folder.display())]
    NoMigrations {
        /// What was given.
        folder: PathBuf,
    },
    /// No version is left above the newest one.
    #[error("version {newest} is taken, and no higher one can be kept")]
    NoVersion {
        /// The newest version found.
        newest: Version,
    },
    /// The folder of `--migrations` cannot be used.
    #[error(transparent)]
    Foreign(#[from] FolderError),
    /// A folder or a file could not be read or written.
    #[error("cannot write or read {}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

const MAXIMUM_NAME_LENGTH: usize = 100;

/// Writes an empty migration and an empty undo file for each dialect, and returns their paths.
///
/// `folder` is the one that has `migrations/` in it. The version is `now` in UTC as `YYYYMMDDHHMMSS`, or one
/// above the newest that is there. Nothing is overwritten. The build refuses the files until SQL is in them.
pub fn new_files(folder: &Path, name: &str, now: OffsetDateTime) -> Result<Vec<PathBuf>, NewFilesError> {
    let text = |_, _| (MIGRATION_HEADER.to_owned(), Some(UNDO_HEADER.to_owned()));
    write_files(folder, name, now, &Dialect::ALL, text)
}

/// Writes the migration and the undo file, where there is one, that `text` gives for the version and each of these
/// dialects.
pub(crate) fn write_files(
    folder: &Path,
    name: &str,
    now: OffsetDateTime,
    dialects: &[Dialect],
    text: impl Fn(Version, Dialect) -> (String, Option<String>),
) -> Result<Vec<PathBuf>, NewFilesError> {
    let name = normalised(name)?;
    if !folder.join("migrations").is_dir() {
        return Err(NewFilesError::NoMigrations { folder: folder.to_owned() });
    }
    let version = next_version(newest_version(folder)?, now)?;

    let mut written = Vec::new();
    for dialect in dialects {
        let (migration, undo) = text(version, *dialect);
        for (kind, letter, text) in [("migrations", 'V', Some(migration)), ("undo", 'D', undo)] {
            let Some(text) = text else { continue };
            let parent = folder.join(kind).join(dialect.folder());
            let path = parent.join(format!("{letter}{version}__{name}.sql"));
            if let Err(source) = write_new(&parent, &path, &text) {
                // The first error is the one to tell; a file that stays is found by the next build.
                for path in &written {
                    drop(fs::remove_file(path));
                }
                return Err(NewFilesError::Io { path, source });
            }
            written.push(path);
        }
    }
    Ok(written)
}

// Neither header may hold a line that is itself an instruction, nor a statement.
pub(super) const MIGRATION_HEADER: &str = "\
-- What this migration does, and why.
--
-- It runs in one transaction with its row in the history. Instructions stand up here, one on a line, each
-- as `-- migrator: WORD ...`, where WORD is one of
--   irreversible WHY          there is no undo file (delete it)
--   compatible-from VERSION   releases whose newest migration is older cannot run on this schema:
--                             needed when it drops, renames or tightens
--   no-transaction            the statements run one by one, outside of a transaction
--   lint-allow RULE WHY       the linter's rule does not count here
-- They are part of the checksum, so none can be added once this was applied anywhere.

";
pub(super) const UNDO_HEADER: &str = "\
-- Takes the migration of the same number back. It runs in one transaction with the removal of its row.

";

/// Whether a migration is as `new` writes it in any style.
pub(crate) fn is_unwritten(sql: &str) -> bool {
    // A section begins with its marker.
    let says_nothing =
        |line: &&str| line.is_empty() || line.starts_with("-- migrate:") || line.starts_with("-- +goose");
    let mut said = sql.lines().map(str::trim_end).filter(|line| !says_nothing(line)).peekable();
    said.peek().is_none() || said.eq(MIGRATION_HEADER.lines().filter(|line| !line.is_empty()))
}

pub(super) fn normalised(name: &str) -> Result<String, NewFilesError> {
    let error = || NewFilesError::Name { name: name.to_owned() };
    let separated = |character: char| character.is_ascii_whitespace() || matches!(character, '-' | '_');
    let words: Vec<&str> = name.split(separated).filter(|word| !word.is_empty()).collect();
    let name = words.join("_").to_ascii_lowercase();
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if name.is_empty() || name.len() > MAXIMUM_NAME_LENGTH || !name.bytes().all(allowed) {
        return Err(error());
    }
    Ok(name)
}

pub(super) fn next_version(newest: Version, now: OffsetDateTime) -> Result<Version, NewFilesError> {
    let now = now.to_offset(time::UtcOffset::UTC);
    let date = (Version::from(now.year()) * 100 + Version::from(u8::from(now.month()))) * 100
        + Version::from(now.day());
    let time =
        (Version::from(now.hour()) * 100 + Version::from(now.minute())) * 100 + Version::from(now.second());
    let above = newest.checked_add(1).ok_or(NewFilesError::NoVersion { newest })?;
    Ok(above.max(date * 1_000_000 + time))
}

/// The highest version that any file name claims, well formed or not: a new one must be above it.
fn newest_version(folder: &Path) -> Result<Version, NewFilesError> {
    let mut newest = 0;
    for kind in ["migrations", "undo"] {
        for dialect in Dialect::ALL {
            let path = folder.join(kind).join(dialect.folder());
            let entries = match fs::read_dir(&path) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(NewFilesError::Io { path, source }),
            };
            for entry in entries {
                let entry = entry.map_err(|source| NewFilesError::Io { path: path.clone(), source })?;
                newest = newest.max(claimed_version(&entry.file_name().to_string_lossy()));
            }
        }
    }
    Ok(newest)
}

fn claimed_version(file_name: &str) -> Version {
    let rest = file_name.strip_prefix(['V', 'D', 'v', 'd']).unwrap_or_default();
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

pub(super) fn write_new(parent: &Path, path: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(parent)?;
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
}
