//! Archives of snapshots: the files, the runs that write them and delete what is old, and the way back.

mod error;
pub mod files;
pub mod objects;
mod run;

pub use error::ArchiveError;
pub use run::{Archiving, Asked, LEASE, Run};
