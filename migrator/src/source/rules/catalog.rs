//! The migrations of one dialect, checked as a set.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::file_name::{self, Kind};
use super::{Dialect, Instructions, Migration, Problem, SourceErrors, Undo, Version, text};

/// The migrations of one dialect in the order of their versions, every rule for files kept.
#[derive(Clone, Debug)]
pub struct Catalog {
    dialect: Dialect,
    migrations: Vec<Migration>,
}

impl Catalog {
    /// Reads files given as name and content, and reports everything that is wrong with any of them.
    pub fn from_files<N: Into<String>, T: Into<Vec<u8>>>(
        dialect: Dialect,
        migrations: impl IntoIterator<Item = (N, T)>,
        undo: impl IntoIterator<Item = (N, T)>,
    ) -> Result<Self, SourceErrors> {
        let own = |(name, content): (N, T)| (name.into(), content.into());
        let migrations = migrations.into_iter().map(own).collect();
        let undo = undo.into_iter().map(own).collect();
        Self::checked(dialect, migrations, undo, Vec::new())
    }

    /// Reads `migrations/<dialect>` and `undo/<dialect>` below `folder`, as the build does. Names that begin
    /// with a dot (an editor's own files) are passed over; everything else in there must be a right file.
    /// The folder of undo files may be missing.
    pub fn from_folder(folder: &Path, dialect: Dialect) -> Result<Self, SourceErrors> {
        let mut problems = Vec::new();
        let migrations = read_folder(folder, dialect, Kind::Migration, &mut problems);
        let undo = read_folder(folder, dialect, Kind::Undo, &mut problems);
        Self::checked(dialect, migrations, undo, problems)
    }

    /// These migrations, in the order of their versions, no version twice.
    pub(crate) fn of(dialect: Dialect, migrations: Vec<Migration>) -> Self {
        Self { dialect, migrations }
    }

    fn checked(
        dialect: Dialect,
        migrations: Vec<(String, Vec<u8>)>,
        undo: Vec<(String, Vec<u8>)>,
        mut problems: Vec<Problem>,
    ) -> Result<Self, SourceErrors> {
        let mut undo = by_version(dialect, Kind::Undo, undo, &mut problems);
        let mut checked: Vec<Migration> = Vec::new();
        for entry in by_version(dialect, Kind::Migration, migrations, &mut problems).into_values() {
            let undo = undo.remove(&entry.version);
            checked.extend(parse_migration(dialect, entry, undo, &mut problems));
        }
        for orphan in undo.into_values() {
            let wanted =
                path_of(dialect, Kind::Migration, &format!("V{}__{}.sql", orphan.version, orphan.name));
            problems.push(Problem::new(orphan.file, format!("undoes nothing: there is no {wanted}")));
        }
        SourceErrors::unless(problems, Self { dialect, migrations: checked })
    }

    /// Checks that both dialects have the same migrations: the same versions, names and `compatible-from`.
    pub fn check_pair(postgres: &Self, sqlite: &Self) -> Result<(), SourceErrors> {
        let mut problems = Vec::new();
        for (here, there) in [(postgres, sqlite), (sqlite, postgres)] {
            for migration in here {
                let file = migration_file(here.dialect, migration);
                let wanted = migration_file(there.dialect, migration);
                let Some(other) = there.get(migration.version()) else {
                    problems.push(Problem::new(file, format!("has no counterpart {wanted}")));
                    continue;
                };
                let found = migration_file(there.dialect, other);
                if other.name() != migration.name() {
                    let reason = format!("has another name than {found}: both dialects use one name");
                    problems.push(Problem::new(file, reason));
                } else if other.instructions().compatible_from != migration.instructions().compatible_from {
                    let reason = format!("has another compatible-from than {found}: both say the same");
                    problems.push(Problem::new(file, reason));
                }
            }
        }
        SourceErrors::unless(problems, ())
    }

    /// The dialect of every migration in it.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The version of the newest migration, and 0, the empty base, when there is none.
    #[must_use]
    pub fn newest(&self) -> Version {
        self.migrations.last().map_or(0, Migration::version)
    }

    /// The migration with this version.
    #[must_use]
    pub fn get(&self, version: Version) -> Option<&Migration> {
        let position = self.migrations.binary_search_by_key(&version, Migration::version).ok()?;
        self.migrations.get(position)
    }

    /// The migrations with higher versions than this one, in order: `after(0)` is all of them.
    #[must_use]
    pub fn after(&self, version: Version) -> &[Migration] {
        let start = self.migrations.partition_point(|migration| migration.version() <= version);
        self.migrations.get(start..).unwrap_or_default()
    }

    /// The migrations in the order of their versions; `rev()` is the order of undoing.
    pub fn iter(&self) -> std::slice::Iter<'_, Migration> {
        self.migrations.iter()
    }

    /// How many migrations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.migrations.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.migrations.is_empty()
    }
}

