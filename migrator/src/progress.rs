//! How far a file came that runs outside of a transaction: the rows of its statements in `migrator_journal`.
//!
//! Only those count that were written since the migration was last applied, stamped or taken back. A file that
//! applies and one that takes back are told apart by the action.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use foundation::database::{Connection, DatabaseError, Row, Statement, Value};
use siphasher::sip::SipHasher13;
use time::OffsetDateTime;

use crate::history::Action;
use crate::source::Version;
use crate::statements::Part;

const READ: Statement = Statement::write(
    "migrator_journal",
    "SELECT statement, outcome, checksum FROM migrator_journal WHERE version = $1 AND action = $2 AND statement IS NOT NULL
       AND id > (SELECT coalesce(max(id), 0) FROM migrator_journal WHERE version = $1 AND statement IS NULL AND outcome <> 'failed')
     ORDER BY id",
);
const INSERT: Statement = Statement::write(
    "migrator_journal",
    "INSERT INTO migrator_journal (version, name, statement, action, outcome, started_at, finished_at, checksum, migrator_version)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
);
const FINISH: Statement = Statement::write(
    "migrator_journal",
    "UPDATE migrator_journal SET outcome = 'applied', finished_at = $4
     WHERE version = $1 AND action = $2 AND statement = $3 AND outcome = 'started'
       AND id > (SELECT coalesce(max(id), 0) FROM migrator_journal WHERE version = $1 AND statement IS NULL AND outcome <> 'failed')",
);
const WITHDRAW: Statement = Statement::write(
    "migrator_journal",
    "DELETE FROM migrator_journal WHERE version = $1 AND action = $2 AND statement = $3 AND outcome = 'started'",
);

/// One statement of a file, as the journal knows it.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) version: Version,
    pub(crate) name: String,
    /// Whether its file applies or takes back.
    pub(crate) action: Action,
    /// Its number in the file, from 1.
    pub(crate) number: i64,
    pub(crate) checksum: String,
}

impl Piece {
    pub(crate) fn of(version: Version, name: &str, action: Action, number: i64, part: &Part<'_>) -> Self {
        let mut hasher = SipHasher13::new();
        part.sql.hash(&mut hasher);
        Self { version, name: name.to_owned(), action, number, checksum: hasher.finish().to_string() }
    }

    fn key(&self) -> [Value; 3] {
        [self.version.into(), self.action.word().into(), self.number.into()]
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
    action: Action,
    version: Version,
) -> Result<BTreeMap<i64, Known>, DatabaseError> {
    let mut known = BTreeMap::new();
    for row in connection.query(&READ, &[version.into(), action.word().into()]).await? {
        let finished = row.get::<String>("outcome")? == "applied";
        let checksum = row.get::<Option<String>>("checksum")?.unwrap_or_default();
        known.insert(row.get("statement")?, Known { finished, checksum });
    }
    Ok(known)
}

/// A file of which a part is done: the history says nothing of that.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) version: Version,
    name: String,
    /// Whether it takes back.
    pub(crate) is_undo: bool,
    done: i64,
    begun: i64,
}

impl Begun {
    pub(crate) fn from_row(row: &Row) -> Result<Self, DatabaseError> {
        Ok(Self {
            version: row.get("version")?,
            name: row.get::<Option<String>>("name")?.unwrap_or_default(),
            is_undo: row.get::<String>("action")? == Action::Down.word(),
            done: row.get("done")?,
            begun: row.get("begun")?,
        })
    }

    /// What it is, and the ways out.
    pub(crate) fn reason(&self) -> String {
        let Self { version, name, done, begun, .. } = self;
        let (what, command, action) = if self.is_undo {
            ("taken back in part", "migrator down", Action::Down)
        } else {
            ("applied in part", "migrator up", Action::Up)
        };
        format!(
            "V{version}__{name} was {what}: of its file {done} statements are done, {} may be, and the rest is not; mend what failed and finish it with `{command}`; or put the schema right by hand and then forget them: {}",
            begun - done,
            forgetting(*version, action)
        )
    }
}

/// What a person runs so that a file counts as never begun.
pub(crate) fn forgetting(version: Version, action: Action) -> String {
    let action = action.word();
    format!(
        "DELETE FROM migrator_journal WHERE version = {version} AND action = '{action}' AND statement IS NOT NULL"
    )
}

pub(crate) async fn is_finished(
    connection: &mut Connection,
    action: Action,
    version: Version,
    number: i64,
) -> Result<bool, DatabaseError> {
    Ok(read(connection, action, version).await?.get(&number).is_some_and(|it| it.finished))
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
    let [version, action, number] = piece.key();
    let values = [version, action, number, now.into()];
    if connection.execute(&FINISH, &values).await? == 0 {
        insert(connection, piece, "applied", started_at, Some(now)).await?;
    }
    Ok(())
}

/// Forgets that it was begun.
pub(crate) async fn withdraw(connection: &mut Connection, piece: &Piece) -> Result<(), DatabaseError> {
    connection.execute(&WITHDRAW, &piece.key()).await.map(drop)
}

async fn insert(
    connection: &mut Connection,
    piece: &Piece,
    outcome: &str,
    started_at: OffsetDateTime,
    finished_at: Option<OffsetDateTime>,
) -> Result<(), DatabaseError> {
    let values: [Value; 9] = [
        piece.version.into(),
        piece.name.as_str().into(),
        piece.number.into(),
        piece.action.word().into(),
        outcome.into(),
        started_at.into(),
        finished_at.into(),
        piece.checksum.as_str().into(),
        env!("CARGO_PKG_VERSION").into(),
    ];
    connection.execute(&INSERT, &values).await.map(drop)
}
