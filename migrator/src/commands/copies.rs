//! The copies that stand beside a SQLite file, and which of them make room for new ones.

use std::path::{Path, PathBuf};

use super::restore_point::EXTENSION;

/// The copies of one file, oldest first.
pub(super) struct Copies {
    folder: PathBuf,
    /// What the database is called, before the time.
    database: String,
    names: Vec<String>,
    /// One that is being restored, with its links resolved.
    spared: Option<PathBuf>,
}

impl Copies {
    /// Looks for them. That they cannot be looked for is told, and in nobody's way.
    pub(super) fn of(file: &Path, spared: Option<&Path>) -> Self {
        let folder = file.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let database = file.file_name().and_then(|it| it.to_str()).unwrap_or_default().to_owned();
        let mut names: Vec<String> = match std::fs::read_dir(folder) {
            Ok(entries) => entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect(),
            Err(error) => {
                tracing::warn!(error = %error, "older copies cannot be looked for");
                Vec::new()
            }
        };
        names.retain(|it| what_of(&database, it).is_some());
        names.sort();
        let spared = spared.and_then(|it| it.canonicalize().ok());
        Self { folder: folder.to_owned(), database, names, spared }
    }

    /// Removes the oldest above the number that is kept.
    pub(super) fn forget_oldest(&self, kept: usize) {
        let too_many = self.names.len().saturating_sub(kept);
        self.names.iter().take(too_many).for_each(|it| self.remove(it));
    }

    /// Where the newest were made one after the other before the same, because that fails again and again,
    /// the first and the last of them stay: the one from before all tries, and the one with what was
    /// written since. Those between make room, so that tries neither fill the disk nor push out older ways
    /// back.
    pub(super) fn thin_out(&self, kept: usize) {
        let too_many = self.names.len().saturating_sub(kept);
        let what = |name: &String| what_of(&self.database, name).map(str::to_owned);
        let Some(newest) = self.names.last().and_then(what) else { return };
        let first =
            self.names.iter().rposition(|it| what(it).as_ref() != Some(&newest)).map_or(0, |it| it + 1);
        let between = self.names.iter().skip(first + 1);
        let count = self.names.len().saturating_sub(first + 2);
        between.take(count.min(too_many)).for_each(|it| self.remove(it));
    }

    /// One that stays is told, and in nobody's way.
    fn remove(&self, name: &str) {
        let path = self.folder.join(name);
        if self.spared.is_some() && path.canonicalize().ok() == self.spared {
            return;
        }
        match std::fs::remove_file(path) {
            Ok(()) => tracing::info!(file = name, "removed an older copy"),
            Err(error) => tracing::warn!(error = %error, file = name, "an older copy cannot be removed"),
        }
    }
}

/// What a copy was made before; nothing for a file that is no copy of this database.
pub(super) fn what_of<'a>(database: &str, name: &'a str) -> Option<&'a str> {
    let rest = name.strip_prefix(database)?.strip_prefix('.')?;
    let (time, what) = rest.strip_suffix(EXTENSION)?.split_once(".before-")?;
    let digits = time.chars().filter(char::is_ascii_digit).count();
    let is_ours = time.len() == 23 && digits == 20 && time.ends_with('Z') && !what.is_empty();
    is_ours.then_some(what)
}
