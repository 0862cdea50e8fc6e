//! Folders of migrations for `--migrations`.

use std::path::{Path, PathBuf};

use foundation::testing::TestDatabase;

use super::{Run, migrator};

/// Paths below the folder, and texts.
pub(crate) type Contents<'a> = &'a [(&'a str, &'a str)];

/// A new folder with these files.
pub(crate) fn folder(database: &TestDatabase, name: &str, contents: Contents<'_>) -> PathBuf {
    let folder = database.folder.path().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    for (path, text) in contents {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

/// The migrator with the migrations of this folder.
pub(crate) async fn with(database: &TestDatabase, folder: &Path, arguments: &[&str]) -> Run {
    let option = ["--migrations", folder.to_str().unwrap()];
    migrator(database, &[&option, arguments].concat()).await
}

/// A migration for both databases.
pub(crate) const ONE: &str = "CREATE TABLE one (id integer PRIMARY KEY);\n";
/// Another one.
pub(crate) const TWO: &str =
    "CREATE TABLE two (id integer PRIMARY KEY, name text);\nCREATE INDEX two_name ON two (name);\n";
