//! What of a file is run and recorded together: a statement, or those between a BEGIN and its COMMIT.

use crate::source::Dialect;
use crate::statements::{self, Part};

/// How a unit is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// In a transaction with its record. PostgreSQL says when that is not possible.
    Transaction,
    /// In a transaction with its record and in no other way, because it has several statements.
    Block,
    /// Alone, because its database refuses it in a transaction.
    Alone,
    /// Alone, and again in the session of each run, because it ends with the session.
    EachSession,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit<'a> {
    pub(super) part: Part<'a>,
    pub(super) mode: Mode,
}

impl Unit<'_> {
    /// Whether it only sets something for the rest of the file. It is set again for each of the others, and never
    /// outlives them: the search path and the role are also those of what the migrator writes.
    pub(super) fn is_setting(&self, dialect: Dialect) -> bool {
        // Not of a block that begins with one: that is run, once, and recorded.
        let [first] = self.part.first_words(dialect);
        dialect == Dialect::Postgres
            && self.mode == Mode::EachSession
            && matches!(first.as_str(), "SET" | "RESET")
    }

    /// The same before another statement, on the line of that one.
    pub(super) fn as_prefix(&self) -> String {
        let sql = self.part.sql;
        let is_one_line = !sql.contains("--");
        format!("{}; ", if is_one_line { sql.replace('\n', " ") } else { sql.to_owned() })
    }
}

/// The units of a file, or why it cannot be run.
pub(super) fn units(dialect: Dialect, file: &str) -> Result<Vec<Unit<'_>>, String> {
    let mut units = Vec::new();
    // The line of a BEGIN, and the statements since.
    let mut open: Option<(usize, Vec<Part<'_>>)> = None;
    for part in statements::split(dialect, file) {
        let [first, second, third] = part.first_words(dialect);
        let line = part.line;
        match first.as_str() {
            "BEGIN" | "START" if open.is_some() => {
                return Err(format!("line {line} begins a transaction in a transaction"));
            }
            "BEGIN" | "START" if is_plain(dialect, &second, &third) => open = Some((line, Vec::new())),
            "BEGIN" | "START" => {
                return Err(format!(
                    "line {line} begins a transaction with options; the migrator begins and ends them itself, so that it can record what is done: write BEGIN alone"
                ));
            }
            "COMMIT" | "END" if second != "PREPARED" => match open.take() {
                Some((_, parts)) => units.extend(block(file, &parts)),
                None => return Err(format!("line {line} ends a transaction that was not begun")),
            },
            "ROLLBACK" | "ABORT" if second != "PREPARED" && second != "TO" && third != "TO" => {
                return Err(format!("line {line} rolls back what the file has just done: take both out"));
            }
            "DISCARD" if dialect == Dialect::Postgres && second == "ALL" => {
                return Err(format!(
                    "line {line} discards all of the session, the migrator's lock too: what a file sets ends with it in any case, so take it out"
                ));
            }
            _ => match &mut open {
                Some((_, parts)) => parts.push(part),
                None => units.push(Unit { part, mode: mode(dialect, &part, &first) }),
            },
        }
    }
    match open {
        Some((line, _)) => Err(format!("the transaction that line {line} begins is never committed")),
        None => Ok(units),
    }
}

fn is_plain(dialect: Dialect, second: &str, third: &str) -> bool {
    match dialect {
        Dialect::Postgres => matches!(second, "" | "WORK" | "TRANSACTION") && third.is_empty(),
        Dialect::Sqlite => true,
    }
}

fn block<'a>(file: &'a str, parts: &[Part<'a>]) -> Option<Unit<'a>> {
    let (first, last) = (parts.first()?, parts.last()?);
    let sql = &file[first.offset..last.offset + last.sql.len()];
    Some(Unit { part: Part { sql, ..*first }, mode: Mode::Block })
}

fn mode(dialect: Dialect, part: &Part<'_>, first: &str) -> Mode {
    match (dialect, first) {
        (Dialect::Sqlite, "PRAGMA" | "ATTACH" | "DETACH")
        | (Dialect::Postgres, "SET" | "RESET" | "DISCARD" | "LISTEN" | "UNLISTEN" | "LOAD" | "PREPARE") => {
            Mode::EachSession
        }
        // This only spares the server's log an error.
        _ if part.is_refused_in_transaction(dialect) => Mode::Alone,
        _ => Mode::Transaction,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(dialect: Dialect, file: &str) -> Vec<(String, Mode, usize)> {
        let units = units(dialect, file).expect("it can be run");
        units.into_iter().map(|unit| (unit.part.sql.to_owned(), unit.mode, unit.part.line)).collect()
    }

    #[test]
    fn a_transaction_is_one_unit() {
        let file = "SET a = 1;\nBEGIN;\nSELECT 1;\n-- why\nSELECT 2; COMMIT;\nBEGIN; END;\nVACUUM t;\ncreate unique index concurrently i ON t (a);SELECT 3";
        let expected = [
            ("SET a = 1", Mode::EachSession, 1),
            ("SELECT 1;\n-- why\nSELECT 2", Mode::Block, 3),
            ("VACUUM t", Mode::Alone, 7),
            ("create unique index concurrently i ON t (a)", Mode::Alone, 8),
            ("SELECT 3", Mode::Transaction, 8),
        ];
        assert_eq!(
            shown(Dialect::Postgres, file),
            expected.map(|(sql, mode, line)| (sql.to_owned(), mode, line))
        );
        let sqlite = shown(Dialect::Sqlite, "PRAGMA x = 1;\nBEGIN IMMEDIATE; SELECT 1; COMMIT");
        assert_eq!(sqlite[1], ("SELECT 1".to_owned(), Mode::Block, 2));
        assert_eq!(sqlite[0].1, Mode::EachSession);
    }

    #[test]
    fn what_cannot_be_recorded_is_refused() {
        for (file, reason) in [
            ("BEGIN;\nSELECT 1;", "line 1 begins is never committed"),
            ("SELECT 1;\nCOMMIT;", "line 2 ends a transaction that was not begun"),
            ("BEGIN;\nBEGIN;", "line 2 begins a transaction in a transaction"),
            ("BEGIN;\nROLLBACK;", "line 2 rolls back"),
            ("SELECT 1;\ndiscard all;", "line 2 discards all"),
            (
                "START TRANSACTION ISOLATION LEVEL SERIALIZABLE; COMMIT",
                "line 1 begins a transaction with options",
            ),
        ] {
            let error = units(Dialect::Postgres, file).expect_err(file);
            assert!(error.contains(reason), "{error}");
        }
        units(Dialect::Postgres, "BEGIN; SAVEPOINT a; SELECT 1; ROLLBACK TO a; COMMIT")
            .expect("it is allowed");
    }
}
