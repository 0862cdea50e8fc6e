//! The variables of the process, and everything that is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{Effective, Origin, Problem, Secret, Setting, SettingsError, Variable, Warning};

/// The longest time that PostgreSQL can be told: milliseconds in 31 bits.
pub const LONGEST: Duration = Duration::from_hours(24 * 24);

/// The variables of the process, read by the sections one after the other.
#[derive(Default)]
pub struct Environment {
    values: BTreeMap<String, (OsString, Origin)>,
    prefixes: BTreeSet<&'static str>,
    known: BTreeSet<String>,
    effective: Vec<Effective>,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl fmt::Debug for Environment {
    /// Without the values, which are secrets in part and are not told apart before they are read.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Environment")
            .field("names", &self.values.keys())
            .field("problems", &self.problems)
            .finish_non_exhaustive()
    }
}

impl Environment {
    /// The environment of this process and, unless `BEDPLATE_ENV` says `production`, the file `.env`
    /// in the working folder, which never overrides a variable that is set.
    #[must_use]
    pub fn from_process() -> Self {
        Self::from_variables(std::env::vars_os(), Path::new(".env"))
    }

    /// These variables, and those of the file `dot_env` where it exists.
    pub fn from_variables(variables: impl IntoIterator<Item = (OsString, OsString)>, dot_env: &Path) -> Self {
        let mut environment = Self::default();
        for (name, value) in variables {
            if let Ok(name) = name.into_string()
                && !value.is_empty()
            {
                environment.values.insert(name, (value, Origin::Environment));
            }
        }
        let production =
            environment.values.get("BEDPLATE_ENV").is_some_and(|(value, _)| value == "production");
        if !production && dot_env.exists() {
            environment.load(dot_env);
        }
        environment
    }

