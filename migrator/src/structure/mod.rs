//! What a schema is made of, read from a live database: typed, in one order and one form, so that two
//! schemas can be compared, kept, printed as DDL and brought from one to the other.
//!
//! The tables of the migrator are no part of it, nor is what belongs to an extension. The order of the columns
//! of a table is known, for whoever prints it, and not compared: PostgreSQL adds a column at the end only.
//!
//! Partitions by range come and go with the time and are made by whoever writes the rows, so which there are
//! is listed and compared only where somebody asks for it; partitions by list and by hash are the schema's own,
//! where what they are a part of is no partition by range itself.

mod alike;
mod beyond;
mod clauses;
mod create_table;
mod dialect_name;
mod difference;
mod dump;
mod mend;
pub(crate) mod names;
mod partition;
mod postgres;
mod rename;
mod sqlite;
pub(crate) mod tokens;

use std::collections::{BTreeMap, BTreeSet};

use foundation::database::{Backend, Connection, DatabaseError};
use serde::{Deserialize, Serialize};

use crate::source::Dialect;

pub(crate) use beyond::beyond;
pub use difference::{Difference, Partitions, difference};
pub use dump::dump;
pub use mend::{Mend, mend};
pub use rename::{Candidate, Rename, Renames, candidates};

/// A schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Structure {
    /// Which database it is of.
    #[serde(with = "dialect_name")]
    pub dialect: Dialect,
    /// Extensions of the database, except for the language that is always there.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub extensions: BTreeSet<String>,
    /// Enums with their values in order.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub enums: BTreeMap<String, Vec<String>>,
    /// Composite types with what stands between their brackets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub composites: BTreeMap<String, String>,
    /// Domains.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub domains: BTreeMap<String, Domain>,
    /// Sequences, except for those of identity columns.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sequences: BTreeMap<String, Sequence>,
    /// The sequences of identity columns, each with its table and its column. How they are called is not compared.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub identity_sequences: BTreeMap<String, (String, String)>,
    /// Functions and procedures by their name and the types of their arguments.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub routines: BTreeMap<String, Routine>,
    /// Tables.
    pub tables: BTreeMap<String, Table>,
    /// Views, the materialized ones too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub views: BTreeMap<String, View>,
    /// What others than the owner may do.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub grants: BTreeSet<Grant>,
    /// What stands beside these and is set by a statement of its own, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extras: BTreeMap<String, Extra>,
    /// The names of what is there and not known any further: range types, foreign tables and collations.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unknown: BTreeSet<String>,
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its columns in their order.
    pub columns: Vec<Column>,
    /// Its constraints, except for NOT NULL, which the columns have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
    /// Its indexes, except for those of constraints.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub indexes: BTreeMap<String, Index>,
    /// Its triggers, each as the statement that makes it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub triggers: BTreeMap<String, String>,
    /// Its rules, each as the statement that makes it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, String>,
    /// Its policies, each as the statement that makes it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub policies: BTreeMap<String, String>,
    /// How it is partitioned, for example `RANGE (timestamp)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<String>,
    /// Its partitions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub partitions: BTreeMap<String, Partition>,
    /// `UNLOGGED`, `ROW LEVEL SECURITY`, `STRICT`, `WITHOUT ROWID` and their like.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub options: BTreeSet<String>,
    /// The statement that makes it, where it has no other form: virtual tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verbatim: Option<String>,
}

/// A column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as the database writes it.
    pub type_name: String,
    /// Whether it refuses NULL.
    #[serde(default)]
    pub not_null: bool,
    /// The expression of its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// What it is computed from, and how it is kept: `(lower(a)) STORED`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<String>,
    /// `ALWAYS` or `BY DEFAULT`, for one that numbers its rows, and how it counts where that is unusual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Its collation, where it is not the usual one of its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation: Option<String>,
    /// What only a column itself can say in SQLite: `PRIMARY KEY AUTOINCREMENT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<String>,
}

/// What a constraint demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConstraintKind {
    /// `PRIMARY KEY`.
    PrimaryKey,
    /// `UNIQUE`.
    Unique,
    /// `CHECK`.
    Check,
    /// `EXCLUDE`.
    Exclusion,
    /// `FOREIGN KEY`.
    ForeignKey,
}

/// A constraint of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraint {
    /// Its name; in SQLite it may have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it demands.
    pub kind: ConstraintKind,
    /// What follows its name, for example `CHECK (a > 0)`.
    pub definition: String,
    /// The table that a foreign key points at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<String>,
}

/// An index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// The statement that makes it.
    pub definition: String,
    /// Whether PostgreSQL can use it; one that was built CONCURRENTLY and failed is left invalid.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub valid: bool,
}

