//! What only SQLite needs.

use foundation::database::{Connection, DatabaseError, Statement};

use super::postgres::ended_its_transaction;
use crate::error::MigratorError;

const BROKEN_FOREIGN_KEYS: Statement = Statement::write(
    "pragma_foreign_key_check",
    "SELECT \"table\", parent, CAST(count(*) AS BIGINT) AS count FROM pragma_foreign_key_check GROUP BY 1, 2 LIMIT 5",
);

/// With foreign keys on, a table that is rebuilt inside of a transaction takes every row that points at
/// it along. The pragma does nothing inside of a transaction, so it is set for the whole session, and
/// each transaction ends with a check of all foreign keys.
///
/// A signal cannot end a wait for another writer inside of SQLite, so that is short, and tried again.
pub(super) async fn prepare(connection: &mut Connection) -> Result<(), DatabaseError> {
    connection.batch("PRAGMA foreign_keys = OFF; PRAGMA busy_timeout = 500").await
}

/// After a file outside of a transaction, which may have turned them on.
pub(super) async fn keep_foreign_keys_off(connection: &mut Connection) -> Result<(), DatabaseError> {
    connection.batch("PRAGMA foreign_keys = OFF").await
}

/// At the beginning of a transaction: a mark that is gone when a file ended it.
pub(super) async fn enter(connection: &mut Connection) -> Result<(), DatabaseError> {
    connection.batch("SAVEPOINT bedplate_migration").await
}

/// After a file: that the transaction is still the one that was begun. One that the file began after ending
/// ours does not know the savepoint.
pub(super) async fn still_inside(connection: &mut Connection, title: &str) -> Result<(), MigratorError> {
    if connection.batch("RELEASE bedplate_migration").await.is_err() {
        return Err(ended_its_transaction(title));
    }
    Ok(enter(connection).await?)
}

/// Before the end of a transaction: that every foreign key points at a row.
pub(super) async fn leave(connection: &mut Connection, title: &str) -> Result<(), MigratorError> {
    let broken = connection.query(&BROKEN_FOREIGN_KEYS, &[]).await?;
    if broken.is_empty() {
        return Ok(());
    }
    let describe = |row: &foundation::database::Row| {
        Ok(format!(
            "{} of {} point at no row of {}",
            row.get::<i64>("count")?,
            row.get::<String>("table")?,
            row.get::<String>("parent")?
        ))
    };
    let broken: Vec<String> = broken.iter().map(describe).collect::<Result<_, DatabaseError>>()?;
    Err(MigratorError::Schema(vec![format!("{title} leaves broken foreign keys: {}", broken.join(", "))]))
}
