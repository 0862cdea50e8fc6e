//! `import-history`: takes over what another tool says is applied.

use std::collections::BTreeMap;

use foundation::database::Connection;
use serde::Serialize;

use super::Migrator;
use crate::error::MigratorError;
use crate::foreign::{self, Checksum, Found, Said, Theirs, Tool};
use crate::history::{self, Action, Entry};
use crate::session::{Change, Guard, Performed, Session, Work};
use crate::snapshot;
use crate::source::{Counting, Migration, Version, counting_of};

/// Where the history of another tool is, and what is made of it.
#[derive(Clone, Debug, Default)]
pub struct ImportRequest {
    /// Whose; otherwise the one that is there.
    pub from: Option<Tool>,
    /// Alembic: the migration that its revision stands for.
    pub at: Option<Version>,
    /// The name of its table, where that is not the usual one.
    pub table: Option<String>,
    /// Whether nothing is written.
    pub dry_run: bool,
}

/// What `import-history` did, or would do.
#[derive(Clone, Debug, Serialize)]
pub struct ImportReport {
    /// The database, its password redacted.
    pub database: String,
    /// Whose history it is.
    pub from: Tool,
    /// The table that it was read from.
    pub table: String,
    /// What was recorded as applied, in order.
    pub recorded: Vec<Recorded>,
    /// The newest applied version afterwards.
    pub current_version: Option<Version>,
    /// How many are still to be applied.
    pub pending: usize,
    /// What is worth knowing of the rest, in sentences.
    pub notes: Vec<String>,
    /// Whether nothing was written.
    pub dry_run: bool,
}

/// A migration that was recorded as applied.
#[derive(Clone, Debug, Serialize)]
pub struct Recorded {
    /// Its version.
    pub version: Version,
    /// Its name, without the version.
    pub name: String,
    /// Whether the other tool kept a checksum, and it is that of the file.
    pub same_checksum: bool,
}

/// What is to be recorded.
struct Takeover<'a> {
    report: ImportReport,
    migrations: Vec<&'a Migration>,
}

impl Migrator {
    /// Records as applied exactly what another tool says is applied. Runs no SQL of a migration, and leaves the
    /// other tool's table as it is.
    ///
    /// # Errors
    /// [`MigratorError::Usage`] when it is not plain whose history is meant, [`MigratorError::Schema`] with
    /// everything in it that does not go together with the migrations, and what the database says.
    pub async fn import_history(&self, request: &ImportRequest) -> Result<ImportReport, MigratorError> {
        self.context.require_file()?;
        // Looked at once before anything is made, so that what is refused leaves no trace.
        let mut connection = self.context.connect(self.context.settings.wait_timeout).await?;
        let looked_at = self.takeover(&mut connection, request).await?;
        drop(connection);
        if request.dry_run {
            return Ok(looked_at.report);
        }
        let mut session = Session::open(&self.context, false).await?;
        session.lock().await?;
        let Takeover { report, migrations } = self.takeover(session.connection(), request).await?;
        let Some(first) = migrations.first() else { return Ok(report) };
        let guard = Guard::NotApplied(first.version());
        let mut work = Vec::new();
        for migration in migrations {
            work.push(Work::Remember(Box::new(migration.clone())));
            work.push(Work::Journal(Entry::of(migration, Action::Stamp)));
        }
        let title = format!("the history of {}", report.from);
        if session.perform(&Change { title, guard, work }).await? == Performed::Skipped {
            let reason = "another migrator has recorded migrations as applied at this moment";
            return Err(MigratorError::Schema(vec![reason.to_owned()]));
        }
        snapshot::record(&mut session).await;
        Ok(report)
    }

    /// What is to be recorded, or everything that speaks against it.
    async fn takeover(
        &self,
        connection: &mut Connection,
        request: &ImportRequest,
    ) -> Result<Takeover<'_>, MigratorError> {
        let (tool, table) = choose(request, &foreign::find(connection, request.table.as_deref()).await?)?;
        let own = history::read(connection).await?.unwrap_or_default();
        if let Some(newest) = own.last() {
            return Err(MigratorError::Schema(vec![format!(
                "the migrator has a history here already, {} migrations up to {}: nothing is taken over. `migrator status` shows it; if it is wrong, `migrator stamp 0` empties it without running anything",
                own.len(),
                newest.display()
            )]));
        }
        let said = foreign::read(connection, tool, &table).await?;
        let compared = Compared::new(self, self.counting()?, tool);
        let (chosen, notes) = compared.choose(said, request.at)?;
        let recorded: Vec<Recorded> = chosen
            .iter()
            .map(|(migration, same_checksum)| Recorded {
                version: migration.version(),
                name: migration.name().to_owned(),
                same_checksum: *same_checksum,
            })
            .collect();
        let report = ImportReport {
            database: self.context.url.to_string(),
            from: tool,
            table,
            current_version: recorded.last().map(|it| it.version),
            pending: self.catalog.len() - recorded.len(),
            recorded,
            notes,
            dry_run: request.dry_run,
        };
        Ok(Takeover { report, migrations: chosen.into_iter().map(|(migration, _)| migration).collect() })
    }

    fn counting(&self) -> Result<Counting, MigratorError> {
        Ok(match self.folder() {
            Some(folder) => counting_of(folder, self.catalog.dialect())?,
            None => Counting::Plain,
        })
    }
}

