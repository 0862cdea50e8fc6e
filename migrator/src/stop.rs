//! The wish to stop, from a signal or from the program that uses this library.

use tokio::sync::watch;

/// Tells whoever holds it that the run should end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// The other end of a [`Stop`].
#[derive(Debug)]
pub struct StopHandle(watch::Sender<bool>);

impl Stop {
    /// One that is asked through the handle.
    #[must_use]
    pub fn new() -> (StopHandle, Self) {
        let (sender, receiver) = watch::channel(false);
        (StopHandle(sender), Self(receiver))
    }

    /// One that SIGTERM and SIGINT ask. Must be called inside of a tokio runtime.
    ///
    /// # Errors
    /// When the signals cannot be listened to.
    pub fn on_signals() -> Result<Self, std::io::Error> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (handle, stop) = Self::new();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            handle.stop();
            // The handle is kept, so that a second signal finds the run already stopping.
            std::future::pending::<()>().await;
        });
        Ok(stop)
    }

    /// Returns when it is asked for; never when nobody can ask any more.
    pub async fn requested(&self) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether it was asked for.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }
}

impl StopHandle {
    /// Asks for it.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}
