//! Enums: a value is added where that is enough; PostgreSQL drops none, so the type is made anew otherwise.

use std::collections::BTreeMap;

use super::{Mend, types};
use crate::structure::names::{is_written, quote_name, quote_text};
use crate::structure::{Domain, Structure, Table};

/// The name that an enum has while its columns move to the new one.
pub(super) fn aside(name: &str) -> String {
    format!("migrator_rebuild_{name}")
}

/// Whether a column of this type holds values of the enum.
pub(super) fn is_of(type_name: &str, name: &str) -> bool {
    is_written(type_name.trim_end_matches("[]"), name)
}

/// The enums that are in both with other values, and cannot be changed by adding some.
pub(super) fn rebuilt<'a>(from: &Structure, to: &'a Structure) -> Vec<&'a String> {
    let changed =
        to.enums.iter().filter(|(name, values)| from.enums.get(*name).is_some_and(|it| it != *values));
    changed
        .filter(|(name, values)| added(&from.enums[*name], values, to).is_none())
        .map(|(name, _)| name)
        .filter(|name| types::made_of(name, from, to).is_none())
        .collect()
}

/// The values that are new, each with its place. Nothing when there is more to it than adding them: a value
/// that was added cannot be used in the same transaction, so one that the schema names needs a new type.
fn added(before: &[String], after: &[String], to: &Structure) -> Option<Vec<String>> {
    let mut left = before.iter().peekable();
    let mut clauses = Vec::new();
    for (at, value) in after.iter().enumerate() {
        if left.next_if_eq(&value).is_some() {
            continue;
        }
        if is_named(to, &quote_text(value)) {
            return None;
        }
        clauses.push(match (at.checked_sub(1).and_then(|at| after.get(at)), after.get(at + 1)) {
            (Some(previous), _) => format!("{} AFTER {}", quote_text(value), quote_text(previous)),
            (None, Some(next)) => {
                format!("{} BEFORE {}", quote_text(value), quote_text(left.peek().map_or(next, |it| *it)))
            }
            (None, None) => quote_text(value),
        });
    }
    left.next().is_none().then_some(clauses)
}

fn is_named(to: &Structure, literal: &str) -> bool {
    let in_texts = |texts: &BTreeMap<String, String>| texts.values().any(|it| it.contains(literal));
    let in_table = |table: &Table| {
        table
            .columns
            .iter()
            .any(|it| [&it.default, &it.generated].into_iter().flatten().any(|it| it.contains(literal)))
            || table.constraints.iter().any(|it| it.definition.contains(literal))
            || table.indexes.values().any(|it| it.definition.contains(literal))
            || [&table.triggers, &table.rules, &table.policies].iter().any(|it| in_texts(it))
    };
    let in_domain = |it: &Domain| it.checks.values().chain(&it.default).any(|it| it.contains(literal));
    to.tables.values().any(|it| in_table(it) || it.partitions.values().any(|it| in_table(&it.own)))
        || to.domains.values().any(in_domain)
        || to
            .views
            .values()
            .any(|it| it.definition.contains(literal) || in_texts(&it.triggers) || in_texts(&it.rules))
}

/// What happens before the tables are touched.
pub(super) fn before_tables(from: &Structure, to: &Structure, out: &mut Mend) {
    let create = |name: &str, values: &[String]| {
        let values: Vec<String> = values.iter().map(|it| quote_text(it)).collect();
        format!("CREATE TYPE {} AS ENUM ({})", quote_name(name), values.join(", "))
    };
    for (name, values) in &to.enums {
        let Some(before) = from.enums.get(name) else {
            out.run(create(name, values));
            continue;
        };
        if before == values {
            continue;
        }
        if let Some(clauses) = added(before, values, to) {
            for clause in clauses {
                out.run(format!("ALTER TYPE {} ADD VALUE {clause}", quote_name(name)));
            }
            continue;
        }
        if let Some(holder) = types::made_of(name, from, to) {
            out.unsaid.push(format!(
                "the enum {name} has other values, and the type {holder} is made of it: make both anew by hand"
            ));
            continue;
        }
        let lost: Vec<&String> = before.iter().filter(|it| !values.contains(it)).collect();
        if !lost.is_empty() {
            out.breaking = true;
            out.warnings
                .push(format!("the enum {name} loses values ({lost:?}): this fails where a row has one"));
        }
        out.run(format!("ALTER TYPE {} RENAME TO {}", quote_name(name), quote_name(&aside(name))));
        out.run(create(name, values));
    }
}

/// What happens when no column is of an old type any more.
pub(super) fn after_tables(from: &Structure, to: &Structure, out: &mut Mend) {
    for name in rebuilt(from, to) {
        out.run(format!("DROP TYPE {}", quote_name(&aside(name))));
    }
    for name in from.enums.keys().filter(|name| !to.enums.contains_key(*name)) {
        out.breaking = true;
        out.run(format!("DROP TYPE {}", types::called_last(name, from, to)));
    }
}
