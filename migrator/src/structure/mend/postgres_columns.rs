//! The columns of a table that is in both schemas.

use std::collections::{BTreeMap, BTreeSet};

use super::postgres::Way;
use super::{Mend, casts, enums, identity, postgres_partitions, routines, sequences};
use crate::source::Dialect;
use crate::structure::clauses;
use crate::structure::names::{mentions, quote_name, quote_text};
use crate::structure::{Column, Structure, Table};

/// What is switched on for a table that exists.
const ROW_SECURITY: [(&str, &str); 2] = [
    ("ROW LEVEL SECURITY", "ENABLE ROW LEVEL SECURITY"),
    ("FORCE ROW LEVEL SECURITY", "FORCE ROW LEVEL SECURITY"),
];

/// Switches it on and off.
pub(super) fn row_security(
    quoted: &str,
    before: &BTreeSet<String>,
    after: &BTreeSet<String>,
    out: &mut Mend,
) {
    for (flag, on) in ROW_SECURITY {
        let action = match (before.contains(flag), after.contains(flag)) {
            (false, true) => on,
            (true, false) if flag.starts_with("FORCE") => "NO FORCE ROW LEVEL SECURITY",
            (true, false) => "DISABLE ROW LEVEL SECURITY",
            _ => continue,
        };
        out.run(format!("ALTER TABLE {quoted} {action}"));
    }
}

/// The columns of a table that nothing can hold on to.
#[derive(Debug, Default)]
pub(super) struct Touched<'a> {
    /// All of them.
    pub(super) columns: BTreeSet<&'a str>,
    /// Those that are dropped and made again.
    anew: BTreeSet<&'a str>,
}

impl Touched<'_> {
    /// Whether a definition has one of them in it.
    pub(super) fn holds(&self, definition: &str) -> bool {
        self.columns.iter().any(|it| mentions(definition, it, Dialect::Postgres))
    }
}

/// Those of each table that is in both.
pub(super) fn touched<'a>(
    from: &'a Structure,
    to: &'a Structure,
    rebuilt: &[&String],
    routines: &BTreeSet<&str>,
) -> BTreeMap<&'a str, Touched<'a>> {
    let tables = from.tables.iter().filter_map(|(name, table)| Some((name, table, to.tables.get(name)?)));
    tables.map(|(name, before, after)| (name.as_str(), of_table(before, after, rebuilt, routines))).collect()
}

fn of_table<'a>(
    before: &'a Table,
    after: &'a Table,
    rebuilt: &[&String],
    gone: &BTreeSet<&str>,
) -> Touched<'a> {
    let mut touched = Touched::default();
    for old in &before.columns {
        let name = old.name.as_str();
        let Some(new) = after.column(name) else {
            touched.columns.insert(name);
            continue;
        };
        let called = old.generated.as_ref().is_some_and(|it| routines::calls(gone, it));
        let generated = (called || old.generated != new.generated) && !keeps_values(old, new);
        if generated || retyped(old, new, rebuilt) {
            touched.columns.insert(name);
        }
        if generated {
            touched.anew.insert(name);
        }
    }
    // One that is computed from one of those cannot stay while it changes.
    let computed: Vec<&str> = after
        .columns
        .iter()
        .filter(|it| {
            before.column(&it.name).is_some_and(|old| old.generated.is_some() && !keeps_values(old, it))
        })
        .filter(|it| {
            let old = before.column(&it.name).and_then(|old| old.generated.as_deref()).unwrap_or_default();
            touched.holds(old) || touched.columns.contains(it.name.as_str())
        })
        .map(|it| it.name.as_str())
        .collect();
    touched.columns.extend(&computed);
    touched.anew.extend(computed);
    touched
}

/// Whether a column that was computed keeps what it has: PostgreSQL can let it where it is stored.
fn keeps_values(old: &Column, new: &Column) -> bool {
    new.generated.is_none() && old.generated.as_ref().is_some_and(|it| it.ends_with(" STORED"))
}

fn retyped(old: &Column, new: &Column, rebuilt: &[&String]) -> bool {
    old.type_name != new.type_name
        || old.collation != new.collation
        || rebuilt.iter().any(|name| enums::is_of(&old.type_name, name))
}

