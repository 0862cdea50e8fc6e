//! Duties that one process at a time has. A duty is held by a row in the database, for a short time, and the
//! holder renews it; session locks would not survive a transaction pooler.

use std::time::Duration;

use foundation::clock::Clock;
use foundation::database::{Database, DatabaseError, Transaction};
use foundation::entropy::Entropy;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use crate::lifecycle::{Lifecycle, Stage};
use crate::outage::Outage;
use crate::store::leases::{self, Held};

/// How long a lease lasts when it is not renewed: what a holder that was killed keeps others waiting.
const LIFETIME: Duration = Duration::from_secs(6);

/// How often it is renewed, and how often the others look.
const RENEWAL: Duration = Duration::from_secs(2);

/// Takes leases in the name of this process. Cheap to clone.
#[derive(Clone)]
pub struct Leases {
    database: Database,
    holder: Uuid,
}

/// The lease went to somebody else, or it could not be renewed in time.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another process has the duty now.
    #[error("the lease {0} was lost to another process")]
    Lost(&'static str),
    /// It is not known.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Leases {
    /// Leases in `database`, under a name that no other process has.
    #[must_use]
    pub fn new(database: Database, clock: &Clock, entropy: &Entropy) -> Self {
        Self { database, holder: entropy.uuid_v7(clock.now()) }
    }

    /// Takes the lease; nothing when another has it, also when that is a guard of this process.
    ///
    /// # Errors
    /// What the database says.
    pub async fn acquire(&self, name: &'static str) -> Result<Option<LeaseGuard>, DatabaseError> {
        let begun = Instant::now();
        let held = leases::acquire(&self.database, name, self.holder, LIFETIME).await?;
        Ok(held.map(|held| LeaseGuard::new(self.database.clone(), held, begun)))
    }

    /// Does `duty` whenever this process has the lease, until the process is on its way out. A duty that ends
    /// is begun again when the lease is had again.
    pub async fn keep<F: Future<Output = ()>>(
        &self,
        name: &'static str,
        lifecycle: &Lifecycle,
        duty: impl Fn() -> F,
    ) {
        let mut outage = Outage::default();
        loop {
            let acquired = tokio::select! {
                () = lifecycle.reached(Stage::Draining) => return,
                acquired = self.acquire(name) => acquired,
            };
            if acquired.is_ok() && outage.ends() {
                tracing::info!(lease = name, "the lease can be asked for again");
            }
            match acquired {
                Ok(Some(guard)) => {
                    tracing::debug!(lease = name, fencing = guard.fencing(), "has the duty");
                    let goes_on = tokio::select! {
                        () = lifecycle.reached(Stage::Draining) => false,
                        () = guard.lost() => true,
                        () = duty() => true,
                    };
                    guard.release().await;
                    if !goes_on {
                        return;
                    }
                }
                Ok(None) => {}
                Err(error) if outage.begins() => {
                    tracing::warn!(%error, lease = name, "the lease cannot be asked for; it is tried again");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = lifecycle.reached(Stage::Draining) => return,
                () = tokio::time::sleep(RENEWAL) => {}
            }
        }
    }
}

/// A lease that is held, and renewed, until this is dropped.
pub struct LeaseGuard {
    database: Database,
    held: Held,
    lost: watch::Receiver<bool>,
    renewal: JoinHandle<()>,
    released: bool,
}

impl LeaseGuard {
    fn new(database: Database, held: Held, begun: Instant) -> Self {
        let (sender, lost) = watch::channel(false);
        let renewal = tokio::spawn(renew(database.clone(), held.clone(), begun, sender));
        Self { database, held, lost, renewal, released: false }
    }

    /// The number of this holder, larger than that of each before it.
    #[must_use]
    pub const fn fencing(&self) -> i64 {
        self.held.fencing
    }

    /// Waits until the lease is lost.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        // The renewal, which owns the sender, ends when the lease is lost.
        let _ended = lost.wait_for(|lost| *lost).await;
    }

    /// Sees to it that what the transaction does is done by the holder, or not at all: nobody else takes the
    /// lease before the transaction ends.
    ///
    /// # Errors
    /// [`LeaseError::Lost`], or what the database says.
    pub async fn confirm(&self, transaction: &mut Transaction) -> Result<(), LeaseError> {
        let confirmed = leases::confirm(transaction, self.database.backend(), &self.held).await?;
        if confirmed { Ok(()) } else { Err(LeaseError::Lost(self.held.name)) }
    }

    /// Gives the lease back, so that another need not wait for its end.
    pub async fn release(mut self) {
        self.released = true;
        self.renewal.abort();
        give_back(&self.database, &self.held).await;
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        self.renewal.abort();
        if !self.released
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (database, held) = (self.database.clone(), self.held.clone());
            runtime.spawn(async move { give_back(&database, &held).await });
        }
    }
}

/// What is not given back is over by itself, a little later.
async fn give_back(database: &Database, held: &Held) {
    match tokio::time::timeout(RENEWAL, leases::release(database, held)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, lease = held.name, "the lease was not given back"),
        Err(_) => tracing::debug!(lease = held.name, "the lease was not given back in time"),
    }
}

/// Renews the lease until it is lost: to another process, or because it could not be renewed in its lifetime.
async fn renew(database: Database, held: Held, begun: Instant, lost: watch::Sender<bool>) {
    let mut until = begun + LIFETIME;
    loop {
        tokio::time::sleep(RENEWAL).await;
        let asked = Instant::now();
        match tokio::time::timeout_at(until, leases::renew(&database, &held, LIFETIME)).await {
            Ok(Ok(true)) => until = asked + LIFETIME,
            Ok(Ok(false)) => break,
            Ok(Err(error)) if Instant::now() < until => {
                tracing::debug!(%error, lease = held.name, "the lease was not renewed; it is tried again");
            }
            Ok(Err(_)) | Err(_) => break,
        }
    }
    tracing::warn!(lease = held.name, "the lease was lost");
    lost.send_replace(true);
}
