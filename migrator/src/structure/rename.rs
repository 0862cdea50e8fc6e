//! What was given another name. That is never guessed: a column that is dropped and one that is new look the
//! same as one that was renamed, and only one of the two keeps the rows.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::names::quote_name;
use super::{Structure, Table};

/// A table or a column that has another name now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rename {
    /// The table of the column, by its new name; nothing when it is the table that was renamed.
    pub table: Option<String>,
    /// What it was called.
    pub from: String,
    /// What it is called.
    pub to: String,
}

/// What may have been renamed, or dropped and made anew.
pub type Candidate = Rename;

/// What is known of renames.
#[derive(Clone, Debug, Default)]
pub struct Renames {
    /// What was renamed.
    pub given: Vec<Rename>,
    /// What was not, though it looks so.
    pub refused: Vec<Candidate>,
    /// Whether nothing else was renamed, whatever it looks like.
    pub rest_is_new: bool,
}

impl fmt::Display for Rename {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(table) = &self.table {
            write!(formatter, "{table}.")?;
        }
        write!(formatter, "{}={}", self.from, self.to)
    }
}

impl FromStr for Rename {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} says no rename: write table.old=new, or old=new for a table");
        let (from, to) = text.split_once('=').ok_or_else(expected)?;
        let (table, from) = match from.split_once('.') {
            Some((table, from)) => (Some(table.to_owned()), from),
            None => (None, from),
        };
        if from.is_empty() || to.is_empty() || table.as_deref() == Some("") {
            return Err(expected());
        }
        // The table may stand on both sides: users.mail=users.email.
        let to = table.as_ref().and_then(|table| to.strip_prefix(&format!("{table}."))).unwrap_or(to);
        Ok(Self { from: from.to_owned(), to: to.to_owned(), table })
    }
}

impl Rename {
    /// The statement that does it.
    #[must_use]
    pub fn sql(&self) -> String {
        let (from, to) = (quote_name(&self.from), quote_name(&self.to));
        match &self.table {
            Some(table) => format!("ALTER TABLE {} RENAME COLUMN {from} TO {to}", quote_name(table)),
            None => format!("ALTER TABLE {from} RENAME TO {to}"),
        }
    }

    /// The statement that takes it back.
    #[must_use]
    pub fn undo(&self) -> String {
        Self { table: self.table.clone(), from: self.to.clone(), to: self.from.clone() }.sql()
    }

    /// Whether it can be done here: the old name is there and the new one is not.
    #[must_use]
    pub fn fits(&self, structure: &Structure) -> bool {
        match &self.table {
            Some(table) => structure
                .tables
                .get(table)
                .is_some_and(|it| it.column(&self.from).is_some() && it.column(&self.to).is_none()),
            None => structure.tables.contains_key(&self.from) && !structure.has_table(&self.to),
        }
    }

    /// The same in words.
    #[must_use]
    pub fn question(&self) -> String {
        match &self.table {
            Some(table) => format!("the column {table}.{} is gone and {table}.{} is new", self.from, self.to),
            None => format!("the table {} is gone and {} is new", self.from, self.to),
        }
    }
}

/// What may be a rename on the way from one schema to the other: a new table with at least half of the columns
/// of one that is gone, a new column of a table that lost one.
#[must_use]
pub fn candidates(from: &Structure, to: &Structure, known: &Renames) -> Vec<Candidate> {
    let mut found = Vec::new();
    if known.rest_is_new {
        return found;
    }
    let alike = |gone: &Table, new: &Table| {
        let both = gone.columns.iter().filter(|it| new.column(&it.name).is_some()).count();
        2 * both >= gone.columns.len()
    };
    for (old, gone) in from.tables.iter().filter(|(name, _)| !to.tables.contains_key(*name)) {
        for (new, _) in
            to.tables.iter().filter(|(name, table)| !from.tables.contains_key(*name) && alike(gone, table))
        {
            found.push(Rename { table: None, from: old.clone(), to: new.clone() });
        }
    }
    for (name, table) in &to.tables {
        let Some(before) = from.tables.get(name) else { continue };
        for old in before.columns.iter().filter(|it| table.column(&it.name).is_none()) {
            let new = table.columns.iter().filter(|it| before.column(&it.name).is_none());
            found.extend(new.map(|it| Rename {
                table: Some(name.clone()),
                from: old.name.clone(),
                to: it.name.clone(),
            }));
        }
    }
    found.retain(|it| !known.refused.contains(it));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_is_read_as_it_is_written() {
        for text in ["users.mail=email", "people=users"] {
            assert_eq!(text.parse::<Rename>().unwrap().to_string(), text);
        }
        assert_eq!("users.mail=users.email".parse::<Rename>().unwrap().to_string(), "users.mail=email");
        for wrong in ["users", "=a", "a=", ".a=b"] {
            assert!(wrong.parse::<Rename>().is_err(), "{wrong}");
        }
        let rename: Rename = "order.a=b".parse().unwrap();
        assert_eq!(rename.sql(), "ALTER TABLE \"order\" RENAME COLUMN a TO b");
        assert_eq!(rename.undo(), "ALTER TABLE \"order\" RENAME COLUMN b TO a");
    }
}
