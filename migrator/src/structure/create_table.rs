//! The statement that SQLite keeps for a table, taken apart. A constraint that stands beside its column and
//! could stand below the columns is put there, so that both ways of writing it are one.

use std::ops::Range;

use super::names::quote_name;
use super::tokens::{Kind, Token, normalised, tokens};
use super::{Column, Constraint, ConstraintKind, Table};
use crate::source::Dialect;

/// What a table is made of by its CREATE TABLE. Nothing when it is written in a form that is not understood.
pub(super) fn parse(sql: &str) -> Option<Table> {
    let words = tokens(sql, Dialect::Sqlite);
    let open = words.iter().position(|it| it.is_symbol("("))?;
    let close = closing(&words, open)?;
    let items = split(&words[open + 1..close]);
    let columns = items.iter().filter(|item| !is_table_constraint(item));
    let names: Vec<String> = columns.map(|item| item[0].name()).collect();
    let mut table = Table::default();
    for words in items {
        let mut parser = Parser { words, at: 0, names: &names, constraints: &mut table.constraints };
        if is_table_constraint(words) {
            parser.table_constraints()?;
        } else {
            let column = parser.column()?;
            table.columns.push(column);
        }
    }
    for option in split(&words[close + 1..]) {
        let option: Vec<String> = option.iter().map(|it| it.text.to_ascii_uppercase()).collect();
        table.options.insert(option.join(" "));
    }
    table.constraints.sort_by(|left, right| left.order().cmp(&right.order()));
    Some(table)
}

/// The bracket that closes the one at `open`.
fn closing(words: &[Token<'_>], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, word) in words.iter().enumerate().skip(open) {
        if word.is_symbol("(") {
            depth += 1;
        } else if word.is_symbol(")") {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some(at);
            }
        }
    }
    None
}

/// What stands between the commas outside of brackets.
fn split<'a, 'b>(words: &'b [Token<'a>]) -> Vec<&'b [Token<'a>]> {
    let mut depth = 0_i32;
    let parts = words.split(|word| {
        depth += i32::from(word.is_symbol("(")) - i32::from(word.is_symbol(")"));
        depth == 0 && word.is_symbol(",")
    });
    parts.filter(|part| !part.is_empty()).collect()
}

fn is_table_constraint(item: &[Token<'_>]) -> bool {
    ["constraint", "primary", "unique", "check", "foreign"].iter().any(|word| item[0].is(word))
}

struct Parser<'a, 'b> {
    words: &'b [Token<'a>],
    at: usize,
    names: &'b [String],
    constraints: &'b mut Vec<Constraint>,
}

impl Parser<'_, '_> {
    fn is_next(&self, word: &str) -> bool {
        self.words.get(self.at).is_some_and(|it| it.is(word))
    }

    fn take(&mut self, word: &str) -> bool {
        let taken = self.is_next(word);
        self.at += usize::from(taken);
        taken
    }

    fn name(&mut self) -> Option<String> {
        self.at += 1;
        self.words.get(self.at - 1).map(Token::name)
    }

    /// Goes over what stands in brackets, which must come next.
    fn brackets(&mut self) -> Option<Range<usize>> {
        let open = self.at;
        if !self.words.get(open)?.is_symbol("(") {
            return None;
        }
        self.at = closing(self.words, open)? + 1;
        Some(open..self.at)
    }

    fn text(&self, range: Range<usize>) -> String {
        normalised(&self.words[range], self.names)
    }

    /// `ON CONFLICT x`, which belongs to the constraint before it.
    fn conflict(&mut self) -> String {
        if self.is_next("on") && self.words.get(self.at + 1).is_some_and(|it| it.is("conflict")) {
            self.at += 3;
            return format!(" {}", self.text(self.at - 3..self.at.min(self.words.len())));
        }
        String::new()
    }

    fn constraint_name(&mut self) -> Option<Option<String>> {
        if self.take("constraint") { self.name().map(Some) } else { Some(None) }
    }

