//! Connections that are given up all at once, when another server has become the primary.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;
use tokio::task::AbortHandle;
use tokio_postgres::{Config, Error};

use super::composed::Composed;
use super::hosts::Connector;

/// How often the connections were given up, and what drives those that are open.
#[derive(Default)]
pub(super) struct Renewals {
    generation: AtomicU64,
    driving: Mutex<Vec<AbortHandle>>,
}

/// A connection that knows of which generation it is: what counts is when connecting began.
pub(super) struct Opened {
    client: ClientWrapper,
    composed: Composed,
    generation: u64,
    renewals: Arc<Renewals>,
}

impl Renewals {
    /// The generation of now.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Closes every connection that is open, and has those that are being opened opened once more. Whoever waits
    /// on one is told at once.
    pub(super) fn renew(&self) {
        let mut driving = self.driving();
        self.generation.fetch_add(1, Ordering::AcqRel);
        driving.drain(..).for_each(|task| task.abort());
    }

    /// Opens a connection of the generation of now.
    pub(super) async fn open(
        self: &Arc<Self>,
        connector: &Connector,
        config: &Config,
    ) -> Result<Opened, Error> {
        loop {
            let generation = self.generation();
            // It is large, and would lie in the future of every statement.
            let (client, task) = Box::pin(connector.connect(config)).await?;
            let is_current = self.adopt(task.abort_handle(), generation);
            let client = ClientWrapper::new(client, task);
            if is_current {
                let (composed, renewals) = (Composed::default(), Arc::clone(self));
                return Ok(Opened { client, composed, generation, renewals });
            }
        }
    }

    /// Has what drives a connection end with the others, when they are given up. Says whether it is of the generation
    /// of now: not when they were given up while it was opened.
    pub(super) fn adopt(&self, task: AbortHandle, generation: u64) -> bool {
        let mut driving = self.driving();
        let is_current = generation == self.generation();
        if is_current {
            driving.retain(|task| !task.is_finished());
            driving.push(task);
        }
        is_current
    }

    fn driving(&self) -> std::sync::MutexGuard<'_, Vec<AbortHandle>> {
        // Nothing that can panic happens under this lock.
        self.driving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opened {
    /// Whether it is open, and leads to the primary as far as anybody knows.
    pub(super) fn is_current(&self) -> bool {
        self.generation == self.renewals.generation() && !self.client.is_closed()
    }

    /// Notes a statement that was put together at run time and is run next: the latest stay prepared.
    pub(super) fn keep_latest(&self, sql: &str) {
        self.composed.note(&self.client, sql);
    }
}

impl Deref for Opened {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        &self.client
    }
}

/// Opens the connections of a pool, and takes none back that was given up.
pub(super) struct Opener {
    pub(super) config: Config,
    pub(super) connector: Connector,
    pub(super) renewals: Arc<Renewals>,
}

/// A connection of the pool.
pub(super) type Object = deadpool::managed::Object<Opener>;

impl Manager for Opener {
    type Type = Opened;
    type Error = Error;

    async fn create(&self) -> Result<Opened, Error> {
        self.renewals.open(&self.connector, &self.config).await
    }

    async fn recycle(&self, opened: &mut Opened, _: &Metrics) -> RecycleResult<Error> {
        if opened.is_current() { Ok(()) } else { Err(RecycleError::message("the connection is closed")) }
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its configuration has the password.
        formatter
            .debug_struct("Opener")
            .field("generation", &self.renewals.generation())
            .finish_non_exhaustive()
    }
}
