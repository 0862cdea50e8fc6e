//! `import-history`: takes over what another tool says is applied.

use foundation::database::Connection;
use serde::Serialize;

use super::Migrator;
use crate::error::MigratorError;
use crate::foreign::{self, Compared, Found, Tool};
use crate::history::{self, Action, Entry};
use crate::session::{Change, Guard, Performed, READING, Session, Work};
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
        if request.dry_run || looked_at.migrations.is_empty() {
            return Ok(looked_at.report);
        }
        let mut session = Session::open(&self.context, false).await?;
        session.lock().await?;
        let Takeover { report, migrations } =
            session.ask(READING, async |connection| self.takeover(connection, request).await).await?;
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
        let compared = Compared::new(&self.catalog, self.folder().is_some(), self.counting()?, tool);
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
