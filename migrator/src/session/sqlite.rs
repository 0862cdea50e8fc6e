//! What only SQLite needs.

use std::collections::BTreeMap;
use std::time::Duration;

use foundation::database::{Backend, Connection, DatabaseError, Statement};

use super::Context;
use super::postgres::ended_its_transaction;
use crate::error::MigratorError;

const BROKEN_FOREIGN_KEYS: Statement = Statement::write(
    "pragma_foreign_key_check",
    "SELECT \"table\", parent, CAST(count(*) AS BIGINT) AS count FROM pragma_foreign_key_check GROUP BY 1, 2",
);

/// What detaches the other files that this session has open.
const ATTACHED: Statement = Statement::write(
    "pragma_database_list",
    "SELECT 'DETACH \"' || replace(name, '\"', '\"\"') || '\"' AS \"detach\" FROM pragma_database_list
     WHERE name NOT IN ('main', 'temp')",
);

/// How many tables with broken foreign keys are named.
const NAMED: usize = 5;

/// What drops the tables and views that only this session has; their triggers go with them.
const TEMPORARY: Statement = Statement::write(
    "sqlite_temp_schema",
    "SELECT 'DROP ' || type || ' IF EXISTS temp.\"' || replace(name, '\"', '\"\"') || '\"' AS \"drop\" FROM temp.sqlite_schema
     WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type DESC",
);

/// With foreign keys on, a table that is rebuilt inside of a transaction takes every row that points at
/// it along. The pragma does nothing inside of a transaction, so it is set for the whole session, and
/// each transaction ends with a check of all foreign keys.
///
/// A signal cannot end a wait for another writer inside of SQLite, so that is short, and tried again.
const SESSION: &str = "PRAGMA foreign_keys = OFF; PRAGMA busy_timeout = 500";

/// Sets the session up.
pub(super) async fn prepare(connection: &mut Connection) -> Result<(), DatabaseError> {
    connection.batch(SESSION).await
}

/// After a statement outside of a transaction, which may have turned them on.
pub(super) async fn keep_foreign_keys_off(connection: &mut Connection) -> Result<(), DatabaseError> {
    connection.batch("PRAGMA foreign_keys = OFF").await
}

/// After a file: what it has set for the session, the tables that only the session has, and the other files that it
/// has opened, end with it: a name that the next file does not find here would be looked for there.
pub(super) async fn forget_file(connection: &mut Connection) -> Result<(), DatabaseError> {
    connection
        .batch(&format!(
            "{SESSION}; PRAGMA query_only = OFF; PRAGMA synchronous = NORMAL; PRAGMA locking_mode = NORMAL; \
             PRAGMA case_sensitive_like = OFF; PRAGMA ignore_check_constraints = OFF; \
             PRAGMA legacy_alter_table = OFF; PRAGMA recursive_triggers = OFF; PRAGMA writable_schema = OFF"
        ))
        .await?;
    for row in connection.query(&TEMPORARY, &[]).await? {
        connection.batch(&row.get::<String>("drop")?).await?;
    }
    for row in connection.query(&ATTACHED, &[]).await? {
        connection.batch(&row.get::<String>("detach")?).await?;
    }
    Ok(())
}

/// Begins a transaction, whatever a statement outside of it has set.
pub(super) async fn begin(connection: &mut Connection) -> Result<(), DatabaseError> {
    connection.batch("PRAGMA foreign_keys = OFF; PRAGMA query_only = OFF").await?;
    connection.begin().await?;
    enter(connection).await
}

/// A mark that is gone when a file ended the transaction.
async fn enter(connection: &mut Connection) -> Result<(), DatabaseError> {
    connection.batch("SAVEPOINT bedplate_migration").await
}

/// After a file: that the transaction is still the one that was begun, and may write what is recorded of it. One that
/// the file began after ending ours does not know the savepoint.
pub(super) async fn still_inside(connection: &mut Connection, title: &str) -> Result<(), MigratorError> {
    if connection.batch("RELEASE bedplate_migration").await.is_err() {
        return Err(ended_its_transaction(title));
    }
    connection.batch("PRAGMA query_only = OFF").await?;
    Ok(enter(connection).await?)
}