    /// These variables and nothing else.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let variables = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self::from_variables(variables, Path::new(""))
    }

    fn load(&mut self, dot_env: &Path) {
        let name = dot_env.display().to_string();
        let text = match std::fs::read_to_string(dot_env) {
            Ok(text) => text,
            Err(error) => return self.problem(name, format!("it cannot be read ({error})")),
        };
        // Editors on Windows begin a file with a mark of its encoding.
        let text = text.trim_start_matches('\u{feff}');
        if let Some(index) = text.lines().position(loses_what_follows_a_dollar) {
            let detail = format!(
                "line {} has a $ outside of single quotes, and what follows it would be taken for the name of a variable; put the value in single quotes, or write ${{NAME}} where a variable is meant",
                index + 1
            );
            return self.problem(name, detail);
        }
        for item in dotenvy::from_read_iter(text.as_bytes()) {
            match item {
                Ok((_, value)) if value.is_empty() => {}
                Ok((name, value)) => {
                    self.values.entry(name).or_insert((value.into(), Origin::DotEnv));
                }
                Err(error) => {
                    let detail = format!(
                        "{} is not of the form NAME=value, or a quote in it is not closed; mend it or put the value in single quotes",
                        line_of(text, &error)
                    );
                    return self.problem(name, detail);
                }
            }
        }
    }

    /// Adds a problem, to be reported by [`finish`](Self::finish).
    pub fn problem(&mut self, name: impl Into<String>, detail: impl Into<String>) {
        self.problems.push(Problem { name: name.into(), detail: detail.into() });
    }

    /// Adds something odd that does not keep the program from starting.
    pub fn warning(&mut self, name: impl Into<String>, detail: impl Into<String>) {
        self.warnings.push(Problem { name: name.into(), detail: detail.into() });
    }

    /// Whether something is wrong with the variable, or with the file that it comes from.
    #[must_use]
    pub fn is_wrong(&self, name: &str) -> bool {
        self.problems.iter().any(|it| it.name.strip_suffix("_FILE").unwrap_or(&it.name) == name)
    }

    /// Adds a problem when a time is shorter than `least`, or longer than the 24 days that both databases
    /// and this machine's timers can be told.
    pub fn bound(&mut self, name: &str, value: Duration, least: Duration) {
        if !(least..=LONGEST).contains(&value) {
            let least = humantime::format_duration(least);
            self.problem(name, format!("expected a duration from {least} to 24days"));
        }
    }

    /// Whether the variable was given, and where. Unknown until its section was read.
    #[must_use]
    pub fn origin(&self, name: &str) -> Origin {
        self.effective.iter().find(|it| it.name == name).map_or(Origin::Default, |it| it.origin.clone())
    }

    /// Says that an option on the command line overrides a variable.
    pub fn overridden(&mut self, name: &str, value: &impl Setting) {
        self.derived(name, value, Origin::CommandLine);
    }

    /// Says what a variable that was left open came to.
    pub fn derived(&mut self, name: &str, value: &impl Setting, origin: Origin) {
        if let Some(effective) = self.effective.iter_mut().find(|it| it.name == name) {
            effective.value = value.show();
            effective.origin = origin;
        }
    }

    /// The variables of a section as text. For [`settings!`](crate::settings!).
    #[doc(hidden)]
    pub fn raw<Raw: DeserializeOwned>(&mut self, prefix: &'static str, variables: &[Variable]) -> Raw {
        self.prefixes.insert(prefix);
        let mut texts = Vec::new();
        for variable in variables {
            self.known.insert(variable.name.clone());
            let (text, origin) = self.text_of(variable).unwrap_or_default();
            let (value, name) = (String::new(), variable.name.clone());
            self.effective.push(Effective { name: name.clone(), value, origin });
            if !text.is_empty() {
                texts.push((name, text));
            }
        }
        // Every field is an Option<String>, which envy fills from any text: this cannot fail.
        envy::prefixed(prefix).from_iter(texts).unwrap_or_else(|error| unreachable!("{error}"))
    }

    fn text_of(&mut self, variable: &Variable) -> Option<(String, Origin)> {
        let name = &variable.name;
        let given = self.values.get(name).filter(|(value, _)| !injected_by_kubernetes(name, value)).cloned();
        let file_name = format!("{name}_FILE");
        let file = variable.secret.then(|| self.values.get(&file_name).cloned()).flatten();
        if variable.secret {
            self.known.insert(file_name.clone());
        }
        match (given, file) {
            // The file `.env` overrides nothing, in whichever of the two ways the others are given.
            (Some((_, Origin::DotEnv)), Some((path, Origin::Environment))) => {
                self.secret_from(&file_name, PathBuf::from(path))
            }
            (Some((_, given)), Some((_, file))) if given == file => {
                self.problem(name, format!("both it and {file_name} are set; keep one of them"));
                None
            }
            (None, Some((path, _))) => self.secret_from(&file_name, PathBuf::from(path)),
            (Some((value, origin)), _) => match value.into_string() {
                Ok(text) => Some((without_line_end(&text).to_owned(), origin)),
                Err(_) => {
                    self.problem(name, format!("it is not UTF-8; expected {}", variable.expected));
                    None
                }
            },
            (None, None) => None,
        }
    }

    /// The variables under a prefix that is not ours, as whoever reads them wants them: the names that `NAME`
    /// or, for one of `secrets`, `NAME_FILE` was given for. What stands there is not checked.
    pub fn foreign(&mut self, prefix: &str, secrets: &[&str]) -> Vec<(String, Secret)> {
        let is_file = |name: &str| name.strip_suffix("_FILE").is_some_and(|it| secrets.contains(&it));
        let plain = self.values.iter().filter(|(name, _)| name.starts_with(prefix) && !is_file(name));
        let mut found: Vec<_> = plain
            .filter_map(|(name, (value, _))| Some((name.clone(), Secret::from(value.to_str()?.to_owned()))))
            .collect();
        for name in secrets {
            let file_name = format!("{name}_FILE");
            let Some((path, _)) = self.values.get(&file_name).cloned() else { continue };
            if found.iter().any(|(it, _)| it == name) {
                self.problem(*name, format!("both it and {file_name} are set; keep one of them"));
            } else if let Some((text, _)) = self.secret_from(&file_name, PathBuf::from(path)) {
                found.push(((*name).to_owned(), Secret::from(text)));
            }
        }
        found
    }

    fn secret_from(&mut self, file_name: &str, path: PathBuf) -> Option<(String, Origin)> {
        match std::fs::read_to_string(&path) {
            Ok(text) if without_line_end(&text).is_empty() => {
                self.problem(file_name, format!("the file {} is empty", path.display()));
                None
            }
            Ok(text) => Some((without_line_end(&text).to_owned(), Origin::File(path))),
            Err(error) => {
                self.problem(file_name, format!("the file {} cannot be read ({error})", path.display()));
                None
            }
        }
    }

    /// The value of the next variable. For [`settings!`](crate::settings!).
    #[doc(hidden)]
    pub fn convert<'a, T: Setting>(
        &mut self,
        variables: &mut impl Iterator<Item = &'a Variable>,
        text: Option<String>,
    ) -> T {
        let variable = variables.next().unwrap_or_else(|| unreachable!("one variable for each field"));
        let value = match text.map(|text| (T::parse(&text), text)) {
            Some((Ok(value), _)) => value,
            Some((Err(detail), text)) => {
                let shown = if T::SECRET { String::new() } else { format!(" (it is {text:?})") };
                let blanks =
                    if text.trim() == text { "" } else { ", and there are blanks before or after it" };
                let name = match self.origin(&variable.name) {
                    Origin::File(_) => format!("{}_FILE", variable.name),
                    _ => variable.name.clone(),
                };
                self.problem(name, format!("{detail}{shown}{blanks}; expected {}", variable.expected));
                default_of(variable)
            }
            None => default_of(variable),
        };
        if let Some(effective) = self.effective.iter_mut().rfind(|it| it.name == variable.name) {
            effective.value = value.show();
        }
        value
    }

    /// Ends the reading: what is in force, and what is odd about it and about the names under our prefixes.
    ///
    /// # Errors
    /// Every problem there is, also a name that looks like a misspelt one of ours.
    pub fn finish(mut self) -> Result<(Vec<Effective>, Vec<Warning>), SettingsError> {
        let leftovers: Vec<String> = self
            .values
            .iter()
            .filter(|(name, (value, _))| !injected_by_kubernetes(name, value) && *name != "HTTP_PROXY")
            .map(|(name, _)| name.clone())
            .filter(|name| self.prefixes.iter().any(|prefix| name.starts_with(prefix)))
            .filter(|name| !self.known.contains(name))
            .collect();
        for name in leftovers {
            // OpenTelemetry's names are not ours: there are many that this program does not read.
            if let Some(known) = name.strip_suffix("_FILE").filter(|it| self.known.contains(*it)) {
                let detail = format!("only a secret may come from a file; set {known} itself");
                self.problem(&name, detail);
                continue;
            }
            match self.nearest(&name) {
                Some(near) if !name.starts_with("OTEL_") => {
                    self.problem(&name, format!("no such setting; did you mean {near}?"));
                }
                _ => self.warning(name, "no such setting; it is ignored"),
            }
        }
        if self.problems.is_empty() {
            Ok((self.effective, self.warnings))
        } else {
            Err(SettingsError { problems: self.problems })
        }
    }

    /// The setting that is meant. The shorter a name is, the less of it may be misspelt: three letters
    /// lie between `POSTGRES_SSL` and `POSTGRES_DB`, which mean nothing alike.
    fn nearest(&self, name: &str) -> Option<String> {
        let prefix = self.prefixes.iter().filter(|it| name.starts_with(**it)).map(|it| it.len()).max();
        let most = (name.len() - prefix.unwrap_or(0)).div_ceil(3).min(3);
        self.known
            .iter()
            .map(|known| (strsim::damerau_levenshtein(known, name), known))
            .filter(|(distance, _)| *distance <= most)
            .min()
            .map(|(_, known)| known.clone())
    }
}

