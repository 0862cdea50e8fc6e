//! The partitions of the snapshots: made before they are needed, by the process that has the duty, and at the
//! door for what comes late or early. On SQLite there is nothing to do.

mod ahead;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use foundation::database::{Backend, Database, DatabaseError, DatabaseErrorKind};
use time::OffsetDateTime;

use crate::domain::partitions::Width;
use crate::store::partitions;

pub use ahead::Ahead;

/// The most partitions that are remembered.
const REMEMBERED: usize = 10_000;

/// Sees to it that there is a partition for what is written. Cheap to clone.
#[derive(Clone)]
pub struct Partitions(Arc<Shared>);

struct Shared {
    database: Database,
    width: Width,
    /// The numbers of the ranges that are known to have their partitions.
    known: Mutex<HashSet<i64>>,
}

impl Partitions {
    /// Partitions of this width.
    #[must_use]
    pub fn new(database: Database, width: Width) -> Self {
        Self(Arc::new(Shared { database, width, known: Mutex::default() }))
    }

    /// Makes the partitions that are missing for these times, and says how many.
    ///
    /// # Errors
    /// What the database says.
    pub async fn ensure(
        &self,
        times: impl IntoIterator<Item = OffsetDateTime>,
    ) -> Result<u64, DatabaseError> {
        if self.0.database.backend() == Backend::Sqlite {
            return Ok(0);
        }
        let slots = times.into_iter().map(|time| self.0.width.slot_of(time));
        let mut missing: Vec<i64> = {
            // Nothing that can panic happens under this lock.
            let known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
            let mut last = None;
            slots.filter(|slot| last.replace(*slot) != Some(*slot) && !known.contains(slot)).collect()
        };
        missing.sort_unstable();
        missing.dedup();
        let mut made = 0;
        for slot in missing {
            let Some(range) = self.0.width.range(slot) else { continue };
            made += partitions::ensure(&self.0.database, range).await?;
            let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(slot);
        }
        Ok(made)
    }

    /// Makes the partitions that are missing between two times, and says how many.
    ///
    /// # Errors
    /// What the database says.
    pub async fn ensure_between(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
    ) -> Result<u64, DatabaseError> {
        let width = self.0.width;
        let slots = (width.slot_of(from)..=width.slot_of(to)).filter_map(|slot| width.range(slot));
        self.ensure(slots.map(|range| range.lower).filter(|lower| *lower < to)).await
    }

    /// Whether the error says that a row found no partition: one that was known was dropped. It is forgotten
    /// then, so that the next [`ensure`](Self::ensure) makes it again.
    #[must_use]
    pub fn forget_after(&self, error: &DatabaseError) -> bool {
        // A worker of Citus names no constraint, and what COPY finds there has no code of its own.
        let says = |words| error.to_string().contains(words);
        let no_partition = self.0.database.backend() == Backend::Postgres
            && (says("no partition of relation")
                || error.kind() == DatabaseErrorKind::CheckViolation
                    && error.constraint().is_none()
                    && !says("violates check constraint"));
        if no_partition {
            self.0.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        no_partition
    }
}
