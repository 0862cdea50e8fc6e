//! Why something was not archived, deleted or brought back.

use foundation::database::DatabaseError;
use foundation::exit::Exit;

use crate::leases::LeaseError;

/// Why something was not archived, deleted or brought back.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// What the database says.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Another process does it now.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// What the place says that archives lie at.
    #[error("the archive cannot be used: {0}")]
    Storage(#[from] object_store::Error),
    /// What reading or writing says.
    #[error("the archive cannot be read or written: {0}")]
    Io(#[from] std::io::Error),
    /// A file is not what it should be.
    #[error("the file {location} in the archive is damaged: {detail}")]
    Damaged {
        /// The file, below the archive's root.
        location: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A file is not there, or the place is another one.
    #[error(
        "the file {0} is not in the archive; see whether ARCHIVE_URL leads to where it was written, and whether its \
         volume is there"
    )]
    Missing(String),
    /// Others used what was to be taken apart, all the time.
    #[error("others used a partition, or rows of it, all the time; the next run tries again: {0}")]
    InUse(DatabaseError),
    /// A run left something in the middle of what is to be brought back.
    #[error(
        "a run was interrupted; run `service archive run` first: it finishes what lies in this range of {0}"
    )]
    Unfinished(String),
    /// There is nowhere to archive to.
    #[error("there is no place to archive to: set ARCHIVE_URL")]
    NoPlace,
    /// The place could not be used a moment ago.
    #[error("the archive could not be used before; the next run tries again")]
    Away,
    /// The process is on its way out.
    #[error("the process is on its way out")]
    Stopped,
}

impl ArchiveError {
    /// What a program ends with because of this.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Database(error) | Self::Lease(LeaseError::Database(error)) => error.exit(),
            Self::Lease(LeaseError::Lost(_)) | Self::Stopped | Self::InUse(_) | Self::Unfinished(_) => {
                Exit::Interrupted
            }
            Self::NoPlace => Exit::Configuration,
            Self::Storage(_) | Self::Io(_) | Self::Away | Self::Missing(_) | Self::Damaged { .. } => {
                Exit::Migration
            }
        }
    }
}