/// A partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// What it is a part of: the table, or another partition.
    pub of: String,
    /// `FOR VALUES ...` or `DEFAULT`, and its own PARTITION BY.
    pub definition: String,
    /// What it has beside what it is a part of; nothing is known of that where it is one by range.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub own: Table,
}

/// A view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Whether it keeps its rows.
    #[serde(default)]
    pub materialized: bool,
    /// Its query; in SQLite the whole statement.
    pub definition: String,
    /// What stands in its WITH, for example as whom it reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<String>,
    /// The tables and views that it reads.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub reads: BTreeSet<String>,
    /// Its indexes, when it is materialized.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub indexes: BTreeMap<String, Index>,
    /// Its triggers, each as the statement that makes it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub triggers: BTreeMap<String, String>,
    /// Its rules, except for the one that is its query, each as the statement that makes it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, String>,
}

/// A function or a procedure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routine {
    /// `FUNCTION`, `PROCEDURE` or `AGGREGATE`.
    pub kind: String,
    /// The statement that makes it; nothing for an aggregate, which PostgreSQL cannot write.
    pub definition: Option<String>,
    /// Whether it names a table in its arguments, its result or a body that is parsed when it is made.
    #[serde(default)]
    pub after_tables: bool,
    /// The views that it names there.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub views: BTreeSet<String>,
}

/// A domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// The type that it narrows.
    pub base: String,
    /// Whether it refuses NULL.
    #[serde(default)]
    pub not_null: bool,
    /// The expression of its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Its checks by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub checks: BTreeMap<String, String>,
}

/// A sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// How it counts: the clauses of CREATE SEQUENCE after its name.
    pub definition: String,
    /// The table and the column that it goes with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owned_by: Option<(String, String)>,
}

/// A right that somebody has who is not the owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Grant {
    /// What it is on, as GRANT writes it: `TABLE users`, `FUNCTION f(integer)`.
    pub on: String,
    /// The right, for example `SELECT`.
    pub right: String,
    /// The role, quoted where it must be, or `PUBLIC`.
    pub to: String,
    /// Whether it may be passed on.
    #[serde(default)]
    pub grantable: bool,
}

/// A comment, the identity of the rows of a table that is replicated, how a column is stored, the default of a
/// view's column, what is gathered for the planner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extra {
    /// The statement that makes it so.
    pub set: String,
    /// The statement that brings back what is usual.
    pub unset: String,
    /// How the statements begin that take along what it is of, that which it belongs to as a whole first.
    pub goes_with: Vec<String>,
    /// How those begin that leave what it is of without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost_with: Vec<String>,
}

fn is_nothing(table: &Table) -> bool {
    *table == Table::default()
}

const fn yes() -> bool {
    true
}

impl Structure {
    /// A schema with nothing in it.
    #[must_use]
    pub fn empty(dialect: Dialect) -> Self {
        Self {
            dialect,
            extensions: BTreeSet::new(),
            enums: BTreeMap::new(),
            composites: BTreeMap::new(),
            domains: BTreeMap::new(),
            sequences: BTreeMap::new(),
            identity_sequences: BTreeMap::new(),
            routines: BTreeMap::new(),
            tables: BTreeMap::new(),
            views: BTreeMap::new(),
            grants: BTreeSet::new(),
            extras: BTreeMap::new(),
            unknown: BTreeSet::new(),
        }
    }

    /// Whether there is a table of this name; SQLite does not look at its case.
    fn has_table(&self, name: &str) -> bool {
        match self.dialect {
            Dialect::Postgres => self.tables.contains_key(name),
            Dialect::Sqlite => self.tables.keys().any(|it| it.eq_ignore_ascii_case(name)),
        }
    }

    /// The table or the partition of this name.
    fn relation(&self, name: &str) -> Option<&Table> {
        let partition = || self.tables.values().find_map(|it| it.partitions.get(name));
        self.tables.get(name).or_else(|| partition().map(|it| &it.own))
    }

    /// The schema with what is the same by the other name called so.
    pub(crate) fn called_as(&self, other: &Self) -> Self {
        match self.dialect {
            Dialect::Postgres => self.clone(),
            Dialect::Sqlite => alike::called_as(self, other),
        }
    }

    /// Reads the current schema of a database.
    ///
    /// # Errors
    /// What the database says.
    pub async fn read(connection: &mut Connection) -> Result<Self, DatabaseError> {
        match connection.backend() {
            Backend::Postgres => postgres::read(connection).await,
            Backend::Sqlite => sqlite::read(connection).await,
        }
    }
}

impl Constraint {
    /// How the constraints of a table follow each other.
    fn order(&self) -> (ConstraintKind, &Option<String>, &String) {
        (self.kind, &self.name, &self.definition)
    }
}

impl Index {
    /// Whether it takes no two rows with the same values.
    fn is_unique(&self) -> bool {
        self.definition.starts_with("CREATE UNIQUE")
    }
}

impl Table {
    /// The column of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|it| it.name == name)
    }
}