impl<'a> IntoIterator for &'a Catalog {
    type Item = &'a Migration;
    type IntoIter = std::slice::Iter<'a, Migration>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A file whose name is right.
struct Entry {
    /// Its path below the migrator's folder, for messages.
    file: String,
    file_name: String,
    version: Version,
    name: String,
    content: Vec<u8>,
}

fn path_of(dialect: Dialect, kind: Kind, file_name: &str) -> String {
    format!("{}/{}/{file_name}", kind.folder(), dialect.folder())
}

fn migration_file(dialect: Dialect, migration: &Migration) -> String {
    path_of(dialect, Kind::Migration, &format!("{migration}.sql"))
}

/// The files with right names in the order of their versions, no version twice.
fn by_version(
    dialect: Dialect,
    kind: Kind,
    mut files: Vec<(String, Vec<u8>)>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<Version, Entry> {
    files.sort_by(|left, right| left.0.cmp(&right.0));
    let mut entries: BTreeMap<Version, Entry> = BTreeMap::new();
    for (file_name, content) in files {
        let file = path_of(dialect, kind, &file_name);
        match file_name::parse(&file_name, kind) {
            Err(reason) => problems.push(Problem::new(file, reason)),
            Ok((version, name)) => match entries.get(&version) {
                Some(first) => {
                    let reason = format!("version {version} is taken by {}", first.file);
                    problems.push(Problem::new(file, reason));
                }
                None => {
                    entries.insert(version, Entry { file, file_name, version, name, content });
                }
            },
        }
    }
    entries
}

/// The migration with its undo. `None` when it cannot be read; `problems` says why.
fn parse_migration(
    dialect: Dialect,
    entry: Entry,
    undo: Option<Entry>,
    problems: &mut Vec<Problem>,
) -> Option<Migration> {
    // The undo file is read even when the migration is bad, so that its problems are reported as well.
    let wanted = path_of(dialect, Kind::Undo, &format!("D{}__{}.sql", entry.version, entry.name));
    let undo_file = undo.as_ref().map(|undo| undo.file.clone());
    let undo = undo.and_then(|undo| parse_undo(undo, &wanted, problems));

    let file = entry.file;
    let sql = text::read(&file, entry.content, problems)?;
    let instructions = Instructions::parse(&file, &sql, problems);
    if let Some(version) = instructions.compatible_from.filter(|version| *version > entry.version) {
        let reason = format!(
            "compatible-from {version} is above its own version {}: this release itself could not run on it",
            entry.version
        );
        problems.push(Problem::new(&file, reason));
    }
    match (&undo_file, &instructions.irreversible) {
        (None, None) => {
            let reason =
                format!("has no undo file {wanted}: write it, or say `-- migrator: irreversible WHY`");
            problems.push(Problem::new(&file, reason));
        }
        (Some(undo_file), Some(_)) => {
            let reason = format!("says irreversible, and yet there is {undo_file}: one of the two is wrong");
            problems.push(Problem::new(&file, reason));
        }
        (Some(_), None) | (None, Some(_)) => {}
    }
    match Migration::new(entry.version, &entry.name, sql, instructions, undo) {
        Ok(migration) => Some(migration),
        Err(error) => {
            problems.push(Problem::new(file, format!("refinery refuses it: {error}")));
            None
        }
    }
}

fn parse_undo(entry: Entry, wanted: &str, problems: &mut Vec<Problem>) -> Option<Undo> {
    if entry.file != wanted {
        let reason = format!("has another name than its migration: call it {wanted}");
        problems.push(Problem::new(&entry.file, reason));
    }
    let sql = text::read(&entry.file, entry.content, problems)?;
    Instructions::refuse_all(&entry.file, &sql, problems);
    Some(Undo { file_name: entry.file_name, sql })
}

/// The files in one folder as name and content.
fn read_folder(
    folder: &Path,
    dialect: Dialect,
    kind: Kind,
    problems: &mut Vec<Problem>,
) -> Vec<(String, Vec<u8>)> {
    let label = format!("{}/{}", kind.folder(), dialect.folder());
    let folder = folder.join(kind.folder()).join(dialect.folder());
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound && kind == Kind::Undo => return Vec::new(),
        Err(error) => {
            problems
                .push(Problem::new(label, format!("cannot read the folder {}: {error}", folder.display())));
            return Vec::new();
        }
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => {
                problems.push(Problem::new(&label, format!("cannot list the folder: {error}")));
                continue;
            }
        };
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            problems.push(Problem::new(path.display().to_string(), "the file name is not UTF-8"));
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        let file = format!("{label}/{name}");
        if path.is_dir() {
            problems.push(Problem::new(
                file,
                "is a folder: the files lie side by side in their dialect's folder",
            ));
            continue;
        }
        match fs::read(&path) {
            Ok(content) => files.push((name.to_owned(), content)),
            Err(error) => problems.push(Problem::new(file, format!("cannot read the file: {error}"))),
        }
    }
    files
}