/// How many rows of a table point at no row of another one.
type Broken = BTreeMap<(String, String), i64>;

async fn broken(connection: &mut Connection) -> Result<Broken, DatabaseError> {
    let rows = connection.query(&BROKEN_FOREIGN_KEYS, &[]).await?;
    rows.iter().map(|row| Ok(((row.get("table")?, row.get("parent")?), row.get("count")?))).collect()
}

/// Before the end of a transaction: that every foreign key points at a row.
pub(super) async fn leave(connection: &mut Connection, title: &str) -> Result<(), MigratorError> {
    refuse(title, &broken(connection).await?)
}

/// The same in a file with rows: what was broken before is not the migration's. Another connection sees the file as
/// it was before the transaction.
pub(super) async fn leave_as_found(
    context: &Context,
    connection: &mut Connection,
    title: &str,
) -> Result<(), MigratorError> {
    let now = broken(connection).await;
    if now.as_ref().is_ok_and(Broken::is_empty) {
        return Ok(());
    }
    let before = broken(&mut context.connect(Duration::ZERO).await?).await;
    refuse(title, &new(title, before, now)?)
}

/// The foreign keys that were broken before statements that no transaction holds together. PostgreSQL lets none be.
pub(crate) enum ForeignKeys {
    Known(Result<Broken, DatabaseError>),
    /// A run that was interrupted had begun the statements, and kept nothing of them.
    Unknown,
}

impl ForeignKeys {
    /// As they are at the moment.
    pub(crate) async fn read(connection: &mut Connection) -> Self {
        Self::Known(match connection.backend() {
            Backend::Postgres => Ok(Broken::new()),
            Backend::Sqlite => broken(connection).await,
        })
    }

    /// After the statements: that they have broken none.
    pub(crate) async fn compare(self, connection: &mut Connection, title: &str) -> Result<(), MigratorError> {
        if connection.backend() == Backend::Postgres {
            return Ok(());
        }
        let now = broken(connection).await;
        let (new, told) = match (self, now) {
            (Self::Known(before), now) => (new(title, before, now)?, "has left broken foreign keys"),
            (Self::Unknown, Ok(now)) => {
                (now, "was interrupted, and foreign keys are broken, perhaps from before it")
            }
            (Self::Unknown, Err(error)) => {
                tracing::warn!(migration = title, reason = %error, "the foreign keys cannot be looked at, perhaps from before it was interrupted");
                return Ok(());
            }
        };
        if new.is_empty() {
            return Ok(());
        }
        Err(MigratorError::Schema(vec![format!(
            "{title} {told}: {}; what it did stays, because it runs outside of a transaction: put these rows right and run this again",
            described(&new)
        )]))
    }
}

/// Those that were not broken before.
fn new(
    title: &str,
    before: Result<Broken, DatabaseError>,
    now: Result<Broken, DatabaseError>,
) -> Result<Broken, MigratorError> {
    let now = match (now, &before) {
        // A foreign key that points at columns which are no key can never be looked at.
        (Err(error), Err(before)) if error.to_string() == before.to_string() => {
            tracing::warn!(migration = title, reason = %error, "the foreign keys cannot be looked at, and could not before");
            return Ok(Broken::new());
        }
        (now, _) => now?,
    };
    let before = before.unwrap_or_else(|error| {
        tracing::debug!(error = %error, "the foreign keys of before could not be looked at, so all that are broken count");
        Broken::new()
    });
    let (old, new): (Broken, Broken) =
        now.into_iter().partition(|(key, count)| before.get(key).is_some_and(|before| before >= count));
    if !old.is_empty() {
        let keys = described(&old);
        tracing::warn!(migration = title, keys, "foreign keys were broken before, and are as they were");
    }
    Ok(new)
}

fn described(broken: &Broken) -> String {
    let one = |((table, parent), count): (&(String, String), &i64)| {
        format!("{count} of {table} point at no row of {parent}")
    };
    broken.iter().take(NAMED).map(one).collect::<Vec<_>>().join(", ")
}

fn refuse(title: &str, broken: &Broken) -> Result<(), MigratorError> {
    if broken.is_empty() {
        return Ok(());
    }
    Err(MigratorError::Schema(vec![format!("{title} leaves broken foreign keys: {}", described(broken))]))
}
