//! What hangs on a table: constraints, indexes, triggers, policies, partitions.

use std::collections::BTreeMap;

use super::postgres::Way;
use super::postgres_columns::{self, Touched};
use super::postgres_partitions::{going, stay_in_place};
use super::{Mend, SAME_VALUES, gone};
use crate::source::Dialect;
use crate::structure::clauses;
use crate::structure::names::{mentions, quote_name};
use crate::structure::{Constraint, ConstraintKind, Index, Structure, Table};

impl<'a> Way<'a> {
    fn is_touched(&self, table: &str, definition: &str) -> bool {
        self.calls(definition) || self.touched.get(self.whole(table)).is_some_and(|it| it.holds(definition))
    }

    /// The table that a partition is a part of: its columns are the table's.
    fn whole<'b>(&'b self, name: &'b str) -> &'b str {
        let mut tables = self.from.tables.iter();
        tables.find(|(_, it)| it.partitions.contains_key(name)).map_or(name, |(whole, _)| whole)
    }

    /// Whether the primary key of a table is another one afterwards, or none, or dropped on the way.
    pub(super) fn primary_key_goes(&self, table: &str) -> bool {
        let constraints = self.from.tables.get(table).map(|it| &it.constraints);
        let key = constraints.and_then(|it| it.iter().find(|it| it.kind == ConstraintKind::PrimaryKey));
        key.is_some_and(|it| !self.stays(table, it))
    }

    /// Whether a constraint of a table that stays can stay itself.
    fn stays(&self, table: &str, constraint: &Constraint) -> bool {
        let after = self.to.relation(table);
        let same = after.is_some_and(|it| it.constraints.contains(constraint));
        // A foreign key of a table that keeps its rows cannot point at one that does not.
        let can_point = |it: &str| self.is_logged_as_before(table) && self.keys_stay(it);
        let pointed_at = constraint.references.as_deref().is_none_or(can_point);
        same && pointed_at && !self.is_touched(table, &constraint.definition)
    }

    /// Whether every key of a table that is in both, which a foreign key may point at, stays as it is.
    pub(super) fn keys_stay(&self, table: &str) -> bool {
        let (Some(before), Some(after)) = (self.from.tables.get(table), self.to.tables.get(table)) else {
            return false;
        };
        let is_key =
            |it: &&Constraint| matches!(it.kind, ConstraintKind::PrimaryKey | ConstraintKind::Unique);
        let key = |it: &Constraint| after.constraints.contains(it) && !self.is_touched(table, &it.definition);
        let new = after.constraints.iter().filter(is_key).all(|it| before.constraints.contains(it));
        self.is_logged_as_before(table)
            && stay_in_place(before, after)
            && new
            && before.constraints.iter().filter(is_key).all(key)
            && before.indexes.iter().filter(|(_, it)| it.is_unique()).all(|(name, it)| {
                after.indexes.get(name) == Some(it) && !self.is_touched(table, &it.definition)
            })
            && after
                .indexes
                .iter()
                .filter(|(_, it)| it.is_unique())
                .all(|(name, _)| before.indexes.contains_key(name))
    }

    fn is_logged_as_before(&self, table: &str) -> bool {
        let unlogged = |it: &Structure| it.relation(table).map(|it| it.options.contains("UNLOGGED"));
        unlogged(self.from) == unlogged(self.to)
    }

    /// The tables and the partitions that are in both and stay where they are.
    pub(super) fn in_both(&self) -> impl Iterator<Item = (&'a String, &'a Table, &'a Table)> {
        let to = self.to;
        let both = self
            .from
            .tables
            .iter()
            .filter_map(move |(name, table)| Some((name, table, to.tables.get(name)?)));
        both.flat_map(|(name, before, after)| {
            let going = going(before, after);
            let partitions = before.partitions.iter().filter(move |(name, _)| !going.contains(name));
            let own =
                partitions.filter_map(|(name, it)| Some((name, &it.own, &after.partitions.get(name)?.own)));
            std::iter::once((name, before, after)).chain(own)
        })
    }

