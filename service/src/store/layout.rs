//! How the snapshots lie: on one machine, or distributed by their source over several (Citus; `deploy/citus`).
//! Distributed tables know fewer forms of SQL, and what is quick on one machine may be slow on many.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foundation::database::{Backend, Database, DatabaseError, Statement};
use tokio::time::Instant;

/// How long what was found is believed.
const BELIEVED: Duration = Duration::from_secs(10);

/// Each distributed table has this trigger, which any PostgreSQL can be asked for.
const IS_DISTRIBUTED: Statement = Statement::current(
    "metrics_snapshot",
    "SELECT EXISTS (SELECT FROM pg_trigger JOIN pg_proc ON pg_proc.oid = pg_trigger.tgfoid \
     WHERE pg_trigger.tgrelid = 'metrics_snapshot'::regclass AND pg_proc.proname = 'citus_truncate_trigger') \
     AS is_distributed",
);

/// How the snapshots lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// On one machine.
    Whole,
    /// Distributed by their source.
    Distributed,
}

/// Asks how they lie.
///
/// # Errors
/// What the database says.
pub async fn find(database: &Database) -> Result<Layout, DatabaseError> {
    if database.backend() == Backend::Sqlite {
        return Ok(Layout::Whole);
    }
    let row = database.query_optional(&IS_DISTRIBUTED, &[]).await?;
    let is_distributed = row.map_or(Ok(false), |row| row.get("is_distributed"))?;
    Ok(if is_distributed { Layout::Distributed } else { Layout::Whole })
}

/// How they lie, asked now and then. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct KnownLayout(Arc<Mutex<Option<(Instant, Layout)>>>);

impl KnownLayout {
    /// How they lie, or did a moment ago.
    ///
    /// # Errors
    /// What the database says.
    pub async fn get(&self, database: &Database) -> Result<Layout, DatabaseError> {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, layout)) = known.filter(|(asked, _)| asked.elapsed() < BELIEVED) {
            return Ok(layout);
        }
        let (asked, layout) = (Instant::now(), find(database).await?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((asked, layout));
        Ok(layout)
    }
}
