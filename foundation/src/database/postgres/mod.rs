//! The PostgreSQL driver: the only place that names tokio-postgres and deadpool-postgres.

mod composed;
mod copy;
mod hosts;
mod lanes;
mod listen;
mod pool;
mod position;
mod renewals;
mod stream;
mod tls;
mod together;
mod values;

use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use futures_util::TryStreamExt as _;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{CancelToken, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use self::renewals::Object;
use self::values::Parameter;
use super::{DatabaseError, DatabaseErrorKind, PostgresUrl, Row, Value};
use crate::settings::DatabaseSettings;

pub(super) use copy::CopyIn;
pub(super) use lanes::Lanes;
pub(super) use pool::PostgresPool;
pub(super) use position::{FLUSHED, Replayed, Standing, WRITTEN, position};
pub(super) use values::PostgresRow;

/// How long the server gets to act on a request to cancel, or on a rollback nobody waits for.
const CLEAN_UP_TIMEOUT: Duration = Duration::from_secs(2);

/// What the server says of a prepared statement that finds other columns, or others of their types, than when it
/// was prepared ("cached plan must not change result type"), and of what it cannot do at all.
const OUTDATED: SqlState = SqlState::FEATURE_NOT_SUPPORTED;

/// How much longer than the server this side waits before it gives a statement up.
const GRACE: Duration = Duration::from_secs(1);

/// One connection, of the pool or of its own.
pub(super) struct PostgresConnection {
    holder: Option<Holder>,
    cancel: Cancel,
    statement_timeout: Option<Duration>,
    /// Whether a statement is under way: true when the caller went away in the middle of it.
    busy: bool,
    in_transaction: bool,
}

#[expect(clippy::large_enum_variant, reason = "the larger one is the one that has to be fast")]
enum Holder {
    Pooled(Object),
    Own(Box<ClientWrapper>),
}

/// Cancels what a connection is running, from elsewhere.
#[derive(Clone)]
pub(super) struct Cancel {
    token: CancelToken,
    tls: MakeRustlsConnect,
}

impl Cancel {
    pub(super) async fn cancel(&self) -> Result<(), DatabaseError> {
        match timeout(CLEAN_UP_TIMEOUT, self.token.cancel_query(self.tls.clone())).await {
            Ok(done) => done.map_err(DatabaseError::from),
            Err(_) => Err(DatabaseError::new(DatabaseErrorKind::Unreachable, "the server did not answer")),
        }
    }

    /// The same, and nobody waits for it. What is `kept` is let go afterwards.
    fn cancel_aside(self, runtime: &Handle, kept: impl Send + 'static) {
        runtime.spawn(async move {
            let _kept = kept;
            if let Err(error) = self.cancel().await {
                tracing::debug!(error = %error, "a statement could not be cancelled");
            }
        });
    }
}

impl PostgresConnection {
    /// Opens a connection of its own. It has no statement timeout.
    pub(super) async fn open(
        url: &PostgresUrl,
        settings: &DatabaseSettings,
        application_name: &str,
    ) -> Result<Self, DatabaseError> {
        let tls = tls::connector(url)?;
        let config = configured(url, application_name);
        let (client, task) =
            match timeout(settings.create_timeout, hosts::connect(&config, &tls, settings.create_timeout))
                .await
            {
                Ok(connected) => connected.map_err(|error| not_connected(url, error.into()))?,
                Err(_) => return Err(not_connected(url, timed_out(settings.create_timeout))),
            };
        let cancel = Cancel { token: client.cancel_token(), tls };
        let holder = Holder::Own(Box::new(ClientWrapper::new(client, task)));
        Ok(Self::new(holder, cancel, None))
    }

    fn new(holder: Holder, cancel: Cancel, statement_timeout: Option<Duration>) -> Self {
        let holder = Some(holder);
        Self { holder, cancel, statement_timeout, busy: false, in_transaction: false }
    }

    pub(super) fn canceller(&self) -> Cancel {
        self.cancel.clone()
    }

    pub(super) async fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, DatabaseError> {
        match self.query_once(sql, values).await {
            Err(error) if self.may_try_again(&error) => self.query_once(sql, values).await,
            found => found,
        }
    }

    async fn query_once(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, DatabaseError> {
        let rows = self
            .run(async |client| {
                let statement = client.prepare_cached(sql).await?;
                client.query(&statement, &bound(&parameters(values))).await
            })
            .await?;
        Ok(values::rows(rows))
    }

    pub(super) async fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, DatabaseError> {
        match self.execute_once(sql, values).await {
            Err(error) if self.may_try_again(&error) => self.execute_once(sql, values).await,
            done => done,
        }
    }

    async fn execute_once(&mut self, sql: &str, values: &[Value]) -> Result<u64, DatabaseError> {
        self.run(async |client| {
            let statement = client.prepare_cached(sql).await?;
            client.execute(&statement, &bound(&parameters(values))).await
        })
        .await
    }

    /// Whether a statement is done once more: a migration changed what it finds since it was prepared, and
    /// nothing was done yet. A transaction that is going on has failed with it, and is its caller's to repeat.
    fn may_try_again(&self, error: &DatabaseError) -> bool {
        !self.in_transaction && error.sqlstate() == Some(OUTDATED.code())
    }

    /// Before a statement that was put together at run time: of those a connection of the pool keeps the latest
    /// prepared. What the program holds as it is has an end, and stays.
    pub(super) fn keep_latest(&self, sql: &str) {
        if let Some(Holder::Pooled(object)) = &self.holder {
            object.keep_latest(sql);
        }
    }

    /// Has the server end each statement from now on that takes longer.
    pub(super) async fn limit_statements(&mut self, limit: Duration) -> Result<(), DatabaseError> {
        self.batch(&format!("SET statement_timeout = {}", limit.as_millis())).await
    }

    /// Forgets the prepared statements, so that they are prepared anew.
    fn forget_statements(&self) {
        if let Ok(client) = self.client() {
            client.statement_cache.clear();
        }
    }

    /// Runs statements without parameters, and without preparing them.
    pub(super) async fn batch(&mut self, sql: &str) -> Result<(), DatabaseError> {
        self.run(async |client| client.batch_execute(sql).await).await
    }

    /// The same, and how many rows the statements told of. What they find is not kept.
    pub(super) async fn batch_rows(&mut self, sql: &str) -> Result<u64, DatabaseError> {
        // What goes wrong while a statement runs has no place in the text: it is the one after those that are done.
        let mut done = 0;
        let ran = self.run(async |client| batch_rows(client, sql, &mut done).await);
        ran.await.map_err(|error| error.in_statement(done))
    }

    pub(super) async fn begin(&mut self) -> Result<(), DatabaseError> {
        self.in_transaction = true;
        self.batch("BEGIN").await
    }

    /// Ends it with these before its end, and those behind it.
    pub(super) async fn commit_with(&mut self, before: &str, after: &str) -> Result<(), DatabaseError> {
        self.batch(&committing(before, after)).await?;
        self.in_transaction = false;
        Ok(())
    }

    pub(super) async fn commit(&mut self) -> Result<(), DatabaseError> {
        self.batch("COMMIT").await?;
        self.in_transaction = false;
        Ok(())
    }

    pub(super) async fn rollback(&mut self) -> Result<(), DatabaseError> {
        self.batch("ROLLBACK").await?;
        self.in_transaction = false;
        Ok(())
    }

    pub(super) async fn is_writable(&mut self) -> Result<bool, DatabaseError> {
        const SQL: &str = "SELECT NOT (pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean) AS writable";
        let rows = self.query(SQL, &[]).await?;
        rows.first().map_or(Ok(false), |row| row.get("writable"))
    }

    /// Which run of which server answers here: another one after a failover, and after a restart, and the same
    /// one by whichever of its addresses.
    pub(super) async fn server(&mut self) -> Result<Option<String>, DatabaseError> {
        const SQL: &str = "SELECT CAST(EXTRACT(EPOCH FROM pg_postmaster_start_time()) AS text) AS server";
        let rows = self.query(SQL, &[]).await?;
        rows.first().map(|row| row.get("server")).transpose()
    }

    fn client(&self) -> Result<&ClientWrapper, DatabaseError> {
        match &self.holder {
            Some(Holder::Pooled(object)) => Ok(object),
            Some(Holder::Own(client)) => Ok(client),
            None => Err(DatabaseError::new(DatabaseErrorKind::Unreachable, "the connection is closed")),
        }
    }

    /// Runs something on the client within the statement's time, and says what the server said of it.
    async fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&ClientWrapper) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, DatabaseError> {
        let result = self.within_limit(work).await?;
        if matches!(&result, Err(error) if error.code() == Some(&OUTDATED)) {
            self.forget_statements();
        }
        result.map_err(|error| self.explain(error.into()))
    }

    /// Does something on the client within the statement's time. What was not finished leaves `busy`
    /// set, so that the connection is closed instead of going back to the pool.
    async fn within_limit<T>(
        &mut self,
        work: impl AsyncFnOnce(&ClientWrapper) -> T,
    ) -> Result<T, DatabaseError> {
        self.busy = true;
        let client = self.client()?;
        let done = match self.statement_timeout {
            Some(limit) => timeout(limit + GRACE, work(client)).await.map_err(|_| timed_out(limit))?,
            None => work(client).await,
        };
        self.busy = false;
        Ok(done)
    }

    /// The server's own limit is the only thing that cancels a statement of the pool.
    fn explain(&self, said: DatabaseError) -> DatabaseError {
        match self.statement_timeout {
            Some(limit) if said.kind() == DatabaseErrorKind::QueryCanceled => {
                timed_out(limit).caused_by(said)
            }
            _ => said,
        }
    }
}

impl Drop for PostgresConnection {
    /// A connection whose statement nobody waits for any more is closed, and the server told to stop; a
    /// transaction that was not committed is rolled back before its connection goes back to the pool.
    fn drop(&mut self) {
        let runtime = Handle::try_current();
        let object = match self.holder.take() {
            Some(Holder::Pooled(object)) => object,
            // A server that waits for a lock does not notice that nobody is there any more.
            Some(Holder::Own(_)) if self.busy => {
                return runtime.map_or((), |runtime| self.cancel.clone().cancel_aside(&runtime, ()));
            }
            _ => return,
        };
        match (self.busy, self.in_transaction, runtime) {
            // One that was given up meanwhile is of use to nobody.
            (false, false, _) if !object.is_current() => drop(Object::take(object)),
            (false, false, _) => drop(object),
            (false, true, Ok(runtime)) => {
                runtime.spawn(async move {
                    let rolled_back = timeout(CLEAN_UP_TIMEOUT, object.batch_execute("ROLLBACK")).await;
                    if !matches!(rolled_back, Ok(Ok(()))) {
                        drop(Object::take(object));
                    }
                });
            }
            (true, _, Ok(runtime)) => {
                drop(Object::take(object));
                self.cancel.clone().cancel_aside(&runtime, ());
            }
            (_, _, Err(_)) => drop(Object::take(object)),
        }
    }
}

/// Runs statements without parameters, and says how many rows they told of. `done` counts those that have ended.
async fn batch_rows(
    client: &ClientWrapper,
    sql: &str,
    done: &mut usize,
) -> Result<u64, tokio_postgres::Error> {
    let mut messages = std::pin::pin!(client.simple_query_raw(sql).await?);
    let mut rows = 0;
    while let Some(message) = messages.try_next().await? {
        if let SimpleQueryMessage::CommandComplete(count) = message {
            rows += count;
            *done += 1;
        }
    }
    Ok(rows)
}

/// The end of a transaction with statements before and behind it. It has a line of its own: a remark may end those
/// before.
fn committing(before: &str, after: &str) -> String {
    format!("{before}\n;COMMIT;\n{after}")
}

fn parameters(values: &[Value]) -> Vec<Parameter<'_>> {
    values.iter().map(Parameter).collect()
}