/// Changes the columns and the options of a table.
pub(super) fn alter(way: &Way<'_>, name: &str, before: &Table, after: &Table, out: &mut Mend) {
    let no_column_changes = Touched::default();
    let touched = way.touched.get(name).unwrap_or(&no_column_changes);
    let mut alter = Alter { table: name, quoted: quote_name(name), way, out };
    // What is computed goes first, because it holds on to the others.
    let (computed, plain): (Vec<_>, Vec<_>) = before
        .columns
        .iter()
        .filter(|it| after.column(&it.name).is_none() || touched.anew.contains(it.name.as_str()))
        .filter(|it| !it.generated.as_ref().is_some_and(|it| way.calls(it)))
        .partition(|it| it.generated.is_some());
    for column in computed.iter().chain(&plain) {
        alter.drop_column(column, after.column(&column.name));
    }
    let stays = |it: &&Column| before.column(&it.name).is_some() && !touched.anew.contains(it.name.as_str());
    for column in after.columns.iter().filter(stays) {
        if let Some(old) = before.column(&column.name) {
            alter.prepare(old, column, retyped(old, column, &way.aside));
        }
    }
    let (computed, plain): (Vec<_>, Vec<_>) =
        after.columns.iter().filter(|it| !stays(it)).partition(|it| it.generated.is_some());
    for column in plain.iter().chain(&computed) {
        alter.add_column(column);
    }
    for column in after.columns.iter().filter(stays) {
        if let Some(old) = before.column(&column.name) {
            alter.finish(old, column, retyped(old, column, &way.aside));
        }
    }
    alter.options(before, after);
    postgres_partitions::partitions(name, Some(before), after, alter.out);
}

struct Alter<'a> {
    table: &'a str,
    quoted: String,
    way: &'a Way<'a>,
    out: &'a mut Mend,
}

/// Columns that are computed no more let go of the others; those that are, and defaults, let go of the routines that
/// are in the way.
pub(super) fn let_go(way: &Way<'_>, out: &mut Mend) {
    let calls = |it: &Option<String>| it.as_ref().is_some_and(|it| way.calls(it));
    for (name, before) in &way.from.tables {
        let after = way.to.tables.get(name);
        for old in &before.columns {
            let column = quote_name(&old.name);
            let new = after.and_then(|it| it.column(&old.name));
            let action = if new.is_some_and(|new| keeps_values(old, new)) {
                out.breaking = true;
                format!("ALTER COLUMN {column} DROP EXPRESSION")
            } else if calls(&old.generated) {
                out.breaking = true;
                format!("DROP COLUMN {column}")
            } else if calls(&old.default) {
                format!("ALTER COLUMN {column} DROP DEFAULT")
            } else {
                continue;
            };
            out.run(format!("ALTER TABLE {} {action}", quote_name(name)));
        }
    }
}

