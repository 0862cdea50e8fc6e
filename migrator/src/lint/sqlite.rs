//! The rules for SQLite, which squawk does not know. They read words, not a tree, so they are few.

use std::collections::BTreeSet;

use super::{Hit, Level, Source, incompatible};
use crate::source::{Dialect, Instructions};
use crate::statements::{self, Part, sqlite_words};

pub(super) fn hits(source: &Source<'_>, instructions: &Instructions) -> Vec<Hit> {
    let parts = statements::split(Dialect::Sqlite, source.text);
    let words: Vec<Vec<String>> = parts.iter().map(|part| sqlite_words(part.sql)).collect();
    let created: BTreeSet<&str> = words.iter().filter_map(|words| created(words)).collect();
    let rebuilt: BTreeSet<&str> = words.iter().filter_map(|words| renamed(words, &created)).collect();
    let mut hits = Vec::new();
    for (part, words) in parts.iter().zip(&words) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if !instructions.no_transaction {
            hits.extend(in_transaction(part, &words));
        }
        hits.extend(required(part, &words));
        hits.extend(serial(part, &words));
        if instructions.compatible_from.is_none()
            && let Some(what) = takes_away(&words, &created, &rebuilt)
        {
            hits.push(incompatible(part.offset, &what));
        }
    }
    hits
}

/// The name after `at`, with or without the schema before it.
fn name<'a>(words: &[&'a str], at: usize) -> &'a str {
    let at = if words.get(at + 1) == Some(&".") { at + 2 } else { at };
    words.get(at).copied().unwrap_or_default()
}

fn skip(words: &[&str], at: usize, optional: &[&str]) -> usize {
    if words.get(at..at + optional.len()) == Some(optional) { at + optional.len() } else { at }
}

/// The table that the statement makes.
fn created(words: &[String]) -> Option<&str> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["CREATE", "TABLE", ..] => Some(name(&words, skip(&words, 2, &["IF", "NOT", "EXISTS"]))),
        ["CREATE", "TEMP" | "TEMPORARY", "TABLE", ..] => {
            Some(name(&words, skip(&words, 3, &["IF", "NOT", "EXISTS"])))
        }
        _ => None,
    }
}

/// The name that a table made in this file gets: the end of a rebuild in SQLite's twelve steps.
fn renamed<'a>(words: &'a [String], created: &BTreeSet<&str>) -> Option<&'a str> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let at = words.iter().position(|word| *word == "RENAME")?;
    let is_rename = words.starts_with(&["ALTER", "TABLE"]) && words.get(at + 1) == Some(&"TO");
    (is_rename && created.contains(name(&words, 2))).then(|| words.get(at + 2).copied()).flatten()
}

fn takes_away(words: &[&str], created: &BTreeSet<&str>, rebuilt: &BTreeSet<&str>) -> Option<String> {
    match words {
        ["DROP", kind @ ("TABLE" | "VIEW"), ..] => {
            let name = name(words, skip(words, 2, &["IF", "EXISTS"]));
            if rebuilt.contains(name) {
                return Some(format!(
                    "the table {} is rebuilt, which may rename or tighten",
                    name.to_lowercase()
                ));
            }
            let is_own = created.contains(name);
            (!is_own).then(|| format!("the {} {} is dropped", kind.to_lowercase(), name.to_lowercase()))
        }
        ["ALTER", "TABLE", ..] if !created.contains(name(words, 2)) => {
            let table = name(words, 2).to_lowercase();
            let action = if words.get(3) == Some(&".") { 5 } else { 3 };
            match words.get(action).copied() {
                Some("DROP") => Some(format!("a column of {table} is dropped")),
                Some("RENAME") if words.get(action + 1) == Some(&"TO") => {
                    Some(format!("the table {table} is renamed"))
                }
                Some("RENAME") => Some(format!("a column of {table} is renamed")),
                _ => None,
            }
        }
        ["CREATE", "UNIQUE", "INDEX", ..] => {
            let on = words.iter().position(|word| *word == "ON")?;
            let table = name(words, on + 1);
            (!created.contains(table)).then(|| {
                format!(
                    "a unique index on the existing table {} refuses what was written before",
                    table.to_lowercase()
                )
            })
        }
        _ => None,
    }
}

fn in_transaction(part: &Part<'_>, words: &[&str]) -> Option<Hit> {
    match words {
        ["BEGIN" | "COMMIT" | "END" | "ROLLBACK", rest @ ..] if !rest.contains(&"TO") => Some(
            Hit::new(
                part.offset,
                "transaction-nesting",
                Level::Error,
                "a migration runs in a transaction, which it must not begin or end itself",
            )
            .help("take it out, or say `-- migrator: no-transaction`"),
        ),
        [word @ ("PRAGMA" | "VACUUM" | "ATTACH" | "DETACH"), ..] => {
            let what = if *word == "PRAGMA" { "is ignored" } else { "fails" };
            // These do something in a transaction too.
            let harmless = ["USER_VERSION", "APPLICATION_ID", "DEFER_FOREIGN_KEYS", "LEGACY_ALTER_TABLE"];
            let harmless = harmless.contains(&name(words, 1));
            (!harmless).then(|| {
                Hit::new(
                    part.offset,
                    "not-in-transaction",
                    Level::Error,
                    format!("{word} {what} in a transaction, and a migration runs in one"),
                )
                .help("say `-- migrator: no-transaction`; foreign keys are off while migrations run, and checked at the end of each")
            })
        }
        _ => None,
    }
}

fn required(part: &Part<'_>, words: &[&str]) -> Option<Hit> {
    let is_added = words.starts_with(&["ALTER", "TABLE"]) && words.contains(&"ADD");
    let is_required = outside_of_brackets(words).windows(2).any(|pair| pair == ["NOT", "NULL"])
        && !words.contains(&"DEFAULT")
        && !words.contains(&"AS");
    (is_added && is_required).then(|| {
        Hit::new(
            part.offset,
            "adding-required-field",
            Level::Error,
            "SQLite refuses a new column that is NOT NULL and has no default",
        )
        .help("give it a default, or rebuild the table")
    })
}

/// The words of the statement itself, without those of its expressions.
fn outside_of_brackets<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let mut depth = 0_i32;
    let outside = |word: &&&str| {
        depth += i32::from(**word == "(") - i32::from(**word == ")");
        depth == 0 && **word != ")"
    };
    words.iter().filter(outside).copied().collect()
}

fn serial(part: &Part<'_>, words: &[&str]) -> Option<Hit> {
    let makes = matches!(words, ["CREATE", "TABLE" | "TEMP" | "TEMPORARY", ..] | ["ALTER", "TABLE", ..]);
    let kind = words.iter().find(|word| matches!(**word, "SERIAL" | "BIGSERIAL" | "SMALLSERIAL"))?;
    makes.then(|| {
        Hit::new(
            part.offset,
            "serial-type",
            Level::Error,
            format!("SQLite takes {kind} for any type: the column is never filled by itself"),
        )
        .help("write INTEGER PRIMARY KEY")
    })
}
