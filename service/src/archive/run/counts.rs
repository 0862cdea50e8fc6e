//! Numbers of rows that are for people, and no reason not to do the work.

use foundation::database::{DatabaseError, DatabaseErrorKind};

use super::work::Work;
use crate::domain::partitions::Range;
use crate::store::archive_rows;

/// So many rows, as far as they could be counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) rows: u64,
    /// What a person is told beside the number.
    pub(super) note: Option<&'static str>,
}

impl Counted {
    const ESTIMATED: &'static str =
        "there are too many rows to count them in time: their number is an estimate of the database";
    const MISSING: &'static str =
        "there are too many rows to count them in time: they are not in the figures";

    /// All of them.
    pub(super) const fn all(rows: u64) -> Self {
        Self { rows, note: None }
    }

    /// What counting said. A partition may be too large to count in time.
    pub(super) fn of(result: Result<u64, DatabaseError>) -> Result<Self, DatabaseError> {
        match result {
            Err(error) if is_too_slow(error.kind()) => Ok(Self { rows: 0, note: Some(Self::MISSING) }),
            counted => counted.map(Self::all),
        }
    }
}

impl Work<'_> {
    /// How many rows of a type would go from a range.
    pub(super) async fn foresee_rows(&self, name: &str, range: Range) -> Result<Counted, DatabaseError> {
        let counted = Counted::of(archive_rows::count(self.database(), name, range).await)?;
        if counted.note.is_none() {
            return Ok(counted);
        }
        let estimated = archive_rows::estimate(self.database(), name, range).await?;
        Ok(estimated.map_or(counted, |rows| Counted { rows, note: Some(Counted::ESTIMATED) }))
    }
}

const fn is_too_slow(kind: DatabaseErrorKind) -> bool {
    matches!(kind, DatabaseErrorKind::QueryCanceled | DatabaseErrorKind::Timeout)
}
