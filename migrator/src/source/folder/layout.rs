//! Where the files of a folder lie, and reading them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{FolderError, name};
use crate::source::{Dialect, Problem};

/// The folders in which the files for one dialect lie.
pub(super) struct Layout {
    pub(super) migrations: PathBuf,
    /// The folder of the undo files, where they have one of their own.
    pub(super) undo: Option<PathBuf>,
    /// Whether the migrations have a folder of their own too, beside that one.
    is_apart: bool,
    /// The folders above these, in which no migration is looked for.
    above: Vec<PathBuf>,
}

/// A file as it was found.
pub(super) struct File {
    /// Its path, for people.
    pub(super) path: String,
    /// Its name.
    pub(super) name: String,
    pub(super) content: Vec<u8>,
}

impl Layout {
    pub(super) fn of(folder: &Path, dialect: Dialect) -> Result<Self, FolderError> {
        match fs::metadata(folder) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                let sentence =
                    format!("{} is no folder: name the one that has the migrations", folder.display());
                return Err(FolderError::Folder(sentence));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(FolderError::Folder(format!("there is no folder {}", folder.display())));
            }
            Err(error) => return Err(unreadable(folder, &error)),
        }
        let root = of_dialect(folder, dialect);
        let mut above = vec![folder.to_owned(), root.clone()];
        let mut migrations = root.clone();
        let is_apart = root.join("migrations").is_dir();
        if is_apart {
            migrations = of_dialect(&root.join("migrations"), dialect);
            above.push(root.join("migrations"));
        }
        // Beside the folder of the migrations, or beside the files themselves.
        let mut undo = [root.join("undo"), folder.join("undo")].into_iter().find(|it| it.is_dir());
        if let Some(folder) = &mut undo {
            above.push(folder.clone());
            *folder = of_dialect(folder, dialect);
        }
        above.retain(|it| it.is_dir() && *it != migrations && undo.as_ref() != Some(it));
        above.dedup();
        Ok(Self { migrations, undo, is_apart, above })
    }

    /// Every file that may be a migration.
    pub(super) fn read(
        &self,
        dialect: Dialect,
        problems: &mut Vec<Problem>,
    ) -> Result<Vec<File>, FolderError> {
        let mut files = files_in(&self.migrations, dialect, problems)?;
        if let Some(undo) = &self.undo {
            let (undos, others) = undos_in(undo, dialect)?;
            files.extend(undos);
            if self.is_apart {
                problems.extend(others);
            } else {
                // Beside the files themselves it may be somebody's own, for a person to run.
                others.iter().for_each(|it| tracing::warn!(file = it.file, "not read: {}", it.reason));
            }
        }
        for folder in &self.above {
            self.refuse_those_above(folder, problems)?;
        }
        Ok(files)
    }

    /// A migration that lies beside the folder from which they are read would never run, and nobody would know.
    fn refuse_those_above(&self, folder: &Path, problems: &mut Vec<Problem>) -> Result<(), FolderError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
            let name = entry.map_err(|error| unreadable(folder, &error))?.file_name();
            names.extend(name.to_str().map(str::to_owned));
        }
        names.sort();
        for name in names {
            // What is named otherwise, such as the schema.sql of dbmate, is no migration.
            if name::stem(&name).is_some() && name::parse(&name).is_ok() && !folder.join(&name).is_dir() {
                let reason = format!(
                    "is not read, because {} has the migrations: move it there, or out of the folder",
                    self.migrations.display()
                );
                problems.push(Problem::new(folder.join(&name).display().to_string(), reason));
            }
        }
        Ok(())
    }

    pub(super) fn nothing_there(&self, folder: &Path, dialect: Dialect) -> String {
        let other = Dialect::ALL.into_iter().find(|it| *it != dialect);
        let theirs = other.map(|other| of_dialect(folder, other)).filter(|it| it != folder);
        match theirs {
            Some(theirs) => format!(
                "there are no migrations for {} in {}, only those in {}",
                database(dialect),
                folder.display(),
                theirs.display()
            ),
            None => format!(
                "there are no migrations in {}: expected are files such as V1__create_users.sql, 1_create_users.up.sql or 1_create_users.sql",
                self.migrations.display()
            ),
        }
    }
}

/// The folder that the dialect has of its own in there, or the folder itself.
fn of_dialect(folder: &Path, dialect: Dialect) -> PathBuf {
    let names = match dialect {
        Dialect::Postgres => ["postgres", "postgresql"],
        Dialect::Sqlite => ["sqlite", "sqlite3"],
    };
    let own = names.into_iter().map(|name| folder.join(name)).find(|it| it.is_dir());
    own.unwrap_or_else(|| folder.to_owned())
}

fn database(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => "PostgreSQL",
        Dialect::Sqlite => "SQLite",
    }
}

fn unreadable(path: &Path, error: &io::Error) -> FolderError {
    FolderError::Folder(format!("{} cannot be read: {error}", path.display()))
}

fn files_in(folder: &Path, dialect: Dialect, problems: &mut Vec<Problem>) -> Result<Vec<File>, FolderError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let entry = entry.map_err(|error| unreadable(folder, &error))?;
        let path = entry.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
            problems.push(Problem::new(path.display().to_string(), "the file name is not UTF-8"));
            continue;
        };
        // An editor's own files, and what Kubernetes keeps beside the files of a ConfigMap.
        if name.starts_with('.') {
            continue;
        }
        // The files of a ConfigMap are links.
        if entry.file_type().is_ok_and(|it| it.is_dir() || (it.is_symlink() && path.is_dir())) {
            tell_of_subfolder(&path, dialect);
            continue;
        }
        if name::is_program(&name) {
            let reason = "is a migration written as a program, which cannot be run here: write it as SQL; or let its own tool run it, and say so with `migrator stamp`";
            problems.push(Problem::new(path.display().to_string(), reason));
        } else if name::stem(&name).is_some() {
            let content = fs::read(&path).map_err(|error| unreadable(&path, &error))?;
            files.push(File { path: path.display().to_string(), name, content });
        }
    }
    files.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(files)
}

/// The undo files there, and what is no undo: it would be taken for a migration, and what it drops would be dropped.
fn undos_in(folder: &Path, dialect: Dialect) -> Result<(Vec<File>, Vec<Problem>), FolderError> {
    let mut others = Vec::new();
    let (undos, named_otherwise): (Vec<File>, Vec<File>) =
        files_in(folder, dialect, &mut others)?.into_iter().partition(|it| name::is_undo(&it.name));
    let reason = "lies among the undo files and is not named as one (D1__name.sql, 1_name.down.sql): rename it, or move it out of the folder";
    others.extend(named_otherwise.into_iter().map(|it| Problem::new(it.path, reason)));
    Ok((undos, others))
}

/// No tool but Flyway looks into these, so they are passed over, but never silently.
fn tell_of_subfolder(path: &Path, dialect: Dialect) {
    let others = ["postgres", "postgresql", "sqlite", "sqlite3", "mysql", "undo"];
    let is_known = path.file_name().is_some_and(|name| others.iter().any(|other| name == *other));
    let has_sql = || {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|it| it.file_name()).any(|it| it.to_str().and_then(name::stem).is_some())
    };
    if !is_known && has_sql() {
        tracing::warn!(
            folder = %path.display(), dialect = dialect.folder(),
            "SQL files in a folder below the migrations are not read"
        );
    }
}
