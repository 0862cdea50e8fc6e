//! The connections of a service: one that writes and several that read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use deadpool_sqlite::{Config, Hook, HookError, Manager, Pool, PoolError, Runtime};

use super::{Holder, Purpose, SqliteConnection, configure, not_opened};
use crate::database::{DatabaseError, DatabaseErrorKind, PoolStatus};
use crate::settings::DatabaseSettings;

/// The connections of a service: one that writes and several that read.
#[derive(Clone)]
pub(in crate::database) struct SqlitePool {
    path: PathBuf,
    writer: Pool,
    readers: Pool,
    statement_timeout: Duration,
    wait_timeout: Duration,
}

impl SqlitePool {
    /// Sets the pools up. Nothing is opened yet.
    pub(in crate::database) fn new(path: &Path, settings: &DatabaseSettings) -> Result<Self, DatabaseError> {
        let readers = usize::try_from(settings.pool_size.get()).unwrap_or(usize::MAX);
        Ok(Self {
            path: path.to_owned(),
            writer: pool(path, settings, 1, Purpose::Write)?,
            readers: pool(path, settings, readers, Purpose::Read)?,
            statement_timeout: settings.statement_timeout,
            wait_timeout: settings.wait_timeout,
        })
    }

    pub(in crate::database) async fn get_writer(&self) -> Result<SqliteConnection, DatabaseError> {
        self.get(&self.writer).await
    }

    pub(in crate::database) async fn get_reader(&self) -> Result<SqliteConnection, DatabaseError> {
        self.get(&self.readers).await
    }

    async fn get(&self, pool: &Pool) -> Result<SqliteConnection, DatabaseError> {
        let object = pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                not_opened(&self.path, error.into())
            }
            PoolError::Timeout(_) => {
                let waited = humantime::format_duration(self.wait_timeout);
                let message = format!("no connection of the pool became free within {waited}");
                DatabaseError::new(DatabaseErrorKind::PoolTimeout, message)
            }
            other => DatabaseError::new(DatabaseErrorKind::Unreachable, other.to_string()).caused_by(other),
        })?;
        SqliteConnection::new(Holder::Pooled(object), Some(self.statement_timeout))
    }

    /// The figures of the two pools together.
    pub(in crate::database) fn status(&self) -> PoolStatus {
        let (writer, readers) = (self.writer.status(), self.readers.status());
        PoolStatus {
            maximum: writer.max_size + readers.max_size,
            size: writer.size + readers.size,
            available: writer.available + readers.available,
            waiting: writer.waiting + readers.waiting,
        }
    }

    pub(in crate::database) fn close(&self) {
        self.writer.close();
        self.readers.close();
    }
}

fn pool(
    path: &Path,
    settings: &DatabaseSettings,
    size: usize,
    purpose: Purpose,
) -> Result<Pool, DatabaseError> {
    let busy_timeout = settings.wait_timeout;
    Pool::builder(Manager::from_config(&Config::new(path), Runtime::Tokio1))
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(settings.wait_timeout))
        .create_timeout(Some(settings.create_timeout))
        .recycle_timeout(Some(settings.recycle_timeout))
        .post_create(Hook::async_fn(move |wrapper, _| {
            Box::pin(async move {
                match wrapper.interact(move |it| configure(it, busy_timeout, purpose)).await {
                    Ok(configured) => configured.map_err(HookError::Backend),
                    Err(error) => Err(HookError::message(error.to_string())),
                }
            })
        }))
        .build()
        .map_err(|error| {
            DatabaseError::new(DatabaseErrorKind::Other, "the pool cannot be set up").caused_by(error)
        })
}
