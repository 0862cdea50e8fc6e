//! Archives of snapshots: the files, the runs that write them and delete what is old, and the way back.

mod error;
pub mod files;
pub mod objects;
pub mod reader;
mod restore;
mod run;
pub mod schedule;
mod upload;

pub use error::ArchiveError;
pub use restore::{Restore, Restored};
pub use run::{Archiving, Asked, LEASE, Run};
