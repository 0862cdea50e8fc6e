//! A second server that reads are sent to while it is there and has what they are to find.

mod floor;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use self::floor::Looks;
use super::position::demanded;
use super::postgres::{PostgresConnection, PostgresPool, Replayed, Standing};
use super::statement::Watch;
use super::{
    Access, Connection, Database, DatabaseError, DatabaseErrorKind, PoolStatus, Position, PostgresUrl,
    Statement,
};
use crate::settings::DatabaseSettings;

/// How often a server that was away is asked whether it is back.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How long a server may take to say how far it has got, or to let somebody in. One that takes longer is away:
/// the request that waits for it has to outlive that, so that somebody notices, and asks the primary then.
const PATIENCE: Duration = Duration::from_secs(2);

/// A server that can be read. Cheap to clone.
#[derive(Clone)]
pub(super) struct Standby(Arc<Inner>);

struct Inner {
    pool: PostgresPool,
    /// Its hosts with their ports, for the log.
    server: String,
    /// Nobody waits for a server that is known to be away.
    is_away: AtomicBool,
    /// What each connection's server is known to have.
    replayed: Replayed,
    /// What a server has to have to be fresh enough.
    floor: Arc<Looks>,
    answered: AtomicU64,
    left: AtomicU64,
}

/// How many reads that may go to a standby each of the two answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StandbyReads {
    /// Those that the standby answered.
    pub standby: u64,
    /// Those that were left to the primary: the standby was away, or had not replayed enough.
    pub primary: u64,
}

impl Standby {
    /// A standby of `primary`, which is asked from now on how far it has got.
    pub(super) fn new(
        url: &PostgresUrl,
        settings: &DatabaseSettings,
        application_name: &str,
        primary: &PostgresPool,
    ) -> Result<Self, DatabaseError> {
        let inner = Inner {
            pool: PostgresPool::new(url, settings, application_name)?,
            server: url.hosts().join(","),
            is_away: AtomicBool::new(false),
            replayed: Replayed::default(),
            floor: Looks::new(settings.read_max_lag),
            answered: AtomicU64::new(0),
            left: AtomicU64::new(0),
        };
        let inner = Arc::new(inner);
        let (standby, primary) = (Arc::downgrade(&inner), primary.clone());
        tokio::spawn(async move {
            let floor = || standby.upgrade().map(|it| Arc::clone(&it.floor));
            while let Some(interval) = Looks::look(&primary, floor).await {
                sleep(interval).await;
            }
        });
        Ok(Self(inner))
    }

    pub(super) fn pool(&self) -> &PostgresPool {
        &self.0.pool
    }

    /// Forgets what the former primary said, and what its standbys had of that: behind one address there may be
    /// several, of which one is the primary now.
    pub(super) fn renew(&self) {
        self.0.pool.renew();
        self.0.replayed.forget();
        self.0.floor.forget();
    }

    pub(super) fn close(&self) {
        self.0.is_away.store(true, Ordering::Relaxed);
        self.0.pool.close();
    }

    /// A connection to a server that has everything that this work is to find, or nothing when the primary is
    /// to be asked. Nobody waits for a server to catch up: the primary is there at once.
    pub(super) async fn connection(&self, watch: &Arc<Watch>) -> Option<Result<Connection, DatabaseError>> {
        // Without a word of the primary it is not known how far behind a server is.
        let floor = self.0.floor.position()?;
        let demanded = demanded().map_or(floor, |it| it.max(floor));
        match self.fresh(demanded).await {
            Ok(connection) => Some(Ok(Connection::postgres(connection?, Arc::clone(watch)))),
            Err(error) => Some(Err(error)),
        }
    }

    async fn fresh(&self, demanded: Position) -> Result<Option<PostgresConnection>, DatabaseError> {
        let mut connection = self.0.given().await?;
        match in_time(self.0.replayed.standing(&mut connection, demanded)).await? {
            Standing::Fresh => Ok(Some(connection)),
            Standing::Behind => Ok(None),
            Standing::Promoted => {
                self.went_away(&"it is no standby (any more)");
                Ok(None)
            }
        }
    }

