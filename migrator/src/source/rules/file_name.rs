//! Names of files: `V1__create_users.sql` migrates and `D1__create_users.sql` undoes it.

use super::Version;

/// Whether a file migrates or undoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Migration,
    Undo,
}

impl Kind {
    /// The folder in which files of this kind lie.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Migration => "migrations",
            Self::Undo => "undo",
        }
    }

    /// The letter with which their names begin.
    pub(super) fn letter(self) -> char {
        match self {
            Self::Migration => 'V',
            Self::Undo => 'D',
        }
    }
}

/// Splits `file_name` into version and name, or says what is wrong with it.
///
/// Leading zeros are refused: refinery reads `V01` and `V1` as one version, and a folder in which some files
/// have them is sorted by eye in another order than the one in which it is applied.
pub(super) fn parse(file_name: &str, kind: Kind) -> Result<(Version, String), String> {
    let letter = kind.letter();
    let pattern = format!("expected {letter}<version>__<lower_snake_case>.sql");
    let stem = file_name
        .strip_suffix(".sql")
        .ok_or_else(|| format!("the file name does not end in .sql: {pattern}"))?;
    let rest = stem.strip_prefix(letter).ok_or_else(|| wrong_letter(stem, kind, &pattern))?;
    let (digits, name) =
        rest.split_once("__").ok_or_else(|| format!("the file name does not match: {pattern}"))?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("the version is not made of digits: {pattern}"));
    }
    if !is_lower_snake_case(name) {
        return Err(format!(
            "the name {name:?} is not lower_snake_case (a-z and 0-9 in words joined by one _): {pattern}"
        ));
    }
    let version = parse_version(digits)?;
    Ok((version, name.to_owned()))
}

fn wrong_letter(stem: &str, kind: Kind, pattern: &str) -> String {
    let mut characters = stem.chars();
    let first = characters.next();
    let numbered = characters.next().is_some_and(|character| character.is_ascii_digit());
    match (first, kind) {
        (Some('U'), _) if numbered => {
            "refinery would run a file named U forward, as a migration: undo files are named D and lie in undo/"
                .to_owned()
        }
        (Some('D'), Kind::Migration) if numbered => {
            format!("undo files lie in undo/, and this is the folder of the migrations: {pattern}")
        }
        (Some('V'), Kind::Undo) if numbered => {
            format!("migrations lie in migrations/, and this is the folder of the undo files: {pattern}")
        }
        _ => format!("the file name does not match: {pattern}"),
    }
}

/// Reads a version: digits without leading zeros, from 1 to 9223372036854775807.
pub(super) fn parse_version(digits: &str) -> Result<Version, String> {
    let version: Version = digits
        .parse()
        .map_err(|_| format!("the version {digits} is above {}, the highest that is kept", Version::MAX))?;
    if version == 0 {
        return Err("version 0 is the empty base: versions begin at 1".to_owned());
    }
    if digits.starts_with('0') {
        return Err(format!("the version has leading zeros: write {version} instead of {digits}"));
    }
    Ok(version)
}

/// Words of `a-z` and `0-9`, joined by single underscores.
pub(super) fn is_lower_snake_case(name: &str) -> bool {
    name.split('_').all(|word| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    })
}
