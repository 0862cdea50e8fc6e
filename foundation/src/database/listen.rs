//! What others say of changes that they made.

use std::future::pending;

use tokio::sync::mpsc::Receiver;

use super::{Database, DatabaseError, Pool, Statement, Transaction};

/// What a [`Listener`] heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Somebody committed a transaction that said this.
    Notification(String),
    /// The connection was made, for the first time or again: from now on nothing is missed, and what was
    /// said before may have been. Look once.
    Reconnected,
}

/// Hears what transactions say on a channel of PostgreSQL, on a connection of its own. It connects by
/// itself, again and again where it must. It never ends.
///
/// SQLite has no such thing and a transaction pooler loses it, so whoever has to know polls as well, only
/// less often.
pub struct Listener(Option<Receiver<Heard>>);

impl Listener {
    /// What comes next. On SQLite nothing ever does. Dropped while it waits, it loses nothing.
    pub async fn next(&mut self) -> Heard {
        match &mut self.0 {
            Some(messages) => match messages.recv().await {
                Some(heard) => heard,
                None => pending().await,
            },
            None => pending().await,
        }
    }
}

impl Database {
    /// Listens to a channel, through `DATABASE_DIRECT_URL` when that is given. Must be called inside of a
    /// tokio runtime; dropping the listener ends it.
    #[must_use]
    pub fn listen(&self, channel: &'static str) -> Listener {
        Listener(match &self.pool {
            Pool::Postgres(pool) => Some(pool.listen(channel)),
            Pool::Sqlite(_) => None,
        })
    }
}

impl Transaction {
    /// Says something to all who listen to the channel, when the transaction is committed. At most 8,000
    /// bytes. On SQLite nobody can listen, and nothing is said.
    ///
    /// # Errors
    /// What the database says.
    pub async fn notify(&mut self, channel: &'static str, payload: &str) -> Result<(), DatabaseError> {
        const NOTIFY: Statement = Statement::write("notification", "SELECT pg_notify($1, $2)");
        match self.connection.backend() {
            super::Backend::Postgres => {
                self.query(&NOTIFY, &[channel.into(), payload.into()]).await.map(drop)
            }
            super::Backend::Sqlite => Ok(()),
        }
    }
}
