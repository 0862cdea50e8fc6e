//! One query through the pool for everybody who asks at the same time.

use std::sync::{Arc, Mutex, PoisonError};

use foundation::database::Database;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

use super::{BUDGET, PATIENCE};
use crate::domain::health::QueryResult;
use crate::store;

/// A query whose answer is shared by all who ask while it is under way. At most one is.
#[derive(Clone)]
pub struct SharedQuery(Arc<Shared>);

struct Shared {
    database: Database,
    under_way: Mutex<Option<watch::Receiver<Option<QueryResult>>>>,
}

impl SharedQuery {
    /// Asks `database` through its pool.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self(Arc::new(Shared { database, under_way: Mutex::default() }))
    }

    /// The database that is asked.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.0.database
    }

    /// How long the answer took, or why there was none; within [`BUDGET`] either way. A query that takes
    /// longer goes on for those who ask next: it may be about to open the pool's first connection.
    pub async fn ask(&self) -> QueryResult {
        let mut result = self.join_or_start();
        match timeout(BUDGET, result.wait_for(Option::is_some)).await {
            Ok(answered) => answered
                .ok()
                .and_then(|result| result.clone())
                .unwrap_or_else(|| Err("the query ended without a result".to_owned())),
            Err(_elapsed) if self.0.pool_is_exhausted() => {
                Err(format!("no connection of the pool was free within {} ms", BUDGET.as_millis()))
            }
            Err(_elapsed) => Err(format!("the database did not answer within {} ms", BUDGET.as_millis())),
        }
    }

    fn join_or_start(&self) -> watch::Receiver<Option<QueryResult>> {
        // Nothing that can panic happens under this lock.
        let mut under_way = self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(result) = &*under_way
            && result.has_changed().is_ok()
        {
            return result.clone();
        }
        let (sender, result) = watch::channel(None);
        *under_way = Some(result.clone());
        drop(under_way);
        let shared = self.0.clone();
        // A task of its own: the query goes on for the others when the first who asked goes away.
        let query = async move {
            let answer = shared.query().await;
            // Who asks from now on starts a new one.
            *shared.under_way.lock().unwrap_or_else(PoisonError::into_inner) = None;
            sender.send_replace(Some(answer));
        };
        tokio::spawn(query.in_current_span());
        result
    }
}

impl Shared {
    async fn query(&self) -> QueryResult {
        let started = Instant::now();
        match timeout(PATIENCE, store::health::ping(&self.database)).await {
            Ok(Ok(())) => Ok(started.elapsed()),
            Ok(Err(error)) => {
                tracing::debug!(error = %error, "the query for /health/db failed");
                Err(error.to_string())
            }
            Err(_elapsed) => Err(format!("the database did not answer within {} s", PATIENCE.as_secs())),
        }
    }

    fn pool_is_exhausted(&self) -> bool {
        let status = self.database.pool_status();
        status.available == 0 && status.size >= status.maximum
    }
}
