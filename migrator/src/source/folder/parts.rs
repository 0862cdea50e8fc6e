//! From files to what they say: migrations and undos with their versions, all of one style.

use super::layout::File;
use super::name::{self, Named, Shape, Written};
use super::style::Style;
use super::{psql, sections, text};
use crate::source::{Dialect, Problem, Version};

/// One migration, or one undo.
pub(super) struct Part {
    /// The path of its file, for people.
    pub(super) file: String,
    pub(super) version: Version,
    pub(super) name: String,
    /// The lines of its file above all sections. They are no part of its text, whose first lines are empty for them.
    pub(super) head: String,
    /// Its SQL, each line where it stands in the file.
    pub(super) text: String,
    /// Whether its tool is told not to run it in a transaction.
    pub(super) no_transaction: bool,
}

#[derive(Default)]
pub(super) struct Parts {
    pub(super) counting: Counting,
    pub(super) up: Vec<Part>,
    pub(super) down: Vec<Part>,
}

/// A file whose name and encoding are right.
pub(super) struct Understood {
    pub(super) path: String,
    pub(super) named: Named,
    pub(super) text: String,
    pub(super) style: Style,
}

/// The files with right names and texts; `problems` tells of the others.
pub(super) fn understand(dialect: Dialect, files: Vec<File>, problems: &mut Vec<Problem>) -> Vec<Understood> {
    let mut understood = Vec::new();
    for File { path, name, content } in files {
        match (name::parse(&name), text::read(dialect, content)) {
            (Err(reason), _) | (_, Err(reason)) => problems.push(Problem::new(path, reason)),
            (Ok(named), Ok(text)) => {
                let style = match named.shape {
                    Shape::Migration | Shape::Undo => Style::Lettered,
                    Shape::Up | Shape::Down => Style::Pair,
                    Shape::Plain => sections::style(&text),
                };
                understood.push(Understood { path, named, text, style });
            }
        }
    }
    understood
}

impl Parts {
    pub(super) fn of(dialect: Dialect, files: Vec<File>, problems: &mut Vec<Problem>) -> Self {
        let files = understand(dialect, files, problems);
        let Some(first) = files.first() else { return Self::default() };
        if let Some(other) = files.iter().find(|it| it.style != first.style) {
            let reason = format!(
                "is {}, and {} is {}: a folder has one style, so that it is plain which file is what",
                other.style, first.path, first.style
            );
            problems.push(Problem::new(&other.path, reason));
            return Self::default();
        }
        let counting = Counting::of(&files);
        let mut parts = Self { counting, ..Self::default() };
        for file in files {
            match counting.number(&file.named.version) {
                Ok(version) => parts.add(dialect, file, version, problems),
                Err(reason) => problems.push(Problem::new(file.path, reason)),
            }
        }
        parts
    }

    fn add(&mut self, dialect: Dialect, file: Understood, version: Version, problems: &mut Vec<Problem>) {
        let Understood { path, named: Named { shape, name, .. }, text, style } = file;
        problems.extend(psql::offence(dialect, &path, &text));
        let part = |text, no_transaction| {
            let (file, name) = (path.clone(), name.clone());
            Part { file, version, name, head: String::new(), text, no_transaction }
        };
        let sections = match style {
            Style::Dbmate => sections::dbmate(&path, &text, problems),
            Style::Goose => sections::goose(&path, &text, problems),
            Style::Lettered | Style::Pair | Style::Plain => {
                let list =
                    if matches!(shape, Shape::Undo | Shape::Down) { &mut self.down } else { &mut self.up };
                list.push(part(text, false));
                return;
            }
        };
        self.up.push(Part { head: sections.head, ..part(sections.up, sections.no_transaction) });
        self.down.extend(sections.down.map(|text| part(text, sections.down_no_transaction)));
    }
}

/// How the numbers of versions come about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Counting {
    /// As they are written.
    #[default]
    Plain,
    /// The first one is 0, as golang-migrate allows, and here 0 is the base: each is one higher than it is written.
    FromZero,
    /// One of the folder has several numbers, so all count by three: 1.2.3 is 1002003, and 2 is 2000000.
    Dotted,
}

/// What follows the first number is below this.
const EACH: Version = 1000;

impl Counting {
    pub(super) fn of(files: &[Understood]) -> Self {
        let is_zero = |it: &Understood| {
            it.style != Style::Lettered && it.named.version.0.iter().all(|it| it.bytes().all(|it| it == b'0'))
        };
        if files.iter().any(|it| it.named.version.0.len() > 1) {
            Self::Dotted
        } else if files.iter().any(is_zero) {
            Self::FromZero
        } else {
            Self::Plain
        }
    }

    /// The number of a version as its own tool writes it into its table.
    pub(crate) fn version(self, text: &str) -> Result<Version, String> {
        self.number(&written(text)?)
    }

