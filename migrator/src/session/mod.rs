//! One connection that changes a database: under a lock, in transactions that are whole or not at all.

mod attempt;
mod blockers;
mod change;
mod context;
mod place;
mod postgres;
mod sqlite;
pub(crate) mod trial;
mod turns;

use std::time::Duration;

use foundation::database::{Backend, Connection, DatabaseErrorKind};
use tokio::time::Instant;

use crate::correction;
use crate::error::MigratorError;
use crate::history::Entry;
use crate::source::{Dialect, bookkeeping};
use attempt::{Failure, attempt, is_contention, stoppable, unless};
use blockers::Blockers;
use turns::Turns;

pub(crate) use attempt::{CHANGED_MEANWHILE, line_at};
pub(crate) use change::{Change, Guard, Performed, Work};
pub(crate) use context::Context;
pub(crate) use place::{no_schema, require_schema};
pub(crate) use sqlite::ForeignKeys;
pub(crate) use turns::Patience;

/// What [`Session::ask`] calls reading the history and the journal.
pub(crate) const READING: &str = "reading what is applied";

/// What PostgreSQL says of a lock that was not given in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// One connection that changes a database.
pub(crate) struct Session {
    context: Context,
    connection: Connection,
    tally: Tally,
    /// How the server calls this session, once it was asked.
    pid: Option<i64>,
}

/// What the changes since the last [`Session::take_tally`] came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// The rows that files of migrations wrote.
    pub(crate) rows: u64,
    /// Whether the role of `MIGRATOR_GRANT_TO` was given what it lacked.
    pub(crate) granted: bool,
    /// How often a lock was not given in time.
    pub(crate) lock_waits: u64,
    /// How long was waited for them, the tries that were rolled back included.
    pub(crate) lock_wait: Duration,
}

impl Tally {
    /// Writes it into the span of a migration.
    pub(crate) fn record(self, span: &tracing::Span) {
        span.record("migration.rows", self.rows);
        span.record("migration.lock_waits", self.lock_waits);
        span.record("migration.lock_wait_ms", self.lock_wait.as_secs_f64() * 1000.0);
    }
}

impl Session {
    /// Connects. Makes the database and its schema when they are missing and `create` says so, and refuses otherwise.
    pub(crate) async fn open(context: &Context, create: bool) -> Result<Self, MigratorError> {
        let mut session = Self::open_without_schema(context, create).await?;
        if create {
            place::ensure_schema(context, &mut session.connection).await?;
        } else {
            require_schema(context, &mut session.connection).await?;
        }
        Ok(session)
    }

