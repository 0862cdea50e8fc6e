//! Following the table.

use std::sync::Arc;
use std::time::Duration;

use foundation::database::{Database, DatabaseError};
use tokio::sync::{Notify, oneshot, watch};

use super::CHANNEL;
use crate::domain::config::{Key, Stored};
use crate::domain::live::Live;
use crate::outage::Outage;
use crate::store::config;

/// Follows the table.
pub(super) struct Follow {
    database: Database,
    defaults: Arc<Live>,
    live: watch::Sender<Arc<Live>>,
    /// What was read last.
    rows: Option<Vec<Stored>>,
    /// What is wrong with rows, so that it is told once.
    problems: Vec<(Key, String)>,
    outage: Outage,
}

impl Follow {
    pub(super) fn new(database: Database, defaults: Arc<Live>, live: watch::Sender<Arc<Live>>) -> Self {
        Self { database, defaults, live, rows: None, problems: Vec::new(), outage: Outage::default() }
    }

    /// Looks at the table once.
    pub(super) async fn read(&mut self) -> Result<(), DatabaseError> {
        let rows = config::all(&self.database).await?;
        self.take(Ok(rows));
        Ok(())
    }

    /// Looks at the table at once, when told of a change, when nudged, and each `poll`.
    pub(super) async fn run(mut self, poll: Duration, nudge: &Notify, first: oneshot::Sender<()>) {
        let mut first = Some(first);
        let mut listener = self.database.listen(CHANNEL);
        loop {
            let read = config::all(&self.database).await;
            self.take(read);
            if let Some(first) = first.take() {
                // Whoever waited has gone on where nobody listens.
                let _gone_on = first.send(());
            }
            tokio::select! {
                // Whatever was said, or may have been said while nobody listened: the table knows.
                _ = listener.next() => {}
                () = nudge.notified() => {}
                () = tokio::time::sleep(poll) => {}
            }
        }
    }

    fn take(&mut self, read: Result<Vec<Stored>, DatabaseError>) {
        let rows = match read {
            Ok(rows) => rows,
            Err(error) => {
                if self.outage.begins() {
                    tracing::warn!(%error, "the settings in the database cannot be read; what held still holds");
                }
                return;
            }
        };
        if self.outage.ends() {
            tracing::info!("the settings in the database can be read again");
        }
        let nothing: Vec<_> = Key::ALL.iter().copied().map(Stored::missing).collect();
        let known = self.rows.as_deref().unwrap_or(&nothing);
        // Before the first read, a change is what was put there at all.
        let is_new = |before: &Stored, row: &Stored| match &self.rows {
            Some(_) => !before.is_same(row),
            None => row.value.is_some(),
        };
        let changed = known.iter().zip(&rows).filter(|(before, row)| is_new(before, row));
        let changed: Vec<_> = changed.map(|(_, row)| row.key.name()).collect();
        if changed.is_empty() {
            self.rows.get_or_insert(rows);
            return;
        }
        tracing::info!(settings = changed.join(" "), "the settings in the database were changed");
        let before = Arc::clone(&self.live.borrow());
        let (live, problems) = Live::assemble(&rows, &self.defaults, &before);
        for (key, words) in problems.iter().filter(|it| !self.problems.contains(it)) {
            tracing::warn!(setting = key.name(), "what is in the database is not obeyed: {words}");
        }
        self.problems = problems;
        self.rows = Some(rows);
        self.live.send_replace(Arc::new(live));
    }
}
