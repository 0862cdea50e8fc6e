//! SQLite: a table is changed by adding a column, or by making it anew in the way that SQLite documents.
//!
//! The migrator runs this with foreign_keys=OFF, in a transaction that ends with a check of all foreign keys.

use std::collections::BTreeSet;

use super::{Mend, SAME_VALUES, gone};
use crate::source::Dialect;
use crate::structure::clauses::{self, in_order_of_foreign_keys, in_order_of_reading};
use crate::structure::difference::one_form;
use crate::structure::names::{quote_name, quote_text};
use crate::structure::sqlite::names;
use crate::structure::{Column, Index, Structure, Table};

const DIALECT: Dialect = Dialect::Sqlite;

/// What has to happen to a table that is in both.
enum Change<'a> {
    Nothing,
    /// These columns are added.
    Add(Vec<&'a Column>),
    Rebuild,
}

pub(super) fn mend(from: &Structure, to: &Structure) -> Mend {
    let mut out = Mend::default();
    let from = &from.called_as(to);
    let kept: Vec<(&String, &Table, &Table)> =
        to.tables.iter().filter_map(|(name, table)| Some((name, from.tables.get(name)?, table))).collect();
    let rebuilt: BTreeSet<&String> = kept
        .iter()
        .filter(|(_, before, after)| matches!(change(before, after), Change::Rebuild))
        .map(|(name, ..)| *name)
        .collect();
    let dropped: Vec<&String> = from.tables.keys().filter(|it| !to.tables.contains_key(*it)).collect();
    // Renaming a table makes SQLite read every view and trigger, and refuse one that names what is gone.
    let all = !(rebuilt.is_empty() && dropped.is_empty());
    drop_texts(from, to, all, &mut out);
    // Those of a table that is made anew too: another table may want the name before.
    for (_, before, after) in &kept {
        for (index, _) in gone(&before.indexes, &after.indexes, Index::eq) {
            out.run(format!("DROP INDEX {}", quote_name(index)));
        }
    }
    for name in dropped {
        out.breaking = true;
        out.warnings.push(format!("the table {name} is dropped with what is in it"));
        out.run(format!("DROP TABLE {}", quote_name(name)));
    }
    for name in in_order_of_foreign_keys(to, |it| !from.tables.contains_key(it)) {
        let table = &to.tables[name];
        out.run(clauses::create_table(name, table, DIALECT, |_| true));
        table.indexes.values().for_each(|index| out.run(&index.definition));
    }
    for (name, before, after) in kept {
        match change(before, after) {
            Change::Nothing => {}
            Change::Add(columns) => {
                for column in columns {
                    let clause = clauses::column(column, DIALECT);
                    out.run(format!("ALTER TABLE {} ADD COLUMN {clause}", quote_name(name)));
                }
            }
            Change::Rebuild => rebuild(name, before, after, &mut out),
        }
        let all = rebuilt.contains(name);
        for (index, definition) in gone(&after.indexes, &before.indexes, Index::eq) {
            if definition.is_unique() {
                out.tightens(&format!("{index} on {name}"), SAME_VALUES);
            }
        }
        for (index, definition) in &after.indexes {
            if all || before.indexes.get(index) != Some(definition) {
                out.run(&definition.definition);
            }
        }
    }
    make_texts(from, to, all, &mut out);
    out
}

fn change<'a>(before: &Table, after: &'a Table) -> Change<'a> {
    if before.verbatim.is_some() || after.verbatim.is_some() {
        let same = match (&before.verbatim, &after.verbatim) {
            (Some(left), Some(right)) => one_form(left, DIALECT, &[]) == one_form(right, DIALECT, &[]),
            _ => false,
        };
        return if same { Change::Nothing } else { Change::Rebuild };
    }
    let stays = |column: &Column| after.column(&column.name) == Some(column);
    let same_clauses = before.constraints == after.constraints && before.options == after.options;
    if !same_clauses || !before.columns.iter().all(stays) {
        return Change::Rebuild;
    }
    let added: Vec<&Column> = after.columns.iter().filter(|it| before.column(&it.name).is_none()).collect();
    match added {
        added if added.is_empty() => Change::Nothing,
        added if added.iter().all(|it| can_be_added(it)) => Change::Add(added),
        _ => Change::Rebuild,
    }
}

