//! Migrations that are read at run time from anybody's folder, named as their own tool names them.
//!
//! What they are called and which file undoes which is the tool's matter; what is made of them is the same as of
//! the embedded ones, so every command treats them alike. An undo is optional here.

mod alone;
mod head;
mod layout;
mod name;
mod new;
mod parts;
mod psql;
mod sections;
mod style;
mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::{Catalog, Dialect, Migration, Problem, SourceErrors, Undo, Version};
use layout::Layout;
use parts::{Part, Parts};

pub(crate) use alone::Alone;
pub(crate) use new::new_file;
pub(crate) use parts::Counting;

/// Why a folder cannot be used.
#[derive(Debug)]
pub enum FolderError {
    /// It is missing, cannot be read, or has no migrations in it. In words.
    Folder(String),
    /// What is wrong with its files.
    Files(SourceErrors),
}

impl fmt::Display for FolderError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(sentence) => formatter.write_str(sentence),
            Self::Files(errors) => errors.fmt(formatter),
        }
    }
}

impl std::error::Error for FolderError {}

/// Reads the migrations for `dialect` in `folder`: those of a folder that the dialect has of its own in there
/// (`postgres/`, `sqlite/`), in `migrations/` and `undo/` or side by side.
///
/// # Errors
/// Everything that is wrong with the folder or with any file in it.
pub fn read_folder(folder: &Path, dialect: Dialect) -> Result<Catalog, FolderError> {
    let layout = Layout::of(folder, dialect)?;
    let mut problems = Vec::new();
    let files = layout.read(dialect, &mut problems)?;
    if files.is_empty() && problems.is_empty() {
        return Err(FolderError::Folder(layout.nothing_there(folder, dialect)));
    }
    let parts = Parts::of(dialect, files, &mut problems);
    let migrations = pair_up(dialect, parts, &mut problems);
    SourceErrors::unless(problems, Catalog::of(dialect, migrations)).map_err(FolderError::Files)
}

/// How the files for `dialect` in `folder`, which [`read_folder`] has read, number their versions.
pub(crate) fn counting_of(folder: &Path, dialect: Dialect) -> Result<Counting, FolderError> {
    let mut problems = Vec::new();
    let files = Layout::of(folder, dialect)?.read(dialect, &mut problems)?;
    let counting = Parts::of(dialect, files, &mut problems).counting;
    SourceErrors::unless(problems, counting).map_err(FolderError::Files)
}

/// Each migration with its undo, in the order of their versions.
fn pair_up(dialect: Dialect, parts: Parts, problems: &mut Vec<Problem>) -> Vec<Migration> {
    let ups = by_version(parts.up, "migration", problems);
    let mut downs = by_version(parts.down, "undo", problems);
    let mut migrations = Vec::new();
    for (version, up) in ups {
        migrations.extend(migration(dialect, up, downs.remove(&version), problems));
    }
    for (version, orphan) in downs {
        let reason = format!("undoes nothing: there is no migration with the version {version}");
        problems.push(Problem::new(orphan.file, reason));
    }
    migrations
}

fn by_version(parts: Vec<Part>, what: &str, problems: &mut Vec<Problem>) -> BTreeMap<Version, Part> {
    let mut found: BTreeMap<Version, Part> = BTreeMap::new();
    for part in parts {
        match found.get(&part.version) {
            Some(first) => {
                let version = part.version;
                let reason = format!("is the second {what} with the version {version}, after {}", first.file);
                problems.push(Problem::new(part.file, reason));
            }
            None => drop(found.insert(part.version, part)),
        }
    }
    found
}

fn migration(
    dialect: Dialect,
    up: Part,
    down: Option<Part>,
    problems: &mut Vec<Problem>,
) -> Option<Migration> {
    let mut instructions = head::instructions(&up, problems);
    let treated = text::treat(dialect, up.text);
    instructions.no_transaction |= up.no_transaction || treated.no_transaction;
    let mut undo = None;
    if let Some(down) = &down {
        head::of_undo(down, problems);
    }
    // Whoever says that it is irreversible may keep a section that another tool asks for. It is never run.
    if let Some(down) = down.filter(|_| instructions.irreversible.is_none()) {
        // What its tool made empty for its author to fill takes nothing back.
        if text::has_statement(dialect, &down.text) || !text::has_statement(dialect, &treated.sql) {
            let sql = text::treated_undo(dialect, down.text, down.no_transaction);
            undo = Some(Undo { file_name: down.file, sql });
        } else {
            instructions.irreversible = Some(format!(
                "there is no SQL in {} that would; `migrator stamp` with the version before it takes it out of the history without running anything",
                down.file
            ));
        }
    }
    match Migration::new(up.version, &up.name, treated.sql, instructions, undo) {
        Ok(migration) => Some(migration.with_file(up.file)),
        Err(error) => {
            problems.push(Problem::new(up.file, format!("refinery refuses it: {error}")));
            None
        }
    }
}
