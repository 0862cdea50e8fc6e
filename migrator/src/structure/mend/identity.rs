//! Columns that number their rows. One that does so in both schemas goes on where it is.

use crate::structure::names::quote_name;
use crate::structure::tokens::tokens;
use crate::{source::Dialect, structure::Column};

/// The statement after which it numbers them no more, and its sequence is gone.
pub(super) fn drop(table: &str, column: &str) -> String {
    format!("ALTER TABLE {} ALTER COLUMN {} DROP IDENTITY", quote_name(table), quote_name(column))
}

/// The actions behind `ALTER COLUMN name` that make one numbering the other without beginning anew.
pub(super) fn change(old: &Column, new: &Column) -> Option<String> {
    let (before, after) = (old.identity.as_ref()?, new.identity.as_ref()?);
    let split = |it: &str| -> (String, String) {
        let (when, counts) = it.split_once(" AS IDENTITY").unwrap_or((it, ""));
        (when.to_owned(), counts.trim().to_owned())
    };
    let ((when, counts), (new_when, new_counts)) = (split(before), split(after));
    let mut actions = Vec::new();
    if when != new_when {
        actions.push(format!("SET GENERATED {new_when}"));
    }
    if counts != new_counts {
        actions.push(counting(&new_counts, &new.type_name));
    }
    (!actions.is_empty()).then(|| actions.join(" "))
}

/// How it counts, with what is usual written out. Where it is stays as it is.
fn counting(counts: &str, type_name: &str) -> String {
    let words: Vec<&str> = tokens(counts, Dialect::Postgres).iter().map(|it| it.text).collect();
    let value = |name: &str, usual: &str| {
        let at = words.iter().position(|it| *it == name);
        let mut rest =
            at.into_iter().flat_map(|at| &words[at + 1..]).skip_while(|it| matches!(**it, "BY" | "WITH"));
        match (rest.next(), rest.next()) {
            (Some(&"-"), Some(number)) => format!("-{number}"),
            (Some(number), _) => (*number).to_owned(),
            _ => usual.to_owned(),
        }
    };
    let largest = match type_name {
        "smallint" => "32767",
        "integer" => "2147483647",
        _ => "9223372036854775807",
    };
    let cycle = if words.contains(&"CYCLE") { "CYCLE" } else { "NO CYCLE" };
    format!(
        "SET INCREMENT BY {} SET MINVALUE {} SET MAXVALUE {} SET START WITH {} SET CACHE {} SET {cycle}",
        value("INCREMENT", "1"),
        value("MINVALUE", "1"),
        value("MAXVALUE", largest),
        value("START", "1"),
        value("CACHE", "1")
    )
}