    fn push(&mut self, name: Option<String>, kind: ConstraintKind, definition: String) {
        self.constraints.push(Constraint { name, kind, definition, references: None });
    }

    /// One constraint, or several: SQLite does not ask for commas between them.
    fn table_constraints(&mut self) -> Option<()> {
        while self.at < self.words.len() {
            let name = self.constraint_name()?;
            let (kind, words) = if self.take("primary") {
                self.take("key").then_some((ConstraintKind::PrimaryKey, "PRIMARY KEY"))?
            } else if self.take("unique") {
                (ConstraintKind::Unique, "UNIQUE")
            } else if self.take("check") {
                (ConstraintKind::Check, "CHECK")
            } else if self.take("foreign") {
                self.take("key").then_some((ConstraintKind::ForeignKey, "FOREIGN KEY"))?
            } else {
                return None;
            };
            let brackets = self.brackets()?;
            let columns = self.text(brackets);
            if kind == ConstraintKind::ForeignKey {
                self.take("references").then_some(())?;
                self.references(name, &columns)?;
                continue;
            }
            let conflict = self.conflict();
            self.push(name, kind, format!("{words} {columns}{conflict}"));
        }
        Some(())
    }

    /// What follows REFERENCES.
    fn references(&mut self, name: Option<String>, columns: &str) -> Option<()> {
        let table = self.name()?;
        let mut definition = format!("FOREIGN KEY {columns} REFERENCES {}", quote_name(&table));
        if self.words.get(self.at).is_some_and(|it| it.is_symbol("(")) {
            let brackets = self.brackets()?;
            let names = self.words[brackets].iter().filter(|it| it.kind != Kind::Symbol);
            let names: Vec<String> = names.map(|it| quote_name(&it.name())).collect();
            definition.push_str(&format!("({})", names.join(", ")));
        }
        loop {
            let start = self.at;
            let not =
                self.is_next("not") && self.words.get(self.at + 1).is_some_and(|it| it.is("deferrable"));
            if self.is_next("on") {
                // SET NULL, SET DEFAULT and NO ACTION are two words.
                let two = self.words.get(self.at + 2).is_some_and(|it| it.is("set") || it.is("no"));
                self.at += if two { 4 } else { 3 };
            } else if self.is_next("match") || not {
                self.at += 2;
            } else if self.take("deferrable") {
            } else if self.is_next("initially") {
                self.at += 2;
            } else {
                break;
            }
            self.at = self.at.min(self.words.len());
            definition.push_str(&format!(" {}", normalised(&self.words[start..self.at], &[])));
        }
        let (kind, references) = (ConstraintKind::ForeignKey, Some(table));
        self.constraints.push(Constraint { name, kind, definition, references });
        Some(())
    }

    fn column(&mut self) -> Option<Column> {
        let mut column = Column { name: self.name()?, ..Column::default() };
        let own = format!("({})", quote_name(&column.name));
        let start = self.at;
        while self.words.get(self.at).is_some_and(|it| it.kind != Kind::Symbol && !begins_constraint(it)) {
            self.at += 1;
        }
        if self.at > start && self.words.get(self.at).is_some_and(|it| it.is_symbol("(")) {
            self.brackets()?;
        }
        column.type_name = self.text(start..self.at).to_ascii_uppercase();
        while self.at < self.words.len() {
            let name = self.constraint_name()?;
            self.column_constraint(&mut column, name, &own)?;
        }
        Some(column)
    }

