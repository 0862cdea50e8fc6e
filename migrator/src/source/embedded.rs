//! The migrations that this program carries.

use std::sync::LazyLock;

use super::{Catalog, Dialect};

/// A file's name and its content.
type File = (&'static str, &'static str);

// POSTGRES_MIGRATIONS, POSTGRES_UNDO, SQLITE_MIGRATIONS and SQLITE_UNDO, written by build.rs.
include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

static POSTGRES: LazyLock<Catalog> =
    LazyLock::new(|| load(Dialect::Postgres, POSTGRES_MIGRATIONS, POSTGRES_UNDO));
static SQLITE: LazyLock<Catalog> = LazyLock::new(|| load(Dialect::Sqlite, SQLITE_MIGRATIONS, SQLITE_UNDO));

/// The migrations of this release for `dialect`.
#[must_use]
pub fn embedded(dialect: Dialect) -> &'static Catalog {
    match dialect {
        Dialect::Postgres => &POSTGRES,
        Dialect::Sqlite => &SQLITE,
    }
}

fn load(dialect: Dialect, migrations: &[File], undo: &[File]) -> Catalog {
    match Catalog::from_files(dialect, migrations.iter().copied(), undo.iter().copied()) {
        Ok(catalog) => catalog,
        Err(errors) => unreachable!("the build script proved these very files with this very code: {errors}"),
    }
}
