//! What a migration file may be called and say. Shared by the library and the build script.

mod catalog;
mod file_name;
mod instructions;
mod migration;
mod problem;
pub(crate) mod text;

pub use catalog::Catalog;
pub use instructions::Instructions;
pub use migration::{Migration, Undo};
pub use problem::{Problem, SourceErrors};

/// The number of a migration: a count (`1`) or a UTC time (`20260131120000`). Always above zero.
pub type Version = i64;

/// Which database a migration file is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// PostgreSQL, in the folders `migrations/postgres` and `undo/postgres`.
    Postgres,
    /// SQLite, in the folders `migrations/sqlite` and `undo/sqlite`.
    Sqlite,
}

impl Dialect {
    /// Every dialect, in the order in which they are reported.
    pub const ALL: [Self; 2] = [Self::Postgres, Self::Sqlite];

    /// The name of its folder below `migrations` and below `undo`.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }
}
