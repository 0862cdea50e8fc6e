//! One file by itself, without the folder that it is of.

use std::path::Path;

use super::layout::File;
use super::name::Shape;
use super::parts::{Understood, understand};
use super::style::Style;
use super::{head, name, sections, text};
use crate::source::rules::text::decode;
use crate::source::{Dialect, Problem};
use crate::statements::undo_runs_in_parts;

/// What one file, or a section of it, says. Each line stands where it stands in the file.
pub(crate) struct Alone {
    pub(crate) sql: String,
    pub(crate) is_undo: bool,
    /// Whether it runs outside of a transaction even where its head does not say so.
    pub(crate) no_transaction: bool,
}

impl Alone {
    /// What stands in a file with this name and content, as the migrator would take it from a folder.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn read(dialect: Dialect, path: &Path, content: Vec<u8>) -> Result<Vec<Self>, Vec<Problem>> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let path = path.display().to_string();
        if name::parse(&name).is_err() {
            // It is called like no migration, and may be SQL all the same.
            let sql = decode(content).map_err(|reason| vec![Problem::new(path, reason)])?;
            return Ok(vec![Self { sql, is_undo: false, no_transaction: false }]);
        }
        let mut problems = Vec::new();
        let mut found = Vec::new();
        for file in understand(dialect, vec![File { path, name, content }], &mut problems) {
            found.extend(Self::of(dialect, file, &mut problems));
        }
        if problems.is_empty() { Ok(found) } else { Err(problems) }
    }

    fn of(dialect: Dialect, file: Understood, problems: &mut Vec<Problem>) -> Vec<Self> {
        let Understood { path, named, text, style } = file;
        let sections = match style {
            // The migrator's own may be embedded, where nothing is taken out of a file.
            Style::Lettered => {
                let is_undo = named.shape == Shape::Undo;
                let is_of_flyway = is_undo && !is_of_migrator(&path);
                let no_transaction = is_of_flyway && undo_runs_in_parts(dialect, &text);
                return vec![Self { sql: text, is_undo, no_transaction }];
            }
            Style::Pair | Style::Plain if named.shape == Shape::Down => {
                return vec![Self::undo(dialect, text, false)];
            }
            Style::Pair | Style::Plain => return vec![Self::migration(dialect, text, false)],
            Style::Dbmate => sections::dbmate(&path, &text, problems),
            Style::Goose => sections::goose(&path, &text, problems),
        };
        let mut up = Self::migration(dialect, sections.up, sections.no_transaction);
        // The text begins with an empty line for each of those above the sections.
        let below = up.sql.get(sections.head.matches('\n').count()..).unwrap_or_default();
        up.sql = format!("{}{below}", sections.head);
        let mut found = vec![up];
        found.extend(sections.down.map(|text| Self::undo(dialect, text, sections.down_no_transaction)));
        found
    }

    fn migration(dialect: Dialect, sql: String, no_transaction: bool) -> Self {
        let is_told = no_transaction || sql.starts_with(head::SQLX_NO_TRANSACTION);
        let treated = text::treat(dialect, sql);
        Self { sql: treated.sql, is_undo: false, no_transaction: is_told || treated.no_transaction }
    }

    fn undo(dialect: Dialect, sql: String, no_transaction: bool) -> Self {
        let sql = text::treated_undo(dialect, sql, no_transaction);
        let no_transaction = undo_runs_in_parts(dialect, &sql);
        Self { sql, is_undo: true, no_transaction }
    }
}

/// Whether an undo is called `D1__name.sql`, and not `U1__name.sql`.
fn is_of_migrator(path: &str) -> bool {
    path.rsplit(std::path::MAIN_SEPARATOR).next().is_some_and(|name| name.starts_with('D'))
}