fn bound<'a>(parameters: &'a [Parameter<'a>]) -> Vec<&'a (dyn ToSql + Sync)> {
    parameters.iter().map(|parameter| parameter as _).collect()
}

fn timed_out(limit: Duration) -> DatabaseError {
    let message = format!("the database did not answer within {}", humantime::format_duration(limit));
    DatabaseError::new(DatabaseErrorKind::Timeout, message)
}

fn configured(url: &PostgresUrl, application_name: &str) -> tokio_postgres::Config {
    let mut config = url.config.clone();
    if config.get_application_name().is_none() {
        config.application_name(application_name);
    }
    config
}

/// Says which server could not be reached, as whom, and what to look at.
fn not_connected(url: &PostgresUrl, error: DatabaseError) -> DatabaseError {
    let hosts = url.hosts().join(", ");
    let user = url.config.get_user().unwrap_or_default();
    match error.kind() {
        _ if error.sqlstate() == Some(SqlState::TOO_MANY_CONNECTIONS.code()) => error.while_trying(format!(
            "PostgreSQL at {hosts} has no connection left for the role {user}; let those who use it keep fewer (DATABASE_POOL_SIZE and DATABASE_MAX_OVERFLOW of each process), or raise its max_connections"
        )),
        DatabaseErrorKind::Authentication => error.while_trying(format!(
            "PostgreSQL at {hosts} refuses the role {user}; check the user and the password in {}",
            url.variable
        )),
        DatabaseErrorKind::Unreachable | DatabaseErrorKind::Timeout => {
            let mut error = error.while_trying(format!(
                "PostgreSQL at {hosts} cannot be reached; check that it runs and that {} names its host and port",
                url.variable
            ));
            error.set_kind(DatabaseErrorKind::Unreachable);
            error
        }
        DatabaseErrorKind::Tls => error.while_trying(format!(
            "no TLS connection to PostgreSQL at {hosts}; check sslmode and DATABASE_SSL_ROOT_CERT"
        )),
        DatabaseErrorKind::MissingDatabase => error.while_trying(format!(
            "PostgreSQL at {hosts} has no such database; make it, or check its name in {}",
            url.variable
        )),
        _ => error.while_trying(format!("PostgreSQL at {hosts}")),
    }
}
