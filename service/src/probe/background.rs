//! The look at the database once a second.

use std::sync::Arc;

use foundation::clock::Clock;
use foundation::database::{Connection, Database, DatabaseError, DatabaseErrorKind, DatabaseUrl};
use foundation::settings::DatabaseSettings;
use migrator::schema::{self, SchemaReport};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{BUDGET, PERIOD, STALE_AFTER};
use crate::domain::health::{DatabaseHealth, DatabaseState};

/// A schema that was found right is looked at again after this many rounds, so that a migration or a
/// rollback is noticed within seconds.
const ROUNDS_BETWEEN_INSPECTIONS: u32 = 3;

/// The task that looks.
#[expect(missing_debug_implementations, reason = "nobody prints a task")]
pub struct Probe {
    url: DatabaseUrl,
    settings: DatabaseSettings,
    clock: Clock,
    reports: watch::Sender<Report>,
    /// Whose connections are given up when another server has become the primary.
    database: Database,
}

/// What the probe last said, and when.
#[derive(Clone, Debug)]
struct Report {
    health: Arc<DatabaseHealth>,
    is_good: bool,
    reported_at: Instant,
}

/// Shows what the probe found last. Cheap to clone and to ask.
#[derive(Clone, Debug)]
pub struct ProbeView(watch::Receiver<Report>);

impl Report {
    fn new(health: DatabaseHealth) -> Self {
        let is_good = health.reasons().is_empty();
        Self { health: Arc::new(health), is_good, reported_at: Instant::now() }
    }
}

impl ProbeView {
    /// Whether the service can do its work on the database. No allocation, no lock that anybody holds
    /// for longer than a copy.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let report = self.0.borrow();
        report.is_good && report.reported_at.elapsed() <= STALE_AFTER
    }

    /// What is known about the database.
    #[must_use]
    pub fn health(&self) -> Arc<DatabaseHealth> {
        let report = self.0.borrow().clone();
        let age = report.reported_at.elapsed();
        if age <= STALE_AFTER {
            return report.health;
        }
        let error = format!("the probe has not reported for {} seconds", age.as_secs());
        let checked_at = report.health.checked_at;
        Arc::new(DatabaseHealth { checked_at, state: DatabaseState::Disconnected(error) })
    }
}

/// The connection of the probe, and what it needs to know about the schema on it.
#[derive(Default)]
struct Session {
    connection: Option<Connection>,
    /// An attempt to connect, which goes on when a round is over: of several hosts the first may be silent
    /// for longer than a round takes. It ends within `DATABASE_CREATE_TIMEOUT`.
    connecting: Option<AbortOnDropHandle<Result<Connection, DatabaseError>>>,
    schema: Option<SchemaReport>,
    rounds_since_inspection: u32,
    /// The server that took changes last, kept for longer than the connection.
    primary: Option<String>,
}

impl Probe {
    /// A probe of the database at `url`, which `database` is open on. It looks while [`run`](Self::run) runs.
    #[must_use]
    pub fn new(
        url: DatabaseUrl,
        settings: DatabaseSettings,
        database: Database,
        clock: Clock,
    ) -> (Self, ProbeView) {
        let state = DatabaseState::Disconnected("it has not been asked yet".to_owned());
        let first = DatabaseHealth { checked_at: OffsetDateTime::UNIX_EPOCH, state };
        let (reports, view) =
            watch::channel(Report::new(DatabaseHealth { checked_at: clock.now(), ..first }));
        (Self { url, settings, clock, reports, database }, ProbeView(view))
    }

    /// Looks once a second, for ever. At most one look is under way, and none takes longer than [`BUDGET`].
    pub async fn run(self) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut session = Session::default();
        loop {
            ticks.tick().await;
            let state = match timeout(BUDGET, self.look(&mut session)).await {
                Ok(Ok(state)) => state,
                Ok(Err(error)) => DatabaseState::Disconnected(error.to_string()),
                Err(_elapsed) => {
                    let error = format!("it did not answer within {} ms", BUDGET.as_millis());
                    DatabaseState::Disconnected(error)
                }
            };
            if matches!(state, DatabaseState::Disconnected(_)) {
                // Whatever state a connection is in that did not answer, the next round has a new one.
                let Session { connecting, primary, .. } = session;
                session = Session { connecting, primary, ..Session::default() };
            }
            self.report(DatabaseHealth { checked_at: self.clock.now(), state });
        }
    }

    async fn look(&self, session: &mut Session) -> Result<DatabaseState, DatabaseError> {
        let (connection, is_new) = match &mut session.connection {
            Some(connection) => (connection, false),
            none => (none.insert(self.connect(&mut session.connecting).await?), true),
        };
        if is_new {
            // A round that is given up has its statement cancelled; this ends those that no such request reaches. It
            // is the limit of the pool, because behind a transaction pooler it is everybody's.
            connection.limit_statements(self.settings.statement_timeout).await?;
        }
        let writable = connection.is_writable().await?;
        if is_new && writable {
            self.compare(connection.server().await?, &mut session.primary);
        }
        session.rounds_since_inspection += 1;
        let known = session.schema.take().filter(|schema| {
            schema.refusal().is_none() && session.rounds_since_inspection < ROUNDS_BETWEEN_INSPECTIONS
        });
        let schema = match known {
            Some(schema) => schema,
            None => {
                session.rounds_since_inspection = 0;
                schema::inspect(connection).await?
            }
        };
        let (schema_version, schema_refusal) = (schema.version, schema.refusal());
        session.schema = Some(schema);
        Ok(DatabaseState::Connected { writable, schema_version, schema_refusal })
    }

    /// Has the connections given up that lead to another server than the primary. Of one that is gone without a
    /// word, those who wait there would hear nothing until their time is over.
    fn compare(&self, server: Option<String>, primary: &mut Option<String>) {
        if primary.is_some() && *primary != server {
            tracing::info!(
                "another server is the primary now; the connections to the one before are given up"
            );
            self.database.renew();
        }
        *primary = server;
    }

    /// Waits for the attempt to connect that is under way, or begins one.
    async fn connect(
        &self,
        connecting: &mut Option<AbortOnDropHandle<Result<Connection, DatabaseError>>>,
    ) -> Result<Connection, DatabaseError> {
        let attempt = connecting.get_or_insert_with(|| {
            let (url, settings) = (self.url.clone(), self.settings.clone());
            AbortOnDropHandle::new(tokio::spawn(async move {
                Connection::open(&url, &settings, "bedplate-service-probe").await
            }))
        });
        let connected = attempt.await;
        *connecting = None;
        connected.unwrap_or_else(|error| {
            let ended =
                DatabaseError::new(DatabaseErrorKind::Unreachable, "the attempt to connect broke off");
            Err(ended.caused_by(error))
        })
    }

    /// Publishes what was found, and logs it when it is something new.
    fn report(&self, health: DatabaseHealth) {
        let next = Report::new(health);
        let before = self.reports.send_replace(next.clone());
        match (before.is_good, next.is_good) {
            (false, true) => {
                tracing::info!(schema_version = next.health.schema_version(), "the database is ready");
            }
            (_, false) if before.health.state != next.health.state => {
                let reasons = next.health.reasons().join("; ");
                tracing::warn!(reasons, "not ready");
            }
            _ => {}
        }
    }
}
