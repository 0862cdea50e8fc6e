//! One connection that changes a database: under a lock, in transactions that are whole or not at all.
//!
//! What is to be done comes as data, a [`Change`], so that it can be tried again when a lock was not given.

mod blockers;
mod postgres;
mod sqlite;

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use foundation::clock::Clock;
use foundation::database::{
    Backend, Connection, DatabaseError, DatabaseErrorKind, DatabaseUrl, Statement, Value,
};
use foundation::entropy::Entropy;
use foundation::settings::DatabaseSettings;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::error::MigratorError;
use crate::history::{self, Entry};
use crate::settings::MigratorSettings;
use crate::source::{Dialect, Migration, Version, bookkeeping};
use crate::stop::Stop;
use blockers::Blockers;

/// The name under which the migrator's sessions are seen in `pg_stat_activity`.
const APPLICATION_NAME: &str = "bedplate-migrator";

/// How long a statement that was cancelled may take to end before its connection is given up.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a rollback may take before its connection is given up.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(2);

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
    fn pauses(&self, first: Duration, longest: Duration) -> impl Iterator<Item = Duration> + use<> {
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

    /// Opens a connection, and waits for a database that is away or starting.
    pub(crate) async fn connect(&self, wait: Duration) -> Result<Connection, MigratorError> {
        let deadline = Instant::now() + wait;
        let mut told = false;
        for pause in self.pauses(Duration::from_millis(50), Duration::from_secs(1)) {
            let opened = tokio::select! {
                () = self.stop.requested() => return Err(MigratorError::Stopped),
                opened = Connection::open(&self.url, &self.database, APPLICATION_NAME) => opened,
            };
            match opened {
                Ok(connection) => return Ok(connection),
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
}

/// What must hold inside of the transaction for a change to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// The version is not in the history.
    NotApplied(Version),
    /// The version is in the history.
    Applied(Version),
    /// There is no active administrator.
    NoAdmin,
    /// Nothing.
    None,
}

/// One thing that a change does.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// Runs statements as they stand in a file.
    File { sql: String },
    /// Runs a statement of ours.
    Execute(Statement, Vec<Value>),
    /// Records a migration as applied, without running it.
    Remember(Box<Migration>),
    /// Takes a version out of the history.
    Forget(Version),
    /// Writes what was done into the journal.
    Journal(Entry),
}

/// What is done in one transaction under the lock, together or not at all.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// What it is called in errors, for example `V3__add_index`.
    pub(crate) title: String,
    pub(crate) guard: Guard,
    pub(crate) work: Vec<Work>,
}

/// Whether a change was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Performed {
    /// It was made.
    Done,
    /// Its guard did not hold: somebody else was there first.
    Skipped,
}

/// One connection that changes a database.
pub(crate) struct Session {
    context: Context,
    connection: Connection,
}

impl Session {
    /// Connects. Makes the database when it is missing and `create` says so.
    pub(crate) async fn open(context: &Context, create: bool) -> Result<Self, MigratorError> {
        let wait = context.settings.wait_timeout;
        if !create {
            context.require_file()?;
        }
        let connection = match context.connect(wait).await {
            Err(MigratorError::Database(error))
                if error.kind() == DatabaseErrorKind::MissingDatabase && create =>
            {
                postgres::create_database(context, error).await?;
                context.connect(wait).await?
            }
            connected => connected?,
        };
        Ok(Self { context: context.clone(), connection })
    }

    pub(crate) fn backend(&self) -> Backend {
        self.connection.backend()
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.backend().into()
    }

