//! What can go wrong with a database, named once for both of them.

mod postgres;
mod sqlite;

use std::error::Error;
use std::fmt;

use crate::exit::Exit;

/// What went wrong, in terms that a caller can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DatabaseErrorKind {
    /// The server is away, is starting or stopping, or the connection broke.
    Unreachable,
    /// The server is there and refuses the role or its password.
    Authentication,
    /// TLS could not be agreed on.
    Tls,
    /// The server has no database of that name.
    MissingDatabase,
    /// The role may not do this.
    InsufficientPrivilege,
    /// A statement took longer than it may.
    Timeout,
    /// No connection of the pool became free in time.
    PoolTimeout,
    /// A unique key would hold a value twice.
    UniqueViolation,
    /// A foreign key would point at nothing.
    ForeignKeyViolation,
    /// A check constraint was not met.
    CheckViolation,
    /// A value is missing.
    NotNullViolation,
    /// Two transactions got in each other's way: run the transaction again.
    SerializationFailure,
    /// A lock was not given in time.
    LockNotAvailable,
    /// The statement was cancelled.
    QueryCanceled,
    /// The database, or the file, cannot be written.
    ReadOnly,
    /// The file is no SQLite database.
    NotADatabase,
    /// The file cannot be opened or made.
    CannotOpen,
    /// The disk is full or fails, or the file is damaged.
    Storage,
    /// A table that the statement names does not exist.
    UndefinedTable,
    /// A column or a function that the statement names does not exist.
    UndefinedName,
    /// A value could not be turned into the type asked for: a defect of this program.
    Conversion,
    /// Anything else.
    Other,
}

/// An error of the database. `Display` is one sentence without values and secrets; the cause is its
/// [`source`](Error::source).
pub struct DatabaseError {
    kind: DatabaseErrorKind,
    message: String,
    details: Box<Details>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What else the database said.
#[derive(Clone, Debug, Default)]
struct Details {
    sqlstate: Option<String>,
    constraint: Option<String>,
    position: Option<usize>,
    hint: Option<String>,
    row: Option<u64>,
    statement: Option<usize>,
}

impl DatabaseError {
    /// An error of this kind.
    #[must_use]
    pub fn new(kind: DatabaseErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), details: Box::default(), source: None }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error, introduced by what was being tried.
    #[must_use]
    pub fn while_trying(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The same error, met at this place of the text, in characters from 1.
    pub(super) fn at(mut self, position: usize) -> Self {
        self.details.position = Some(position);
        self
    }

    /// The same error, about this one of the rows that are inserted, from 0.
    pub(super) fn in_row(mut self, row: u64) -> Self {
        self.details.row = Some(row);
        self
    }

    /// The same error, its row counted from one that had as many before it.
    pub(super) fn after_rows(mut self, before: u64) -> Self {
        self.details.row = self.details.row.map(|row| row + before);
        self
    }

    /// The same error, met in this one of the statements that were sent together, from 0.
    pub(super) fn in_statement(mut self, statement: usize) -> Self {
        self.details.statement = Some(statement);
        self
    }

    pub(super) fn set_kind(&mut self, kind: DatabaseErrorKind) {
        self.kind = kind;
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> DatabaseErrorKind {
        self.kind
    }

    /// PostgreSQL's code, five characters.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        self.details.sqlstate.as_deref()
    }

    /// The constraint that was not met: its name, or for SQLite what it says in its place.
    #[must_use]
    pub fn constraint(&self) -> Option<&str> {
        self.details.constraint.as_deref()
    }

    /// Where in the statement, in characters from 1.
    #[must_use]
    pub fn position(&self) -> Option<usize> {
        self.details.position
    }

    /// Which of the rows that were inserted together, from 0, where the database tells it.
    #[must_use]
    pub fn row(&self) -> Option<u64> {
        self.details.row
    }

    /// Which of the statements that [`batch_rows`](super::Connection::batch_rows) sent together, from 0, on PostgreSQL.
    #[must_use]
    pub fn statement(&self) -> Option<usize> {
        self.details.statement
    }

    /// What PostgreSQL suggests.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.details.hint.as_deref()
    }

    /// The exit code of a program that ends because of this.
    #[must_use]
    pub fn exit(&self) -> Exit {
        use DatabaseErrorKind as Kind;
        match self.kind {
            Kind::Authentication
            | Kind::Tls
            | Kind::MissingDatabase
            | Kind::InsufficientPrivilege
            | Kind::ReadOnly
            | Kind::NotADatabase
            | Kind::CannotOpen
            | Kind::Storage => Exit::Configuration,
            Kind::LockNotAvailable | Kind::QueryCanceled => Exit::Interrupted,
            Kind::Unreachable | Kind::Timeout | Kind::PoolTimeout => Exit::Unavailable,
            _ => Exit::Migration,
        }
    }

    /// Whether trying again later may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        use DatabaseErrorKind as Kind;
        matches!(
            self.kind,
            Kind::Unreachable
                | Kind::Timeout
                | Kind::PoolTimeout
                | Kind::SerializationFailure
                | Kind::LockNotAvailable
        )
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl fmt::Debug for DatabaseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DatabaseError")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .field("details", &self.details)
            .finish_non_exhaustive()
    }
}

impl Error for DatabaseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_cause() {
        let error = DatabaseError::new(DatabaseErrorKind::Unreachable, "away")
            .caused_by(std::io::Error::other("refused"))
            .while_trying("asking");
        assert_eq!(error.to_string(), "asking: away");
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("refused"));
        assert_eq!(error.exit(), Exit::Unavailable);
    }
}
