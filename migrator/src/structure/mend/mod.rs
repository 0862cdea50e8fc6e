//! The SQL that brings one schema to another.

mod casts;
mod enums;
mod extras;
mod grants;
mod identity;
mod postgres;
mod postgres_columns;
mod postgres_partitions;
mod postgres_parts;
mod renamed;
mod replaced;
mod routines;
mod sequences;
mod sqlite;
mod types;

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Constraint, ConstraintKind, Structure};
use crate::source::Dialect;

/// Where a unique index cannot be built.
const SAME_VALUES: &str = "two rows have the same values";

/// A text in a body is looked at when it is run: it may call what is made further down.
pub(crate) const BODIES_UNCHECKED: &str = "SET LOCAL check_function_bodies = off";

/// How to get from one schema to another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mend {
    /// The statements, in an order in which they work.
    pub statements: Vec<String>,
    /// What these do not do, in words.
    pub unsaid: Vec<String>,
    /// What to look at before they are run where there are rows.
    pub warnings: Vec<String>,
    /// Whether a program that was written for the schema before may stop working: something is gone, or
    /// refuses more than it did.
    pub breaking: bool,
}

impl Mend {
    /// The statements as a file.
    #[must_use]
    pub fn sql(&self) -> String {
        self.statements.iter().map(|it| format!("{it};\n")).collect()
    }

    /// Says that a table, an index or a domain allows less than before.
    fn tightens(&mut self, what: &str, where_it_fails: &str) {
        self.breaking = true;
        self.warnings.push(format!("{what} is demanded now: this fails where {where_it_fails}"));
    }

    /// The same of a constraint on a table that is there.
    fn constrains(&mut self, table: &str, constraint: &Constraint) {
        let called = constraint.name.as_deref().unwrap_or(&constraint.definition);
        let what = format!("{called} on {table}");
        match constraint.kind {
            // The rows that are there are not looked at.
            _ if constraint.definition.ends_with(" NOT VALID") => self.breaking = true,
            ConstraintKind::PrimaryKey | ConstraintKind::Unique => self.tightens(&what, SAME_VALUES),
            _ => self.tightens(&what, "a row does not meet it"),
        }
    }

    fn run(&mut self, statement: impl Into<String>) {
        self.statements.push(statement.into());
    }
}

/// The SQL that brings a database with the schema `from` to the schema `to`. The order of columns and the
/// partitions by range stay as they are.
#[must_use]
pub fn mend(from: &Structure, to: &Structure) -> Mend {
    match to.dialect {
        Dialect::Postgres => postgres::mend(from, to),
        Dialect::Sqlite => sqlite::mend(from, to),
    }
}

/// What is in the first and not, or not so, in the second.
fn gone<'a, T>(
    from: &'a BTreeMap<String, T>,
    to: &BTreeMap<String, T>,
    same: impl Fn(&T, &T) -> bool,
) -> Vec<(&'a String, &'a T)> {
    from.iter().filter(|(name, it)| to.get(*name).is_none_or(|other| !same(it, other))).collect()
}