    /// The connection, for reading.
    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Takes the lock that only one migrator can have, and makes the tables that the migrator keeps.
    pub(crate) async fn lock(&mut self) -> Result<(), MigratorError> {
        match self.backend() {
            Backend::Postgres => postgres::lock(&self.context, &mut self.connection).await?,
            Backend::Sqlite => sqlite::prepare(&mut self.connection).await?,
        }
        let dialect = self.dialect();
        // That they are there already is no news: PostgreSQL would send a notice of it each time.
        let quiet =
            if dialect == Dialect::Postgres { "SET LOCAL client_min_messages = warning;\n" } else { "" };
        let tables = format!(
            "{quiet}{};\n{}",
            bookkeeping::history_table_sql(dialect),
            bookkeeping::journal_table_sql(dialect)
        );
        let change = Change {
            title: "the tables of the migrator".to_owned(),
            guard: Guard::None,
            work: vec![Work::File { sql: tables }],
        };
        self.perform(&change).await?;
        if self.backend() == Backend::Postgres && postgres::has_narrow_versions(&mut self.connection).await? {
            let title = "the history's versions of 64 bits".to_owned();
            let work = vec![Work::File { sql: postgres::WIDEN_VERSIONS.to_owned() }];
            self.perform(&Change { title, guard: Guard::None, work }).await?;
        }
        Ok(())
    }

    /// Makes the change in a transaction. When a lock is not given it is rolled back, so that nobody queues
    /// behind it, and tried again until the deadline.
    pub(crate) async fn perform(&mut self, change: &Change) -> Result<Performed, MigratorError> {
        let started = Instant::now();
        let mut blockers = Blockers::new(&self.context, &mut self.connection).await?;
        for pause in self.context.pauses(Duration::from_millis(100), Duration::from_secs(2)) {
            if self.context.stop.is_requested() {
                return Err(MigratorError::Stopped);
            }
            let attempt = attempt(&self.context, &mut self.connection, change, &mut blockers).await;
            let error = match attempt {
                Err(Failure::Database(error)) if is_contention(&error) => error,
                Err(failure) => return Err(failure.explain(change)),
                Ok(performed) => return Ok(performed),
            };
            let waited = started.elapsed();
            let names = blockers.names();
            tracing::warn!(migration = change.title, blockers = names, reason = %error, "a lock was not given in time; rolled back, trying again");
            if waited + pause > self.context.settings.deadline {
                let what = format!("{} waits for a lock that {names} holds", change.title);
                return Err(MigratorError::Locked { what, waited });
            }
            self.context.pause(pause).await?;
        }
        unreachable!("the pauses never end")
    }

    /// Runs statements outside of a transaction, for what PostgreSQL does not allow inside of one.
    pub(crate) async fn perform_without_transaction(
        &mut self,
        title: &str,
        sql: &str,
    ) -> Result<(), MigratorError> {
        let canceller = self.connection.canceller();
        let work = async { self.connection.batch(sql).await };
        let done = stoppable(&self.context.stop, &canceller, work).await;
        done.map_err(|failure| failure.explain_file(title, sql))
    }
}

/// Why an attempt failed.
enum Failure {
    Database(DatabaseError),
    /// The statements of a file failed, at this line of it.
    File(DatabaseError, Option<usize>),
    Migrator(MigratorError),
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

impl From<MigratorError> for Failure {
    fn from(error: MigratorError) -> Self {
        Self::Migrator(error)
    }
}

impl Failure {
    fn explain(self, change: &Change) -> MigratorError {
        match self {
            Self::Migrator(error) => error,
            Self::Database(source) => {
                MigratorError::Failed { migration: change.title.clone(), line: None, source }
            }
            Self::File(source, line) => {
                MigratorError::Failed { migration: change.title.clone(), line, source }
            }
        }
    }

