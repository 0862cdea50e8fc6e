//! What can go wrong with a database, named once for both of them.

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

/// SQLSTATE to kind: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn kind_of_sqlstate(code: &str) -> DatabaseErrorKind {
    use DatabaseErrorKind as Kind;
    match code {
        "28000" | "28P01" => Kind::Authentication,
        "3D000" => Kind::MissingDatabase,
        "42501" => Kind::InsufficientPrivilege,
        "23505" | "23P01" => Kind::UniqueViolation,
        "23503" => Kind::ForeignKeyViolation,
        "23514" => Kind::CheckViolation,
        "23502" => Kind::NotNullViolation,
        "40001" | "40P01" => Kind::SerializationFailure,
        // A database that is copied or dropped has a session on it: as good as a lock.
        "55P03" | "55006" => Kind::LockNotAvailable,
        "57014" => Kind::QueryCanceled,
        "53100" | "58030" | "XX001" | "XX002" => Kind::Storage,
        "25006" => Kind::ReadOnly,
        "42P01" => Kind::UndefinedTable,
        "42703" | "42883" => Kind::UndefinedName,
        // Too many connections; the server is stopping, crashed or starting.
        "53300" | "57P01" | "57P02" | "57P03" => Kind::Unreachable,
        _ if code.starts_with("08") => Kind::Unreachable,
        _ => Kind::Other,
    }
}

/// The messages about data that cannot be (class 22) end with the value: `invalid input syntax for type
/// integer: "secret"`.
fn without_value<'a>(code: &str, message: &'a str) -> &'a str {
    let end = if code.starts_with("22") { message.find('"') } else { None };
    end.map_or(message, |end| message[..end].trim_end_matches([' ', ':']))
}

/// The row, from 0, that PostgreSQL's context names: `COPY metrics_snapshot, line 3, column source`.
fn copied_row(context: &str) -> Option<u64> {
    let of_copy = context.lines().find(|line| line.starts_with("COPY "))?;
    let (_, number) = of_copy.split_once(", line ")?;
    let digits = number.split(|character: char| !character.is_ascii_digit()).next()?;
    digits.parse::<u64>().ok()?.checked_sub(1)
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        use DatabaseErrorKind as Kind;
        if let Some(said) = error.as_db_error() {
            let code = said.code().code().to_owned();
            let details = Details {
                constraint: said.constraint().map(str::to_owned),
                position: said.position().and_then(|position| match position {
                    tokio_postgres::error::ErrorPosition::Original(at) => usize::try_from(*at).ok(),
                    tokio_postgres::error::ErrorPosition::Internal { .. } => None,
                }),
                hint: said.hint().map(str::to_owned),
                sqlstate: Some(code.clone()),
                row: said.where_().and_then(copied_row),
                statement: None,
            };
            let message = format!("{} (SQLSTATE {code})", without_value(&code, said.message()));
            // A pooler in between has one code for everything.
            let kind = match said.message() {
                words if code == "08P01" && words.ends_with("authentication failed") => Kind::Authentication,
                _ => kind_of_sqlstate(&code),
            };
            // The error itself is not kept: its text has the DETAIL, and that has values of rows.
            return Self { kind, message, details: Box::new(details), source: None };
        }
        // tokio-postgres does not make its kinds public; its sentences are all there is to tell them by.
        let said = error.to_string();
        let cause = root_cause(&error);
        let kind = match () {
            () if error.is_closed() => Kind::Unreachable,
            () if said.starts_with("error performing TLS handshake") => Kind::Tls,
            () if cause == "password missing" || said.starts_with("authentication error") => {
                Kind::Authentication
            }
            () if said.starts_with("error serializing") || said.starts_with("error deserializing") => {
                Kind::Conversion
            }
            () if said.starts_with("error connecting")
                || said.starts_with("error communicating")
                || said.starts_with("timeout") =>
            {
                Kind::Unreachable
            }
            () => Kind::Other,
        };
        Self::new(kind, if cause == said { said } else { cause }).caused_by(error)
    }
}

fn root_cause(error: &dyn Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// SQLite has one code for all that a statement names and that is not there.
fn kind_of_missing(message: &str) -> DatabaseErrorKind {
    use DatabaseErrorKind as Kind;
    match message {
        it if it.starts_with("no such table") => Kind::UndefinedTable,
        it if it.starts_with("no such column") || it.starts_with("no such function") => Kind::UndefinedName,
        _ => Kind::Other,
    }
}

impl From<rusqlite::Error> for DatabaseError {
    fn from(error: rusqlite::Error) -> Self {
        use DatabaseErrorKind as Kind;
        use rusqlite::ErrorCode;
        use rusqlite::ffi;
        let message = match &error {
            rusqlite::Error::SqliteFailure(_, Some(said)) => said.clone(),
            // Its own text has the whole statement, which may be a file.
            rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
            other => other.to_string(),
        };
        let kind = match error.sqlite_error() {
            Some(failure) => match failure.code {
                ErrorCode::ConstraintViolation => match failure.extended_code {
                    ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY => {
                        Kind::UniqueViolation
                    }
                    ffi::SQLITE_CONSTRAINT_FOREIGNKEY => Kind::ForeignKeyViolation,
                    ffi::SQLITE_CONSTRAINT_NOTNULL => Kind::NotNullViolation,
                    _ => Kind::CheckViolation,
                },
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Kind::LockNotAvailable,
                ErrorCode::OperationInterrupted => Kind::QueryCanceled,
                ErrorCode::ReadOnly => Kind::ReadOnly,
                ErrorCode::NotADatabase => Kind::NotADatabase,
                ErrorCode::CannotOpen => Kind::CannotOpen,
                ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt => {
                    Kind::Storage
                }
                _ => kind_of_missing(&message),
            },
            None => kind_of_missing(&message),
        };
        let constraint = message.split_once(" constraint failed: ").map(|(_, what)| what.to_owned());
        let details = Details { constraint, ..Details::default() };
        let source: Option<Box<dyn Error + Send + Sync>> = match error {
            rusqlite::Error::SqlInputError { .. } => None,
            error => Some(Box::new(error)),
        };
        Self { kind, message, details: Box::new(details), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_kinds() {
        for (code, kind) in [
            ("23505", DatabaseErrorKind::UniqueViolation),
            ("08006", DatabaseErrorKind::Unreachable),
            ("57P03", DatabaseErrorKind::Unreachable),
            ("42501", DatabaseErrorKind::InsufficientPrivilege),
            ("42703", DatabaseErrorKind::UndefinedName),
            ("42883", DatabaseErrorKind::UndefinedName),
            ("XX000", DatabaseErrorKind::Other),
        ] {
            assert_eq!(kind_of_sqlstate(code), kind, "{code}");
        }
    }

    #[test]
    fn a_context_names_a_row() {
        assert_eq!(copied_row("COPY item, line 3, column name: \"x, line 7\""), Some(2));
        assert_eq!(copied_row("JSON data, line 9: {x\nCOPY item, line 1, column document"), Some(0));
        assert_eq!(copied_row("SQL statement \"SELECT 1\""), None);
    }

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