fn default_of<T: Setting>(variable: &Variable) -> T {
    if variable.default.is_empty()
        && let Some(value) = T::absent()
    {
        return value;
    }
    T::parse(variable.default)
        .unwrap_or_else(|error| unreachable!("the default of {}: {error}", variable.name))
}

/// Without the line breaks at its end: those of a file, or of a value that went through `echo`.
fn without_line_end(text: &str) -> &str {
    text.trim_end_matches(['\r', '\n'])
}

/// Whether dotenvy would cut a part out of a value such as `pa$word` without a word. Other readers of
/// such files replace `${NAME}` only.
fn loses_what_follows_a_dollar(line: &str) -> bool {
    let Some((name, value)) = line.split_once('=') else { return false };
    let value = value.trim_start();
    let value = value.split(" #").next().unwrap_or(value);
    let bare =
        |(index, _): (usize, &str)| !value[..index].ends_with('\\') && !value[index..].starts_with("${");
    !name.trim_start().starts_with('#') && !value.starts_with('\'') && value.match_indices('$').any(bare)
}

/// Names the line that dotenvy could not read, without showing what stands after the `=`.
fn line_of(text: &str, error: &dotenvy::Error) -> String {
    let dotenvy::Error::LineParse(broken, _) = error else {
        return "a line of it".to_owned();
    };
    let first = broken.lines().next().unwrap_or_default();
    // It holds the whole line, or what follows the `=` when that is what could not be read.
    let value_of = |line: &str| line.split_once('=').map(|(_, value)| value.trim().to_owned());
    let is_broken = |line: &str| line == first || value_of(line).is_some_and(|it| it == first.trim());
    match text.lines().position(is_broken) {
        Some(index) => format!("line {}", index + 1),
        None => "a line of it".to_owned(),
    }
}

/// Kubernetes describes each service of the namespace to each container: a service named `postgres`
/// gives `POSTGRES_PORT=tcp://10.0.0.7:5432`, `POSTGRES_SERVICE_HOST` and more.
fn injected_by_kubernetes(name: &str, value: &std::ffi::OsStr) -> bool {
    let is_address = value.to_str().is_some_and(|it| it.starts_with("tcp://") || it.starts_with("udp://"));
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.ends_with("_PORT") && is_address)
        || name.contains("_PORT_") && ["_TCP", "_UDP"].iter().any(|it| name.contains(it))
}
