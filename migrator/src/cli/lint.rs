//! `migrator lint`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use foundation::exit::Exit;
use serde_json::json;

use super::output::Output;
use crate::commands::Migrator;
use crate::error::MigratorError;
use crate::lint::{self, Finding, Rules, Source};
use crate::source::{Alone, Dialect};

#[derive(Debug, Args)]
pub(super) struct LintArguments {
    /// Files of migrations and undo files. Without any: all that this program knows.
    files: Vec<PathBuf>,
    /// The database that the files are for. Without it their folder says so, or DATABASE_URL.
    #[arg(long, value_enum)]
    dialect: Option<DialectName>,
    /// One SARIF 2.1.0 document, for code hosts.
    #[arg(long)]
    sarif: bool,
    /// A rule of squawk's that counts only when it is asked for.
    #[arg(long, value_name = "RULE")]
    include: Vec<String>,
    /// A rule that does not count.
    #[arg(long, value_name = "RULE")]
    exclude: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DialectName {
    Postgres,
    Sqlite,
}

impl From<DialectName> for Dialect {
    fn from(name: DialectName) -> Self {
        match name {
            DialectName::Postgres => Self::Postgres,
            DialectName::Sqlite => Self::Sqlite,
        }
    }
}

impl Output {
    pub(super) fn lint(&self, arguments: &LintArguments, migrator: &Migrator) -> Result<Exit, MigratorError> {
        let rules = rules(arguments)?;
        let findings = if arguments.files.is_empty() {
            migrator.lint(&rules)
        } else {
            let mut findings = Vec::new();
            for file in &arguments.files {
                findings.extend(of_file(file, arguments, migrator, &rules)?);
            }
            findings
        };
        let exit = if findings.is_empty() { Exit::Success } else { Exit::Drift };
        let text = match findings.len() {
            0 => "nothing found".to_owned(),
            count => format!("{}{count} found", lint::text(&findings)),
        };
        if arguments.sarif {
            return Ok(self.written("lint", exit, &lint::sarif(&findings).to_string(), &text));
        }
        Ok(self.verdict("lint", exit, &json!({ "findings": findings }), &text))
    }
}

fn rules(arguments: &LintArguments) -> Result<Rules, MigratorError> {
    match arguments.include.iter().chain(&arguments.exclude).find(|rule| !lint::is_rule(rule)) {
        Some(unknown) => Err(MigratorError::Usage(format!("there is no rule {unknown}"))),
        None => Ok(Rules { include: arguments.include.clone(), exclude: arguments.exclude.clone() }),
    }
}

fn of_file(
    path: &Path,
    arguments: &LintArguments,
    migrator: &Migrator,
    rules: &Rules,
) -> Result<Vec<Finding>, MigratorError> {
    let file = path.display().to_string();
    let content = std::fs::read(path).map_err(|error| unreadable(error, &file))?;
    let asked = arguments.dialect.map(Dialect::from);
    let is_of_folder = asked.is_none_or(|dialect| dialect == migrator.catalog().dialect());
    if is_of_folder && let Some(mut findings) = of_folder(path, migrator, rules) {
        // As it was named here, which may be in another way than that of the folder.
        findings.iter_mut().for_each(|finding| finding.file.clone_from(&file));
        return Ok(findings);
    }
    let lies_in = |folder: &str| path.iter().any(|part| part == folder);
    let dialect = match asked {
        Some(dialect) => dialect,
        None if lies_in("postgres") => Dialect::Postgres,
        None if lies_in("sqlite") => Dialect::Sqlite,
        None => migrator.catalog().dialect(),
    };
    let parts = match Alone::read(dialect, path, content) {
        Ok(parts) => parts,
        Err(problems) => return Ok(problems.into_iter().map(lint::of_problem).collect()),
    };
    let look = |part: Alone| {
        let Alone { sql, is_undo, no_transaction } = part;
        let is_undo = is_undo || lies_in("undo");
        lint::lint(&Source { file: &file, text: &sql, dialect, is_undo, no_transaction }, rules)
    };
    Ok(parts.into_iter().flat_map(look).collect())
}

/// What is found in a file of the folder of `--migrations`: the same as without FILES.
fn of_folder(path: &Path, migrator: &Migrator, rules: &Rules) -> Option<Vec<Finding>> {
    migrator.folder()?;
    let meant = path.canonicalize().ok()?;
    // The disk is asked about those alone that are called so.
    let is_meant = |file: &str| {
        let file = Path::new(file);
        file.file_name() == path.file_name() && file.canonicalize().is_ok_and(|it| it == meant)
    };
    lint::lint_some(migrator.catalog(), &is_meant, rules)
}

/// A file that is not there was named by mistake.
fn unreadable(error: std::io::Error, file: &str) -> MigratorError {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::IsADirectory => {
            MigratorError::Usage(format!("there is no file {file}: {error}"))
        }
        _ => MigratorError::File(error, format!("{file} cannot be read")),
    }
}
