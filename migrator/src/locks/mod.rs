//! Which locks a statement takes and whether it rewrites or reads a whole table, as the documentation of the
//! database says it of statements of its kind. What a function or a trigger does besides is not seen,
//! and of the tables at which foreign keys point that are dropped only those of keys that the same file makes.

mod alter_table;
mod foreign_keys;
mod postgres;
mod sqlite;

use foreign_keys::ForeignKeys;
pub(crate) use postgres::locks_others_out;
use serde::Serialize;

use crate::source::Dialect;
use crate::statements;

/// A lock that is kept to the end of the transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lock {
    /// The table, view or index, as the statement names it.
    pub relation: String,
    /// The mode, as PostgreSQL calls it: `ACCESS EXCLUSIVE` keeps even readers out.
    pub mode: &'static str,
}

/// What one statement does to those who work in the database meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Effects {
    /// Its locks.
    pub locks: Vec<Lock>,
    /// What it writes anew, with the reason.
    pub rewrites: Vec<String>,
    /// What it reads from the first row to the last, with the reason.
    pub scans: Vec<String>,
}

impl Effects {
    fn lock(&mut self, relation: impl Into<String>, mode: &'static str) {
        let lock = Lock { relation: relation.into(), mode };
        if !self.locks.contains(&lock) {
            self.locks.push(lock);
        }
    }

    fn rewrite(&mut self, relation: &str, why: &str) {
        self.rewrites.push(format!("{relation}: {why}"));
    }

    fn scan(&mut self, relation: &str, why: &str) {
        self.scans.push(format!("{relation}: {why}"));
    }
}

/// One statement of a migration with its effects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedStatement {
    /// The line of the file on which it begins, from 1.
    pub line: usize,
    /// Its text.
    pub sql: String,
    /// What it does to others.
    #[serde(flatten)]
    pub effects: Effects,
}

/// The statements of a file. Nobody waits for a table that the same transaction makes, so locks on those are left
/// out.
#[must_use]
pub fn statements(dialect: Dialect, file: &str, in_transaction: bool) -> Vec<PlannedStatement> {
    let mut made: Vec<String> = Vec::new();
    let mut planned = Vec::new();
    let keys = match dialect {
        Dialect::Postgres => ForeignKeys::of(file),
        Dialect::Sqlite => ForeignKeys::default(),
    };
    for part in statements::split(dialect, file) {
        let mut effects = match dialect {
            Dialect::Postgres => postgres::effects(part.sql, &mut made),
            Dialect::Sqlite => sqlite::effects(part.sql),
        };
        keys.dropped(part.sql, &mut effects);
        if in_transaction {
            let is_new = |relation: &str| made.iter().any(|it| it.eq_ignore_ascii_case(relation));
            effects.locks.retain(|lock| !is_new(&lock.relation));
            let about = |text: &String| text.split_once(": ").is_some_and(|(relation, _)| is_new(relation));
            effects.rewrites.retain(|it| !about(it));
            effects.scans.retain(|it| !about(it));
        }
        planned.push(PlannedStatement { line: part.line, sql: part.sql.to_owned(), effects });
    }
    planned
}
