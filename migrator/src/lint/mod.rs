//! What is wrong or dangerous in migrations, found before they run.
//!
//! PostgreSQL's files are read by squawk, SQLite's by the few rules of `sqlite`. The rules of our own:
//!
//! - `syntax-error`: it cannot be parsed.
//! - `instruction`, `unknown-rule`, `unused-allow`: a line `-- migrator:` that is wrong, or allows what there is not; of
//!   another tool's file also what that tool's own lines say wrongly.
//! - `compatible-from`: a statement takes away, renames or tightens what the releases before rely on, and the file does
//!   not say from which version on a release can run on it.
//! - `not-in-transaction`: a statement that its database refuses in a transaction, or ignores there, in a file that
//!   does not say `no-transaction`.
//! - `transaction-nesting`: BEGIN, COMMIT or ROLLBACK in a file that runs in a transaction.
//! - `unnamed-index`: an index made concurrently without a name, by which an interrupted run could be taken up.
//! - `unwritten`: a migration as `new` makes it, into which nobody has written anything.
//! - `adding-required-field`, `serial-type`: what SQLite refuses, or takes for something else.

mod postgres;
mod sarif;
mod sqlite;
mod tightening;

use std::fmt::Write as _;

use serde::Serialize;

use crate::source::{Catalog, Dialect, Instructions, Migration, Problem, is_unwritten};
use crate::statements::undo_runs_in_parts;

pub use sarif::sarif;

/// Something that was found in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The rule, as `lint-allow` names it.
    pub rule: String,
    /// How bad it is.
    pub level: Level,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It fails, or breaks other releases.
    Error,
    /// It is dangerous in a database that is in use.
    Warning,
    /// It will be regretted.
    Note,
}

/// Which rules count beside those that count by themselves.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Those of squawk's that count only when they are asked for.
    pub include: Vec<String>,
    /// Those that do not count.
    pub exclude: Vec<String>,
}

/// A file to be looked at.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// How it is called in findings.
    pub file: &'a str,
    /// Its text.
    pub text: &'a str,
    /// The database it is for.
    pub dialect: Dialect,
    /// Whether it takes a migration back. Dropping is what such a file is for, so only what fails counts in it.
    pub is_undo: bool,
    /// Whether it runs outside of a transaction even where its head does not say so.
    pub no_transaction: bool,
}

/// What a rule says, before it is known whether it counts.
struct Hit {
    offset: usize,
    rule: String,
    level: Level,
    message: String,
    help: Option<String>,
}

