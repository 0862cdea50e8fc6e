//! A transaction of a trial in a scratch database: what is true of one of `up` is true of it, but for the lock.

use foundation::database::{Backend, Connection};

use super::{postgres, sqlite};
use crate::error::MigratorError;

/// Begins it.
pub(crate) async fn begin(connection: &mut Connection) -> Result<(), MigratorError> {
    connection.begin().await?;
    match connection.backend() {
        Backend::Postgres => connection.batch(&format!("SET LOCAL {} = 'yes'", postgres::MARKER)).await?,
        Backend::Sqlite => sqlite::enter(connection).await?,
    }
    Ok(())
}

/// Ends it, unless the file did so, or left foreign keys that point at nothing.
pub(crate) async fn commit(connection: &mut Connection, title: &str) -> Result<(), MigratorError> {
    match connection.backend() {
        Backend::Postgres => postgres::still_inside(connection, title).await?,
        Backend::Sqlite => {
            sqlite::still_inside(connection, title).await?;
            sqlite::leave(connection, title).await?;
        }
    }
    Ok(connection.commit().await?)
}
