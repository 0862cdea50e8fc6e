//! A transaction of a trial in a scratch database: what is true of one of `up` is true of it, but for the lock.

use foundation::database::{Backend, Connection};

use super::{postgres, sqlite};
use crate::error::MigratorError;

/// Begins it.
pub(crate) async fn begin(connection: &mut Connection) -> Result<(), MigratorError> {
    match connection.backend() {
        Backend::Postgres => {
            connection.begin().await?;
            connection.batch(&postgres::entering("")).await?;
        }
        Backend::Sqlite => sqlite::begin(connection).await?,
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
    connection.commit_with("", after_file(connection.backend())).await?;
    forget_file(connection).await
}

/// What goes to the server together with the end of a file's transaction: what the file has left in the session ends
/// with it, so that the next one runs as it would by itself.
pub(super) fn after_file(backend: Backend) -> &'static str {
    match backend {
        Backend::Postgres => postgres::FORGET_FILE,
        Backend::Sqlite => "",
    }
}

/// The same of SQLite, after its end.
pub(super) async fn forget_file(connection: &mut Connection) -> Result<(), MigratorError> {
    match connection.backend() {
        Backend::Postgres => Ok(()),
        Backend::Sqlite => Ok(sqlite::forget_file(connection).await?),
    }
}

/// Before statements outside of a transaction.
pub(crate) async fn begin_parts(connection: &mut Connection) -> Result<(), MigratorError> {
    match connection.backend() {
        Backend::Postgres => Ok(postgres::keep_place(connection).await?),
        Backend::Sqlite => Ok(()),
    }
}

/// After all of a file: no foreign key of SQLite points at nothing.
pub(crate) async fn leave_parts(connection: &mut Connection, title: &str) -> Result<(), MigratorError> {
    match connection.backend() {
        Backend::Postgres => Ok(()),
        Backend::Sqlite => sqlite::leave(connection, title).await,
    }
}

/// After them: the session is as it was before.
pub(crate) async fn end_parts(connection: &mut Connection) -> Result<(), MigratorError> {
    match connection.backend() {
        Backend::Postgres => Ok(postgres::return_to_place(connection).await?),
        Backend::Sqlite => Ok(sqlite::keep_foreign_keys_off(connection).await?),
    }
}

/// After the last of a file's statements, whether they failed or not. What the file has set ends with it, also when
/// it was set in a transaction of its own; and SQLite may have been told to follow foreign keys, so that the next
/// file that rebuilds a table would lose the rows that point at it.
pub(crate) async fn end_file(connection: &mut Connection) -> Result<(), MigratorError> {
    match connection.backend() {
        Backend::Postgres => Ok(connection.batch(postgres::FORGET_FILE).await?),
        Backend::Sqlite => Ok(sqlite::forget_file(connection).await?),
    }
}
