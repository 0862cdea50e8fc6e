//! What the migrator wrote down in the database about its files: those that are applied, and those of which a part
//! is done. One question for both, because whoever has nothing to do asks no other.

use foundation::database::{Connection, Database, DatabaseError, DatabaseErrorKind, Row, Statement};

use crate::history::{self, Applied};
use crate::progress::Begun;

/// The files that run outside of a transaction and were begun since their migration was last applied, stamped or
/// taken back. What is asked of the whole journal is asked once, not for each of its rows.
macro_rules! begun {
    () => {
        "SELECT j.version, max(j.name) AS name, CAST(NULL AS TEXT) AS applied_on, CAST(NULL AS TEXT) AS checksum, j.action,
           CAST(sum(CASE WHEN j.outcome = 'applied' THEN 1 ELSE 0 END) AS BIGINT) AS done, CAST(count(*) AS BIGINT) AS begun
         FROM migrator_journal AS j LEFT JOIN (SELECT version, max(id) AS id FROM migrator_journal
           WHERE statement IS NULL AND outcome <> 'failed' GROUP BY version) AS whole ON whole.version = j.version
         WHERE j.statement IS NOT NULL AND j.id > coalesce(whole.id, 0)
         GROUP BY j.version, j.action ORDER BY version"
    };
}

const BOTH: Statement = Statement::read(
    "refinery_schema_history",
    concat!(
        "SELECT CAST(version AS BIGINT) AS version, name, applied_on, checksum, CAST(NULL AS TEXT) AS action,
           CAST(NULL AS BIGINT) AS done, CAST(NULL AS BIGINT) AS begun FROM refinery_schema_history UNION ALL ",
        begun!()
    ),
);

const BEGUN: Statement = Statement::read("migrator_journal", begun!());

/// What is asked: a connection of one's own, or a pool.
pub(crate) enum Asked<'a> {
    Connection(&'a mut Connection),
    Pool(&'a Database),
}

impl Asked<'_> {
    /// All rows that the statement finds.
    pub(crate) async fn query(&mut self, statement: &Statement) -> Result<Vec<Row>, DatabaseError> {
        match self {
            Self::Connection(connection) => connection.query(statement, &[]).await,
            Self::Pool(database) => database.query(statement, &[]).await,
        }
    }
}

/// What is written down.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records {
    /// What is applied, in the order of versions.
    pub(crate) applied: Vec<Applied>,
    /// The files of which a part is done, those that apply and are not applied, and those that take back what is.
    pub(crate) begun: Vec<Begun>,
}

impl Records {
    /// Reads them; nothing where the tables are missing.
    pub(crate) async fn read(connection: &mut Connection) -> Result<Self, DatabaseError> {
        Self::ask(&mut Asked::Connection(connection)).await
    }

    /// The same.
    pub(crate) async fn ask(asked: &mut Asked<'_>) -> Result<Self, DatabaseError> {
        match asked.query(&BOTH).await {
            Ok(rows) => Self::of(&rows),
            // A history without a journal is refinery's.
            Err(error) if error.kind() == DatabaseErrorKind::UndefinedTable => Self::ask_apart(asked).await,
            Err(error) => {
                Err(history::explain_missing_rights(error, "refinery_schema_history and migrator_journal"))
            }
        }
    }

    async fn ask_apart(asked: &mut Asked<'_>) -> Result<Self, DatabaseError> {
        let Some(applied) = history::ask(asked).await? else { return Ok(Self::default()) };
        let rows = match asked.query(&BEGUN).await {
            Err(error) if error.kind() == DatabaseErrorKind::UndefinedTable => Vec::new(),
            rows => rows?,
        };
        let begun = rows.iter().map(Begun::from_row).collect::<Result<_, _>>()?;
        Ok(Self::new(applied, begun))
    }

    fn of(rows: &[Row]) -> Result<Self, DatabaseError> {
        let (mut applied, mut begun) = (Vec::new(), Vec::new());
        for row in rows {
            match row.get::<Option<String>>("action")? {
                None => applied.push(Applied::from_row(row)?),
                Some(_) => begun.push(Begun::from_row(row)?),
            }
        }
        Ok(Self::new(applied, begun))
    }

    /// Of what was begun, that counts which the history says nothing of.
    fn new(applied: Vec<Applied>, mut begun: Vec<Begun>) -> Self {
        begun.retain(|begun| begun.is_undo == applied.iter().any(|it| it.version == begun.version));
        Self { applied, begun }
    }
}