impl Alter<'_> {
    fn run(&mut self, action: &str) {
        self.out.run(format!("ALTER TABLE {} {action}", self.quoted));
    }

    fn has_lost_default(&self, old: &Column) -> bool {
        old.default.as_ref().is_some_and(|it| self.way.calls(it))
    }

    fn drop_column(&mut self, old: &Column, new: Option<&Column>) {
        self.out.breaking = true;
        let what = match (&old.generated, new.map(|it| &it.generated)) {
            (None, Some(_)) => Some("is computed now, and loses what is in it"),
            (None, None) => Some("is dropped with what is in it"),
            (Some(_), Some(None)) => Some("is computed no more, and begins without what it showed"),
            (Some(_), _) => None,
        };
        if let Some(what) = what {
            self.out.warnings.push(format!("{}.{} {what}", self.table, old.name));
        }
        self.run(&format!("DROP COLUMN {}", quote_name(&old.name)));
    }

    fn add_column(&mut self, column: &Column) {
        let fails = column.not_null
            && [&column.default, &column.generated, &column.identity].iter().all(|it| it.is_none());
        if fails {
            self.out.breaking = true;
            self.out.warnings.push(format!(
                "{}.{} refuses NULL and has no default: this fails where there are rows",
                self.table, column.name
            ));
        }
        self.run(&format!("ADD COLUMN {}", clauses::column(column, Dialect::Postgres)));
    }

    /// What has to be taken away before, and the type.
    fn prepare(&mut self, old: &Column, new: &Column, retyped: bool) {
        let name = quote_name(&new.name);
        if old.default.is_some() && !self.has_lost_default(old) && (new.default.is_none() || retyped) {
            self.out.breaking |= new.default.is_none();
            self.run(&format!("ALTER COLUMN {name} DROP DEFAULT"));
        }
        if old.identity.is_some() && new.identity.is_none() {
            let statement = identity::drop(self.table, &new.name);
            // It may have gone before, for a sequence of the same name.
            if !self.out.statements.contains(&statement) {
                self.out.run(statement);
            }
        }
        if retyped {
            self.out.breaking = true;
            self.out.warnings.push(format!(
                "{}.{} becomes {} from {}: the table is rewritten, or read as a whole, under ACCESS EXCLUSIVE",
                self.table, new.name, new.type_name, old.type_name
            ));
            if casts::loses(&old.type_name, &new.type_name) {
                self.out.warnings.push(format!(
                    "{}.{}: values are rounded or cut on their way from {} to {}, and an undo does not bring that back",
                    self.table, new.name, old.type_name, new.type_name
                ));
            }
            let collation = new.collation.as_ref().map(|it| format!(" COLLATE {it}")).unwrap_or_default();
            let using = casts::using(&name, &old.type_name, &new.type_name);
            let using = using.map(|it| format!(" USING {it}")).unwrap_or_default();
            self.run(&format!("ALTER COLUMN {name} TYPE {}{collation}{using}", new.type_name));
        }
        if old.not_null && !new.not_null {
            self.out.breaking = true;
            self.run(&format!("ALTER COLUMN {name} DROP NOT NULL"));
        }
    }

    fn finish(&mut self, old: &Column, new: &Column, retyped: bool) {
        let name = quote_name(&new.name);
        if let Some(default) = &new.default
            && (retyped || self.has_lost_default(old) || old.default.as_ref() != Some(default))
        {
            self.run(&format!("ALTER COLUMN {name} SET DEFAULT {default}"));
        }
        if new.not_null && !old.not_null {
            self.out.breaking = true;
            self.out
                .warnings
                .push(format!("{}.{} refuses NULL now: this fails where there is one", self.table, new.name));
            self.run(&format!("ALTER COLUMN {name} SET NOT NULL"));
        }
        if let Some(change) = identity::change(old, new) {
            self.run(&format!("ALTER COLUMN {name} {change}"));
        }
        if let Some(identity) = &new.identity
            && old.identity.is_none()
        {
            sequences::give_way(self.way.from, self.way.to, self.table, &new.name, self.out);
            self.run(&format!("ALTER COLUMN {name} ADD GENERATED {identity}"));
            let (table, column) = (quote_text(&self.quoted), quote_text(&new.name));
            let sequence = format!("pg_get_serial_sequence({table}, {column})");
            sequences::go_on(self.table, &new.name, &sequence, identity.ends_with(" AS IDENTITY"), self.out);
        }
    }

    fn options(&mut self, before: &Table, after: &Table) {
        if before.partition_key != after.partition_key {
            self.out.unsaid.push(format!(
                "the table {} is to be partitioned in another way; make it anew by hand",
                self.table
            ));
        }
        row_security(&self.quoted, &before.options, &after.options, self.out);
        match (before.options.contains("UNLOGGED"), after.options.contains("UNLOGGED")) {
            (false, true) => self.run("SET UNLOGGED"),
            (true, false) => self.run("SET LOGGED"),
            _ => {}
        }
        let other = |table: &Table| -> Vec<String> {
            table.options.iter().filter(|it| it.ends_with(')')).cloned().collect()
        };
        if other(before) != other(after) {
            self.out.unsaid.push(format!(
                "the table {} has other options ({}); ALTER TABLE it by hand",
                self.table,
                other(after).join(", ")
            ));
        }
    }
}
