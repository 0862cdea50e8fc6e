//! What is in force, where it came from, and what is wrong.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use serde::Serialize;

/// What is wrong with one variable or file, and what is expected instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The full name of the variable, or the file.
    pub name: String,
    /// The sentence about it. Never holds a secret.
    pub detail: String,
}

/// Something odd that does not keep the program from starting.
pub type Warning = Problem;

/// Everything that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SettingsError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(formatter, "{count} {} with the settings:", if count == 1 { "problem" } else { "problems" })?;
        self.problems
            .iter()
            .try_for_each(|problem| write!(formatter, "\n  {}: {}", problem.name, problem.detail))
    }
}

/// Where a value came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Nobody set it.
    #[default]
    Default,
    /// The environment of the process.
    Environment,
    /// The `.env` file in the working folder.
    DotEnv,
    /// The file that `NAME_FILE` names.
    File(PathBuf),
    /// Other variables.
    Derived(&'static str),
    /// An option on the command line.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::Environment => formatter.write_str("environment"),
            Self::DotEnv => formatter.write_str(".env"),
            Self::File(path) => write!(formatter, "file {}", path.display()),
            Self::Derived(from) => formatter.write_str(from),
            Self::CommandLine => formatter.write_str("command line"),
        }
    }
}

/// A setting as it is in force.
#[derive(Clone, Debug, Serialize)]
pub struct Effective {
    /// The full name of the variable.
    pub name: String,
    /// Its value, secrets redacted; empty when it has none.
    pub value: String,
    /// Where that came from.
    pub origin: Origin,
}

/// The settings in force, and what is odd about others, as fields of a document for machines.
#[must_use]
pub fn document(effective: &[Effective], warnings: &[Warning]) -> serde_json::Value {
    serde_json::json!({ "settings": effective, "warnings": warnings })
}

/// The settings in force as a table for people.
#[must_use]
pub fn format_effective(effective: &[Effective]) -> String {
    let width = |of: fn(&Effective) -> usize| effective.iter().map(of).max().unwrap_or(0);
    let (names, values) = (width(|it| it.name.len()), width(|it| it.value.len()).min(60));
    effective.iter().fold(String::new(), |mut table, it| {
        let _infallible = writeln!(table, "{:names$}  {:values$}  {}", it.name, it.value, it.origin);
        table
    })
}
