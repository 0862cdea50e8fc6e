//! What others may do.

use std::collections::BTreeSet;

use super::Mend;
use crate::structure::names::quote_name;
use crate::structure::{Grant, Structure};

/// Gives and takes what is different. What is made anew on the way has lost what it had.
pub(super) fn mend(from: &Structure, to: &Structure, made_anew: &BTreeSet<String>, out: &mut Mend) {
    let stays =
        |it: &&Grant| !made_anew.contains(&it.on) && !went_with_its_column(it, out) && exists(from, to, it);
    let mut before: BTreeSet<Grant> = from.grants.iter().filter(stays).cloned().collect();
    // Everybody may run a function that was just made, and use a type.
    let mut everybody = |on: String, right: &str| {
        before.insert(Grant { on, right: right.to_owned(), to: "PUBLIC".to_owned(), grantable: false });
    };
    for (signature, routine) in &to.routines {
        let on = routine_on(&routine.kind, signature);
        if made_anew.contains(&on) || !from.routines.contains_key(signature) {
            everybody(on, "EXECUTE");
        }
    }
    for name in types(to) {
        let on = format!("TYPE {}", quote_name(name));
        if made_anew.contains(&on) || !types(from).any(|it| it == name) {
            everybody(on, "USAGE");
        }
    }
    let revoked: Vec<Grant> = before.difference(&to.grants).cloned().collect();
    for grant in &revoked {
        out.run(format!("REVOKE {} ON {} FROM {}", grant.right, grant.on, grant.to));
        // What is taken for the whole table is taken for each of its columns.
        let of_columns = format!("{} (", grant.right);
        before.retain(|it| (&it.on, &it.to) != (&grant.on, &grant.to) || !it.right.starts_with(&of_columns));
    }
    for grant in to.grants.difference(&before) {
        let option = if grant.grantable { " WITH GRANT OPTION" } else { "" };
        out.run(format!("GRANT {} ON {} TO {}{option}", grant.right, grant.on, grant.to));
    }
}

fn types(structure: &Structure) -> impl Iterator<Item = &String> {
    structure.enums.keys().chain(structure.composites.keys()).chain(structure.domains.keys())
}

/// What GRANT calls a routine.
pub(super) fn routine_on(kind: &str, signature: &str) -> String {
    // An aggregate is a function to GRANT.
    let kind = if kind == "PROCEDURE" { kind } else { "FUNCTION" };
    format!("{kind} {signature}")
}

/// Whether the column that it is on was dropped on the way, and made anew perhaps.
fn went_with_its_column(grant: &Grant, out: &Mend) -> bool {
    let column = grant.right.split_once(" (").and_then(|(_, it)| it.strip_suffix(')'));
    column.is_some_and(|it| out.statements.contains(&format!("ALTER {} DROP COLUMN {it}", grant.on)))
}

/// Whether what it is on is still there when the rest is done.
fn exists(from: &Structure, to: &Structure, grant: &Grant) -> bool {
    let Some((kind, name)) = grant.on.split_once(' ') else { return false };
    match kind {
        "TABLE" if grant.right.ends_with(')') => {
            let column =
                grant.right.split_once('(').map(|(_, it)| it.trim_end_matches(')')).unwrap_or_default();
            to.views.keys().any(|it| quote_name(it) == name)
                || to.tables.iter().any(|(it, table)| {
                    quote_name(it) == name && table.columns.iter().any(|it| quote_name(&it.name) == column)
                })
        }
        "TABLE" => {
            let partitions = to.tables.values().flat_map(|it| it.partitions.keys());
            to.tables.keys().chain(to.views.keys()).chain(partitions).any(|it| quote_name(it) == name)
        }
        "SEQUENCE" => {
            let numbers = |(table, column): &(String, String)| {
                let column = to.tables.get(table).and_then(|it| it.column(column));
                column.is_some_and(|it| it.identity.is_some())
            };
            to.sequences.keys().any(|it| quote_name(it) == name)
                || from
                    .identity_sequences
                    .iter()
                    .any(|(it, column)| quote_name(it) == name && numbers(column))
        }
        "TYPE" => types(to).any(|it| quote_name(it) == name),
        _ => to.routines.contains_key(name),
    }
}
