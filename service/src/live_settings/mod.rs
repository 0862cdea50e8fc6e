//! The settings that hold at this moment. Every replica follows the table by itself: it is told of a change
//! by the database, and looks again and again for what it was not told.

mod follow;

use std::sync::Arc;
use std::time::Duration;

use foundation::database::{Backend, Database, DatabaseError};
use tokio::sync::{Notify, oneshot, watch};

use self::follow::Follow;
pub use crate::domain::live::Live;
use crate::lifecycle::{Lifecycle, Stage};

/// The channel of PostgreSQL on which a change is told.
pub const CHANNEL: &str = "bedplate_config";

/// How long the start waits for the first answer of the database: longer than one that is well needs.
const FIRST_READ: Duration = Duration::from_millis(500);

/// How often the table is looked at on PostgreSQL, which also tells of changes.
const POLL: Duration = Duration::from_secs(1);

/// The same on SQLite, which does not: a change is obeyed within a second all the same.
const POLL_OF_A_FILE: Duration = Duration::from_millis(500);

/// How often the table is looked at.
#[must_use]
pub const fn poll_interval(backend: Backend) -> Duration {
    match backend {
        Backend::Postgres => POLL,
        Backend::Sqlite => POLL_OF_A_FILE,
    }
}

/// The settings that hold. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LiveSettings {
    live: watch::Receiver<Arc<Live>>,
    defaults: Arc<Live>,
    nudge: Arc<Notify>,
}

impl LiveSettings {
    /// Follows the table, looking at it each `poll`, until the process closes. The defaults hold until it
    /// can be read for the first time, for which the start waits a moment.
    pub async fn start(database: Database, defaults: Live, poll: Duration, lifecycle: Lifecycle) -> Self {
        let (settings, follow) = Self::new(database, defaults);
        let was_read = settings.follow(follow, poll, lifecycle);
        // Whether there was an answer in this time or not, the service starts.
        let _in_time = tokio::time::timeout(FIRST_READ, was_read).await;
        settings
    }

    /// The same, for a command that does its work once: what is in the table holds from the beginning.
    ///
    /// # Errors
    /// What the database says: the table cannot be read.
    pub async fn start_read(
        database: Database,
        defaults: Live,
        poll: Duration,
        lifecycle: Lifecycle,
    ) -> Result<Self, DatabaseError> {
        let (settings, mut follow) = Self::new(database, defaults);
        follow.read().await?;
        let _was_read = settings.follow(follow, poll, lifecycle);
        Ok(settings)
    }

    fn new(database: Database, defaults: Live) -> (Self, Follow) {
        let defaults = Arc::new(defaults);
        let (sender, live) = watch::channel(Arc::clone(&defaults));
        let follow = Follow::new(database, Arc::clone(&defaults), sender);
        (Self { live, defaults, nudge: Arc::new(Notify::new()) }, follow)
    }

    /// Follows in the background; told when the table was looked at.
    fn follow(&self, follow: Follow, poll: Duration, lifecycle: Lifecycle) -> oneshot::Receiver<()> {
        let (first, was_read) = oneshot::channel();
        let nudged = Arc::clone(&self.nudge);
        tokio::spawn(async move {
            tokio::select! {
                () = lifecycle.reached(Stage::Closing) => {}
                () = follow.run(poll, &nudged, first) => {}
            }
        });
        was_read
    }

    /// Settings that nothing changes.
    #[must_use]
    pub fn fixed(live: Live) -> Self {
        let live = Arc::new(live);
        let defaults = Arc::clone(&live);
        Self { live: watch::channel(live).1, defaults, nudge: Arc::default() }
    }

    /// What holds at this moment.
    #[must_use]
    pub fn current(&self) -> Arc<Live> {
        Arc::clone(&self.live.borrow())
    }

    /// What holds where nothing was put.
    #[must_use]
    pub fn defaults(&self) -> &Live {
        &self.defaults
    }

    /// Waits until something else holds than when this handle was made or last waited here: for ever, when
    /// nothing changes any more.
    pub async fn changed(&mut self) {
        if self.live.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Has the table looked at now: it was changed by this process.
    pub fn refresh(&self) {
        self.nudge.notify_one();
    }
}
