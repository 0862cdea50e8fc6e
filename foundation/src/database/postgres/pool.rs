//! The connections of a service, bounded in number and in every wait.

use std::sync::Arc;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{Hook, HookError, Pool, PoolError, TimeoutType};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::listen::ListenTo;
use super::renewals::{Object, Opened, Opener, Renewals};
use super::{Cancel, Holder, Lanes, PostgresConnection, configured, hosts, not_connected, timed_out, tls};
use crate::database::listen::Heard;
use crate::database::{DatabaseError, DatabaseErrorKind, DatabaseUrl, PoolStatus, PostgresUrl};
use crate::settings::DatabaseSettings;

/// The connections of a service.
#[derive(Clone)]
pub(in crate::database) struct PostgresPool {
    pool: Pool<Opener>,
    /// One connection beside those that requests take.
    reserved: Pool<Opener>,
    tls: MakeRustlsConnect,
    url: PostgresUrl,
    statement_timeout: Duration,
    wait_timeout: Duration,
    get_timeout: Duration,
    lanes: Lanes,
    listen_to: Arc<ListenTo>,
    renewals: Arc<Renewals>,
}

impl PostgresPool {
    /// Sets the pool up. Nothing is connected yet.
    pub(in crate::database) fn new(
        url: &PostgresUrl,
        settings: &DatabaseSettings,
        application_name: &str,
    ) -> Result<Self, DatabaseError> {
        let tls = tls::connector(url)?;
        let renewals = Arc::new(Renewals::default());
        let connector = hosts::Connector { tls: tls.clone(), create_timeout: settings.create_timeout };
        let config = configured(url, application_name);
        let manager = || {
            let (config, connector) = (config.clone(), connector.clone());
            Opener { config, connector, renewals: Arc::clone(&renewals) }
        };
        let most = settings.pool_size.get().saturating_add(settings.max_overflow);
        let pool = build(manager(), settings, usize::try_from(most).unwrap_or(usize::MAX))?;
        let reserved = build(manager(), settings, 1)?;
        let lanes = Lanes::new(url, settings, connector, &renewals, application_name);
        let direct = match &settings.direct_url {
            Some(DatabaseUrl::Postgres(direct)) => direct,
            _ => url,
        };
        let listen_to = Arc::new(ListenTo::new(direct, settings, &renewals, application_name)?);
        Ok(Self {
            pool,
            reserved,
            lanes,
            listen_to,
            renewals,
            tls,
            url: url.clone(),
            statement_timeout: settings.statement_timeout,
            wait_timeout: settings.wait_timeout,
            get_timeout: settings.wait_timeout + settings.recycle_timeout + settings.create_timeout,
        })
    }

    /// The connections that look-ups share.
    pub(in crate::database) fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// A connection, new or used before.
    pub(in crate::database) async fn get(&self) -> Result<PostgresConnection, DatabaseError> {
        self.get_of(&self.pool).await
    }

    /// The connection that is kept for what does not wait behind requests. Where the server admits no more of them, one
    /// that requests take too does as well, and may be idle. A server that is silent is not waited for twice.
    pub(in crate::database) async fn get_reserved(&self) -> Result<PostgresConnection, DatabaseError> {
        match self.get_of(&self.reserved).await {
            Err(error) if error.sqlstate() == Some(SqlState::TOO_MANY_CONNECTIONS.code()) => {
                tracing::debug!(error = %error, "no connection is kept apart, one of the pool is taken");
                self.get().await
            }
            given => given,
        }
    }

    async fn get_of(&self, pool: &Pool<Opener>) -> Result<PostgresConnection, DatabaseError> {
        let object = loop {
            let generation = self.renewals.generation();
            match self.given(pool).await {
                Ok(object) if object.is_current() => break object,
                // What was under way when all were given up says nothing of the server of now.
                _ if generation != self.renewals.generation() => {}
                given => break given?,
            }
        };
        let cancel = Cancel { token: object.cancel_token(), tls: self.tls.clone() };
        Ok(PostgresConnection::new(Holder::Pooled(object), cancel, Some(self.statement_timeout)))
    }

    async fn given(&self, pool: &Pool<Opener>) -> Result<Object, DatabaseError> {
        // Each idle connection is checked within its own time. Of a server that is frozen all of them
        // fail, one after the other, and nobody waits for that.
        match timeout(self.get_timeout, pool.get()).await {
            Ok(given) => given.map_err(|error| self.not_given(error)),
            Err(_) => Err(not_connected(&self.url, timed_out(self.get_timeout))),
        }
    }

