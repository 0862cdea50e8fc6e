//! What only PostgreSQL needs: the advisory lock, the proof that it is ours, and what surrounds a file.

use std::time::Duration;

use foundation::database::{Connection, DatabaseError, Request, Row, Statement, Value};
use tokio::time::Instant;

use super::Context;
use super::blockers::OBSERVER;
use crate::error::MigratorError;
use crate::settings::MigratorSettings;
use crate::source::Version;

/// The key of the advisory lock, the same for every migrator: `bedplate` in ASCII.
const LOCK_KEY: i64 = 0x6265_6470_6c61_7465;

/// A standby would give it, and then refuse to write. Whether there is a schema to work in is asked on the way.
const TRY_LOCK: Statement = Statement::write(
    "pg_locks",
    "SELECT CASE WHEN is_standby THEN false ELSE pg_try_advisory_lock($1) END AS locked, is_standby,
       current_schema() IS NOT NULL AS has_schema
     FROM (SELECT pg_is_in_recovery() AS is_standby) AS server",
);

/// Holds for this very backend. Behind a transaction pooler, another one may have the lock.
///
/// The transaction takes the lock too, which works where no other session has it. Then it cannot get lost, so this
/// session gives it back, which works where it had it, and takes it again. Looking into `pg_locks` would tell less,
/// and read all locks of the server for it.
macro_rules! holds_lock {
    () => {
        "CASE WHEN NOT pg_try_advisory_xact_lock($1) THEN false
           WHEN NOT pg_advisory_unlock($1) THEN false ELSE pg_try_advisory_lock($1) END AS held"
    };
}

const HOLDS_LOCK: Statement = Statement::write("pg_locks", concat!("SELECT ", holds_lock!()));

/// Whether statements have to be sent one by one: workers of Citus take one at a time.
macro_rules! has_citus {
    () => {
        "EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'citus') AS has_citus"
    };
}

const ENTER: Statement = Statement::write(
    "pg_locks",
    concat!("SELECT ", holds_lock!(), ", ", has_citus!(), ", false AS is_applied"),
);

/// The same before a migration.
const ENTER_BEFORE: Statement = Statement::write(
    "refinery_schema_history",
    concat!(
        "SELECT ",
        holds_lock!(),
        ", ",
        has_citus!(),
        ", EXISTS (SELECT 1 FROM refinery_schema_history WHERE version = $2) AS is_applied"
    ),
);

const WHO_HOLDS_LOCK: Statement = Statement::read(
    "pg_locks",
    "SELECT l.pid, coalesce(a.application_name, '') AS application_name, coalesce(a.client_addr::text, 'local') AS address
     FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
     WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND (l.classid::bigint << 32) + l.objid::bigint = $1
       AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1",
);

/// How often two connections are compared. Behind a pooler that others use too, one comparison may tell nothing.
const COMPARISONS: usize = 2;

/// How often the lock is looked for to give it back, when it is the session of whoever gets it next.
const SEARCHES: usize = 8;

const UNLOCK: Statement = Statement::write("pg_locks", "SELECT pg_advisory_unlock($1) AS unlocked");

/// Set for the length of a transaction, and gone when a file ended it.
const MARKER: &str = "bedplate.in_migration";

const IS_MARKED: Statement = Statement::write(
    "pg_settings",
    "SELECT coalesce(current_setting('bedplate.in_migration', true), '') = 'yes' AS marked, NULL AS other",
);

macro_rules! keep_place {
    ($until_the_end_of_the_transaction:literal) => {
        concat!(
            "set_config('bedplate.search_path', current_setting('search_path'), ",
            $until_the_end_of_the_transaction,
            "), set_config('bedplate.role', current_setting('role'), ",
            $until_the_end_of_the_transaction,
            "), set_config('bedplate.session', session_user, ",
            $until_the_end_of_the_transaction,
            "), set_config('bedplate.schema', coalesce(current_schema(), ''), ",
            $until_the_end_of_the_transaction,
            ")"
        )
    };
}