impl Hit {
    fn new(offset: usize, rule: &str, level: Level, message: impl Into<String>) -> Self {
        Self { offset, rule: rule.to_owned(), level, message: message.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The names of all rules that `lint-allow` and `--exclude` understand.
#[must_use]
pub fn is_rule(name: &str) -> bool {
    const OWN: [&str; 10] = [
        "instruction",
        "unknown-rule",
        "unused-allow",
        "syntax-error",
        "compatible-from",
        "not-in-transaction",
        "unnamed-index",
        "serial-type",
        "transaction-nesting",
        "unwritten",
    ];
    OWN.contains(&name) || name.parse::<squawk_linter::Rule>().is_ok()
}

/// Looks at one file. What its head allows is left out.
#[must_use]
pub fn lint(source: &Source<'_>, rules: &Rules) -> Vec<Finding> {
    let (mut instructions, problems) = Instructions::of_file(source.file, source.text);
    instructions.no_transaction |= source.no_transaction;
    let mut findings = lint_as(source, &instructions, rules);
    for problem in problems {
        let hit = Hit::new(0, "instruction", Level::Error, problem.reason);
        findings.push(Finding { line: problem.line.unwrap_or(1), ..finding(source, hit) });
    }
    findings.retain(|finding| !rules.exclude.contains(&finding.rule));
    findings.sort_by_key(|it| (it.line, it.column));
    findings
}

/// The same of a file whose head is known: it need not stand in the text.
fn lint_as(source: &Source<'_>, instructions: &Instructions, rules: &Rules) -> Vec<Finding> {
    let mut hits: Vec<Hit> = match source.dialect {
        Dialect::Postgres => postgres::hits(source, instructions, rules),
        Dialect::Sqlite => sqlite::hits(source, instructions),
    };
    if !source.is_undo && is_unwritten(source.text) {
        let message = "nothing is written in it, so it would be applied and do nothing";
        let help =
            "write it before it is applied, or remove it; where nothing is to be done, say so in a comment";
        hits.push(Hit::new(0, "unwritten", Level::Warning, message).help(help));
    }
    if source.is_undo {
        hits.retain(|hit| {
            matches!(&*hit.rule, "syntax-error" | "not-in-transaction" | "transaction-nesting")
        });
    }
    let mut findings = Vec::new();
    for (rule, _) in &instructions.lint_allow {
        let line =
            source.text.lines().position(|line| line.starts_with("--") && line.contains(rule.as_str()));
        let line = line.map_or(1, |line| line + 1);
        let hit = if !is_rule(rule) {
            Hit::new(0, "unknown-rule", Level::Error, format!("lint-allow {rule}: there is no such rule"))
        } else if hits.iter().all(|hit| hit.rule != *rule) {
            Hit::new(
                0,
                "unused-allow",
                Level::Warning,
                format!("lint-allow {rule}: nothing in this file needs it"),
            )
        } else {
            continue;
        };
        findings.push(Finding { line, ..finding(source, hit) });
    }
    let allowed = |hit: &Hit| instructions.lint_allow.iter().any(|(rule, _)| *rule == hit.rule);
    findings.extend(hits.into_iter().filter(|hit| !allowed(hit)).map(|hit| finding(source, hit)));
    findings.retain(|finding| !rules.exclude.contains(&finding.rule));
    findings.sort_by_key(|it| (it.line, it.column));
    findings
}

/// Looks at a migration, as `file`, without its undo.
#[must_use]
pub fn lint_migration(file: &str, dialect: Dialect, migration: &Migration, rules: &Rules) -> Vec<Finding> {
    let instructions = migration.instructions();
    let no_transaction = instructions.no_transaction;
    let source = Source { file, text: migration.sql(), dialect, is_undo: false, no_transaction };
    lint_as(&source, instructions, rules)
}

/// Looks at all migrations of a catalog and their undo files.
#[must_use]
pub fn lint_catalog(catalog: &Catalog, rules: &Rules) -> Vec<Finding> {
    lint_some(catalog, &|_| true, rules).unwrap_or_default()
}

/// Looks at those files of a catalog that are meant; nothing when it has none of them.
pub(crate) fn lint_some(
    catalog: &Catalog,
    is_meant: &dyn Fn(&str) -> bool,
    rules: &Rules,
) -> Option<Vec<Finding>> {
    let dialect = catalog.dialect();
    let (mut findings, mut has_any) = (Vec::new(), false);
    for migration in catalog {
        let embedded = || format!("migrations/{}/{migration}.sql", dialect.folder());
        let file = migration.file().map_or_else(embedded, str::to_owned);
        if is_meant(&file) {
            has_any = true;
            findings.extend(lint_migration(&file, dialect, migration, rules));
        }
        let Some(undo) = migration.undo() else { continue };
        let embedded = || format!("undo/{}/{}", dialect.folder(), undo.file_name);
        let file = migration.file().map_or_else(embedded, |_| undo.file_name.clone());
        if is_meant(&file) {
            has_any = true;
            let no_transaction = migration.file().is_some() && undo_runs_in_parts(dialect, &undo.sql);
            let source = Source { file: &file, text: &undo.sql, dialect, is_undo: true, no_transaction };
            findings.extend(lint(&source, rules));
        }
    }
    has_any.then_some(findings)
}

/// What is wrong with a file before its statements are looked at.
pub(crate) fn of_problem(problem: Problem) -> Finding {
    let Problem { file, line, reason } = problem;
    Finding {
        file,
        line: line.unwrap_or(1),
        column: 1,
        rule: "instruction".to_owned(),
        level: Level::Error,
        message: reason,
        help: None,
    }
}

fn finding(source: &Source<'_>, hit: Hit) -> Finding {
    let before = source.text.get(..hit.offset).unwrap_or_default();
    let line = 1 + before.matches('\n').count();
    let column = 1 + before.rsplit('\n').next().map_or(0, |start| start.chars().count());
    let Hit { rule, level, message, help, .. } = hit;
    Finding { file: source.file.to_owned(), line, column, rule, level, message, help }
}

/// The findings for people: `file:line:column: level: message [rule]`.
#[must_use]
pub fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { file, line, column, rule, level, message, help } in findings {
        let level = format!("{level:?}").to_lowercase();
        let _infallible = writeln!(text, "{file}:{line}:{column}: {level}: {message} [{rule}]");
        if let Some(help) = help {
            let _infallible = writeln!(text, "    {help}");
        }
    }
    text
}

/// What a file that takes away or tightens is told.
fn incompatible(offset: usize, what: &str) -> Hit {
    Hit::new(offset, "compatible-from", Level::Error, format!("{what}, and releases that rely on it may be running"))
        .help("say `-- migrator: compatible-from VERSION`, the oldest newest version of a release that can run on it; or, where no release relies on it, `-- migrator: lint-allow compatible-from WHY`")
}