    /// Where a version as its own tool writes it stands among those of the folder, which need not have it: every one
    /// up to and with this number is at or below it. 0 where none is.
    pub(crate) fn place(self, text: &str) -> Result<Version, String> {
        let Written(numbers) = written(text)?;
        // What is too long to be a number is above every one.
        let numbers: Vec<Version> = numbers.iter().map(|it| it.parse().unwrap_or(Version::MAX)).collect();
        let at = |index: usize| numbers.get(index).copied().unwrap_or(0);
        Ok(match self {
            Self::Plain => at(0),
            Self::FromZero => at(0).saturating_add(1),
            Self::Dotted => {
                let (second, third) = (at(1).min(EACH - 1), if at(1) < EACH { at(2) } else { EACH });
                let rest = second * EACH + third.min(EACH - 1);
                at(0).saturating_mul(EACH * EACH).saturating_add(rest)
            }
        })
    }

    pub(super) fn number(self, written: &Written) -> Result<Version, String> {
        let shown = written.0.join(".");
        let too_high = || format!("the version {shown} is above {}, the highest that is kept", Version::MAX);
        let numbers: Vec<Version> =
            written.0.iter().map(|it| it.parse()).collect::<Result<_, _>>().map_err(|_| too_high())?;
        let version = match (self, numbers.as_slice()) {
            (Self::Plain, [number]) => *number,
            (Self::FromZero, [number]) => number.checked_add(1).ok_or_else(too_high)?,
            (Self::Dotted, [first, rest @ ..]) if rest.len() <= 2 && rest.iter().all(|it| *it < EACH) => {
                let at = |index: usize| rest.get(index).copied().unwrap_or(0);
                let first = first.checked_mul(EACH * EACH).ok_or_else(|| {
                    format!("the version {shown} is too high beside versions with dots, which count a.b.c as a millions, b thousands and c: rename those without dots")
                })?;
                first.checked_add(at(0) * EACH + at(1)).ok_or_else(too_high)?
            }
            _ => {
                return Err(format!(
                    "the version {shown} cannot be kept: at most three numbers, and below {EACH} after the first; rename it"
                ));
            }
        };
        if version == 0 {
            return Err(
                "version 0 is the empty base, to which `down --to 0` goes back: give it a number above 0"
                    .to_owned(),
            );
        }
        Ok(version)
    }
}

/// The numbers of a version in a table.
fn written(text: &str) -> Result<Written, String> {
    let numbers: Vec<String> = text.split(['.', '_']).map(str::to_owned).collect();
    if numbers.iter().any(|it| it.is_empty() || !it.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(format!("the version {text:?} is no number"));
    }
    Ok(Written(numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(counting: Counting, written: &str) -> Result<Version, String> {
        counting.number(&Written(written.split('.').map(str::to_owned).collect()))
    }

    #[test]
    fn versions_keep_their_order() {
        assert_eq!(number(Counting::Plain, "000012"), Ok(12));
        assert_eq!(number(Counting::Plain, "20240101120000"), Ok(20_240_101_120_000));
        assert_eq!([number(Counting::FromZero, "0"), number(Counting::FromZero, "012")], [Ok(1), Ok(13)]);
        let written = ["0.1", "1", "1.0.1", "1.1", "1.2", "1.10", "1.10.999", "2", "10", "202401011200.1"];
        let numbers: Vec<Version> = written.map(|it| number(Counting::Dotted, it).expect(it)).to_vec();
        assert_eq!(numbers[..4], [1_000, 1_000_000, 1_000_001, 1_001_000]);
        assert!(numbers.is_sorted_by(|left, right| left < right), "{numbers:?}");
    }

    #[test]
    fn versions_are_read_from_a_table() {
        assert_eq!(Counting::Plain.version("0012"), Ok(12));
        assert_eq!(Counting::FromZero.version("0"), Ok(1));
        assert_eq!(Counting::Dotted.version("1.10"), Ok(1_010_000));
        for text in ["", "1.", "-1", "3f2a"] {
            let reason = Counting::Plain.version(text).expect_err(text);
            assert!(reason.contains("is no number"), "{text}: {reason}");
        }
    }

    #[test]
    fn what_no_file_has_has_a_place_all_the_same() {
        for (counting, text, place) in [
            (Counting::Plain, "0", 0),
            (Counting::Plain, "0.0", 0),
            (Counting::Plain, "1.0", 1),
            (Counting::Plain, "2.7", 2),
            (Counting::Plain, "99999999999999999999", Version::MAX),
            (Counting::Dotted, "0", 0),
            (Counting::Dotted, "1", 1_000_000),
            (Counting::Dotted, "1.2.0.0", 1_002_000),
            (Counting::Dotted, "1.2.3.4", 1_002_003),
            (Counting::Dotted, "1.2.1000", 1_002_999),
            (Counting::Dotted, "1.1000", 1_999_999),
            (Counting::Dotted, "20240101120000000", Version::MAX),
        ] {
            assert_eq!(counting.place(text), Ok(place), "{counting:?} {text}");
        }
        assert!(Counting::Plain.place("3f2a").is_err());
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        for (counting, written, said) in [
            (Counting::Plain, "20191100000001000000", "above 9223372036854775807"),
            (Counting::Plain, "0", "the empty base"),
            (Counting::Dotted, "0.0", "the empty base"),
            (Counting::Dotted, "1.1000", "below 1000"),
            (Counting::Dotted, "1.2.3.4", "at most three numbers"),
            (Counting::Dotted, "20240101120000", "rename those without dots"),
        ] {
            let reason = number(counting, written).expect_err(written);
            assert!(reason.contains(said), "{written}: {reason}");
        }
    }
}
