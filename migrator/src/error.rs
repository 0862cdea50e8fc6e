//! Why the migrator ended, each reason with its exit code.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use foundation::database::{DatabaseError, DatabaseErrorKind};
use foundation::exit::Exit;

use crate::source::{FolderError, NewFilesError};

/// PostgreSQL's codes for a statement that refuses to run in a transaction, and for one that ends the transaction in
/// which it runs.
const NOT_IN_A_TRANSACTION: [&str; 2] = ["25001", "2D000"];

/// Whether PostgreSQL refused a statement because it ran in a transaction.
pub(crate) fn is_refused_in_transaction(error: &DatabaseError) -> bool {
    error.sqlstate().is_some_and(|state| NOT_IN_A_TRANSACTION.contains(&state))
}

/// What is to be done about that. The words of SQL are the same in all of the server's languages.
fn way_out_of_transaction(error: &DatabaseError) -> Option<&'static str> {
    if !is_refused_in_transaction(error) {
        None
    } else if error.to_string().contains("SET TRANSACTION") {
        Some(
            "the migrator has begun the transaction and read in it by then: take the line out, and where the level matters let DATABASE_URL say it (?options=-c default_transaction_isolation=serializable)",
        )
    } else {
        Some("a file whose head says `-- migrator: no-transaction` runs statement by statement instead")
    }
}

/// Why a command of the migrator did not do what it was asked for. `Display` says what to do about it.
#[derive(Debug)]
pub enum MigratorError {
    /// The database could not be reached or used.
    Database(DatabaseError),
    /// The SQL of a migration, or of its undo, failed and was rolled back.
    Failed {
        /// The migration, for example `V3__add_index`.
        migration: String,
        /// The line of its file, from 1, where PostgreSQL says it.
        line: Option<usize>,
        /// What the database said.
        source: DatabaseError,
    },
    /// The SQL of a migration that runs outside of a transaction failed.
    FailedInPart {
        /// The migration, for example `V3__add_index`.
        migration: String,
        /// The line of its file, from 1, where the database says it.
        line: Option<usize>,
        /// What the database said.
        source: DatabaseError,
    },
    /// What is applied does not go together with what this release embeds. Each reason in words.
    Schema(Vec<String>),
    /// A lock was not won in time.
    Locked {
        /// What was waited for, and for whom.
        what: String,
        /// For how long.
        waited: Duration,
        /// Whether it was outside of a transaction, where what stands before it is done and stays.
        in_part: bool,
    },
    /// A pooler between this program and PostgreSQL gives each transaction another session.
    Pooler,
    /// The server only follows another one, and takes no writes.
    Standby,
    /// Something that only a person can mend in the settings.
    Settings(String),
    /// The command asks for something that there is not, or the confirmation was refused.
    Usage(String),
    /// A backup cannot be made or restored before a person has mended something: a program that is missing or
    /// too old, a file that is no backup, a role that there is not.
    Backup(String),
    /// A program that makes or restores a backup ran and failed: again it may succeed.
    BackupFailed {
        /// What did not work out, and what the program said.
        what: String,
        /// Whether it could not reach the server.
        unreachable: bool,
    },
    /// SIGTERM or SIGINT.
    Stopped,
    /// `wait` gave up; why it was still waiting.
    TimedOut(String),
    /// A file could not be read or written.
    File(std::io::Error, String),
}

impl MigratorError {
    /// Whether a part of a migration or an undo may be done and stay.
    pub(crate) fn leaves_a_part(&self) -> bool {
        matches!(self, Self::FailedInPart { .. } | Self::Locked { in_part: true, .. })
    }

    /// Whether the server went away.
    pub(crate) fn is_lost_connection(&self) -> bool {
        match self {
            Self::Database(error) | Self::Failed { source: error, .. } => {
                error.kind() == DatabaseErrorKind::Unreachable
            }
            _ => false,
        }
    }

