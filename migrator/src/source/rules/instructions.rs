//! Lines `-- migrator: WORD ...` at the head of a migration, which tell the migrator how to treat it.
//!
//! A comment is part of the checksum, so these words can never be added to a migration that was applied.

use super::{Problem, Version, file_name};

const ALLOWED: &str =
    "allowed are: irreversible WHY, compatible-from VERSION, no-transaction, lint-allow RULE WHY";

/// What the head of a migration tells the migrator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instructions {
    /// `irreversible WHY`: the migration has no undo file, and this is the reason.
    pub irreversible: Option<String>,
    /// `compatible-from VERSION`: releases whose newest migration is older than this one cannot run on the
    /// schema that this migration leaves. Absent means that every release can.
    pub compatible_from: Option<Version>,
    /// `no-transaction`: the statements cannot run in a transaction (`CREATE INDEX CONCURRENTLY`).
    pub no_transaction: bool,
    /// `lint-allow RULE WHY`, once for each rule: what the linter shall let pass, and the reason.
    pub lint_allow: Vec<(String, String)>,
}

impl Instructions {
    /// Reads the head of a file that stands for itself, with what is wrong in it.
    #[must_use]
    pub fn of_file(file: &str, text: &str) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let instructions = Self::parse(file, text, &mut problems);
        (instructions, problems)
    }

    /// Reads the head of `text`, the leading run of comment lines (`--`) and blank lines, and adds what is
    /// wrong in `file` to `problems`.
    pub(super) fn parse(file: &str, text: &str, problems: &mut Vec<Problem>) -> Self {
        let mut instructions = Self::default();
        for (line, in_head, content) in instruction_lines(text) {
            let result = match content {
                _ if !in_head => Err("instructions stand at the head of the file, before any SQL".to_owned()),
                Ok(content) => instructions.add(content),
                Err(reason) => Err(reason),
            };
            if let Err(reason) = result {
                problems.push(Problem::at(file, line, reason));
            }
        }
        instructions
    }

    /// Adds a problem for each instruction in an undo file: it is run whole or not at all, always.
    pub(super) fn refuse_all(file: &str, text: &str, problems: &mut Vec<Problem>) {
        for (line, _, _) in instruction_lines(text) {
            let reason = "undo files take no instructions: they stand in the migration";
            problems.push(Problem::at(file, line, reason));
        }
    }

    fn add(&mut self, content: &str) -> Result<(), String> {
        let (word, argument) = split_word(content);
        match word {
            "irreversible" => {
                let why = required(argument, "irreversible WHY")?;
                set_once(&mut self.irreversible, why.to_owned(), word)
            }
            "compatible-from" => {
                let argument = required(argument, "compatible-from VERSION")?;
                if !argument.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(format!(
                        "{argument:?} is no version: write compatible-from VERSION, a number"
                    ));
                }
                set_once(&mut self.compatible_from, file_name::parse_version(argument)?, word)
            }
            "no-transaction" => {
                if !argument.is_empty() {
                    return Err("no-transaction takes nothing after it".to_owned());
                }
                if self.no_transaction {
                    return Err(twice(word));
                }
                self.no_transaction = true;
                Ok(())
            }
            "lint-allow" => {
                let (rule, why) = split_word(required(argument, "lint-allow RULE WHY")?);
                let why = required(why, "lint-allow RULE WHY")?;
                self.lint_allow.push((rule.to_owned(), why.to_owned()));
                Ok(())
            }
            "" => Err(format!("an instruction without a word; {ALLOWED}")),
            unknown => Err(format!("unknown instruction {unknown:?}; {ALLOWED}")),
        }
    }
}

/// Each instruction of `text`: its line, whether it stands at the head, and what follows the colon.
///
/// `--migrator:` without the blank means the same, because nobody would see why it was ignored. Capitals
/// are refused for the same reason.
fn instruction_lines(text: &str) -> impl Iterator<Item = (usize, bool, Result<&str, String>)> {
    let mut in_head = true;
    text.trim_start_matches('\u{feff}').lines().enumerate().filter_map(move |(position, line)| {
        let line = line.trim();
        let Some(comment) = line.strip_prefix("--") else {
            in_head &= line.is_empty();
            return None;
        };
        let (word, content) = comment.split_once(':')?;
        let content = match word.trim() {
            "migrator" => Ok(content.trim()),
            other if other.eq_ignore_ascii_case("migrator") => {
                Err(format!("write `-- migrator:` in lower case instead of {other:?}"))
            }
            _ => return None,
        };
        Some((position + 1, in_head, content))
    })
}

fn split_word(text: &str) -> (&str, &str) {
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

fn required<'a>(argument: &'a str, form: &str) -> Result<&'a str, String> {
    if argument.is_empty() { Err(format!("an argument is missing: write {form}")) } else { Ok(argument) }
}

fn set_once<T>(slot: &mut Option<T>, value: T, word: &str) -> Result<(), String> {
    if slot.is_some() {
        return Err(twice(word));
    }
    *slot = Some(value);
    Ok(())
}

fn twice(word: &str) -> String {
    format!("{word} is given twice: only lint-allow may stand more than once")
}
