//! How far a file came that runs outside of a transaction: the rows of its statements in `migrator_journal`.
//!
//! Only those count that were written since the migration was last applied, stamped or taken back.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use foundation::database::{Connection, DatabaseError, Statement, Value};
use siphasher::sip::SipHasher13;
use time::OffsetDateTime;

use crate::source::{Migration, Version};
use crate::statements::Part;

const READ: Statement = Statement::write(
    "migrator_journal",
    "SELECT statement, outcome, checksum FROM migrator_journal WHERE version = $1 AND statement IS NOT NULL
       AND id > (SELECT coalesce(max(id), 0) FROM migrator_journal WHERE version = $1 AND statement IS NULL AND outcome <> 'failed')
     ORDER BY id",
);
const INSERT: Statement = Statement::write(
    "migrator_journal",
    "INSERT INTO migrator_journal (version, name, statement, action, outcome, started_at, finished_at, checksum, migrator_version)
     VALUES ($1, $2, $3, 'up', $4, $5, $6, $7, $8)",
);
const FINISH: Statement = Statement::write(
    "migrator_journal",
    "UPDATE migrator_journal SET outcome = 'applied', finished_at = $3
     WHERE version = $1 AND statement = $2 AND outcome = 'started'
       AND id > (SELECT coalesce(max(id), 0) FROM migrator_journal WHERE version = $1 AND statement IS NULL AND outcome <> 'failed')",
);
const WITHDRAW: Statement = Statement::write(
    "migrator_journal",
    "DELETE FROM migrator_journal WHERE version = $1 AND statement = $2 AND outcome = 'started'",
);

/// One statement of a file, as the journal knows it.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) version: Version,
    pub(crate) name: String,
    /// Its number in the file, from 1.
    pub(crate) number: i64,
    pub(crate) checksum: String,
}

impl Piece {
    pub(crate) fn of(migration: &Migration, number: i64, part: &Part<'_>) -> Self {
        let mut hasher = SipHasher13::new();
        part.sql.hash(&mut hasher);
        let (version, name) = (migration.version(), migration.name().to_owned());
        Self { version, name, number, checksum: hasher.finish().to_string() }
    }
}

/// What the journal says of a statement.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) finished: bool,
    pub(crate) checksum: String,
}

/// The statements that were begun, by their numbers.
pub(crate) async fn read(
    connection: &mut Connection,
    version: Version,
) -> Result<BTreeMap<i64, Known>, DatabaseError> {
    let mut known = BTreeMap::new();
    for row in connection.query(&READ, &[version.into()]).await? {
        let finished = row.get::<String>("outcome")? == "applied";
        let checksum = row.get::<Option<String>>("checksum")?.unwrap_or_default();
        known.insert(row.get("statement")?, Known { finished, checksum });
    }
    Ok(known)
}

pub(crate) async fn is_finished(
    connection: &mut Connection,
    version: Version,
    number: i64,
) -> Result<bool, DatabaseError> {
    Ok(read(connection, version).await?.get(&number).is_some_and(|it| it.finished))
}

pub(crate) async fn begin(
    connection: &mut Connection,
    piece: &Piece,
    now: OffsetDateTime,
) -> Result<(), DatabaseError> {
    insert(connection, piece, "started", now, None).await
}

/// One that was never begun ran in the transaction that records it.
pub(crate) async fn finish(
    connection: &mut Connection,
    piece: &Piece,
    started_at: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<(), DatabaseError> {
    let values = [piece.version.into(), piece.number.into(), now.into()];
    if connection.execute(&FINISH, &values).await? == 0 {
        insert(connection, piece, "applied", started_at, Some(now)).await?;
    }
    Ok(())
}

/// Forgets that it was begun.
pub(crate) async fn withdraw(connection: &mut Connection, piece: &Piece) -> Result<(), DatabaseError> {
    connection.execute(&WITHDRAW, &[piece.version.into(), piece.number.into()]).await.map(drop)
}

async fn insert(
    connection: &mut Connection,
    piece: &Piece,
    outcome: &str,
    started_at: OffsetDateTime,
    finished_at: Option<OffsetDateTime>,
) -> Result<(), DatabaseError> {
    let values: [Value; 8] = [
        piece.version.into(),
        piece.name.as_str().into(),
        piece.number.into(),
        outcome.into(),
        started_at.into(),
        finished_at.into(),
        piece.checksum.as_str().into(),
        env!("CARGO_PKG_VERSION").into(),
    ];
    connection.execute(&INSERT, &values).await.map(drop)
}