/// Whether ALTER TABLE ADD COLUMN takes it.
fn can_be_added(column: &Column) -> bool {
    let constant = column
        .default
        .as_ref()
        .is_none_or(|it| !it.starts_with('(') && !it.to_ascii_uppercase().starts_with("CURRENT_"));
    let null = column.default.as_ref().is_none_or(|it| it.eq_ignore_ascii_case("null"));
    let stored = column.generated.as_ref().is_some_and(|it| it.ends_with(" STORED"));
    column.inline.is_none()
        && constant
        && !stored
        && !(column.not_null && (null || column.generated.is_some()))
}

/// <https://www.sqlite.org/lang_altertable.html#otheralter>, without the steps that the migrator does itself.
fn rebuild(name: &str, before: &Table, after: &Table, out: &mut Mend) {
    if before.verbatim.is_some() || after.verbatim.is_some() {
        out.unsaid
            .push(format!("the table {name} is made in a way that cannot be changed; make it anew by hand"));
        return;
    }
    let aside = format!("migrator_rebuild_{name}");
    let (quoted, quoted_aside) = (quote_name(name), quote_name(&aside));
    out.run(clauses::create_table(&aside, after, DIALECT, |_| true));
    let (mut targets, mut sources) = carried_over(name, before, after, out);
    for constraint in after.constraints.iter().filter(|it| !before.constraints.contains(it)) {
        out.constrains(name, constraint);
    }
    if targets.is_empty()
        && !after.options.contains("WITHOUT ROWID")
        && !before.options.contains("WITHOUT ROWID")
    {
        (targets, sources) = (vec!["rowid".to_owned()], vec!["rowid".to_owned()]);
    }
    if !targets.is_empty() {
        out.run(format!(
            "INSERT INTO {quoted_aside} ({}) SELECT {} FROM {quoted}",
            targets.join(", "),
            sources.join(", ")
        ));
    }
    let counts = |table: &Table| {
        table.columns.iter().any(|it| it.inline.as_ref().is_some_and(|it| it.contains("AUTOINCREMENT")))
    };
    if counts(before) && counts(after) {
        let (old, new) = (quote_text(name), quote_text(&aside));
        out.run(format!("DELETE FROM sqlite_sequence WHERE name = {new}"));
        out.run(format!(
            "INSERT INTO sqlite_sequence (name, seq) SELECT {new}, seq FROM sqlite_sequence WHERE name = {old} COLLATE NOCASE"
        ));
    }
    out.run(format!("DROP TABLE {quoted}"));
    out.run(format!("ALTER TABLE {quoted_aside} RENAME TO {quoted}"));
}

