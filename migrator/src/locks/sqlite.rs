//! SQLite has one lock for the whole file, so what counts is how long it is held.

use super::Effects;
use crate::statements::sqlite_words;

/// SQLite's name for the right to write, which one connection has; readers go on in WAL mode.
const WRITE: &str = "RESERVED";

pub(super) fn effects(sql: &str) -> Effects {
    let words = sqlite_words(sql);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut effects = Effects::default();
    match words.as_slice() {
        ["SELECT" | "EXPLAIN" | "VALUES" | "PRAGMA" | "ATTACH" | "DETACH", ..] => return effects,
        ["VACUUM", ..] => effects.rewrite("the file", "VACUUM"),
        ["ALTER", "TABLE", table, "DROP", ..] => effects.rewrite(&table.to_lowercase(), "DROP COLUMN"),
        ["ALTER", "TABLE", table, "ADD", rest @ ..]
            if rest.iter().any(|it| matches!(*it, "CHECK" | "NOT")) =>
        {
            effects.scan(&table.to_lowercase(), "the new constraint is checked on every row");
        }
        ["CREATE", "INDEX" | "UNIQUE", ..] => {
            if let Some(table) = words.iter().position(|it| *it == "ON").and_then(|at| words.get(at + 1)) {
                effects.scan(&table.to_lowercase(), "the index is built");
            }
        }
        _ => {}
    }
    effects.lock("the file", WRITE);
    effects
}