/// Keeps, for the length of a transaction, where this session looks for tables and as whom. What pg_dump writes
/// begins by emptying the search path, and a file may go over to another schema or role for the rest of it.
const KEEP_PLACE: &str = keep_place!("true");

/// The same until [`RETURN`].
const KEEP_PLACE_IN_SESSION: &str = concat!("SELECT ", keep_place!("false"));

/// What a transaction begins with: these `limits`, each with a comma behind it, the mark, and its place.
pub(super) fn entering(limits: &str) -> String {
    format!("SELECT {limits}set_config('{MARKER}', 'yes', true), {KEEP_PLACE}")
}

/// Whether the mark is there, and then back to where the session was, in one question.
const IS_MARKED_AND_BACK: Statement = Statement::write(
    "pg_settings",
    // Another session_authorization takes the role along, so it comes first; which schema is the first one depends on
    // all of them.
    "SELECT marked, CASE WHEN marked AND session_user <> current_setting('bedplate.session')
         THEN set_config('session_authorization', current_setting('bedplate.session'), false) END AS session,
       CASE WHEN marked THEN set_config('role', current_setting('bedplate.role'), false) END AS role,
       CASE WHEN marked THEN set_config('search_path', current_setting('bedplate.search_path'), false) END AS search_path,
       CASE WHEN marked AND coalesce(current_schema(), '') <> current_setting('bedplate.schema')
         THEN current_schema()::text END AS other, current_setting('bedplate.schema', true) AS schema
     FROM (SELECT coalesce(current_setting('bedplate.in_migration', true), '') = 'yes' AS marked) AS session",
);

/// Goes back there, so that what the migrator writes afterwards goes into its own tables.
const RETURN: Statement = Statement::write(
    "pg_settings",
    "SELECT CASE WHEN session_user <> current_setting('bedplate.session')
         THEN set_config('session_authorization', current_setting('bedplate.session'), false) END,
       set_config('role', current_setting('bedplate.role'), false), set_config('search_path', current_setting('bedplate.search_path'), false)",
);

/// Lets the session live, whatever the server says of those that do nothing for a while: the lock goes with it, and
/// a backup that others make meanwhile may take hours. So may a transaction, which PostgreSQL limits since version 17.
macro_rules! stay {
    () => {
        "SELECT set_config('idle_session_timeout', '0', false),
           CASE WHEN current_setting('transaction_timeout', true) IS NOT NULL THEN set_config('transaction_timeout', '0', false) END"
    };
}

/// Takes back what a file has set for the session and drops the tables that only it has. Where the session looks
/// for tables is said when it begins, and the role is not reset by this.
pub(super) const FORGET_FILE: &str = concat!("RESET ALL; ", stay!(), "; DISCARD TEMP; UNLISTEN *; CLOSE ALL");

const NARROW_VERSION: Statement = Statement::read(
    "pg_attribute",
    "SELECT 1 AS narrow FROM pg_attribute WHERE attrelid = 'refinery_schema_history'::regclass AND attname = 'version' AND atttypid = 'int4'::regtype",
);

/// Takes the lock by asking again and again: a session that waits inside of the server would hold a
/// snapshot, and CREATE INDEX CONCURRENTLY of the one that has the lock would wait for it for ever. Says whether there
/// is a schema to work in.
pub(super) async fn lock(context: &Context, connection: &mut Connection) -> Result<bool, MigratorError> {
    let started = Instant::now();
    let mut told = false;
    for pause in context.pauses(Duration::from_millis(20), Duration::from_millis(500)) {
        if let Some(row) = connection.query_optional(&TRY_LOCK, &[LOCK_KEY.into()]).await? {
            if row.get("is_standby")? {
                return Err(MigratorError::Standby);
            }
            if row.get("locked")? {
                prove_own_session(context, connection).await?;
                connection.batch(stay!()).await?;
                return Ok(row.get("has_schema")?);
            }
        }
        let holder = holder(connection).await?;
        if !told {
            tracing::info!(holder, "another migrator is at work; waiting for it");
            told = true;
        }
        if started.elapsed() + pause > context.settings.deadline {
            let what = format!("the migrator's lock is held by {holder}");
            return Err(MigratorError::Locked { what, waited: started.elapsed(), in_part: false });
        }
        context.pause(pause).await?;
    }
    unreachable!("the pauses never end")
}