    fn explain_file(self, title: &str, sql: &str) -> MigratorError {
        match self {
            Self::Migrator(error) => error,
            Self::Database(source) | Self::File(source, _) => {
                let line = source.position().map(|position| line_at(sql, position));
                MigratorError::Failed { migration: title.to_owned(), line, source }
            }
        }
    }
}

/// The line, from 1, of the character at `position`, from 1.
fn line_at(sql: &str, position: usize) -> usize {
    1 + sql.chars().take(position.saturating_sub(1)).filter(|character| *character == '\n').count()
}

/// One try of a change, stopped by a signal, with an eye on who holds its locks.
async fn attempt(
    context: &Context,
    connection: &mut Connection,
    change: &Change,
    blockers: &mut Blockers,
) -> Result<Performed, Failure> {
    let canceller = connection.canceller();
    let result = {
        let work = blockers.watch(transaction(context, connection, change));
        stoppable(&context.stop, &canceller, work).await
    };
    if result.is_err() {
        // Where this does not work, the connection is gone or ends with the program, and the transaction
        // with it.
        match tokio::time::timeout(ROLLBACK_TIMEOUT, connection.rollback()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(error = %error, "nothing was rolled back"),
            Err(_) => tracing::debug!("the rollback was not answered"),
        }
    }
    result
}

/// Runs `work`; when the run is to stop, cancels the statement and waits for its end.
async fn stoppable<T, E: Into<Failure>>(
    stop: &Stop,
    canceller: &foundation::database::Canceller,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    tokio::pin!(work);
    tokio::select! {
        biased;
        result = &mut work => return result.map_err(Into::into),
        () = stop.requested() => {}
    }
    let give_up = Instant::now() + CANCEL_TIMEOUT;
    while Instant::now() < give_up {
        // Again and again, because the first time may have met the moment between two statements.
        if let Err(error) = canceller.cancel().await {
            tracing::warn!(error = %error, "the running statement could not be cancelled");
        }
        match tokio::time::timeout(Duration::from_millis(200), &mut work).await {
            // It was done just before.
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(_)) => break,
            Err(_) => {}
        }
    }
    Err(MigratorError::Stopped.into())
}

async fn transaction(
    context: &Context,
    connection: &mut Connection,
    change: &Change,
) -> Result<Performed, Failure> {
    let started_at = context.clock.now();
    connection.begin().await?;
    match connection.backend() {
        Backend::Postgres => postgres::enter(&context.settings, connection).await?,
        Backend::Sqlite => sqlite::enter(connection).await?,
    }
    if !holds(connection, change.guard).await? {
        connection.rollback().await?;
        return Ok(Performed::Skipped);
    }
    for work in &change.work {
        match perform_one(context, connection, work, started_at).await {
            Err(Failure::File(..))
                if connection.backend() == Backend::Postgres && postgres::was_left(connection).await =>
            {
                return Err(postgres::ended_its_transaction(&change.title).into());
            }
            performed => performed?,
        }
        // Asked before anything else is written: outside of the transaction it would stay.
        match (work, connection.backend()) {
            (Work::File { .. }, Backend::Postgres) => {
                postgres::still_inside(connection, &change.title).await?;
            }
            (Work::File { .. }, Backend::Sqlite) => sqlite::still_inside(connection, &change.title).await?,
            _ => {}
        }
    }
    if connection.backend() == Backend::Sqlite {
        sqlite::leave(connection, &change.title).await?;
    }
    connection.commit().await?;
    Ok(Performed::Done)
}

/// Whether somebody else was in the way, and nothing is wrong with the statement: a lock was not given in
/// time, or PostgreSQL ended a deadlock by this transaction.
fn is_contention(error: &DatabaseError) -> bool {
    matches!(error.kind(), DatabaseErrorKind::LockNotAvailable | DatabaseErrorKind::SerializationFailure)
}

async fn holds(connection: &mut Connection, guard: Guard) -> Result<bool, DatabaseError> {
    match guard {
        Guard::None => Ok(true),
        Guard::NotApplied(version) => Ok(!history::contains(connection, version).await?),
        Guard::Applied(version) => history::contains(connection, version).await,
        Guard::NoAdmin => Ok(!crate::admin::exists(connection).await?),
    }
}

async fn perform_one(
    context: &Context,
    connection: &mut Connection,
    work: &Work,
    started_at: OffsetDateTime,
) -> Result<(), Failure> {
    let now = context.clock.now();
    match work {
        Work::File { sql } => connection.batch(sql).await.map_err(|error| {
            if is_contention(&error) {
                return Failure::Database(error);
            }
            let line = error.position().map(|position| line_at(sql, position));
            Failure::File(error, line)
        }),
        Work::Execute(statement, values) => Ok(connection.execute(statement, values).await.map(drop)?),
        Work::Remember(migration) => Ok(history::remember(connection, migration, now).await?),
        Work::Forget(version) => Ok(history::forget(connection, *version).await?),
        Work::Journal(entry) => Ok(history::write_journal(connection, entry, started_at, now).await?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_from_one() {
        for (position, line) in [(1, 1), (5, 1), (6, 2), (7, 3)] {
            assert_eq!(line_at("abcd\n\nx", position), line, "{position}");
        }
    }
}
