//! What is to be done, from what is applied and what this release embeds. No database here.

use std::collections::BTreeMap;

use crate::conflict::Conflict;
use crate::history::{Applied, JournalEntry, last_applied};
use crate::source::{Catalog, Migration, Version};

/// How what is applied goes together with a release's migrations.
#[derive(Debug)]
pub struct Plan<'catalog, 'history> {
    /// Embedded and not applied, in order.
    pub pending: Vec<&'catalog Migration>,
    /// Applied and not embedded, newer than everything embedded: a newer release was here.
    pub newer: Vec<&'history Applied>,
    /// What does not go together.
    pub conflicts: Vec<Conflict<'catalog, 'history>>,
}

impl<'catalog, 'history> Plan<'catalog, 'history> {
    /// Compares the two.
    #[must_use]
    pub fn new(catalog: &'catalog Catalog, applied: &'history [Applied]) -> Self {
        let newest = catalog.newest();
        let newest_applied = applied.last().map_or(0, |it| it.version);
        let by_version: BTreeMap<Version, &Applied> = applied.iter().map(|it| (it.version, it)).collect();
        let (mut open, mut other) = (Vec::new(), Vec::new());
        for migration in catalog.iter() {
            match by_version.get(&migration.version()) {
                Some(applied) if applied.is(migration) => {}
                Some(applied) => other.push((*applied, migration)),
                None => open.push(migration),
            }
        }
        let mut conflicts = Vec::new();
        // The newest first: a row that gave its version to another one leaves that one open.
        for (row, migration) in other.into_iter().rev() {
            if row.name == migration.name() {
                conflicts.push(Conflict::Changed(row, migration));
            } else if row.has_text(migration) {
                conflicts.push(Conflict::Renamed(row, migration));
            } else if let Some(target) = take_same(row, &mut open) {
                // What has its version now is yet to be applied.
                conflicts.push(Conflict::Renumbered(row, target));
                open.push(migration);
            } else {
                conflicts.push(Conflict::Replaced(row, migration));
            }
        }
        let mut newer = Vec::new();
        for row in applied.iter().filter(|it| catalog.get(it.version).is_none()) {
            match take_same(row, &mut open) {
                Some(target) => conflicts.push(Conflict::Renumbered(row, target)),
                None if row.version > newest => newer.push(row),
                None => conflicts.push(Conflict::Missing(row)),
            }
        }
        open.sort_by_key(|it| it.version());
        let (late, pending) = open.into_iter().partition(|it| it.version() < newest_applied);
        let late: Vec<&Migration> = late;
        conflicts.extend(late.into_iter().map(|it| Conflict::Late(it, newest_applied)));
        conflicts.sort_by_key(|it| {
            it.migration().map_or_else(|| it.applied().map(|it| it.version), |it| Some(it.version()))
        });
        Self { pending, newer, conflicts }
    }

    /// The same where what came late is wanted: it is pending like everything else.
    #[must_use]
    pub fn out_of_order(mut self) -> Self {
        let late: Vec<&Migration> = self.late().collect();
        self.conflicts.retain(|it| !matches!(it, Conflict::Late(..)));
        self.pending.extend(late);
        self.pending.sort_by_key(|it| it.version());
        self
    }

    /// What is not applied although something newer is.
    pub fn late(&self) -> impl Iterator<Item = &'catalog Migration> {
        self.conflicts.iter().filter_map(|it| match it {
            Conflict::Late(migration, _) => Some(*migration),
            _ => None,
        })
    }

    /// What does not go together, in words with the way out.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        self.conflicts.iter().map(ToString::to_string).collect()
    }

    /// Whether what a newer release applied lets this one run, in words when it does not. `journal` says
    /// since which version each is compatible; what says nothing is compatible.
    #[must_use]
    pub fn incompatibility(&self, catalog: &Catalog, journal: &[JournalEntry]) -> Option<String> {
        let newest = catalog.newest();
        self.newer.iter().find_map(|applied| {
            let last = last_applied(journal, applied.version)?;
            let from = last.compatible_from.filter(|from| *from > newest)?;
            Some(format!(
                "the database is too new: {} needs a release that has version {from} or later, and the newest of this one is {newest}; use a newer image, or undo it with the newer one",
                applied.display()
            ))
        })
    }
}

/// Takes out of `open` the file that is what the row stands for but for its version.
fn take_same<'catalog>(row: &Applied, open: &mut Vec<&'catalog Migration>) -> Option<&'catalog Migration> {
    let position = open.iter().position(|it| it.name() == row.name && row.has_text(it))?;
    Some(open.remove(position))
}
