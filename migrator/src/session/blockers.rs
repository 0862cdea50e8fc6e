//! Who holds the locks that a migration waits for, asked on a second connection while it waits.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

use foundation::database::{Backend, Connection, DatabaseError, Statement};
use tokio::time::Instant;

use super::Context;
use crate::error::MigratorError;

/// How long a change runs before somebody looks at who is in its way.
const PATIENCE: Duration = Duration::from_millis(300);

/// The name under which connections are seen that look at what another one does.
pub(super) const OBSERVER: &str = "bedplate-migrator observer";

const OWN_PID: Statement = Statement::write("pg_stat_activity", "SELECT pg_backend_pid() AS pid");

const BLOCKING: Statement = Statement::read(
    "pg_stat_activity",
    "SELECT a.pid, coalesce(a.usename::text, '') AS role, coalesce(a.application_name, '') AS application_name,
       coalesce(a.state, 'unknown') AS state,
       coalesce(CAST(extract(epoch FROM clock_timestamp() - a.xact_start) AS bigint), 0) AS seconds
     FROM unnest(pg_blocking_pids($1)) AS blocking(pid) JOIN pg_stat_activity a ON a.pid = blocking.pid",
);

/// How the server calls the session of this connection; SQLite has none.
pub(super) async fn own_pid(connection: &mut Connection) -> Result<Option<i64>, DatabaseError> {
    match connection.backend() {
        Backend::Postgres => {
            let row = connection.query_optional(&OWN_PID, &[]).await?;
            row.map(|row| row.get("pid")).transpose()
        }
        Backend::Sqlite => Ok(None),
    }
}

type Opening = Pin<Box<dyn Future<Output = Result<Connection, DatabaseError>> + Send>>;

/// The sessions that were seen in the way.
pub(super) struct Blockers {
    context: Context,
    pid: Option<i64>,
    /// The second connection while it is being opened. It is kept when a change ends before that is done, so
    /// that a short patience for locks does not begin anew with it in each try and never see anybody.
    opening: Option<Opening>,
    observer: Option<Connection>,
    seen: BTreeSet<String>,
}

impl Blockers {
    pub(super) fn new(context: &Context, pid: Option<i64>) -> Self {
        Self { context: context.clone(), pid, opening: None, observer: None, seen: BTreeSet::new() }
    }

    /// Runs `work`, and looks at who is in its way when it takes long.
    pub(super) async fn watch<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            result = work => result,
            // On the heap, as in `step`: without optimisation these frames are large.
            () = Box::pin(self.stay(Duration::MAX)) => unreachable!("nobody stays that long"),
        }
    }

    /// Looks at who is in the way, again and again, until somebody has been there for as long as `limit`. Where nobody
    /// can be looked for, somebody may be.
    pub(super) async fn stay(&mut self, limit: Duration) {
        let mut since: Option<Instant> = None;
        loop {
            tokio::time::sleep(PATIENCE).await;
            let Some(pid) = self.pid else { continue };
            let looked = self.look(pid).await;
            if matches!(looked, Ok(false)) {
                since = None;
                continue;
            }
            let is_over = since.get_or_insert_with(Instant::now).elapsed() >= limit;
            if let Err(error) = looked {
                self.observer = None;
                if is_over {
                    tracing::warn!(error = %error, "who is in the way could not be asked");
                } else {
                    tracing::debug!(error = %error, "who is in the way could not be asked");
                }
            }
            if is_over {
                return;
            }
        }
    }

    /// Whether somebody is in the way.
    async fn look(&mut self, pid: i64) -> Result<bool, DatabaseError> {
        if self.observer.is_none() {
            let context = &self.context;
            let opening = self.opening.get_or_insert_with(|| {
                let context = context.clone();
                Box::pin(async move { Connection::open(&context.url, &context.database, OBSERVER).await })
            });
            let opened = opening.await;
            self.opening = None;
            self.observer = Some(opened?);
        }
        let Some(observer) = &mut self.observer else { return Ok(false) };
        let blocking = observer.query(&BLOCKING, &[pid.into()]).await?;
        for row in &blocking {
            let name = format!(
                "pid {} ({} as {})",
                row.get::<i64>("pid")?,
                row.get::<String>("application_name")?,
                row.get::<String>("role")?
            );
            if self.seen.insert(name.clone()) {
                let (state, seconds) = (row.get::<String>("state")?, row.get::<i64>("seconds")?);
                tracing::warn!(
                    blocker = name,
                    state,
                    transaction_seconds = seconds,
                    "a session is in the way of the migration"
                );
            }
        }
        Ok(!blocking.is_empty())
    }

    /// What is said when nobody goes out of the way.
    pub(super) fn give_up(&self, what: &str, waited: Duration) -> MigratorError {
        let what = format!("{what} waits for a lock that {} holds", self.names());
        MigratorError::Locked { what, waited, in_part: false }
    }

    /// Their names for a sentence.
    pub(super) fn names(&self) -> String {
        match (&self.pid, self.seen.is_empty()) {
            (None, _) => "another connection to the file".to_owned(),
            (Some(_), true) => "a session that was not seen".to_owned(),
            (Some(_), false) => self.seen.iter().cloned().collect::<Vec<_>>().join(", "),
        }
    }
}