    /// The same, for what brings the schema of PostgreSQL that the settings name along.
    pub(crate) async fn open_without_schema(context: &Context, create: bool) -> Result<Self, MigratorError> {
        let context = &context.for_writing();
        let wait = context.settings.wait_timeout;
        if !create {
            context.require_file()?;
        }
        let connection = match context.connect_to_change(wait).await {
            Err(MigratorError::Database(error))
                if error.kind() == DatabaseErrorKind::MissingDatabase && create =>
            {
                place::create_database(context, error).await?;
                context.connect_to_change(wait).await?
            }
            connected => connected?,
        };
        Ok(Self { context: context.clone(), connection, tally: Tally::default(), pid: None })
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

    async fn pid(&mut self) -> Result<Option<i64>, MigratorError> {
        if self.pid.is_none() {
            self.pid = blockers::own_pid(&mut self.connection).await?;
        }
        Ok(self.pid)
    }

    /// What the changes since the last time came to.
    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Takes the lock that only one migrator can have, and makes nothing.
    pub(crate) async fn lock_alone(&mut self) -> Result<(), MigratorError> {
        self.take_lock().await.map(drop)
    }

    /// The same, and whether there is a schema to work in.
    async fn take_lock(&mut self) -> Result<bool, MigratorError> {
        match self.backend() {
            Backend::Postgres => postgres::lock(&self.context, &mut self.connection).await,
            Backend::Sqlite => sqlite::prepare(&mut self.connection).await.map(|()| true).map_err(Into::into),
        }
    }

    /// Takes the lock that only one migrator can have, and makes the tables that the migrator keeps.
    pub(crate) async fn lock(&mut self) -> Result<(), MigratorError> {
        if !self.take_lock().await? {
            return Err(no_schema(&self.context));
        }
        let dialect = self.dialect();
        // That they are there already is no news: PostgreSQL would send a notice of it each time.
        // And what was asked before may have found the tables of another migrator, further on in the search path:
        // unless its plans are thrown away, PostgreSQL goes on to look there.
        let (quiet, afresh) = match dialect {
            Dialect::Postgres => ("SET LOCAL client_min_messages = warning;\n", ";\nDISCARD PLANS"),
            Dialect::Sqlite => ("", ""),
        };
        let tables = format!(
            "{quiet}{};\n{};\n{}{afresh}",
            bookkeeping::history_table_sql(dialect),
            bookkeeping::journal_table_sql(dialect),
            bookkeeping::structure_table_sql(dialect)
        );
        let change = Change {
            title: "the tables of the migrator".to_owned(),
            guard: Guard::None,
            work: vec![Work::File { sql: tables }],
        };
        self.perform(&change).await.map_err(explain_missing_rights)?;
        if self.backend() == Backend::Postgres && postgres::has_narrow_versions(&mut self.connection).await? {
            let title = "the history's versions of 64 bits".to_owned();
            let work = vec![Work::File { sql: postgres::WIDEN_VERSIONS.to_owned() }];
            self.perform(&Change { title, guard: Guard::None, work }).await?;
        }
        if !correction::journal_keeps_sql(&mut self.connection).await? {
            let title = "the journal's place for what was applied".to_owned();
            let work = vec![Work::File { sql: bookkeeping::upgrade_journal_sql(dialect) }];
            self.perform(&Change { title, guard: Guard::OldJournal, work }).await?;
        }
        Ok(())
    }

    /// Makes the change in a transaction. When a lock is not given it is rolled back, so that nobody queues
    /// behind it, and tried again until the deadline.
    pub(crate) async fn perform(&mut self, change: &Change) -> Result<Performed, MigratorError> {
        let pid = self.pid().await?;
        let mut turns = Turns::new(&self.context, &change.title, pid, &self.tally);
        loop {
            turns.begin()?;
            match attempt(&self.context, &mut self.connection, change, &mut turns.blockers).await {
                Err(Failure::Database(error)) if is_contention(&error) => {
                    turns.wait(&mut self.tally, &error).await?;
                }
                Err(failure) => return Err(failure.explain(change)),
                Ok((performed, written)) => {
                    self.tally.rows += written.rows;
                    self.tally.granted |= written.granted;
                    return Ok(performed);
                }
            }
        }
    }

    /// Writes into the journal that a migration failed, for whoever looks for the reason later. The failure
    /// itself is told in any case.
    pub(crate) async fn record_failure(&mut self, mut entry: Entry, error: &MigratorError) {
        // Whoever keeps a SQLite file from being written to keeps this out as well, until another deadline.
        if self.backend() == Backend::Sqlite && matches!(error, MigratorError::Locked { .. }) {
            return;
        }
        entry.error = Some(error.to_string());
        // It is not what is applied, and the file is there to be mended.
        entry.sql = None;
        let title = format!("the record of the failure of V{}__{}", entry.version, entry.name);
        let change = Change { title, guard: Guard::None, work: vec![Work::Journal(entry)] };
        if let Err(error) = self.perform(&change).await {
            tracing::warn!(error = %error, "the failure could not be recorded");
        }
    }

    /// Asks something before or between the changes: as long as it has to, but for those who are in its way. They are
    /// named, and after the deadline it gives up.
    pub(crate) async fn ask<T>(
        &mut self,
        what: &str,
        question: impl AsyncFnOnce(&mut Connection) -> Result<T, MigratorError>,
    ) -> Result<T, MigratorError> {
        let pid = self.pid().await?;
        let Self { context, connection, .. } = self;
        let started = Instant::now();
        let canceller = connection.canceller();
        let reason = async {
            let mut blockers = Blockers::new(context, pid);
            tokio::select! {
                () = context.stop.requested() => MigratorError::Stopped,
                () = blockers.stay(context.settings.deadline) => blockers.give_up(what, started.elapsed()),
            }
        };
        // On the heap, as in `step`: without optimisation these frames are large.
        Box::pin(unless(reason, &canceller, Box::pin(question(connection)))).await.map_err(Failure::told)
    }

    /// Runs statements outside of a transaction, for what PostgreSQL does not allow inside of one. They wait
    /// for locks as long as the session lets them.
    pub(crate) async fn perform_without_transaction(
        &mut self,
        title: &str,
        sql: &str,
    ) -> Result<(), MigratorError> {
        let started = Instant::now();
        let pid = self.pid().await?;
        let mut blockers = Blockers::new(&self.context, pid);
        match Box::pin(self.send(sql, &mut blockers)).await {
            Err(Failure::Database(error)) if error.sqlstate() == Some(LOCK_NOT_AVAILABLE) => {
                Err(blockers.give_up(title, started.elapsed()))
            }
            done => done.map_err(|failure| failure.explain_file(title, sql)),
        }
    }

    /// The same of one that others queue behind: when a lock is not given it is tried again until the deadline.
    pub(crate) async fn perform_in_turns(&mut self, title: &str, sql: &str) -> Result<(), MigratorError> {
        let pid = self.pid().await?;
        let mut turns = Turns::new(&self.context, title, pid, &self.tally);
        loop {
            turns.begin()?;
            match self.send(sql, &mut turns.blockers).await {
                Err(Failure::Database(error)) if is_contention(&error) => {
                    turns.wait(&mut self.tally, &error).await?;
                }
                done => return done.map_err(|failure| failure.explain_file(title, sql)),
            }
        }
    }

    async fn send(&mut self, sql: &str, blockers: &mut Blockers) -> Result<(), Failure> {
        if self.backend() == Backend::Postgres {
            postgres::prove_lock(&mut self.connection).await?;
        }
        let canceller = self.connection.canceller();
        // On the heap, as in `step`: without optimisation these frames are large.
        let work = Box::pin(blockers.watch(self.connection.batch_rows(sql)));
        self.tally.rows += stoppable(&self.context.stop, &canceller, work).await?;
        Ok(())
    }

    /// The limits of a statement that is run outside of a transaction, as SQL.
    pub(crate) fn limits(&self, patience: Patience) -> String {
        let settings = &self.context.settings;
        // PostgreSQL takes 0 for as long as it takes.
        let lock = match patience {
            Patience::OneTurn => settings.lock_timeout.as_millis().max(1),
            Patience::Deadline => settings.deadline.as_millis().max(1),
            Patience::Endless => 0,
        };
        let statement = settings.statement_timeout.as_millis();
        match self.backend() {
            Backend::Postgres => format!("SET lock_timeout = {lock}; SET statement_timeout = {statement}; "),
            Backend::Sqlite => String::new(),
        }
    }

    /// Before statements outside of a transaction that may leave the session elsewhere.
    pub(crate) async fn begin_parts(&mut self) -> Result<(), MigratorError> {
        trial::begin_parts(&mut self.connection).await
    }

    /// After them: what the migrator writes goes into its own tables.
    pub(crate) async fn end_parts(&mut self) -> Result<(), MigratorError> {
        trial::end_parts(&mut self.connection).await
    }

    /// After the last of a file's statements, whether they failed or not.
    pub(crate) async fn end_file(&mut self) -> Result<(), MigratorError> {
        trial::end_file(&mut self.connection).await
    }
}

/// A role that may only serve is told that another one migrates.
fn explain_missing_rights(error: MigratorError) -> MigratorError {
    match error {
        MigratorError::Failed { source, .. } if source.kind() == DatabaseErrorKind::InsufficientPrivilege => {
            MigratorError::Settings(format!(
                "this role may not change the schema ({source}); let DATABASE_URL of the migrator name the role that owns it"
            ))
        }
        error => error,
    }
}
