//! How far servers have got: the primary in what it writes, a standby in what it replays.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use deadpool_postgres::StatementCache;
use futures_util::future::join;
use tokio::time::Instant;
use tokio_postgres::SimpleQueryMessage;

use super::renewals::Object;
use super::{Holder, PostgresConnection};
use crate::database::{DatabaseError, DatabaseErrorKind, Position, Row};

/// Where the primary is, beyond every transaction that has ended.
pub(in crate::database) const WRITTEN: &str = "SELECT CAST(pg_current_wal_insert_lsn() AS text) AS position";

/// Where the primary is with what it may have sent to standbys. Unlike [`WRITTEN`] this never lies behind the
/// head of a page that nothing was written to yet, which no standby reaches while nothing happens.
pub(in crate::database) const FLUSHED: &str = "SELECT CAST(pg_current_wal_flush_lsn() AS text) AS position";

/// Where a standby is. Nothing: the server is no standby, or not any more.
const REPLAYED: &str = "SELECT CASE WHEN pg_is_in_recovery() \
     THEN coalesce(CAST(pg_last_wal_replay_lsn() AS text), '0/0') END AS position";

/// Of a connection that was found behind, nobody asks again for this long.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// For how long it is believed what a connection's server said, which may be promoted at any moment.
const BELIEVED: Duration = Duration::from_secs(1);

/// What is known of the servers that connections lead to, by the connection: behind an address there may be
/// several servers, and what one has replayed says nothing of another.
#[derive(Default)]
pub(in crate::database) struct Replayed(Mutex<HashMap<usize, Known>>);

struct Known {
    /// Says that it is this connection still: as long as this is there, no other has its address.
    connection: Weak<StatementCache>,
    position: Position,
    asked: Instant,
}

/// What a connection to a standby is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::database) enum Standing {
    /// Its server has what is demanded.
    Fresh,
    /// It does not yet.
    Behind,
    /// Its server is no standby.
    Promoted,
}

impl Replayed {
    /// Whether the server of this connection has replayed everything before `demanded`. It is asked when what
    /// it said before is not enough.
    pub(in crate::database) async fn standing(
        &self,
        connection: &mut PostgresConnection,
        demanded: Position,
    ) -> Result<Standing, DatabaseError> {
        let Some(Holder::Pooled(object)) = &connection.holder else { return Ok(Standing::Behind) };
        let cache = Arc::clone(&object.statement_cache);
        let key = Arc::as_ptr(&cache) as usize;
        if let Some(known) = self.known().get(&key) {
            let (is_fresh, age) = (known.position >= demanded, known.asked.elapsed());
            if is_fresh && age < BELIEVED {
                return Ok(Standing::Fresh);
            }
            if !is_fresh && age < ASK_AGAIN {
                return Ok(Standing::Behind);
            }
        }
        let asked = Instant::now();
        let rows = connection.query(REPLAYED, &[]).await?;
        let Some(position) = position(&rows)? else {
            connection.forsake();
            return Ok(Standing::Promoted);
        };
        let mut all = self.known();
        if !all.contains_key(&key) {
            all.retain(|_, it| it.connection.strong_count() > 0);
        }
        all.insert(key, Known { connection: Arc::downgrade(&cache), position, asked });
        Ok(if position >= demanded { Standing::Fresh } else { Standing::Behind })
    }

    /// Whether the server of this connection is a standby.
    pub(in crate::database) async fn is_standby(
        connection: &mut PostgresConnection,
    ) -> Result<bool, DatabaseError> {
        let rows = connection.query(REPLAYED, &[]).await?;
        let is_standby = position(&rows)?.is_some();
        if !is_standby {
            connection.forsake();
        }
        Ok(is_standby)
    }

    /// Forgets all of it.
    pub(in crate::database) fn forget(&self) {
        self.known().clear();
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<usize, Known>> {
        // Nothing that can panic happens under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PostgresConnection {
    /// Commits, and says where the primary was right after it, without waiting for one answer before the
    /// other. What was committed is so whether the position is known or not.
    pub(in crate::database) async fn commit_and_tell(&mut self) -> Result<Option<Position>, DatabaseError> {
        let written = self
            .run(async |client| {
                let (committed, told) =
                    join(client.batch_execute("COMMIT"), client.simple_query(WRITTEN)).await;
                committed.map(|()| told.ok())
            })
            .await?;
        self.in_transaction = false;
        let text = written.iter().flatten().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        Ok(text.and_then(|it| it.parse().ok()))
    }

    /// Closes the connection instead of giving it back: the pool's next one may lead elsewhere.
    fn forsake(&mut self) {
        if let Some(Holder::Pooled(object)) = self.holder.take() {
            drop(Object::take(object));
        }
    }
}

/// The position in the only row.
pub(in crate::database) fn position(rows: &[Row]) -> Result<Option<Position>, DatabaseError> {
    let Some(row) = rows.first() else { return Ok(None) };
    let text: Option<String> = row.get("position")?;
    text.map(|text| {
        text.parse().map_err(|error| {
            DatabaseError::new(DatabaseErrorKind::Conversion, "the server names no position").caused_by(error)
        })
    })
    .transpose()
}