    /// The exit code of the program.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Database(error) => error.exit(),
            // The rights of the role and the disk are mended by a person, not by the next release.
            Self::Failed { source, .. } | Self::FailedInPart { source, .. }
                if matches!(
                    source.kind(),
                    DatabaseErrorKind::InsufficientPrivilege
                        | DatabaseErrorKind::ReadOnly
                        | DatabaseErrorKind::Unreachable
                ) =>
            {
                source.exit()
            }
            Self::Failed { .. } | Self::FailedInPart { .. } => Exit::Migration,
            Self::Schema(_) => Exit::Schema,
            Self::Locked { .. } | Self::Stopped | Self::TimedOut(_) => Exit::Interrupted,
            Self::Pooler | Self::Settings(_) | Self::Backup(_) | Self::File(..) => Exit::Configuration,
            // While another one takes over, the address may lead to it for a moment.
            Self::Standby | Self::BackupFailed { unreachable: true, .. } => Exit::Unavailable,
            Self::BackupFailed { .. } => Exit::Interrupted,
            Self::Usage(_) => Exit::Usage,
        }
    }
}

impl fmt::Display for MigratorError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => error.fmt(formatter),
            Self::Failed { migration, line, source } => {
                write!(formatter, "{migration} failed and was rolled back")?;
                if let Some(line) = line {
                    write!(formatter, ", at line {line}")?;
                }
                write!(formatter, ": {source}")?;
                let hint = source.hint().or_else(|| way_out_of_transaction(source));
                hint.map_or(Ok(()), |hint| write!(formatter, " (hint: {hint})"))
            }
            Self::FailedInPart { migration, line, source } => {
                write!(formatter, "{migration} failed")?;
                if let Some(line) = line {
                    write!(formatter, ", at line {line}")?;
                }
                write!(
                    formatter,
                    ": {source}; it runs outside of a transaction, so what stands before this statement is done and stays: mend it and run it again, which goes on there"
                )
            }
            Self::Schema(reasons) => formatter.write_str(&reasons.join("; ")),
            Self::Locked { what, waited, .. } => {
                let waited = humantime::format_duration(Duration::from_millis(
                    u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
                ));
                write!(formatter, "gave up after {waited}: {what}; run it again when that has ended")
            }
            Self::Pooler => formatter.write_str(
                "a transaction pooler such as pgbouncer stands between the migrator and PostgreSQL, so its lock cannot be trusted; let DATABASE_URL of the migrator name the server itself",
            ),
            Self::Standby => formatter.write_str(
                "this is a standby, which takes no writes; let DATABASE_URL name the primary, or all hosts with target_session_attrs=read-write",
            ),
            Self::Settings(sentence) | Self::Usage(sentence) | Self::Backup(sentence) => formatter.write_str(sentence),
            Self::BackupFailed { what, .. } => formatter.write_str(what),
            Self::Stopped => formatter.write_str("stopped by a signal; what was under way is rolled back, and what runs outside of a transaction the next run goes on with: run it again"),
            Self::TimedOut(why) => write!(formatter, "waited long enough: {why}"),
            Self::File(error, what) => write!(formatter, "{what}: {error}"),
        }
    }
}

impl Error for MigratorError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // Its sentence is ours already, so its cause is the next in the chain.
            Self::Database(error)
            | Self::Failed { source: error, .. }
            | Self::FailedInPart { source: error, .. } => error.source(),
            Self::File(error, _) => Some(error),
            _ => None,
        }
    }
}

impl From<DatabaseError> for MigratorError {
    fn from(error: DatabaseError) -> Self {
        // A prepared statement that is there twice, or not at all, was prepared in another session.
        if matches!(error.sqlstate(), Some("42P05" | "26000")) { Self::Pooler } else { Self::Database(error) }
    }
}

impl From<FolderError> for MigratorError {
    fn from(error: FolderError) -> Self {
        match error {
            FolderError::Folder(sentence) => Self::Settings(sentence),
            FolderError::Files(errors) => {
                Self::Schema(errors.problems().iter().map(ToString::to_string).collect())
            }
        }
    }
}

impl From<NewFilesError> for MigratorError {
    fn from(error: NewFilesError) -> Self {
        match error {
            NewFilesError::Io { path, source } => {
                Self::File(source, format!("{} cannot be written or read", path.display()))
            }
            NewFilesError::Foreign(error) => error.into(),
            error => Self::Usage(error.to_string()),
        }
    }
}
