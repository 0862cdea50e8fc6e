//! What means the same to SQLite, which looks at no name, keyword or function by its case and keeps all of them as
//! they were written.

use std::collections::BTreeMap;

use super::tokens::{Kind, Token, tokens};
use super::{Column, Constraint, Index, Structure, Table, View, sqlite};
use crate::source::Dialect;

/// The schema with everything that means the same in the other one written as there.
pub(super) fn called_as(structure: &Structure, other: &Structure) -> Structure {
    let indexes = |it: &Structure| -> Vec<String> {
        it.tables.values().flat_map(|it| it.indexes.keys().cloned()).collect()
    };
    let names = [sqlite::names(structure), indexes(structure), sqlite::names(other), indexes(other)].concat();
    let alike = Alike { names: &names };
    Structure {
        tables: renamed(&structure.tables, &other.tables, |it, wanted| alike.table(it, wanted)),
        views: renamed(&structure.views, &other.views, |it, wanted| alike.view(it, wanted)),
        ..structure.clone()
    }
}

/// Those that are called the same, called as there.
fn renamed<T: Clone>(
    found: &BTreeMap<String, T>,
    wanted: &BTreeMap<String, T>,
    as_wanted: impl Fn(&T, &T) -> T,
) -> BTreeMap<String, T> {
    let called = found.iter().map(|(name, it)| {
        match wanted
            .get_key_value(name)
            .or_else(|| wanted.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)))
        {
            Some((name, wanted)) => (name.clone(), as_wanted(it, wanted)),
            None => (name.clone(), it.clone()),
        }
    });
    called.collect()
}

/// Compares texts with these names in them.
struct Alike<'a> {
    names: &'a [String],
}

impl Alike<'_> {
    fn table(&self, table: &Table, wanted: &Table) -> Table {
        let column = |it: &Column| {
            let same = wanted.columns.iter().find(|other| other.name.eq_ignore_ascii_case(&it.name));
            same.map_or_else(|| it.clone(), |same| self.column(it, same))
        };
        let constraint = |it: &Constraint| {
            let same = wanted.constraints.iter().find(|other| self.same_constraint(it, other));
            same.unwrap_or(it).clone()
        };
        let mut constraints: Vec<Constraint> = table.constraints.iter().map(constraint).collect();
        constraints.sort_by(|left, right| left.order().cmp(&right.order()));
        Table {
            columns: table.columns.iter().map(column).collect(),
            constraints,
            indexes: renamed(&table.indexes, &wanted.indexes, |it, wanted| Index {
                definition: self.text(&it.definition, &wanted.definition),
                valid: it.valid,
            }),
            triggers: self.triggers(&table.triggers, &wanted.triggers),
            verbatim: self.optional(&table.verbatim, &wanted.verbatim),
            ..table.clone()
        }
    }

    fn column(&self, column: &Column, wanted: &Column) -> Column {
        Column {
            name: wanted.name.clone(),
            default: self.optional(&column.default, &wanted.default),
            generated: self.optional(&column.generated, &wanted.generated),
            inline: self.optional(&column.inline, &wanted.inline),
            ..column.clone()
        }
    }

    fn view(&self, view: &View, wanted: &View) -> View {
        View {
            definition: self.text(&view.definition, &wanted.definition),
            triggers: self.triggers(&view.triggers, &wanted.triggers),
            ..view.clone()
        }
    }

    fn triggers(
        &self,
        found: &BTreeMap<String, String>,
        wanted: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        renamed(found, wanted, |it, wanted| self.text(it, wanted))
    }

    fn same_constraint(&self, left: &Constraint, right: &Constraint) -> bool {
        let called = |it: &Constraint| it.name.as_ref().map(|it| it.to_ascii_lowercase());
        left.kind == right.kind
            && called(left) == called(right)
            && self.same(&left.definition, &right.definition)
    }

    fn optional(&self, text: &Option<String>, wanted: &Option<String>) -> Option<String> {
        match (text, wanted) {
            (Some(text), Some(wanted)) => Some(self.text(text, wanted)),
            _ => text.clone(),
        }
    }

    fn text(&self, text: &str, wanted: &str) -> String {
        if self.same(text, wanted) { wanted } else { text }.to_owned()
    }

    fn same(&self, left: &str, right: &str) -> bool {
        let (left, right) = (tokens(left, Dialect::Sqlite), tokens(right, Dialect::Sqlite));
        left.len() == right.len() && left.iter().zip(&right).all(|(left, right)| self.same_word(left, right))
    }

    /// A text in double quotes that is no name is a text to SQLite, and its case is a part of it.
    fn same_word(&self, left: &Token<'_>, right: &Token<'_>) -> bool {
        let is_name = |it: &Token<'_>| it.kind == Kind::Word || it.kind == Kind::Name;
        let known = |it: &Token<'_>| self.names.iter().any(|name| name.eq_ignore_ascii_case(&it.name()));
        match (left.kind, right.kind) {
            (Kind::Word, Kind::Word) => left.text.eq_ignore_ascii_case(right.text),
            _ if is_name(left) && is_name(right) && known(left) => {
                left.name().eq_ignore_ascii_case(&right.name())
            }
            _ => left.text == right.text,
        }
    }
}