/// The proof that no pooler lends the session that has the lock to others. Behind a transaction pooler a second
/// connection that begins a transaction gets that session, or keeps the first one from getting it again.
async fn prove_own_session(context: &Context, connection: &mut Connection) -> Result<(), MigratorError> {
    let mut other = match Connection::open(&context.url, &context.database, OBSERVER).await {
        Ok(other) => other,
        Err(error) => {
            // A role that may have one connection: each transaction proves still that it has the lock.
            tracing::debug!(error = %error, "whether a pooler is in between cannot be asked");
            return Ok(());
        }
    };
    for _ in 0..COMPARISONS {
        other.begin().await?;
        let is_shared = holds_lock(&mut other).await? || !holds_lock(connection).await?;
        other.rollback().await?;
        if is_shared {
            give_back(connection, &mut other).await?;
            return Err(MigratorError::Pooler);
        }
    }
    Ok(())
}

/// Gives the lock back that a session of a pooler has: nobody else could, and it lives on.
async fn give_back(connection: &mut Connection, other: &mut Connection) -> Result<(), MigratorError> {
    for _ in 0..SEARCHES {
        for connection in [&mut *connection, &mut *other] {
            connection.begin().await?;
            if holds_lock(connection).await? {
                connection.query_optional(&UNLOCK, &[LOCK_KEY.into()]).await?;
                return Ok(connection.commit().await?);
            }
            connection.rollback().await?;
        }
    }
    tracing::warn!("a session of the pooler keeps the migrator's lock until the pooler closes it");
    Ok(())
}

async fn holder(connection: &mut Connection) -> Result<String, DatabaseError> {
    let Some(row) = connection.query_optional(&WHO_HOLDS_LOCK, &[LOCK_KEY.into()]).await? else {
        return Ok("a session that has just ended".to_owned());
    };
    Ok(format!(
        "the session with pid {} ({} from {})",
        row.get::<i64>("pid")?,
        row.get::<String>("application_name")?,
        row.get::<String>("address")?
    ))
}

/// What was found at the beginning of a transaction.
pub(super) struct Entered {
    /// Whether tables of this database may lie on several machines.
    pub(super) has_citus: bool,
    /// Whether the version that was asked for is in the history.
    pub(super) is_applied: bool,
}

/// Begins a transaction: its limits, the proof that this backend holds the lock, and what else has to be known
/// before a file is run. A migration waits for its server as seldom as it can.
pub(super) async fn begin(
    settings: &MigratorSettings,
    connection: &mut Connection,
    version: Option<Version>,
) -> Result<Entered, MigratorError> {
    let (lock, statement) = (settings.lock_timeout.as_millis(), settings.statement_timeout.as_millis());
    let sql = entering(&format!(
        "set_config('lock_timeout', '{lock}', true), set_config('statement_timeout', '{statement}', true), "
    ));
    let question = if version.is_some() { ENTER_BEFORE } else { ENTER };
    let mut values = vec![LOCK_KEY.into()];
    values.extend(version.map(Value::from));
    let (begun, entered) =
        connection.together(Request::Begin(&sql), Request::Statement(&question, &values)).await;
    begun?;
    match entered?.rows.first() {
        Some(row) if row.get("held")? => {
            Ok(Entered { has_citus: row.get("has_citus")?, is_applied: row.get("is_applied")? })
        }
        _ => Err(MigratorError::Pooler),
    }
}