/// The columns whose values stay, and where each value comes from.
fn carried_over(name: &str, before: &Table, after: &Table, out: &mut Mend) -> (Vec<String>, Vec<String>) {
    let (mut targets, mut sources) = (Vec::new(), Vec::new());
    let loses = |column: &&Column| before.column(&column.name).is_some_and(|it| it.generated.is_none());
    for column in after.columns.iter().filter(|it| it.generated.is_some()).filter(loses) {
        out.breaking = true;
        out.warnings.push(format!("{name}.{} is computed now, and loses what is in it", column.name));
    }
    for column in after.columns.iter().filter(|it| it.generated.is_none()) {
        let Some(old) = before.column(&column.name) else {
            if column.not_null && column.default.is_none() && column.inline.is_none() {
                out.breaking = true;
                out.warnings.push(format!(
                    "{name}.{} refuses NULL and has no default: this fails where there are rows",
                    column.name
                ));
            }
            continue;
        };
        let quoted = quote_name(&column.name);
        let source = match &column.default {
            Some(default) if column.not_null && !old.not_null => format!("coalesce({quoted}, {default})"),
            _ => quoted.clone(),
        };
        if column.not_null && !old.not_null {
            out.breaking = true;
            let what = match &column.default {
                Some(default) => format!("each NULL in it becomes {default}"),
                None => "this fails where there is one".to_owned(),
            };
            out.warnings.push(format!("{name}.{} refuses NULL now: {what}", column.name));
        }
        if column.type_name != old.type_name {
            out.breaking = true;
            out.warnings.push(format!(
                "{name}.{} becomes {} from {}: look at the values in it",
                column.name, column.type_name, old.type_name
            ));
        }
        targets.push(quoted);
        sources.push(source);
    }
    for column in before.columns.iter().filter(|it| after.column(&it.name).is_none()) {
        out.breaking = true;
        out.warnings.push(format!("{name}.{} is dropped with what is in it", column.name));
    }
    (targets, sources)
}

/// Whether a text of one schema means the same as one of the other.
fn same_text(from: &Structure, to: &Structure) -> impl Fn(&str, &str) -> bool {
    let names = [names(from), names(to)].concat();
    move |left, right| one_form(left, DIALECT, &names) == one_form(right, DIALECT, &names)
}

/// Whether a view is gone, new, or another one.
fn changes(from: &Structure, to: &Structure, name: &str, same: impl Fn(&str, &str) -> bool) -> bool {
    let both = from.views.get(name).zip(to.views.get(name));
    !both.is_some_and(|(left, right)| same(&left.definition, &right.definition))
}

/// Drops the views and triggers that are gone or changed, or all of them.
fn drop_texts(from: &Structure, to: &Structure, all: bool, out: &mut Mend) {
    let same = same_text(from, to);
    let changed = |name: &str| all || changes(from, to, name, &same);
    for (name, triggers) in triggers(from) {
        let after = triggers_of(to, name);
        for (trigger, sql) in triggers {
            let stays = after.and_then(|it| it.get(trigger)).is_some_and(|it| same(it, sql));
            // One on a view goes with it.
            if (all || !stays) && !from.views.contains_key(name) || (!stays && !changed(name)) {
                out.run(format!("DROP TRIGGER {}", quote_name(trigger)));
            }
        }
    }
    for name in in_order_of_reading(from, changed).into_iter().rev() {
        out.breaking |= !to.views.contains_key(name);
        out.run(format!("DROP VIEW {}", quote_name(name)));
    }
}

fn make_texts(from: &Structure, to: &Structure, all: bool, out: &mut Mend) {
    let same = same_text(from, to);
    let changed = |name: &str| all || changes(from, to, name, &same);
    for name in in_order_of_reading(to, changed) {
        out.run(to.views[name].definition.clone());
    }
    for (name, triggers) in triggers(to) {
        let before = triggers_of(from, name);
        for (trigger, sql) in triggers {
            let stayed = before.and_then(|it| it.get(trigger)).is_some_and(|it| same(it, sql));
            if all || !stayed || (to.views.contains_key(name) && changed(name)) {
                out.run(sql.clone());
            }
        }
    }
}

type Triggers = std::collections::BTreeMap<String, String>;

fn triggers(structure: &Structure) -> impl Iterator<Item = (&String, &Triggers)> {
    let of_tables = structure.tables.iter().map(|(name, table)| (name, &table.triggers));
    of_tables.chain(structure.views.iter().map(|(name, view)| (name, &view.triggers)))
}

fn triggers_of<'a>(structure: &'a Structure, name: &str) -> Option<&'a Triggers> {
    let of_table = structure.tables.get(name).map(|it| &it.triggers);
    of_table.or_else(|| structure.views.get(name).map(|it| &it.triggers))
}
