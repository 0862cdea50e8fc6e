//! What SQLite and its driver say.

use std::error::Error;

use super::{DatabaseError, DatabaseErrorKind, Details};

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
