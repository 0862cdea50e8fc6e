//! Parts of a schema as DDL.

use super::names::quote_name;
use super::{Column, Constraint, Structure, Table};
use crate::source::Dialect;

/// A column as it stands in CREATE TABLE and in ADD COLUMN.
pub(super) fn column(column: &Column, dialect: Dialect) -> String {
    let mut clause = quote_name(&column.name);
    let mut add = |words: &str| {
        clause.push(' ');
        clause.push_str(words);
    };
    if !column.type_name.is_empty() {
        add(&column.type_name);
    }
    if let Some(collation) = &column.collation {
        add(&format!("COLLATE {collation}"));
    }
    let inline = column.inline.as_deref().unwrap_or_default();
    if column.not_null && !inline.contains("NOT NULL") {
        add("NOT NULL");
    }
    if let Some(default) = &column.default {
        add(&format!("DEFAULT {default}"));
    }
    if let Some(generated) = &column.generated {
        add(&format!("GENERATED ALWAYS AS {generated}"));
    }
    if let Some(identity) = &column.identity {
        debug_assert_eq!(dialect, Dialect::Postgres);
        add(&format!("GENERATED {identity}"));
    }
    if !inline.is_empty() {
        add(inline);
    }
    clause
}

/// A constraint as it stands in CREATE TABLE and in ADD.
pub(super) fn constraint(constraint: &Constraint) -> String {
    match &constraint.name {
        Some(name) => format!("CONSTRAINT {} {}", quote_name(name), constraint.definition),
        None => constraint.definition.clone(),
    }
}

/// CREATE TABLE with those of its constraints that `with` lets in.
pub(super) fn create_table(
    name: &str,
    table: &Table,
    dialect: Dialect,
    with: impl Fn(&Constraint) -> bool,
) -> String {
    if let Some(verbatim) = &table.verbatim {
        return verbatim.clone();
    }
    let mut lines: Vec<String> = table.columns.iter().map(|it| column(it, dialect)).collect();
    lines.extend(table.constraints.iter().filter(|it| with(it)).map(constraint));
    let unlogged = if table.options.contains("UNLOGGED") { "UNLOGGED " } else { "" };
    let body = if lines.is_empty() { String::new() } else { format!("\n    {}\n", lines.join(",\n    ")) };
    let mut sql = format!("CREATE {unlogged}TABLE {} ({body})", quote_name(name));
    match dialect {
        Dialect::Sqlite if !table.options.is_empty() => {
            let options: Vec<&str> = table.options.iter().map(String::as_str).collect();
            sql.push_str(&format!(" {}", options.join(", ")));
        }
        Dialect::Sqlite => {}
        Dialect::Postgres => {
            // In the order that PostgreSQL wants them.
            for head in ["INHERITS", "PARTITION BY", "WITH"] {
                let clause = match (&table.partition_key, head) {
                    (Some(key), "PARTITION BY") => Some(format!("PARTITION BY {key}")),
                    _ => table.options.iter().find(|it| it.starts_with(&format!("{head} ("))).cloned(),
                };
                sql.push_str(&clause.map(|it| format!(" {it}")).unwrap_or_default());
            }
        }
    }
    sql
}

/// The tables in an order in which each comes after those that its foreign keys point at, where that can be.
pub(super) fn in_order_of_foreign_keys(structure: &Structure, wanted: impl Fn(&str) -> bool) -> Vec<&String> {
    let mut left: Vec<&String> = structure.tables.keys().filter(|name| wanted(name)).collect();
    let mut ordered: Vec<&String> = Vec::new();
    while !left.is_empty() {
        let waits = |name: &&String| {
            let table = &structure.tables[*name];
            let pointed = table.constraints.iter().filter_map(|it| it.references.as_ref());
            let inherits = left.iter().any(|other| other != name && inherits(table, other));
            inherits || pointed.filter(|it| *it != *name).any(|it| left.contains(&it))
        };
        // Where they point at each other in a circle, the first by name goes first.
        let next = left.iter().position(|name| !waits(name)).unwrap_or(0);
        ordered.push(left.remove(next));
    }
    ordered
}

fn inherits(table: &Table, parent: &str) -> bool {
    let clause = table.options.iter().find_map(|it| it.strip_prefix("INHERITS ("));
    clause.is_some_and(|it| it.trim_end_matches(')').split(", ").any(|it| it == quote_name(parent)))
}

/// The views in an order in which each comes after those that it reads.
pub(super) fn in_order_of_reading(structure: &Structure, wanted: impl Fn(&str) -> bool) -> Vec<&String> {
    let mut left: Vec<&String> = structure.views.keys().filter(|name| wanted(name)).collect();
    let mut ordered: Vec<&String> = Vec::new();
    while !left.is_empty() {
        let waits = |name: &&String| {
            let view = &structure.views[*name];
            left.iter().any(|other| {
                other != name
                    && match structure.dialect {
                        Dialect::Postgres => view.reads.contains(*other),
                        Dialect::Sqlite => super::names::mentions(&view.definition, other, Dialect::Sqlite),
                    }
            })
        };
        let next = left.iter().position(|name| !waits(name)).unwrap_or(0);
        ordered.push(left.remove(next));
    }
    ordered
}
