//! What was done to a database, as far as a release has to know it to see how that goes together with its files.

use std::collections::BTreeMap;

use foundation::database::{Connection, DatabaseError};
use time::OffsetDateTime;

use crate::history::{self, Applied, JournalEntry};
use crate::own::Asked;
use crate::progress::Begun;
use crate::records::Records;
use crate::source::{Catalog, Version};

/// What is applied, and what runs did.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// What is applied, in the order of versions.
    pub applied: Vec<Applied>,
    /// The files of which a part is done.
    pub(crate) begun: Vec<Begun>,
    /// The journal, oldest first.
    pub journal: Vec<JournalEntry>,
}

/// When something was applied, compared with other things that are: by its place in the journal, which needs no
/// clocks that agree, and by the time in the history where the journal does not have it. That is before the
/// journal began, so before everything that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(Option<usize>, Option<OffsetDateTime>);

impl Past {
    /// Reads what is applied and begun, and the journal only where something is applied that the release does not
    /// have: otherwise there is nothing to ask it.
    ///
    /// # Errors
    /// What the database says; that the tables are missing is no error.
    pub async fn read(connection: &mut Connection, catalog: &Catalog) -> Result<Self, DatabaseError> {
        Self::ask(&mut Asked::Connection(connection), catalog).await
    }

    /// The same.
    pub(crate) async fn ask(asked: &mut Asked<'_>, catalog: &Catalog) -> Result<Self, DatabaseError> {
        let Records { applied, begun } = Records::ask(asked).await?;
        let knows_all = applied.iter().all(|it| catalog.get(it.version).is_some());
        let journal = if knows_all { Vec::new() } else { history::ask_journal(asked).await? };
        Ok(Self { applied, begun, journal })
    }

    /// The same with the journal in any case.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn read_whole(connection: &mut Connection) -> Result<Self, DatabaseError> {
        let Records { applied, begun } = Records::read(connection).await?;
        let journal = history::read_journal(connection).await?;
        Ok(Self { applied, begun, journal })
    }

    /// The newest version that is applied.
    #[must_use]
    pub fn newest(&self) -> Option<Version> {
        self.applied.last().map(|it| it.version)
    }

    /// When each row of the history was applied.
    pub(crate) fn moments(&self) -> impl Fn(&Applied) -> Moment + use<> {
        let mut places: BTreeMap<Version, usize> = BTreeMap::new();
        for (place, entry) in self.journal.iter().enumerate() {
            match (entry.version, entry.outcome.as_str()) {
                _ if entry.statement.is_some() || entry.error.is_some() => {}
                (Some(version), "undone") => drop(places.remove(&version)),
                // What is repaired has been applied before.
                (Some(version), "applied" | "stamped" | "repaired") => {
                    places.entry(version).or_insert(place);
                }
                _ => {}
            }
        }
        move |row| Moment(places.get(&row.version).copied(), row.applied_on)
    }
}
