//! Archives of snapshots: the files, the runs that write them and delete what is old, and the way back.

mod error;
pub mod files;
pub mod objects;
mod restore;
mod run;
pub mod schedule;

pub use error::ArchiveError;
pub use restore::{Restore, Restored};
pub use run::{Archiving, Asked, LEASE, Run};
