//! PostgreSQL's own programs, as they are or standing in for them.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each file of tests takes what it needs, and a test ends by panicking"
)]

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use foundation::testing::TestDatabase;

use crate::support::{Run, migrator_command};

/// The migrator with PostgreSQL's own programs in its PATH.
pub(crate) async fn with_tools(database: &TestDatabase, arguments: &[&str]) -> Run {
    with_path(database, &[], arguments).await
}

/// The same with these folders before them.
pub(crate) async fn with_path(database: &TestDatabase, folders: &[&Path], arguments: &[&str]) -> Run {
    with_all(database, folders, &[], arguments).await
}

/// The same with these variables.
pub(crate) async fn with_all(
    database: &TestDatabase,
    folders: &[&Path],
    variables: &[(&str, &str)],
    arguments: &[&str],
) -> Run {
    let mut command = migrator_command(database, arguments);
    command.env("PATH", path_behind(folders));
    // About another server altogether.
    command.env("PGHOST", "not.the.one.invalid").env("PGPASSWORD", "not the one");
    command.envs(variables.iter().copied());
    Run::of(command).await.hides(&["postgres:postgres", "not the one"])
}

/// A PATH of these folders and then the programs of the server's own version, which is perhaps not the newest
/// that is installed.
pub(crate) fn path_behind(folders: &[&Path]) -> OsString {
    let mut path: Vec<PathBuf> = folders.iter().map(|it| it.to_path_buf()).collect();
    #[allow(clippy::disallowed_methods, reason = "it is where the cluster's own programs are")]
    path.extend(std::env::var_os("TEST_POSTGRES_BIN").map(PathBuf::from));
    #[allow(clippy::disallowed_methods, reason = "the PATH goes on as it is")]
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
    std::env::join_paths(path).unwrap()
}

/// A program of this name that says something else.
pub(crate) fn fake(folder: &Path, name: &str, script: &str) {
    let file = folder.join(name);
    std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Where the psql of the tests is.
pub(crate) fn real_psql() -> PathBuf {
    #[allow(clippy::disallowed_methods, reason = "it is where the cluster's own programs are")]
    std::env::var_os("TEST_POSTGRES_BIN").map_or_else(|| "/usr/bin".into(), PathBuf::from).join("psql")
}
