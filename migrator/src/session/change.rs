//! What is to be done, as data, so that it can be tried again when a lock was not given.

use foundation::database::{Statement, Value};

use crate::history::{Action, Entry};
use crate::progress::Piece;
use crate::source::{Migration, Version};

/// What must hold inside of the transaction for a change to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// The version is not in the history.
    NotApplied(Version),
    /// The version is not in the history, or for [`Action::Down`] it is, and the statement of this number of its
    /// file is not finished.
    NotFinished(Action, Version, i64),
    /// The version is in the history.
    Applied(Version),
    /// The journal is one of an older migrator.
    OldJournal,
    /// There is no active administrator.
    NoAdmin,
    /// Nothing.
    None,
}

/// One thing that a change does.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// Runs statements as they stand in a file.
    File { sql: String },
    /// Runs what refinery says for the history.
    Record { sql: String },
    /// Runs a statement of ours.
    Execute(Statement, Vec<Value>),
    /// Runs a statement of ours on the one row that it is about. Where that is another by now, or is gone,
    /// nothing of the change is made.
    ExecuteOnOne(Statement, Vec<Value>),
    /// Records a migration as applied, without running it.
    Remember(Box<Migration>),
    /// Takes a version out of the history.
    Forget(Version),
    /// Gives this role of `MIGRATOR_GRANT_TO` what it lacks.
    Grant(String),
    /// Writes what was done into the journal.
    Journal(Entry),
    /// Writes into the journal that a statement of a file begins to run outside of a transaction.
    Begin(Piece),
    /// Takes that out of the journal: it failed, and left nothing.
    Withdraw(Piece),
    /// Writes into the journal that it is finished.
    Finish(Piece),
}

/// What is done in one transaction under the lock, together or not at all.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// What it is called in errors, for example `V3__add_index`.
    pub(crate) title: String,
    pub(crate) guard: Guard,
    pub(crate) work: Vec<Work>,
}

impl Change {
    /// The file that it runs.
    pub(crate) fn file(&self) -> Option<&str> {
        self.work.iter().find_map(|work| match work {
            Work::File { sql } => Some(sql.as_str()),
            _ => None,
        })
    }
}

/// Whether a change was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Performed {
    /// It was made.
    Done,
    /// Its guard did not hold: somebody else was there first.
    Skipped,
}
