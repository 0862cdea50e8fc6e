//! Connections that many requests share, their statements sent one behind the other without waiting for the
//! answers in between (pipelined).
//!
//! A lane carries only single reads by a unique or covering index, because what is slow on it delays
//! everybody behind it. It has no state that a statement could leave behind: no transaction, no setting.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;

use super::renewals::{Opened, Renewals};
use super::{Cancel, OUTDATED, bound, configured, hosts, not_connected, parameters, timed_out, values};
use crate::database::{DatabaseError, DatabaseErrorKind, PostgresUrl, Row, Value};
use crate::settings::DatabaseSettings;

/// How many connections are shared. More do not make it faster where it was measured, fewer do slow it down.
const LANES: usize = 4;

/// How long a look-up may take. One that takes longer shows that the lane, or the server, is stuck.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// How many look-ups that were given up are cancelled at the same time. Each needs a connection for that, of a server
/// that may be in trouble; the others end with the time limit of their session.
const CANCELS: usize = 16;

/// The lanes. Cheap to clone.
#[derive(Clone)]
pub(in crate::database) struct Lanes(Arc<Shared>);

struct Shared {
    lanes: [Lane; LANES],
    next: AtomicUsize,
    url: PostgresUrl,
    connector: hosts::Connector,
    renewals: Arc<Renewals>,
    application_name: String,
    /// What each lane begins with.
    limit: String,
    lookup_timeout: Duration,
    /// Look-ups that may still be cancelled at the same time.
    cancels: Arc<Semaphore>,
    /// How long one waits for another one's try to open a lane.
    wait_timeout: Duration,
}

/// A place for a connection that is shared.
#[derive(Default)]
struct Lane {
    /// Locked for a moment at a time.
    opened: RwLock<Option<Arc<Opened>>>,
    /// Held by the one who opens it. What came of the last try that failed.
    opening: Mutex<Option<(DatabaseErrorKind, String)>>,
    /// How many tries have failed.
    failures: AtomicU64,
}

impl Lane {
    fn current(&self) -> Option<Arc<Opened>> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        opened.as_ref().filter(|it| it.is_current()).map(Arc::clone)
    }

    /// Puts one there, or none in the place of this one.
    fn put(&self, lane: Option<Arc<Opened>>, instead_of: Option<&Arc<Opened>>) {
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        let is_there = |it: &Arc<Opened>| opened.as_ref().is_some_and(|there| Arc::ptr_eq(there, it));
        if instead_of.is_none_or(is_there) {
            *opened = lane;
        }
    }
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
            // Each look-up that is given up is cancelled; this ends those that no such request reaches. It is that of
            // the pool, because behind a transaction pooler it is everybody's.
            limit: format!("SET statement_timeout = {}", settings.statement_timeout.as_millis()),
            lookup_timeout: settings.statement_timeout.min(LOOKUP_TIMEOUT),
            cancels: Arc::new(Semaphore::new(CANCELS)),
            wait_timeout: settings.wait_timeout,
        }))
    }

    /// Asks on the next lane. A lane that broke is replaced, and asked once more: nothing was changed. So is one
    /// whose statement was prepared before a migration, or was cancelled in the place of another's.
    pub(in crate::database) async fn query(
        &self,
        sql: &str,
        values: &[Value],
    ) -> Result<Vec<Row>, DatabaseError> {
        let index = self.0.next.fetch_add(1, Ordering::Relaxed) % LANES;
        let lane = self.0.lane(index).await?;
        match self.0.ask(index, &lane, sql, values).await {
            Err(error) if !lane.is_current() || error.sqlstate().is_some_and(is_asked_again) => {
                let lane = self.0.lane(index).await?;
                self.0.ask(index, &lane, sql, values).await
            }
            answered => answered,
        }
    }

    /// Closes the lanes. Who asks afterwards opens one again.
    pub(in crate::database) fn close(&self) {
        for lane in &self.0.lanes {
            lane.put(None, None);
        }
    }
}

impl Shared {
    /// The lane at this place, opened where it is missing or broken. Those who come meanwhile wait for it, and are
    /// told what the one is who opens it when that fails: each of them would only find the same out again.
    async fn lane(&self, index: usize) -> Result<Arc<Opened>, DatabaseError> {
        let place = &self.lanes[index];
        if let Some(lane) = place.current() {
            return Ok(lane);
        }
        let failures = place.failures.load(Ordering::Acquire);
        let Ok(mut opening) = timeout(self.wait_timeout, place.opening.lock()).await else {
            return Err(not_connected(&self.url, timed_out(self.wait_timeout)));
        };
        if let Some(lane) = place.current() {
            return Ok(lane);
        }
        if let (true, Some((kind, said))) =
            (place.failures.load(Ordering::Acquire) != failures, opening.as_ref())
        {
            return Err(DatabaseError::new(*kind, said.as_str()));
        }
        match self.open().await {
            Ok(lane) => {
                let lane = Arc::new(lane);
                place.put(Some(Arc::clone(&lane)), None);
                Ok(lane)
            }
            Err(error) => {
                *opening = Some((error.kind(), error.to_string()));
                place.failures.fetch_add(1, Ordering::AcqRel);
                Err(error)
            }
        }
    }

    async fn open(&self) -> Result<Opened, DatabaseError> {
        let config = configured(&self.url, &self.application_name);
        let limit = self.connector.create_timeout;
        let opened = async {
            let lane = self.renewals.open(&self.connector, &config).await?;
            lane.batch_execute(&self.limit).await?;
            Ok::<_, tokio_postgres::Error>(lane)
        };
        match timeout(limit, opened).await {
            Ok(opened) => opened.map_err(|error| not_connected(&self.url, error.into())),
            Err(_) => Err(not_connected(&self.url, timed_out(limit))),
        }
    }

    async fn ask(
        &self,
        index: usize,
        lane: &Arc<Opened>,
        sql: &str,
        values: &[Value],
    ) -> Result<Vec<Row>, DatabaseError> {
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
                // It is given up. Those who still wait on it have their own time limit. A server that waits for a
                // lock does not notice that nobody is there any more, and each of its sessions is one less.
                self.lanes[index].put(None, Some(lane));
                if let Ok(permit) = Arc::clone(&self.cancels).try_acquire_owned() {
                    let cancel = Cancel { token: lane.cancel_token(), tls: self.connector.tls.clone() };
                    cancel.cancel_aside(&Handle::current(), permit);
                }
                Err(timed_out(self.lookup_timeout))
            }
        }
    }
}

/// Whether what the server says has nothing to do with the look-up itself. Who gives one up has what runs at that
/// moment cancelled, which may be the one behind it.
fn is_asked_again(sqlstate: &str) -> bool {
    [OUTDATED, SqlState::QUERY_CANCELED].iter().any(|it| it.code() == sqlstate)
}