    /// The table or the partition as it was, when it stays where it is.
    fn before(&self, name: &str) -> Option<&'a Table> {
        self.in_both().find(|(it, ..)| *it == name).map(|(_, before, _)| before)
    }

    fn index_stays(&self, table: &str, name: &str, index: &Index) -> bool {
        let after = self.to.relation(table).and_then(|it| it.indexes.get(name));
        after == Some(index)
            && !self.is_touched(table, &index.definition)
            && !self.calls_replaced(&index.definition)
    }

    /// Rules, and the conditions of policies, may read other tables.
    fn text_stays(&self, table: &str, after: Option<&String>, definition: &String) -> bool {
        let whole = self.whole(table);
        let holds = |(other, touched): (&&str, &Touched<'_>)| {
            (*other == whole || mentions(definition, other, Dialect::Postgres)) && touched.holds(definition)
        };
        after == Some(definition)
            && !self.calls(definition)
            && !self.touched.iter().any(holds)
            && !self.views.iter().any(|it| mentions(definition, it, Dialect::Postgres))
    }
}

/// Drops the triggers, rules and policies that are gone or changed, and those that hold on to a column that changes
/// or to a view that is in the way.
pub(super) fn drop_texts(way: &Way<'_>, out: &mut Mend) {
    for (name, before, after) in way.in_both() {
        let table = quote_name(name);
        for (trigger, sql) in &before.triggers {
            if !way.text_stays(name, after.triggers.get(trigger), sql) {
                out.run(format!("DROP TRIGGER {} ON {table}", quote_name(trigger)));
            }
        }
        for (rule, sql) in &before.rules {
            if !way.text_stays(name, after.rules.get(rule), sql) {
                out.run(format!("DROP RULE {} ON {table}", quote_name(rule)));
            }
        }
        for (policy, sql) in &before.policies {
            if !way.text_stays(name, after.policies.get(policy), sql) {
                out.run(format!("DROP POLICY {} ON {table}", quote_name(policy)));
            }
        }
    }
    drop_texts_of_gone_tables(way, out);
}

/// Drops the rules and policies of tables that go, as far as they hold on to what goes before.
fn drop_texts_of_gone_tables(way: &Way<'_>, out: &mut Mend) {
    let goes = |it: &String| !way.to.tables.contains_key(it);
    for (name, before) in way.from.tables.iter().filter(|(name, _)| goes(name)) {
        let others = way.from.tables.keys().filter(|it| goes(it) && *it != name).map(String::as_str);
        let gone: Vec<&str> = way.views.iter().copied().chain(others).collect();
        let holds =
            |it: &String| way.calls(it) || gone.iter().any(|gone| mentions(it, gone, Dialect::Postgres));
        for (kind, texts) in [("RULE", &before.rules), ("POLICY", &before.policies)] {
            for (text, _) in texts.iter().filter(|(_, it)| holds(it)) {
                out.run(format!("DROP {kind} {} ON {}", quote_name(text), quote_name(name)));
            }
        }
    }
}

/// Drops what else is gone or changed, and what holds on to a column that changes.
pub(super) fn drop_what_is_in_the_way(way: &Way<'_>, out: &mut Mend) {
    // Foreign keys first, because they hold on to the keys that they point at; those of tables that go too,
    // because such tables may point at each other.
    for foreign_keys in [true, false] {
        let tables = way.from.tables.iter().filter(|(name, _)| !way.to.tables.contains_key(*name));
        for (name, before) in tables.chain(way.in_both().map(|(name, before, _)| (name, before))) {
            let goes = way.to.relation(name).is_none();
            for constraint in &before.constraints {
                let is_foreign_key = constraint.kind == ConstraintKind::ForeignKey;
                // A check over the row of a table that goes holds on to its function, and this one to the table.
                let goes_along = goes && !is_foreign_key && !way.calls(&constraint.definition);
                if is_foreign_key != foreign_keys || goes_along || way.stays(name, constraint) {
                    continue;
                }
                let (table, constraint) = (quote_name(name), constraint.name.as_deref().unwrap_or_default());
                out.run(format!("ALTER TABLE {table} DROP CONSTRAINT {}", quote_name(constraint)));
            }
        }
    }
    for (name, before, _) in way.in_both() {
        for (index, definition) in &before.indexes {
            if !way.index_stays(name, index, definition) {
                out.run(format!("DROP INDEX {}", quote_name(index)));
            }
        }
    }
    for (_, before) in way.from.tables.iter().filter(|(name, _)| !way.to.tables.contains_key(*name)) {
        for (index, _) in before.indexes.iter().filter(|(_, it)| way.calls(&it.definition)) {
            out.run(format!("DROP INDEX {}", quote_name(index)));
        }
    }
    postgres_columns::let_go(way, out);
}

