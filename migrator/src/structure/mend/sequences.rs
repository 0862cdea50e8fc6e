//! Sequences. A column that begins to number its rows goes on above what is in it, and one that did so by a sequence
//! of its own gives that up first, because the new one is called the same.

use super::{Mend, identity};
use crate::source::Dialect;
use crate::structure::names::{mentions, quote_name, quote_text};
use crate::structure::{Column, Sequence, Structure};

/// The new ones, and those that count in another way.
pub(super) fn mend(from: &Structure, to: &Structure, out: &mut Mend) {
    for (name, sequence) in &to.sequences {
        let (quoted, definition) = (quote_name(name), &sequence.definition);
        match from.sequences.get(name) {
            None => {
                let numbered = from.identity_sequences.get(name);
                let goes_later = |it: &&(String, String)| !numbers(to, it) && to.tables.contains_key(&it.0);
                if let Some((table, column)) = numbered.filter(goes_later) {
                    out.run(identity::drop(table, column));
                }
                out.run(format!("CREATE SEQUENCE {quoted} {definition}"));
            }
            Some(before) => {
                if before.owned_by.is_some() && before.owned_by != sequence.owned_by {
                    out.run(format!("ALTER SEQUENCE {quoted} OWNED BY NONE"));
                }
                if before.definition != *definition {
                    out.run(format!("ALTER SEQUENCE {quoted} {definition}"));
                }
            }
        }
    }
}

fn numbers(structure: &Structure, of: &(String, String)) -> bool {
    column(structure, of).is_some_and(|it| it.identity.is_some())
}

fn column<'a>(structure: &'a Structure, (table, column): &(String, String)) -> Option<&'a Column> {
    structure.tables.get(table).and_then(|it| it.column(column))
}

/// Lets each go with its column, when that is there.
pub(super) fn give_owners(from: &Structure, to: &Structure, out: &mut Mend) {
    for (name, sequence) in &to.sequences {
        let before = from.sequences.get(name);
        let Some(owner) = &sequence.owned_by else { continue };
        if before.is_some_and(|it| it.owned_by.as_ref() == Some(owner)) {
            continue;
        }
        let owned_by = format!("{}.{}", quote_name(&owner.0), quote_name(&owner.1));
        out.run(format!("ALTER SEQUENCE {} OWNED BY {owned_by}", quote_name(name)));
        if before.is_none() && column(from, owner).is_some() {
            // A text may be numbered too, and has no number to go on from.
            let is_whole = |it: &Column| matches!(it.type_name.as_str(), "smallint" | "integer" | "bigint");
            let upwards = sequence.definition.contains(" INCREMENT BY 1 MINVALUE 1 ")
                && column(to, owner).is_some_and(is_whole);
            go_on(&owner.0, &owner.1, &format!("{}::regclass", quote_text(&quote_name(name))), upwards, out);
        }
    }
}

/// A column that had a sequence of its own for its default gives it up before it numbers its rows itself.
pub(super) fn give_way(from: &Structure, to: &Structure, table: &str, column: &str, out: &mut Mend) {
    let is_of = |it: &Sequence| {
        it.owned_by.as_ref().is_some_and(|it| (it.0.as_str(), it.1.as_str()) == (table, column))
    };
    for (name, _) in from.sequences.iter().filter(|(name, it)| is_of(it) && !to.sequences.contains_key(*name))
    {
        let uses = |(of, it): (&String, &Column)| {
            (of.as_str(), it.name.as_str()) != (table, column)
                && it.default.as_ref().is_some_and(|it| mentions_text(it, name))
        };
        // Another column may count by it too, and lets go of it when its own table changes.
        let tables = from.tables.iter().chain(&to.tables);
        if !tables.flat_map(|(of, it)| it.columns.iter().map(move |it| (of, it))).any(uses) {
            out.run(format!("DROP SEQUENCE IF EXISTS {}", quote_name(name)));
        }
    }
}

/// Whether a default counts by this sequence, whose name is a text in it.
fn mentions_text(default: &str, name: &str) -> bool {
    default.contains(&quote_text(&quote_name(name))) || mentions(default, name, Dialect::Postgres)
}

/// Sets a sequence above what its column has, where there is anything.
pub(super) fn go_on(table: &str, column: &str, sequence: &str, upwards: bool, out: &mut Mend) {
    if !upwards {
        out.warnings.push(format!(
            "{table}.{column} begins to count anew: set it beyond what is there (ALTER SEQUENCE ... RESTART WITH)"
        ));
        return;
    }
    let (table, column) = (quote_name(table), quote_name(column));
    out.run(format!("SELECT setval({sequence}, max({column})) FROM {table} HAVING max({column}) >= 1"));
}

/// Those that nothing needs any more. One that went with a column is gone by now.
pub(super) fn drop_the_rest(from: &Structure, to: &Structure, out: &mut Mend) {
    for name in from.sequences.keys().filter(|name| !to.sequences.contains_key(*name)) {
        let statement = format!("DROP SEQUENCE IF EXISTS {}", quote_name(name));
        if !out.statements.contains(&statement) {
            out.run(statement);
        }
    }
}
