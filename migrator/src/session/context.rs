//! What a session needs to know, and how it connects and waits.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use foundation::clock::Clock;
use foundation::database::{Connection, DatabaseError, DatabaseUrl};
use foundation::entropy::Entropy;
use foundation::settings::DatabaseSettings;
use tokio::time::Instant;

use super::{Work, place};
use crate::error::MigratorError;
use crate::settings::MigratorSettings;
use crate::stop::Stop;

/// The name under which the migrator's sessions are seen in `pg_stat_activity`.
const APPLICATION_NAME: &str = "bedplate-migrator";

/// What a session needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) url: DatabaseUrl,
    pub(crate) database: DatabaseSettings,
    pub(crate) settings: MigratorSettings,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) stop: Stop,
}

impl Context {
    /// Growing pauses with jitter, so that many migrators do not ask at the same moment.
    pub(super) fn pauses(
        &self,
        first: Duration,
        longest: Duration,
    ) -> impl Iterator<Item = Duration> + use<> {
        ExponentialBuilder::new()
            .with_min_delay(first)
            .with_max_delay(longest)
            .without_max_times()
            .with_jitter()
            .with_jitter_seed(u64::from_le_bytes(self.entropy.bytes()))
            .build()
    }

    /// Sleeps, unless the run is to stop.
    pub(crate) async fn pause(&self, duration: Duration) -> Result<(), MigratorError> {
        tokio::select! {
            () = self.stop.requested() => Err(MigratorError::Stopped),
            () = tokio::time::sleep(duration) => Ok(()),
        }
    }

    /// Refuses a SQLite file that is missing, where connecting would make it.
    pub(crate) fn require_file(&self) -> Result<(), MigratorError> {
        match &self.url {
            DatabaseUrl::Sqlite(path) if !path.exists() => Err(MigratorError::Settings(format!(
                "there is no file {}; `migrator up` makes it",
                path.display()
            ))),
            _ => Ok(()),
        }
    }

    /// What gives the role of `MIGRATOR_GRANT_TO` its rights, where one is named.
    pub(crate) fn grant(&self) -> Option<Work> {
        self.settings.grant_to.clone().map(Work::Grant)
    }

    /// The same for what writes: of several hosts it is the primary that is meant.
    pub(crate) fn for_writing(&self) -> Self {
        Self { url: self.url.for_writing(), ..self.clone() }
    }

    /// Opens a connection for looking, and waits for a database that is away or starting.
    pub(crate) async fn connect(&self, wait: Duration) -> Result<Connection, MigratorError> {
        self.connect_to(false, wait).await
    }

    /// The same for changing it.
    pub(super) async fn connect_to_change(&self, wait: Duration) -> Result<Connection, MigratorError> {
        self.connect_to(true, wait).await
    }

    async fn connect_to(&self, change: bool, wait: Duration) -> Result<Connection, MigratorError> {
        let deadline = Instant::now() + wait;
        let mut told = false;
        for pause in self.pauses(Duration::from_millis(50), Duration::from_secs(1)) {
            let opened = tokio::select! {
                () = self.stop.requested() => return Err(MigratorError::Stopped),
                opened = self.open(change) => opened,
            };
            match opened {
                Ok(mut connection) => {
                    place::assume_role(self, &mut connection).await?;
                    return Ok(connection);
                }
                // SQLite says so when another connection switches a new file to WAL at this moment.
                Err(error) if error.is_transient() && Instant::now() + pause < deadline => {
                    if !told {
                        tracing::info!(database = %self.url, reason = %error, "waiting for the database");
                        told = true;
                    }
                    self.pause(pause).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        unreachable!("the pauses never end")
    }

    async fn open(&self, to_change: bool) -> Result<Connection, DatabaseError> {
        match to_change {
            true => Connection::open(&self.url, &self.database, APPLICATION_NAME).await,
            false => Connection::look_at(&self.url, &self.database, APPLICATION_NAME).await,
        }
    }
}
