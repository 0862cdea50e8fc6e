//! New files in the style of a folder.

use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::layout::Layout;
use super::parts::{Counting, Understood, understand};
use super::style::Style;
use crate::source::new::{MIGRATION_HEADER, NewFilesError, UNDO_HEADER, next_version, normalised, write_new};
use crate::source::{Dialect, Version};

/// Versions from here on are times, `YYYYMMDDHHMM` at least.
const TIMES: Version = 100_000_000_000;

/// Writes an empty migration and its undo as the folder has them, and returns their paths. Where versions are
/// counted the next one is taken, otherwise the time. Nothing is overwritten.
pub(crate) fn new_file(
    folder: &Path,
    dialect: Dialect,
    name: &str,
    now: OffsetDateTime,
) -> Result<Vec<PathBuf>, NewFilesError> {
    let name = normalised(name)?;
    let layout = Layout::of(folder, dialect)?;
    // What is wrong with the others is told by whatever applies them.
    let files = understand(dialect, layout.read(dialect, &mut Vec::new())?, &mut Vec::new());
    let style = files.first().map_or(Style::Lettered, |it| it.style);
    let version = next(&files, now)?;
    let undo_folder = layout.undo.as_ref().unwrap_or(&layout.migrations);
    let undo_letter = if files.iter().any(|it| file_name(it).starts_with('U')) { 'U' } else { 'D' };
    let here = |name: String| layout.migrations.join(name);
    let new: Vec<(PathBuf, String)> = match style {
        Style::Lettered => vec![
            (here(format!("V{version}__{name}.sql")), MIGRATION_HEADER.to_owned()),
            (undo_folder.join(format!("{undo_letter}{version}__{name}.sql")), UNDO_HEADER.to_owned()),
        ],
        Style::Pair => vec![
            (here(format!("{version}_{name}.up.sql")), String::new()),
            (undo_folder.join(format!("{version}_{name}.down.sql")), String::new()),
        ],
        Style::Plain => vec![(here(format!("{version}_{name}.sql")), String::new())],
        Style::Dbmate => {
            vec![(here(format!("{version}_{name}.sql")), "-- migrate:up\n\n\n-- migrate:down\n\n".to_owned())]
        }
        Style::Goose => {
            vec![(here(format!("{version}_{name}.sql")), "-- +goose Up\n\n\n-- +goose Down\n\n".to_owned())]
        }
    };
    let mut written: Vec<PathBuf> = Vec::new();
    for (path, text) in new {
        if let Err(source) = write_new(path.parent().unwrap_or(folder), &path, &text) {
            for path in &written {
                drop(std::fs::remove_file(path));
            }
            return Err(NewFilesError::Io { path, source });
        }
        written.push(path);
    }
    Ok(written)
}

fn file_name(file: &Understood) -> &str {
    file.path.rsplit(std::path::MAIN_SEPARATOR).next().unwrap_or_default()
}

/// The next version, as the folder writes them.
fn next(files: &[Understood], now: OffsetDateTime) -> Result<String, NewFilesError> {
    let counting = Counting::of(files);
    // What is after the first number is of a small change to what that number stands for.
    let first = |file: &Understood| {
        let number = file.named.version.0.first()?;
        Some((number.parse::<Version>().ok()?, number.len()))
    };
    let Some((newest, width)) = files.iter().filter_map(first).max() else {
        return Ok(next_version(0, now)?.to_string());
    };
    if newest >= TIMES && counting == Counting::Plain {
        return Ok(next_version(newest, now)?.to_string());
    }
    let version = newest.checked_add(1).ok_or(NewFilesError::NoVersion { newest })?;
    Ok(format!("{version:0width$}"))
}
