//! What squawk finds in a file for PostgreSQL, and what it does not look for.

use std::collections::BTreeSet;

use squawk_linter::{Linter, Rule};
use squawk_syntax::ast::{AstNode, Stmt};
use squawk_syntax::{Parse, SourceFile, SyntaxKind};

use super::{Hit, Level, Rules, Source, incompatible, tightening};
use crate::source::{Dialect, Instructions};
use crate::statements;

/// The migrator sets both limits in each transaction, and a migration is applied once, so that `IF NOT EXISTS`
/// would only hide what is wrong.
const NEEDLESS: [Rule; 5] = [
    // Ours looks at a file with a single statement too.
    Rule::BanConcurrentIndexCreationInTransaction,
    Rule::RequireTimeoutSettings,
    Rule::RequireLockTimeout,
    Rule::RequireStatementTimeout,
    Rule::PreferRobustStmts,
];

/// What `compatible-from` is about. Where it is said, nothing is wrong with any of these.
const INCOMPATIBLE: [Rule; 16] = [
    Rule::BanDropTable,
    Rule::BanDropColumn,
    Rule::BanDropView,
    Rule::BanDropFunction,
    Rule::BanDropType,
    Rule::BanDropSchema,
    Rule::BanDropSequence,
    Rule::BanDropDomain,
    Rule::BanDropExtension,
    Rule::BanDropDefault,
    Rule::BanDropNotNull,
    Rule::BanDropGeneratedExpression,
    Rule::RenamingColumn,
    Rule::RenamingTable,
    Rule::RenamingObject,
    Rule::BanSetSchema,
];

pub(super) fn hits(source: &Source<'_>, instructions: &Instructions, rules: &Rules) -> Vec<Hit> {
    let file = SourceFile::parse(source.text);
    let mut hits: Vec<Hit> = Vec::new();
    let errors: Vec<(usize, String)> =
        file.errors().iter().map(|it| (usize::from(it.range().start()), it.message().to_owned())).collect();
    for part in statements::split(Dialect::Postgres, source.text) {
        // What follows the first one in a statement follows from it.
        let place = part.offset..=part.offset + part.sql.len();
        if let Some((offset, message)) = errors.iter().find(|(offset, _)| place.contains(offset)) {
            hits.push(Hit::new(*offset, "syntax-error", Level::Error, message.as_str()));
        }
    }
    let mut incompatible_at = BTreeSet::new();
    for violation in squawk(&file, source.text, instructions, rules) {
        let offset = usize::from(violation.text_range.start());
        if INCOMPATIBLE.contains(&violation.code) {
            incompatible_at.insert((offset, sentence(&violation.message)));
            continue;
        }
        let rule = violation.code.to_string();
        let level = if rule.starts_with("prefer-") { Level::Note } else { Level::Warning };
        let hit = Hit::new(offset, &rule, level, violation.message);
        hits.push(Hit { help: violation.help, ..hit });
    }
    let statements: Vec<Stmt> = file.tree().stmts().collect();
    let created: Vec<tightening::Name> = statements.iter().filter_map(tightening::creates).collect();
    for statement in &statements {
        if let Some(what) = tightening::tightens(statement, &created) {
            incompatible_at.insert((start(statement), what));
        }
    }
    if instructions.compatible_from.is_none() {
        hits.extend(once_for_each_statement(&statements, &incompatible_at));
    }
    if instructions.no_transaction {
        hits.extend(statements.iter().filter_map(unnamed_index));
    } else {
        hits.extend(not_in_transaction(source));
        hits.extend(statements.iter().filter_map(concurrently));
    }
    hits
}

fn squawk(
    file: &Parse<SourceFile>,
    text: &str,
    instructions: &Instructions,
    rules: &Rules,
) -> Vec<squawk_linter::Violation> {
    let include: Vec<Rule> = rules.include.iter().filter_map(|rule| rule.parse().ok()).collect();
    let mut linter = Linter::with_rules(&include, &NEEDLESS);
    linter.settings.assume_in_transaction = !instructions.no_transaction;
    linter.lint(file, text)
}

/// One finding says enough about a statement that drops and renames and tightens.
fn once_for_each_statement(statements: &[Stmt], found: &BTreeSet<(usize, String)>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for statement in statements {
        let range = statement.syntax().text_range();
        let (from, to) = (usize::from(range.start()), usize::from(range.end()));
        if let Some((offset, what)) = found.iter().find(|(offset, _)| (from..to).contains(offset)) {
            hits.push(incompatible(*offset, what));
        }
    }
    hits
}

fn sentence(message: &str) -> String {
    message.trim_end_matches('.').to_owned()
}

fn start(statement: &Stmt) -> usize {
    usize::from(statement.syntax().text_range().start())
}

fn unnamed_index(statement: &Stmt) -> Option<Hit> {
    let Stmt::CreateIndex(index) = statement else { return None };
    (index.concurrently_token().is_some() && index.index().is_none()).then(|| {
        Hit::new(
            start(statement),
            "unnamed-index",
            Level::Warning,
            "an index that is made concurrently has no name",
        )
        .help("give it one: a run that is interrupted is taken up again by that name")
    })
}

fn refused(offset: usize, what: &str) -> Hit {
    let message = format!("{what} cannot run in a transaction");
    Hit::new(offset, "not-in-transaction", Level::Error, message)
        .help("give it a file of its own that says `-- migrator: no-transaction`")
}

fn concurrently(statement: &Stmt) -> Option<Hit> {
    let is_allowed =
        matches!(statement, Stmt::Refresh(_) | Stmt::CreateFunction(_) | Stmt::CreateProcedure(_));
    let mut tokens = statement.syntax().descendants_with_tokens();
    let found = !is_allowed && tokens.any(|it| it.kind() == SyntaxKind::CONCURRENTLY_KW);
    found.then(|| refused(start(statement), "what is done CONCURRENTLY"))
}

fn not_in_transaction(source: &Source<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for part in statements::split(Dialect::Postgres, source.text) {
        let [first, second] = part.first_words(Dialect::Postgres);
        let is_refused = match &*first {
            "VACUUM" => true,
            "CREATE" | "DROP" | "ALTER" => {
                matches!(&*second, "SYSTEM" | "TABLESPACE") || second == "DATABASE" && first != "ALTER"
            }
            _ => false,
        };
        if is_refused {
            hits.push(refused(part.offset, &first));
        }
    }
    hits
}
