//! What is wrong with a file, said so that it can be mended.

use std::error::Error;
use std::fmt;

/// One thing wrong with one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file below the migrator's folder, such as `migrations/postgres/V1__create_users.sql`.
    pub file: String,
    /// The line, counted from 1, when the problem has one.
    pub line: Option<usize>,
    /// What is wrong, and what is allowed.
    pub reason: String,
}

impl Problem {
    pub(crate) fn new(file: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, reason: reason.into() }
    }

    pub(crate) fn at(file: &str, line: usize, reason: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: Some(line), reason: reason.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "{}:{line}: {}", self.file, self.reason),
            None => write!(formatter, "{}: {}", self.file, self.reason),
        }
    }
}

/// Everything that is wrong with a set of files, so that one attempt shows all of it. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceErrors(Vec<Problem>);

impl SourceErrors {
    /// `value`, unless there are problems.
    pub(crate) fn unless<T>(mut problems: Vec<Problem>, value: T) -> Result<T, Self> {
        if problems.is_empty() {
            return Ok(value);
        }
        problems.sort_by(|left, right| (&left.file, left.line).cmp(&(&right.file, right.line)));
        Err(Self(problems))
    }

    /// The problems, by file and line.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for SourceErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { "\n" };
            write!(formatter, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl Error for SourceErrors {}
