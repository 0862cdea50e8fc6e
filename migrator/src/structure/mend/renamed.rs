//! What PostgreSQL named after a table or a column and what was named anew by hand: it gets the name that it
//! has in the other schema and stays what it is. A sequence that is made anew would begin to count at 1.

use std::collections::BTreeSet;

use super::Mend;
use crate::structure::names::{quote_name, quote_text};
use crate::structure::{ConstraintKind, Structure, Table};

/// Renames what differs by its name alone, and says what the schema is then.
pub(super) fn rename(from: &Structure, to: &Structure, out: &mut Mend) -> Structure {
    let mut structure = from.clone();
    let mut taken = relations(from);
    sequences(&mut structure, to, &mut taken, out);
    let both: Vec<&String> = from.tables.keys().filter(|it| to.tables.contains_key(*it)).collect();
    for name in both {
        let (Some(table), Some(after)) = (structure.tables.get_mut(name), to.tables.get(name)) else {
            continue;
        };
        constraints(name, table, after, &mut taken, out);
        indexes(table, after, &mut taken, out);
    }
    structure
}

/// The names that one schema can give once: of tables, views, sequences and indexes.
fn relations(structure: &Structure) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = structure.tables.keys().cloned().collect();
    names.extend(structure.views.keys().cloned());
    names.extend(structure.sequences.keys().cloned());
    names.extend(structure.identity_sequences.keys().cloned());
    names.extend(structure.views.values().flat_map(|it| it.indexes.keys().cloned()));
    for table in structure.tables.values() {
        names.extend(table.indexes.keys().cloned());
        names.extend(table.partitions.keys().cloned());
        names.extend(table.constraints.iter().filter_map(|it| it.name.clone()));
    }
    names
}

/// A sequence goes with its column: the one that the column has now was the one that it had.
fn sequences(structure: &mut Structure, to: &Structure, taken: &mut BTreeSet<String>, out: &mut Mend) {
    for (new, sequence) in &to.sequences {
        let old = structure.sequences.iter().find(|(old, it)| {
            it.owned_by.is_some() && it.owned_by == sequence.owned_by && !to.sequences.contains_key(*old)
        });
        let Some((old, before)) = old.map(|(old, it)| (old.clone(), it.clone())) else { continue };
        if !taken.insert(new.clone()) {
            continue;
        }
        let (quoted, quoted_new) = (quote_name(&old), quote_name(new));
        out.run(format!("ALTER SEQUENCE {quoted} RENAME TO {quoted_new}"));
        structure.sequences.remove(&old);
        structure.sequences.insert(new.clone(), before);
        // What names the sequence follows it.
        let (nextval, nextval_new) = (nextval(&quoted), nextval(&quoted_new));
        for column in structure.tables.values_mut().flat_map(|it| &mut it.columns) {
            column.default = column.default.take().map(|it| it.replace(&nextval, &nextval_new));
        }
        move_grants(structure, &quoted, &quoted_new);
    }
    for (new, column) in &to.identity_sequences {
        let old =
            structure.identity_sequences.iter().find(|(_, it)| *it == column).map(|(old, _)| old.clone());
        let Some(old) = old.filter(|it| it != new) else { continue };
        if !taken.insert(new.clone()) {
            continue;
        }
        let (quoted, quoted_new) = (quote_name(&old), quote_name(new));
        out.run(format!("ALTER SEQUENCE {quoted} RENAME TO {quoted_new}"));
        structure.identity_sequences.remove(&old);
        structure.identity_sequences.insert(new.clone(), column.clone());
        move_grants(structure, &quoted, &quoted_new);
    }
}

fn move_grants(structure: &mut Structure, quoted: &str, quoted_new: &str) {
    let on = format!("SEQUENCE {quoted}");
    let moved: Vec<_> = structure.grants.iter().filter(|it| it.on == on).cloned().collect();
    for mut grant in moved {
        structure.grants.remove(&grant);
        grant.on = format!("SEQUENCE {quoted_new}");
        structure.grants.insert(grant);
    }
}

fn nextval(quoted: &str) -> String {
    format!("nextval({}::regclass)", quote_text(quoted))
}

fn constraints(name: &str, table: &mut Table, after: &Table, taken: &mut BTreeSet<String>, out: &mut Mend) {
    let names = |table: &Table| -> BTreeSet<String> {
        table.constraints.iter().filter_map(|it| it.name.clone()).collect()
    };
    let stay = names(after);
    for wanted in &after.constraints {
        let Some(new) = &wanted.name else { continue };
        if names(table).contains(new) || taken.contains(new) {
            continue;
        }
        let goes = |it: &String| !stay.contains(it);
        let old = table.constraints.iter_mut().find(|it| {
            it.name.as_ref().is_some_and(goes)
                && (it.kind, &it.definition, &it.references)
                    == (wanted.kind, &wanted.definition, &wanted.references)
        });
        let Some(old) = old else { continue };
        let before = old.name.replace(new.clone()).unwrap_or_default();
        if wanted.kind != ConstraintKind::Check && wanted.kind != ConstraintKind::ForeignKey {
            taken.insert(new.clone());
        }
        out.run(format!(
            "ALTER TABLE {} RENAME CONSTRAINT {} TO {}",
            quote_name(name),
            quote_name(&before),
            quote_name(new)
        ));
    }
}

fn indexes(table: &mut Table, after: &Table, taken: &mut BTreeSet<String>, out: &mut Mend) {
    for (new, wanted) in &after.indexes {
        let quoted_new = quote_name(new);
        let by_new_name = |old: &str, definition: &str| {
            definition.replacen(&format!(" {} ON ", quote_name(old)), &format!(" {quoted_new} ON "), 1)
        };
        let old = table.indexes.iter().find(|(old, it)| {
            !after.indexes.contains_key(*old)
                && it.valid == wanted.valid
                && by_new_name(old, &it.definition) == wanted.definition
        });
        let Some(old) = old.map(|(old, _)| old.clone()) else { continue };
        if !taken.insert(new.clone()) {
            continue;
        }
        out.run(format!("ALTER INDEX {} RENAME TO {quoted_new}", quote_name(&old)));
        table.indexes.remove(&old);
        table.indexes.insert(new.clone(), wanted.clone());
    }
}
