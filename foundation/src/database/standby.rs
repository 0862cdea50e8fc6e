//! A second server that reads are sent to while it is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::postgres::PostgresPool;
use super::statement::Watch;
use super::{
    Access, Connection, Database, DatabaseError, DatabaseErrorKind, PoolStatus, PostgresUrl, Statement,
};
use crate::settings::DatabaseSettings;

/// How often a server that was away is asked whether it is back.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A server that can be read. Cheap to clone.
#[derive(Clone)]
pub(super) struct Standby(Arc<Inner>);

struct Inner {
    pool: PostgresPool,
    /// Nobody waits for a server that is known to be away.
    is_away: AtomicBool,
}

impl Standby {
    pub(super) fn new(
        url: &PostgresUrl,
        settings: &DatabaseSettings,
        application_name: &str,
    ) -> Result<Self, DatabaseError> {
        let pool = PostgresPool::new(url, settings, application_name)?;
        Ok(Self(Arc::new(Inner { pool, is_away: AtomicBool::new(false) })))
    }

    pub(super) fn pool(&self) -> &PostgresPool {
        &self.0.pool
    }

    pub(super) fn close(&self) {
        self.0.is_away.store(true, Ordering::Relaxed);
        self.0.pool.close();
    }

    pub(super) async fn connection(&self, watch: &Arc<Watch>) -> Result<Connection, DatabaseError> {
        Ok(Connection::postgres(self.pool().get().await?, Arc::clone(watch)))
    }

    /// What the standby answered, or nothing when the primary is to be asked.
    pub(super) fn answer<T>(&self, read: Result<T, DatabaseError>) -> Option<Result<T, DatabaseError>> {
        match read {
            Err(error) if self.leaves_it_to_the_primary(&error) => None,
            read => Some(read),
        }
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
            Kind::PoolTimeout | Kind::SerializationFailure | Kind::UndefinedTable => true,
            _ => false,
        }
    }

    fn went_away(&self, error: &DatabaseError) {
        if self.0.is_away.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!(error = %error, "the server of DATABASE_READ_URL is away; the primary answers its reads");
        let standby = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            loop {
                sleep(ASK_AGAIN).await;
                let Some(standby) = standby.upgrade() else { return };
                if standby.answers().await {
                    tracing::info!("the server of DATABASE_READ_URL is back");
                    standby.is_away.store(false, Ordering::Relaxed);
                    return;
                }
            }
        });
    }
}

impl Inner {
    async fn answers(&self) -> bool {
        match self.pool.get().await {
            Ok(mut connection) => connection.query("SELECT 1 AS one", &[]).await.is_ok(),
            Err(_) => false,
        }
    }
}

impl Database {
    /// The same database without its standby: for what must not be behind.
    #[must_use]
    pub fn primary(&self) -> Self {
        Self { standby: None, ..self.clone() }
    }

    /// The figures of the standby's pool at this moment, when there is one.
    #[must_use]
    pub fn standby_pool_status(&self) -> Option<PoolStatus> {
        self.standby.as_ref().map(|standby| standby.pool().status())
    }

    /// The standby, when there is one and the statement may go there.
    pub(super) fn standby_for(&self, statement: &Statement) -> Option<&Standby> {
        self.standby.as_ref().filter(|standby| statement.access == Access::Read && !standby.is_away())
    }
}