    /// What the standby answered, or nothing when the primary is to be asked.
    pub(super) fn answer<T>(
        &self,
        read: Option<Result<T, DatabaseError>>,
    ) -> Option<Result<T, DatabaseError>> {
        let answer = match read {
            Some(Err(error)) if self.leaves_it_to_the_primary(&error) => None,
            read => read,
        };
        let count = if answer.is_some() { &self.0.answered } else { &self.0.left };
        count.fetch_add(1, Ordering::Relaxed);
        answer
    }

    fn is_away(&self) -> bool {
        self.0.is_away.load(Ordering::Relaxed)
    }

    /// Whether the primary is to be asked because of this error. Of a server that is away nobody else asks
    /// anything until it is back.
    fn leaves_it_to_the_primary(&self, error: &DatabaseError) -> bool {
        use DatabaseErrorKind as Kind;
        match error.kind() {
            Kind::Unreachable | Kind::Authentication | Kind::Tls | Kind::MissingDatabase => {
                self.went_away(error);
                true
            }
            // The server says so when it stops a statement at its limit; silence has no cause.
            Kind::Timeout if std::error::Error::source(error).is_none() => {
                self.went_away(error);
                true
            }
            // All its connections are in use; what it replays gets in the way; it lags behind a migration.
            Kind::PoolTimeout | Kind::SerializationFailure | Kind::UndefinedTable | Kind::UndefinedName => {
                true
            }
            _ => false,
        }
    }

    fn went_away(&self, reason: &dyn std::fmt::Display) {
        if self.0.is_away.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!(error = %reason, server = self.0.server, "the server of DATABASE_READ_URL is away; the primary answers its reads");
        let standby = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            loop {
                sleep(ASK_AGAIN).await;
                let Some(standby) = standby.upgrade() else { return };
                if standby.answers().await {
                    tracing::info!(server = standby.server, "the server of DATABASE_READ_URL is back");
                    standby.is_away.store(false, Ordering::Relaxed);
                    return;
                }
            }
        });
    }
}

impl Inner {
    async fn answers(&self) -> bool {
        match self.given().await {
            Ok(mut connection) => matches!(in_time(Replayed::is_standby(&mut connection)).await, Ok(true)),
            Err(_) => false,
        }
    }

    /// A connection of the pool. Those that a silent server left in it are found one by one, which nobody
    /// waits for.
    async fn given(&self) -> Result<PostgresConnection, DatabaseError> {
        let given = in_time(self.pool.get()).await;
        given.map_err(|mut error| {
            let status = self.pool.status();
            // Others use all of them: that says nothing of the server.
            if error.kind() == DatabaseErrorKind::Timeout
                && status.size >= status.maximum
                && status.available == 0
            {
                error.set_kind(DatabaseErrorKind::PoolTimeout);
            }
            error
        })
    }
}

/// What the server says within the time that it has.
async fn in_time<T>(said: impl Future<Output = Result<T, DatabaseError>>) -> Result<T, DatabaseError> {
    timeout(PATIENCE, said).await.unwrap_or_else(|_| {
        let limit = humantime::format_duration(PATIENCE);
        let message = format!("the standby did not answer within {limit}");
        Err(DatabaseError::new(DatabaseErrorKind::Timeout, message))
    })
}

impl Database {
    /// The same database without its standby: for what must not be behind. What is written there is told as
    /// everywhere else, because others look for it on the standby.
    #[must_use]
    pub fn primary(&self) -> Self {
        Self { standby: None, ..self.clone() }
    }

    /// Whether there is a standby that reads may go to.
    #[must_use]
    pub const fn has_standby(&self) -> bool {
        self.standby.is_some()
    }

    /// The figures of the standby's pool at this moment, when there is one.
    #[must_use]
    pub fn standby_pool_status(&self) -> Option<PoolStatus> {
        self.standby.as_ref().map(|standby| standby.pool().status())
    }

    /// Who answered the reads that may go to the standby, when there is one.
    #[must_use]
    pub fn standby_reads(&self) -> Option<StandbyReads> {
        let count = |it: &AtomicU64| it.load(Ordering::Relaxed);
        let standby = &self.standby.as_ref()?.0;
        Some(StandbyReads { standby: count(&standby.answered), primary: count(&standby.left) })
    }

    /// The standby, when there is one and the statement may go there.
    pub(super) fn standby_for(&self, statement: &Statement) -> Option<&Standby> {
        let standby = self.standby.as_ref().filter(|_| statement.access == Access::Read)?;
        if standby.is_away() {
            standby.0.left.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(standby)
    }
}
