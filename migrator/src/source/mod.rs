//! The migrations as they are written: files, their instructions, and the sets embedded in this program.
//!
//! Nothing here knows a database. The rules for files stand in `rules`, which the build script compiles too,
//! so what the build proves of the embedded files is what holds when they are loaded, and files given to a
//! test are held to the same.

pub mod bookkeeping;
mod embedded;
pub(crate) mod folder;
mod new;
mod rules;

pub use embedded::embedded;
pub(crate) use embedded::embedded_shared;
pub(crate) use folder::{Alone, Counting, counting_of, new_file};
pub use folder::{FolderError, read_folder};
pub use new::{NewFilesError, new_files};
pub(crate) use new::{is_unwritten, write_files};
pub use rules::{Catalog, Dialect, Instructions, Migration, Problem, SourceErrors, Undo, Version};
