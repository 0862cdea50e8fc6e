//! Serving: from an address to answers, and out of service without a request that is lost.
//!
//! The accepting loop is our own, on hyper: that of poem 3.1 ends by dropping its listener, which resets
//! the connections that the kernel has accepted and it has not; cancels those whose first byte it has not
//! read; spins when the process has no file descriptors left; and knows no limit of connections and no
//! time limit for a request's head.

mod connection;
mod drain;
mod listener;

pub use connection::ConnectionLimits;
pub use drain::{DrainEnd, DrainSettings, Signals, drain};
pub use listener::{BindError, Listener};

use std::io;
use std::sync::Arc;
use std::time::Duration;

use poem::{Endpoint, Response};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::lifecycle::{Lifecycle, Stage};

/// How long to wait when the process cannot take a connection, mostly because it has too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A server that listens. It answers while [`run`](Server::run) runs.
pub struct Server<E> {
    listener: Listener,
    endpoint: Arc<E>,
    limits: ConnectionLimits,
    lifecycle: Lifecycle,
    slots: Arc<Semaphore>,
}

impl<E: Endpoint<Output = Response> + 'static> Server<E> {
    /// Puts the parts together. Connections wait in the kernel until [`run`](Self::run).
    pub fn new(listener: Listener, endpoint: E, limits: ConnectionLimits, lifecycle: Lifecycle) -> Self {
        let slots = Arc::new(Semaphore::new(limits.max_connections as usize));
        Self { listener, endpoint: Arc::new(endpoint), limits, lifecycle, slots }
    }

    /// Serves until the lifecycle says [`Stage::Closing`] and the last connection has ended, or until it
    /// says [`Stage::Aborting`]. Returns how many connections were cut.
    pub async fn run(mut self) -> usize {
        let lifecycle = self.lifecycle.clone();
        tokio::select! {
            biased;
            () = lifecycle.reached(Stage::Closing) => {}
            () = self.accept_forever() => {}
        }
        let (slots, every_slot) = (self.slots.clone(), self.limits.max_connections);
        let finish = async {
            self.serve_remaining().await;
            drop(self);
            // Each connection holds a slot: who gets all of them knows that every one has ended.
            let _all_ended = slots.acquire_many(every_slot).await;
        };
        tokio::select! {
            () = finish => 0,
            () = lifecycle.reached(Stage::Aborting) => every_slot as usize - slots.available_permits(),
        }
    }

    async fn accept_forever(&self) {
        loop {
            match self.accept().await {
                Ok((stream, slot)) => self.spawn(stream, slot),
                Err(error) if listener::is_of_the_peer(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted; trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn accept(&self) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
        let slot = self.slots.clone().acquire_owned().await.map_err(io::Error::other)?;
        Ok((self.listener.accept().await?, slot))
    }

    /// Serves what the kernel has accepted already, instead of resetting it, and stops listening.
    async fn serve_remaining(&mut self) {
        self.listener.refuse_new_connections();
        while let Some(stream) = self.listener.accept_remaining().await {
            let Ok(slot) = self.slots.clone().acquire_owned().await else { return };
            self.spawn(stream, slot);
        }
    }

    fn spawn(&self, stream: TcpStream, slot: OwnedSemaphorePermit) {
        let (endpoint, limits, lifecycle) = (self.endpoint.clone(), self.limits, self.lifecycle.clone());
        tokio::spawn(async move {
            connection::serve(stream, endpoint, limits, lifecycle).await;
            drop(slot);
        });
    }
}
