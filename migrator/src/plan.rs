//! What is to be done, from what is applied and what this release embeds. No database here.

use std::collections::BTreeMap;

use crate::history::{Applied, JournalEntry, last_applied};
use crate::source::{Catalog, Migration, Version};

/// How what is applied goes together with a release's migrations.
#[derive(Debug)]
pub struct Plan<'catalog, 'history> {
    /// Embedded and not applied, in order.
    pub pending: Vec<&'catalog Migration>,
    /// Applied and not embedded, newer than everything embedded: a newer release was here.
    pub newer: Vec<&'history Applied>,
    /// What does not go together, in words.
    pub conflicts: Vec<String>,
}

impl<'catalog, 'history> Plan<'catalog, 'history> {
    /// Compares the two.
    #[must_use]
    pub fn new(catalog: &'catalog Catalog, applied: &'history [Applied]) -> Self {
        let newest = catalog.newest();
        let newest_applied = applied.last().map_or(0, |it| it.version);
        let by_version: BTreeMap<Version, &Applied> = applied.iter().map(|it| (it.version, it)).collect();
        let (mut pending, mut conflicts) = (Vec::new(), Vec::new());
        for migration in catalog.iter() {
            match by_version.get(&migration.version()) {
                Some(applied) if applied.is(migration) => {}
                Some(applied) => conflicts.push(format!(
                    "{} was changed after it was applied ({}): restore the file as it was and write a new migration",
                    migration.display(),
                    if applied.name == migration.name() { "its checksum differs".to_owned() } else { format!("as {}", applied.display()) }
                )),
                None if migration.version() < newest_applied => conflicts.push(format!(
                    "{} is not applied but the newer version {newest_applied} is: give it a version above that",
                    migration.display()
                )),
                None => pending.push(migration),
            }
        }
        let unknown = applied.iter().filter(|it| catalog.get(it.version).is_none());
        let (newer, missing): (Vec<_>, Vec<_>) = unknown.partition(|it| it.version > newest);
        conflicts.extend(missing.iter().map(|it| {
            format!(
                "{} is applied but this release does not know it: use the release that has it",
                it.display()
            )
        }));
        Self { pending, newer, conflicts }
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
