//! What a tool says beside the migrations at hand.

use std::collections::BTreeMap;

use super::{Checksum, Said, Theirs, Tool};
use crate::error::MigratorError;
use crate::source::{Catalog, Counting, Migration, Version};

/// What was chosen, each with whether its checksum was compared, and notes.
pub(crate) type Chosen<'a> = (Vec<(&'a Migration, bool)>, Vec<String>);

/// The migrations at hand beside what a tool says.
pub(crate) struct Compared<'a> {
    catalog: &'a Catalog,
    /// Whether they are those of a folder, and not the program's own.
    of_folder: bool,
    counting: Counting,
    tool: Tool,
    problems: Vec<String>,
}

impl<'a> Compared<'a> {
    pub(crate) fn new(catalog: &'a Catalog, of_folder: bool, counting: Counting, tool: Tool) -> Self {
        Self { catalog, of_folder, counting, tool, problems: Vec::new() }
    }

    /// What is to be recorded, or everything that speaks against it.
    pub(crate) fn choose(mut self, said: Said, at: Option<Version>) -> Result<Chosen<'a>, MigratorError> {
        let chosen = match said {
            Said::Heads(heads) => (self.at(&heads, at)?, Vec::new()),
            Said::UpTo(None) => (Vec::new(), Vec::new()),
            Said::UpTo(Some(version)) => {
                let newest = self.find(&version).map_or(0, Migration::version);
                (self.up_to(newest), Vec::new())
            }
            Said::Each { applied, baseline, notes } => self.each(&applied, baseline.as_deref(), notes),
        };
        if self.problems.is_empty() {
            return Ok(chosen);
        }
        if !self.of_folder {
            self.problems.push("compared was with the migrations that this program carries: name those of your project with --migrations FOLDER".to_owned());
        }
        Err(MigratorError::Schema(self.problems))
    }

    /// A revision of Alembic's stands for the migration that a person says.
    fn at(&self, heads: &[String], at: Option<Version>) -> Result<Vec<(&'a Migration, bool)>, MigratorError> {
        match (heads, at) {
            ([], None) => Ok(Vec::new()),
            ([], Some(version)) => Err(MigratorError::Schema(vec![format!(
                "Alembic says that nothing is applied here, so version {version} is not either: `migrator up` begins at the beginning; where the schema is there all the same, `migrator stamp {version}`"
            )])),
            ([revision], None) => Err(MigratorError::Usage(format!(
                "Alembic is at the revision {revision}, and which of the migrations here that is, it does not know: say --at VERSION, the newest one whose work is in this database. Where there is none yet, `migrator dump > FOLDER/V1__baseline.sql` writes what is there as the first one, then --at 1"
            ))),
            ([_], Some(version)) => {
                if self.catalog.get(version).is_none() {
                    return Err(MigratorError::Usage(format!(
                        "there is no migration with the version {version}; `migrator status` lists them"
                    )));
                }
                Ok(self.up_to(version))
            }
            (heads, _) => Err(MigratorError::Schema(vec![format!(
                "Alembic is at {} revisions at once ({}): bring them together (`alembic merge heads`, `alembic upgrade head`) and run this again",
                heads.len(),
                heads.join(", ")
            )])),
        }
    }

    fn up_to(&self, newest: Version) -> Vec<(&'a Migration, bool)> {
        self.catalog.iter().filter(|it| it.version() <= newest).map(|it| (it, false)).collect()
    }

    /// The migration with the version as the tool writes it.
    fn find(&mut self, written: &str) -> Option<&'a Migration> {
        let tool = self.tool;
        let problem = match self.counting.version(written) {
            Ok(version) => match self.catalog.get(version) {
                Some(migration) => return Some(migration),
                None => format!(
                    "{tool} has applied version {written}, and there is no file of it: restore it from version control, or let {tool} take it back first"
                ),
            },
            Err(reason) => format!("{tool} has applied what cannot be taken over: {reason}"),
        };
        self.problems.push(problem);
        None
    }

    fn each(&mut self, applied: &[Theirs], baseline: Option<&str>, mut notes: Vec<String>) -> Chosen<'a> {
        let mut chosen: BTreeMap<Version, (&'a Migration, bool)> = BTreeMap::new();
        if let Some(written) = baseline {
            // Flyway writes what its settings say, so it need not be the version of a file: 0 where nothing is below it.
            let place = self.counting.place(written).unwrap_or_else(|reason| {
                self.problems.push(format!("the baseline cannot be taken over: {reason}"));
                0
            });
            chosen.extend(self.up_to(place).into_iter().map(|it| (it.0.version(), it)));
            if chosen.is_empty() && place > 0 {
                notes.push(format!("what {}'s baseline {written} stands for is in no file here, so an empty database would lack it: `migrator dump` writes it", self.tool));
            }
        }
        for theirs in applied {
            let Some(migration) = self.find(&theirs.version) else { continue };
            let same = self.compare(migration, theirs);
            chosen.insert(migration.version(), (migration, same));
        }
        self.tell_of_holes(&chosen);
        (chosen.into_values().collect(), notes)
    }

    /// Whether the checksum was kept, and is that of the file. That it differs is a problem.
    fn compare(&mut self, migration: &Migration, theirs: &Theirs) -> bool {
        if theirs.checksum == Checksum::None {
            return false;
        }
        let content = match migration.file() {
            Some(file) => match std::fs::read(file) {
                Ok(content) => content,
                Err(error) => {
                    self.problems.push(format!("{file} cannot be read: {error}"));
                    return false;
                }
            },
            None => migration.sql().as_bytes().to_vec(),
        };
        let same = theirs.checksum.is_of(&content) == Some(true);
        if !same {
            let (tool, name) = (self.tool, migration.display());
            let file = migration.file().map_or_else(|| name.clone(), str::to_owned);
            let besides = match tool {
                Tool::Flyway => ", or, when the change is meant, let `flyway repair` write its checksum anew",
                _ => " (with the same line ends)",
            };
            self.problems.push(format!(
                "{file} is not as {tool} ran it, its checksum differs: restore it from version control{besides}"
            ));
        }
        same
    }

    /// What is older than the newest and not applied would be in the way of every later run.
    fn tell_of_holes(&mut self, chosen: &BTreeMap<Version, (&'a Migration, bool)>) {
        let Some((newest, _)) = chosen.last_key_value() else { return };
        let tool = self.tool;
        let is_missing = |it: &&Migration| it.version() < *newest && !chosen.contains_key(&it.version());
        for missing in self.catalog.iter().filter(is_missing) {
            self.problems.push(format!(
                "{} is not applied but the newer version {newest} is: let {tool} apply it first, or give the file a version above that",
                missing.display()
            ));
        }
    }
}
