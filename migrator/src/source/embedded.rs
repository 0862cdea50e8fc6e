//! The migrations that this program carries.

use std::sync::{Arc, LazyLock};

use super::{Catalog, Dialect};

/// A file's name and its content.
type File = (&'static str, &'static str);

// POSTGRES_MIGRATIONS, POSTGRES_UNDO, SQLITE_MIGRATIONS and SQLITE_UNDO, written by build.rs.
include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

static POSTGRES: LazyLock<Arc<Catalog>> =
    LazyLock::new(|| load(Dialect::Postgres, POSTGRES_MIGRATIONS, POSTGRES_UNDO));
static SQLITE: LazyLock<Arc<Catalog>> =
    LazyLock::new(|| load(Dialect::Sqlite, SQLITE_MIGRATIONS, SQLITE_UNDO));

/// The migrations of this release for `dialect`.
#[must_use]
pub fn embedded(dialect: Dialect) -> &'static Catalog {
    embedded_shared(dialect)
}

/// The same, for holding them.
pub(crate) fn embedded_shared(dialect: Dialect) -> &'static Arc<Catalog> {
    match dialect {
        Dialect::Postgres => &POSTGRES,
        Dialect::Sqlite => &SQLITE,
    }
}

fn load(dialect: Dialect, migrations: &[File], undo: &[File]) -> Arc<Catalog> {
    match Catalog::from_files(dialect, migrations.iter().copied(), undo.iter().copied()) {
        Ok(catalog) => Arc::new(catalog),
        Err(errors) => unreachable!("the build script proved these very files with this very code: {errors}"),
    }
}