/// The proof that this backend holds the lock: behind a transaction pooler another one may have it.
pub(super) async fn prove_lock(connection: &mut Connection) -> Result<(), MigratorError> {
    if holds_lock(connection).await? { Ok(()) } else { Err(MigratorError::Pooler) }
}

async fn holds_lock(connection: &mut Connection) -> Result<bool, DatabaseError> {
    let row = connection.query_optional(&HOLDS_LOCK, &[LOCK_KEY.into()]).await?;
    Ok(row.is_some_and(|row| row.get("held").unwrap_or(false)))
}

/// After a file: that the transaction is still the one that was begun.
pub(super) async fn still_inside(connection: &mut Connection, title: &str) -> Result<(), MigratorError> {
    let row = connection.query_optional(&IS_MARKED_AND_BACK, &[]).await?;
    row.map_or_else(|| Err(ended_its_transaction(title)), |row| check_place(&row, title))
}

/// Runs statements of a file, and asks behind them whether the transaction is still the one that was begun. After the
/// `last` of them the session is where it was before. One that has failed takes no question; where the file has ended
/// the transaction before it failed, there is an answer.
pub(super) async fn run(
    connection: &mut Connection,
    title: &str,
    sql: &str,
    last: bool,
) -> Result<Result<u64, DatabaseError>, MigratorError> {
    let question = if last { &IS_MARKED_AND_BACK } else { &IS_MARKED };
    let (ran, asked) = connection.together(Request::Batch(sql), Request::Statement(question, &[])).await;
    match (ran, asked) {
        (Ok(ran), asked) => {
            if let Some(row) = asked?.rows.first() {
                check_place(row, title)?;
            }
            Ok(Ok(ran.count))
        }
        (Err(_), Ok(asked)) if asked.rows.first().is_some_and(|row| !row.get("marked").unwrap_or(true)) => {
            Err(ended_its_transaction(title))
        }
        (Err(error), _) => Ok(Err(error)),
    }
}

/// What [`IS_MARKED_AND_BACK`] says.
fn check_place(row: &Row, title: &str) -> Result<(), MigratorError> {
    if !row.get::<bool>("marked")? {
        return Err(ended_its_transaction(title));
    }
    match row.get::<Option<String>>("other")? {
        None => Ok(()),
        Some(other) => {
            let schema: String = row.get("schema")?;
            Err(MigratorError::Schema(vec![format!(
                "{title} was rolled back: after it the search_path leads to the schema {other} first, and not to {schema}, where the history is, so that neither the next run nor the service would find it; name the schema that everything is in by DATABASE_SCHEMA ({schema}, or {other} before the first migration), or make {other} before the migrator runs"
            )]))
        }
    }
}

/// Before statements outside of a transaction: keeps where the session is.
pub(super) async fn keep_place(connection: &mut Connection) -> Result<(), DatabaseError> {
    connection.batch(KEEP_PLACE_IN_SESSION).await
}

/// After them: goes back there.
pub(super) async fn return_to_place(connection: &mut Connection) -> Result<(), DatabaseError> {
    connection.query_optional(&RETURN, &[]).await.map(drop)
}

/// What is said of a file that has a COMMIT or ROLLBACK in it.
pub(super) fn ended_its_transaction(title: &str) -> MigratorError {
    MigratorError::Schema(vec![format!(
        "{title} ends the transaction that it runs in (COMMIT or ROLLBACK), so it may be applied in part; take that out of it, and look at the database"
    )])
}

/// A history that refinery wrote without the feature `int8-versions` cannot hold a timestamp as version.
pub(super) const WIDEN_VERSIONS: &str =
    "ALTER TABLE refinery_schema_history ALTER COLUMN version TYPE bigint";

/// Whether it is such a history.
pub(super) async fn has_narrow_versions(connection: &mut Connection) -> Result<bool, DatabaseError> {
    Ok(connection.query_optional(&NARROW_VERSION, &[]).await?.is_some())
}