    fn column_constraint(&mut self, column: &mut Column, name: Option<String>, own: &str) -> Option<()> {
        let start = self.at;
        if self.take("primary") {
            self.take("key").then_some(())?;
            let descending = self.take("desc");
            self.take("asc");
            let conflict = self.conflict();
            // What cannot be said below the columns, or would mean something else there.
            if self.take("autoincrement") || descending {
                column.inline = Some(self.text(start..self.at));
            } else {
                self.push(name, ConstraintKind::PrimaryKey, format!("PRIMARY KEY {own}{conflict}"));
            }
        } else if self.take("not") {
            self.take("null").then_some(())?;
            let conflict = self.conflict();
            column.not_null = true;
            if !conflict.is_empty() {
                let before = column.inline.take().map(|it| format!("{it} ")).unwrap_or_default();
                column.inline = Some(format!("{before}NOT NULL{conflict}"));
            }
        } else if self.take("null") {
        } else if self.take("unique") {
            let conflict = self.conflict();
            self.push(name, ConstraintKind::Unique, format!("UNIQUE {own}{conflict}"));
        } else if self.take("check") {
            let brackets = self.brackets()?;
            let definition = format!("CHECK {}", self.text(brackets));
            let conflict = self.conflict();
            self.push(name, ConstraintKind::Check, format!("{definition}{conflict}"));
        } else if self.take("default") {
            let from = self.at;
            if self.words.get(from)?.is_symbol("(") {
                self.brackets()?;
            } else {
                self.at += if matches!(self.words[from].text, "+" | "-") { 2 } else { 1 };
            }
            column.default = Some(self.text(from..self.at.min(self.words.len())));
        } else if self.take("collate") {
            column.collation = Some(self.name()?.to_ascii_uppercase());
        } else if self.take("references") {
            self.references(name, own)?;
        } else if self.is_next("generated") || self.is_next("as") {
            if self.take("generated") {
                self.take("always");
            }
            self.take("as").then_some(())?;
            let brackets = self.brackets()?;
            let kept = if self.take("stored") { "STORED" } else { "VIRTUAL" };
            self.take("virtual");
            column.generated = Some(format!("{} {kept}", self.text(brackets)));
        } else {
            return None;
        }
        Some(())
    }
}

fn begins_constraint(word: &Token<'_>) -> bool {
    const WORDS: [&str; 11] = [
        "constraint",
        "primary",
        "not",
        "null",
        "unique",
        "check",
        "default",
        "collate",
        "references",
        "generated",
        "as",
    ];
    WORDS.iter().any(|it| word.is(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_a_constraint_are_one() {
        let beside = parse(
            "CREATE TABLE \"t\" (id integer primary key, \"a\" text NOT NULL DEFAULT 'x' CHECK(a<>''), -- why
              b REFERENCES \"users\"(\"id\") ON DELETE SET NULL, c int AS (a||b) UNIQUE) STRICT, WITHOUT ROWID",
        )
        .unwrap();
        let below = parse(
            "create table t(id INTEGER, a TEXT DEFAULT 'x' NOT NULL, b, c INT GENERATED ALWAYS AS (a || b) VIRTUAL,
              CHECK (a <> ''), UNIQUE (c) FOREIGN KEY (b) REFERENCES users(id) ON DELETE SET NULL, PRIMARY KEY (id))
              WITHOUT ROWID, STRICT",
        )
        .unwrap();
        assert_eq!(beside, below);
        assert_eq!(beside.constraints.len(), 4);
        assert_eq!(beside.constraints[3].references.as_deref(), Some("users"));
    }

    #[test]
    fn a_column_that_was_added_stands_behind_the_constraints() {
        let table =
            parse("CREATE TABLE t (a INT, CONSTRAINT c CHECK (a > -1), b VARCHAR(10) DEFAULT -1)").unwrap();
        assert_eq!(table.columns[1].type_name, "VARCHAR(10)");
        assert_eq!(table.columns[1].default.as_deref(), Some("-1"));
        assert_eq!(table.constraints[0].definition, "CHECK (a > -1)");
    }

    #[test]
    fn what_only_a_column_can_say_stays_there() {
        let table = parse("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL)").unwrap();
        assert_eq!(table.columns[0].inline.as_deref(), Some("PRIMARY KEY AUTOINCREMENT"));
        assert!(table.constraints.is_empty() && table.columns[0].not_null);
    }
}
