//! Connections that many requests share, their statements sent one behind the other without waiting for the
//! answers in between (pipelined).
//!
//! A lane carries only single reads by a unique or covering index, because what is slow on it delays
//! everybody behind it. It has no state that a statement could leave behind: no transaction, no setting.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::RwLock;
use tokio::time::timeout;

use super::renewals::{Opened, Renewals};
use super::{OUTDATED, bound, configured, hosts, not_connected, parameters, timed_out, values};
use crate::database::{DatabaseError, PostgresUrl, Row, Value};
use crate::settings::DatabaseSettings;

/// How many connections are shared. More do not make it faster where it was measured, fewer do slow it down.
const LANES: usize = 4;

/// How long a look-up may take. One that takes longer shows that the lane, or the server, is stuck.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// The lanes. Cheap to clone.
#[derive(Clone)]
pub(in crate::database) struct Lanes(Arc<Shared>);

struct Shared {
    lanes: [RwLock<Option<Arc<Opened>>>; LANES],
    next: AtomicUsize,
    url: PostgresUrl,
    connector: hosts::Connector,
    renewals: Arc<Renewals>,
    application_name: String,
    lookup_timeout: Duration,
}

impl Lanes {
    /// Sets the lanes up. Nothing is connected before the first look-up.
    pub(super) fn new(
        url: &PostgresUrl,
        settings: &DatabaseSettings,
        connector: hosts::Connector,
        renewals: &Arc<Renewals>,
        application_name: &str,
    ) -> Self {
        Self(Arc::new(Shared {
            lanes: Default::default(),
            next: AtomicUsize::new(0),
            url: url.clone(),
            connector,
            renewals: Arc::clone(renewals),
            application_name: application_name.to_owned(),
            lookup_timeout: settings.statement_timeout.min(LOOKUP_TIMEOUT),
        }))
    }

    /// Asks on the next lane. A lane that broke is replaced, and asked once more: nothing was changed. So is one
    /// whose statement was prepared before a migration.
    pub(in crate::database) async fn query(
        &self,
        sql: &str,
        values: &[Value],
    ) -> Result<Vec<Row>, DatabaseError> {
        let index = self.0.next.fetch_add(1, Ordering::Relaxed) % LANES;
        let lane = self.0.lane(index).await?;
        match self.0.ask(&lane, sql, values).await {
            Err(error) if !lane.is_current() || error.sqlstate() == Some(OUTDATED.code()) => {
                let lane = self.0.lane(index).await?;
                self.0.ask(&lane, sql, values).await
            }
            answered => answered,
        }
    }

    /// Closes the lanes that nobody is just being given. Who asks afterwards opens one again.
    pub(in crate::database) fn close(&self) {
        for lane in &self.0.lanes {
            if let Ok(mut lane) = lane.try_write() {
                *lane = None;
            }
        }
    }
}

impl Shared {
    /// The lane at this place, opened where it is missing or broken. Those who come meanwhile wait for it.
    async fn lane(&self, index: usize) -> Result<Arc<Opened>, DatabaseError> {
        if let Some(lane) = self.lanes[index].read().await.as_ref().filter(|lane| lane.is_current()) {
            return Ok(Arc::clone(lane));
        }
        let mut place = self.lanes[index].write().await;
        if let Some(lane) = place.as_ref().filter(|lane| lane.is_current()) {
            return Ok(Arc::clone(lane));
        }
        let config = configured(&self.url, &self.application_name);
        let limit = self.connector.create_timeout;
        let connected = self.renewals.open(&self.connector, &config);
        let lane = match timeout(limit, connected).await {
            Ok(connected) => Arc::new(connected.map_err(|error| not_connected(&self.url, error.into()))?),
            Err(_) => return Err(not_connected(&self.url, timed_out(limit))),
        };
        *place = Some(Arc::clone(&lane));
        Ok(lane)
    }

    async fn ask(&self, lane: &Arc<Opened>, sql: &str, values: &[Value]) -> Result<Vec<Row>, DatabaseError> {
        let asked = async {
            let statement = lane.prepare_cached(sql).await?;
            lane.query(&statement, &bound(&parameters(values))).await
        };
        match timeout(self.lookup_timeout, asked).await {
            Ok(Ok(rows)) => Ok(values::rows(rows)),
            Ok(Err(error)) => {
                // A migration changed what the statement finds: it is prepared anew.
                if error.code() == Some(&OUTDATED) {
                    lane.statement_cache.clear();
                }
                Err(error.into())
            }
            Err(_) => {
                self.forget(lane).await;
                Err(timed_out(self.lookup_timeout))
            }
        }
    }

    /// Gives a lane up that does not answer. Those who still wait on it have their own time limit.
    async fn forget(&self, stuck: &Arc<Opened>) {
        for place in &self.lanes {
            let mut place = place.write().await;
            if place.as_ref().is_some_and(|lane| Arc::ptr_eq(lane, stuck)) {
                *place = None;
            }
        }
    }
}
