//! The way out, stage by stage.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::lifecycle::{Lifecycle, Stage};
use crate::settings::HttpSettings;

/// The signals that end the program.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The name of the next signal.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// How long the way out may take.
#[derive(Clone, Copy, Debug)]
pub struct DrainSettings {
    /// How long the service stays open while it says that it is not ready.
    pub delay: Duration,
    /// How long running requests may take after that.
    pub timeout: Duration,
    /// Whether SIGINT skips the delay: on a terminal it is a person who waits.
    pub interrupt_is_a_person: bool,
}

impl DrainSettings {
    /// The settings of a program whose standard error is a terminal or not.
    #[must_use]
    pub fn new(settings: &HttpSettings, on_terminal: bool) -> Self {
        let (delay, timeout) = (settings.drain_delay, settings.drain_timeout);
        Self { delay, timeout, interrupt_is_a_person: on_terminal }
    }
}

/// How the way out ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainEnd {
    /// Every request was answered.
    Finished,
    /// This many connections were cut when the time was over.
    TimedOut(usize),
    /// A second signal wanted the end at once.
    Forced,
}

/// Waits for a signal, then takes `server` out of service: readiness fails first, the listener stays open
/// for the delay, then nothing new is accepted and what runs may finish.
pub async fn drain(
    server: impl Future<Output = usize>,
    lifecycle: &Lifecycle,
    settings: DrainSettings,
    signals: &mut Signals,
) -> DrainEnd {
    tokio::pin!(server);
    let first = tokio::select! {
        _ended = &mut server => return DrainEnd::Finished,
        first = signals.next() => first,
    };
    let hurry = settings.interrupt_is_a_person && first == "SIGINT";
    let delay = if hurry { Duration::ZERO } else { settings.delay };
    let stages = async {
        lifecycle.advance(Stage::Draining);
        tracing::info!(signal = first, delay = ?delay, "stopping: not ready from now on, still answering");
        tokio::time::sleep(delay).await;
        tracing::info!(timeout = ?settings.timeout, "stopping: no new connections, running requests finish");
        lifecycle.advance(Stage::Closing);
        tokio::time::sleep(settings.timeout).await;
        lifecycle.advance(Stage::Aborting);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        cut = &mut server => ended(cut),
        () = stages => DrainEnd::Finished,
        second = signals.next() => {
            tracing::warn!(signal = second, "stopping at once: this is the second signal");
            lifecycle.advance(Stage::Aborting);
            let _cut = server.await;
            DrainEnd::Forced
        }
    }
}

fn ended(cut: usize) -> DrainEnd {
    if cut == 0 {
        tracing::info!("stopping: every request was answered");
        DrainEnd::Finished
    } else {
        tracing::warn!(connections = cut, "stopping: HTTP_DRAIN_TIMEOUT is over, connections are cut");
        DrainEnd::TimedOut(cut)
    }
}
