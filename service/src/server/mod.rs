//! Serving: from an address to answers, and out of service without a request that is lost.
//!
//! The accepting loop is our own, on hyper: that of poem 3.1 ends by dropping its listener, which resets
//! the connections that the kernel has accepted and it has not; cancels those whose first byte it has not
//! read; spins when the process has no file descriptors left; and knows no limit of connections and no
//! time limit for a request's head.

mod connection;
mod drain;
mod lingering;
mod listener;
mod seats;
mod watched;

pub use connection::{ConnectionLimits, Cut};
pub use drain::{DrainEnd, DrainSettings, Signals, drain};
pub use listener::{BindError, Listener};
pub use watched::Reading;

use std::sync::Arc;
use std::time::Duration;

use poem::{Endpoint, Response};
use tokio::net::TcpStream;

use self::seats::{Seats, Taken};
use crate::lifecycle::{Lifecycle, Stage};

/// How long to wait when the process cannot take a connection, mostly because it has too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long connections that are cut may take to say so in the log. They wait for nothing, but there may be many.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A server that listens. It answers while [`run`](Server::run) runs.
pub struct Server<E> {
    listener: Listener,
    endpoint: Arc<E>,
    limits: ConnectionLimits,
    lifecycle: Lifecycle,
    seats: Arc<Seats>,
    /// A connection that waits for a seat.
    newcomer: Option<TcpStream>,
}

impl<E: Endpoint<Output = Response> + 'static> Server<E> {
    /// Puts the parts together. Connections wait in the kernel until [`run`](Self::run).
    pub fn new(listener: Listener, endpoint: E, limits: ConnectionLimits, lifecycle: Lifecycle) -> Self {
        let seats = Seats::new(limits.max_connections);
        Self { listener, endpoint: Arc::new(endpoint), limits, lifecycle, seats, newcomer: None }
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
        let (seats, every_seat) = (self.seats.clone(), self.limits.max_connections);
        let finish = async {
            self.serve_remaining().await;
            drop(self);
            seats.all_free(every_seat).await;
        };
        tokio::select! {
            () = finish => {}
            () = lifecycle.reached(Stage::Aborting) => {
                let _in_time = tokio::time::timeout(LAST_WORDS, seats.all_free(every_seat)).await;
            }
        }
        seats.cut()
    }

    async fn accept_forever(&mut self) {
        loop {
            match self.listener.accept().await {
                // It is kept there while it waits, so that whoever stops waiting does not lose it.
                Ok(stream) => self.newcomer = Some(stream),
                Err(error) if listener::is_of_the_peer(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted; trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
            self.seat_newcomer().await;
        }
    }

    async fn seat_newcomer(&mut self) {
        if self.newcomer.is_some() {
            let taken = self.seats.take().await;
            if let Some(stream) = self.newcomer.take() {
                self.spawn(stream, taken);
            }
        }
    }

    /// Serves what the kernel has accepted already, instead of resetting it, and stops listening.
    async fn serve_remaining(&mut self) {
        self.listener.refuse_new_connections();
        self.seat_newcomer().await;
        while let Some(stream) = self.listener.accept_remaining().await {
            self.newcomer = Some(stream);
            self.seat_newcomer().await;
        }
    }

    fn spawn(&self, stream: TcpStream, taken: Taken) {
        let (endpoint, limits, lifecycle) = (self.endpoint.clone(), self.limits, self.lifecycle.clone());
        tokio::spawn(connection::serve(stream, endpoint, limits, lifecycle, taken));
    }
}
