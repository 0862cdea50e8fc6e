//! What is applied and does not go together with the files, each in words with the way out.

use std::fmt;

use crate::history::Applied;
use crate::source::{Migration, Version};

/// Something applied, or not, that does not go together with the files.
#[derive(Clone, Debug)]
pub enum Conflict<'catalog, 'history> {
    /// The file has another text than the one that was applied.
    Changed(&'history Applied, &'catalog Migration),
    /// The file has another name, and the text that was applied.
    Renamed(&'history Applied, &'catalog Migration),
    /// The file has another name and another text: two migrations had this version.
    Replaced(&'history Applied, &'catalog Migration),
    /// What was applied has another version now.
    Renumbered(&'history Applied, &'catalog Migration),
    /// The file is not applied, but one with a higher version is.
    Late(&'catalog Migration, Version),
    /// It is applied, and there is no file.
    Missing(&'history Applied),
}

impl<'catalog, 'history> Conflict<'catalog, 'history> {
    /// The row of the history that is in question; nothing of a file that came late.
    #[must_use]
    pub fn applied(&self) -> Option<&'history Applied> {
        match self {
            Self::Changed(applied, _)
            | Self::Renamed(applied, _)
            | Self::Replaced(applied, _)
            | Self::Renumbered(applied, _)
            | Self::Missing(applied) => Some(applied),
            Self::Late(..) => None,
        }
    }

    /// The file that is in question.
    #[must_use]
    pub fn migration(&self) -> Option<&'catalog Migration> {
        match self {
            Self::Changed(_, migration)
            | Self::Renamed(_, migration)
            | Self::Replaced(_, migration)
            | Self::Renumbered(_, migration)
            | Self::Late(migration, _) => Some(migration),
            Self::Missing(_) => None,
        }
    }

    /// One word for it, as `status` shows it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Changed(..) => "changed",
            Self::Renamed(..) => "renamed",
            Self::Replaced(..) => "replaced",
            Self::Renumbered(..) => "renumbered",
            Self::Late(..) => "late",
            Self::Missing(..) => "missing",
        }
    }
}

impl fmt::Display for Conflict<'_, '_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed(_, file) => write!(
                formatter,
                "{file} was changed after it was applied (its checksum differs): restore the file as it was and write a new migration, or, if the change is meant, let `migrator repair {}` show the difference and record the file as it is",
                file.version()
            ),
            Self::Renamed(applied, file) => write!(
                formatter,
                "{file} was changed after it was applied (as {}): its name, and nothing else; give the file its old name, or let `migrator repair {}` record the new one",
                applied.display(),
                file.version()
            ),
            Self::Replaced(applied, file) => write!(
                formatter,
                "{file} was changed after it was applied (as {}): the text differs too, so two migrations have had the version {}, from two branches perhaps; give this file a version above every other and bring the file of the other one back, or, if they are one and the same, let `migrator repair {}` show the difference and record this one",
                applied.display(),
                file.version(),
                file.version()
            ),
            Self::Renumbered(applied, file) => write!(
                formatter,
                "{} is applied, and its file is {file} now: it got another version afterwards, when branches were merged perhaps; let `migrator repair {}` record that, which runs nothing, or give the file its old version",
                applied.display(),
                applied.version
            ),
            Self::Late(file, newest) => write!(
                formatter,
                "{file} is not applied but the newer version {newest} is: it came late, from another branch perhaps; give it a version above that, or, if it does not matter which is first, apply it with `migrator up --out-of-order`"
            ),
            Self::Missing(applied) => write!(
                formatter,
                "{} is applied but this release does not know it: use the release that has it, or bring its file back; or take it back with `migrator down`, by the undo that the journal kept; or, if nothing of it is left, let `migrator repair --forget {}` take it out of the history",
                applied.display(),
                applied.version
            ),
        }
    }
}