    /// What is heard on a channel.
    pub(in crate::database) fn listen(&self, channel: &'static str) -> Receiver<Heard> {
        self.listen_to.listen(channel)
    }

    fn not_given(&self, error: PoolError<tokio_postgres::Error>) -> DatabaseError {
        match error {
            PoolError::Backend(error) => not_connected(&self.url, error.into()),
            PoolError::Timeout(TimeoutType::Wait) => {
                let waited = humantime::format_duration(self.wait_timeout);
                let message = format!("no connection of the pool became free within {waited}");
                DatabaseError::new(DatabaseErrorKind::PoolTimeout, message)
            }
            PoolError::PostCreateHook(HookError::Backend(error)) => not_connected(&self.url, error.into()),
            other => {
                let refused = DatabaseError::new(DatabaseErrorKind::Unreachable, other.to_string());
                not_connected(&self.url, refused.caused_by(other))
            }
        }
    }

    pub(in crate::database) fn status(&self) -> PoolStatus {
        let status = self.pool.status();
        let (size, available) = (status.size, status.available);
        PoolStatus { size, available, waiting: status.waiting, maximum: status.max_size }
    }

    /// Closes the connections above `keep` that have been idle for as long as `idle`.
    pub(in crate::database) fn trim(&self, keep: usize, idle: Duration) {
        let mut surplus = self.pool.status().size.saturating_sub(keep);
        self.pool.retain(|_, metrics| {
            let close = surplus > 0 && metrics.last_used() >= idle;
            surplus -= usize::from(close);
            !close
        });
    }

    /// Gives up every connection that is open, those in use as well: they lead to a server that is gone, or
    /// not the primary any more, and nobody waits for it to say so.
    pub(in crate::database) fn renew(&self) {
        self.renewals.renew();
        for pool in [&self.pool, &self.reserved] {
            pool.retain(|_, _| false);
        }
        self.lanes.close();
    }

    /// How often that was done: what an earlier primary said is not to be mixed with what the one of now says.
    pub(in crate::database) fn generation(&self) -> u64 {
        self.renewals.generation()
    }

    pub(in crate::database) fn close(&self) {
        self.pool.close();
        self.reserved.close();
        self.lanes.close();
    }
}

/// Sets up so many connections at most.
fn build(manager: Opener, settings: &DatabaseSettings, size: usize) -> Result<Pool<Opener>, DatabaseError> {
    // A statement is planned once for each connection. Planned anew each time, as the server would choose,
    // the page of a day takes twice as long, because the planner looks at every partition of the table. Citus
    // has no such plan where the values say which machine to ask, and fails.
    // A role, or the database, may have another form of times, which is read as another time where the name of
    // its zone is that of a second one.
    let limits = format!(
        "SET statement_timeout = {0}; SET idle_in_transaction_session_timeout = {0}; \
         SET datestyle = 'ISO, YMD'; SET timezone = 'UTC'; \
         SELECT set_config('plan_cache_mode', 'force_generic_plan', false) \
         WHERE NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')",
        settings.statement_timeout.as_millis()
    );
    let (idle, recycle_timeout) = (settings.idle_timeout, settings.recycle_timeout);
    Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(settings.wait_timeout))
        .create_timeout(Some(settings.create_timeout))
        .recycle_timeout(Some(recycle_timeout))
        .post_create(Hook::async_fn(move |client: &mut Opened, _| {
            let limits = limits.clone();
            Box::pin(async move { client.batch_execute(&limits).await.map_err(HookError::Backend) })
        }))
        .pre_recycle(Hook::async_fn(move |client: &mut Opened, metrics| {
            // One that was given up is refused afterwards, without asking its server.
            let check = client.is_current() && metrics.last_used() >= idle;
            Box::pin(async move {
                if !check {
                    return Ok(());
                }
                match timeout(recycle_timeout, client.simple_query("")).await {
                    Ok(answer) => answer.map(drop).map_err(HookError::Backend),
                    Err(_) => Err(HookError::message("the check of an idle connection timed out")),
                }
            })
        }))
        .build()
        .map_err(|error| {
            DatabaseError::new(DatabaseErrorKind::Other, "the pool cannot be set up").caused_by(error)
        })
}