/// Whose history is meant, and the table that it is in.
fn choose(request: &ImportRequest, found: &[Found]) -> Result<(Tool, String), MigratorError> {
    let usage = |sentence: String| Err(MigratorError::Usage(sentence));
    let known: Vec<(Tool, &Found)> = found.iter().filter_map(|it| Some((it.tool?, it))).collect();
    let meant: Vec<&(Tool, &Found)> =
        known.iter().filter(|(tool, _)| request.from.is_none_or(|from| from == *tool)).collect();
    let (tool, table) = match meant.as_slice() {
        [(tool, found)] => (*tool, found.table.clone()),
        [] => return usage(nothing_there(request, found)),
        several => {
            let tables: Vec<&str> = several.iter().map(|(_, found)| found.table.as_str()).collect();
            let options: Vec<String> =
                several.iter().map(|(tool, _)| format!("--from {}", tool.option())).collect();
            return usage(format!(
                "there are the histories of {} tools here ({}): say which one is right, {}",
                several.len(),
                tables.join(", "),
                options.join(" or ")
            ));
        }
    };
    if request.at.is_some() && tool != Tool::Alembic {
        return usage(format!(
            "--at is for Alembic, which knows no versions; {tool} says by itself what is applied ({table})"
        ));
    }
    Ok((tool, table))
}

fn nothing_there(request: &ImportRequest, found: &[Found]) -> String {
    let wanted = match (&request.table, request.from) {
        (Some(table), _) => table.clone(),
        (None, Some(tool)) => format!("{}, which {tool} keeps", tool.table()),
        (None, None) => {
            "alembic_version, flyway_schema_history, schema_migrations, _sqlx_migrations and goose_db_version"
                .to_owned()
        }
    };
    let others: Vec<String> = found
        .iter()
        .map(|it| match it.tool {
            Some(tool) => format!("{} is there, and is that of {tool}", it.table),
            None => format!(
                "{} is there, but its columns ({}) are those of no tool that is known",
                it.table,
                it.columns.join(", ")
            ),
        })
        .collect();
    let others = if others.is_empty() { String::new() } else { format!(" ({})", others.join("; ")) };
    format!(
        "there is no history of another tool here: looked for {wanted}{others}. Where it has another name, say --table NAME, and where it is in another schema, --schema NAME; where there is none, `migrator stamp VERSION` says what is applied"
    )
}

/// What was chosen, each with whether its checksum was compared, and notes.
type Chosen<'a> = (Vec<(&'a Migration, bool)>, Vec<String>);

/// The migrations at hand beside what a tool says.
struct Compared<'a> {
    migrator: &'a Migrator,
    counting: Counting,
    tool: Tool,
    problems: Vec<String>,
}

impl<'a> Compared<'a> {
    fn new(migrator: &'a Migrator, counting: Counting, tool: Tool) -> Self {
        Self { migrator, counting, tool, problems: Vec::new() }
    }

    fn choose(mut self, said: Said, at: Option<Version>) -> Result<Chosen<'a>, MigratorError> {
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
        if self.migrator.folder().is_none() {
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
                self.migrator.require_known(Some(version))?;
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
        let catalog = &self.migrator.catalog;
        catalog.iter().filter(|it| it.version() <= newest).map(|it| (it, false)).collect()
    }

    /// The migration with the version as the tool writes it.
    fn find(&mut self, written: &str) -> Option<&'a Migration> {
        let tool = self.tool;
        let problem = match self.counting.version(written) {
            Ok(version) => match self.migrator.catalog.get(version) {
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
            match self.counting.version(written) {
                Ok(version) => chosen.extend(self.up_to(version).into_iter().map(|it| (it.0.version(), it))),
                Err(reason) => self.problems.push(format!("the baseline cannot be taken over: {reason}")),
            }
            if chosen.is_empty() {
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
        for missing in self.migrator.catalog.iter().filter(is_missing) {
            self.problems.push(format!(
                "{} is not applied but the newer version {newest} is: let {tool} apply it first, or give the file a version above that",
                missing.display()
            ));
        }
    }
}
