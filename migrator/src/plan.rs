//! What is to be done, from what is applied and what this release embeds. No database here.

use std::collections::BTreeMap;

use crate::conflict::Conflict;
use crate::history::{Applied, last_applied};
use crate::past::Past;
use crate::source::{Catalog, Migration, Version};

/// How what is applied goes together with a release's migrations.
#[derive(Debug)]
pub struct Plan<'catalog, 'history> {
    /// Embedded and not applied, in order.
    pub pending: Vec<&'catalog Migration>,
    /// Applied and not embedded, in the order in which they were applied: a newer release was here. Their versions
    /// are above all that are embedded, or they were applied after all of these.
    pub newer: Vec<&'history Applied>,
    /// What does not go together.
    pub conflicts: Vec<Conflict<'catalog, 'history>>,
}

impl<'catalog, 'history> Plan<'catalog, 'history> {
    /// Compares the two.
    #[must_use]
    pub fn new(catalog: &'catalog Catalog, past: &'history Past) -> Self {
        let applied = &past.applied;
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
        let mut unknown = Vec::new();
        for row in applied.iter().filter(|it| catalog.get(it.version).is_none()) {
            match take_same(row, &mut open) {
                Some(target) => conflicts.push(Conflict::Renumbered(row, target)),
                None => unknown.push(row),
            }
        }
        let (newer, missing) = of_newer_releases(catalog, past, unknown, open.is_empty());
        conflicts.extend(missing.into_iter().map(Conflict::Missing));
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

    /// Whether what a newer release applied lets this one run, in words when it does not. The journal says
    /// since which version each is compatible; what says nothing is compatible. Where that version is a newer
    /// release's too, this one does not have it, whatever its number.
    #[must_use]
    pub fn incompatibility(&self, catalog: &Catalog, past: &Past) -> Option<String> {
        let newest = catalog.newest();
        self.newer.iter().find_map(|applied| {
            let last = last_applied(&past.journal, applied.version)?;
            let lacks = |from: &Version| *from > newest || self.newer.iter().any(|it| it.version == *from);
            let from = last.compatible_from.filter(lacks)?;
            let needed = if from > newest {
                format!("version {from} or later, and the newest of this one is {newest}")
            } else {
                format!("version {from}, which this one does not have")
            };
            Some(format!(
                "the database is too new: {} needs a release that has {needed}; use a newer image, or undo it with the newer one",
                applied.display()
            ))
        })
    }

    /// What is applied as this release would take it back, which is from the end: its own in the order of
    /// versions, then what newer releases applied, whatever its versions.
    #[must_use]
    pub fn in_order(&self, past: &'history Past) -> Vec<&'history Applied> {
        let is_newer = |row: &Applied| self.newer.iter().any(|it| it.version == row.version);
        let own = past.applied.iter().filter(|it| !is_newer(it));
        own.chain(self.newer.iter().copied()).collect()
    }
}

/// Parts what a release does not know into what newer ones applied, in the order in which they did, and what is
/// missing here. What was applied after everything that this release has is of a newer one, also where its version
/// is lower: two lines of releases with numbers of their own came together in it.
fn of_newer_releases<'history>(
    catalog: &Catalog,
    past: &Past,
    unknown: Vec<&'history Applied>,
    everything_is_applied: bool,
) -> (Vec<&'history Applied>, Vec<&'history Applied>) {
    let moment = past.moments();
    let own = past.applied.iter().filter(|it| catalog.get(it.version).is_some());
    let last_of_own = own.map(&moment).max();
    let is_newer = |row: &Applied| {
        row.version > catalog.newest()
            || (everything_is_applied && last_of_own.is_some_and(|last| moment(row) > last))
    };
    let (mut newer, missing): (Vec<_>, Vec<_>) = unknown.into_iter().partition(|it| is_newer(it));
    newer.sort_by_key(|it| moment(it));
    (newer, missing)
}

/// Takes out of `open` the file that is what the row stands for but for its version.
fn take_same<'catalog>(row: &Applied, open: &mut Vec<&'catalog Migration>) -> Option<&'catalog Migration> {
    let position = open.iter().position(|it| it.name() == row.name && row.has_text(it))?;
    Some(open.remove(position))
}