/// Makes what is new, changed or was in the way; foreign keys last, with those that new tables wait for.
pub(super) fn make_constraints_and_indexes(way: &Way<'_>, late: &[String], out: &mut Mend) {
    let mut foreign_keys: Vec<String> = Vec::new();
    for (name, before, after) in way.in_both() {
        for constraint in &after.constraints {
            if before.constraints.contains(constraint) && way.stays(name, constraint) {
                continue;
            }
            if !before.constraints.contains(constraint) {
                out.constrains(name, constraint);
            }
            if constraint.kind == ConstraintKind::ForeignKey {
                foreign_keys.push(constraint_on(name, constraint));
            } else {
                out.run(constraint_on(name, constraint));
            }
        }
        for (index, definition) in gone(&after.indexes, &before.indexes, Index::eq) {
            if definition.is_unique() {
                out.tightens(&format!("{index} on {name}"), SAME_VALUES);
            }
        }
        for (index, definition) in &after.indexes {
            if !(before.indexes.get(index) == Some(definition) && way.index_stays(name, index, definition)) {
                out.run(&definition.definition);
            }
        }
    }
    // After the indexes of its table, which would be taken for one of these otherwise.
    let partitions = way.to.tables.values().flat_map(|it| &it.partitions);
    for (name, partition) in partitions.filter(|(name, _)| way.before(name).is_none()) {
        partition.own.constraints.iter().for_each(|it| out.run(constraint_on(name, it)));
        partition.own.indexes.values().for_each(|it| out.run(&it.definition));
    }
    foreign_keys.iter().chain(late).for_each(|it| out.run(it));
}

/// The statement that adds it to a table.
pub(super) fn constraint_on(table: &str, constraint: &Constraint) -> String {
    format!("ALTER TABLE {} ADD {}", quote_name(table), clauses::constraint(constraint))
}

/// Triggers, rules and policies.
pub(super) fn make_texts(way: &Way<'_>, out: &mut Mend) {
    let nothing = BTreeMap::new();
    let partitions = way.to.tables.values().flat_map(|it| &it.partitions).map(|(name, it)| (name, &it.own));
    for (name, after) in way.to.tables.iter().chain(partitions) {
        let before = way.before(name);
        let pairs = [
            (before.map_or(&nothing, |it| &it.triggers), &after.triggers),
            (before.map_or(&nothing, |it| &it.rules), &after.rules),
            (before.map_or(&nothing, |it| &it.policies), &after.policies),
        ];
        for (before, after) in pairs {
            for (text, sql) in after {
                if !way.text_stays(name, before.get(text), sql) {
                    out.run(sql.clone());
                }
            }
        }
    }
    for (name, after) in &way.to.views {
        let anew = way.views.contains(name.as_str());
        let before = way.from.views.get(name).filter(|_| !anew);
        let kinds = [
            ("RULE", before.map_or(&nothing, |it| &it.rules), &after.rules),
            ("TRIGGER", before.map_or(&nothing, |it| &it.triggers), &after.triggers),
        ];
        for (kind, before, after) in kinds {
            for (text, _) in gone(before, after, String::eq) {
                out.run(format!("DROP {kind} {} ON {}", quote_name(text), quote_name(name)));
            }
            for (_, sql) in gone(after, before, String::eq) {
                out.run(sql.clone());
            }
        }
    }
}
