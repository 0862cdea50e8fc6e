//! What the migrator wrote down in the database about its files: those that are applied, and those of which a part
//! is done. One question for both, because whoever has nothing to do asks no other.

use foundation::database::{Connection, DatabaseError, DatabaseErrorKind, Row};

use crate::history::{self, Applied};
use crate::own::{Asked, Question, explain_missing_rights, question};
use crate::progress::Begun;

/// The history, and the files that run outside of a transaction and were begun since their migration was last applied,
/// stamped or taken back. What is asked of the whole journal is asked once, not for each of its rows.
const BOTH: Question = question!("refinery_schema_history":
    "SELECT CAST(h.version AS BIGINT) AS version, h.name, h.applied_on, h.checksum, CAST(NULL AS TEXT) AS action,
       CAST(NULL AS BIGINT) AS done, CAST(NULL AS BIGINT) AS begun
     FROM refinery_schema_history AS h WHERE" own "h" of "refinery_schema_history"
    "UNION ALL
     SELECT j.version, max(j.name), NULL, NULL, j.action,
       CAST(sum(CASE WHEN j.outcome = 'applied' THEN 1 ELSE 0 END) AS BIGINT), CAST(count(*) AS BIGINT)
     FROM migrator_journal AS j LEFT JOIN (SELECT version, max(id) AS id FROM migrator_journal
       WHERE statement IS NULL AND outcome <> 'failed' GROUP BY version) AS whole ON whole.version = j.version
     WHERE j.statement IS NOT NULL AND j.id > coalesce(whole.id, 0) AND" own "j" of "migrator_journal"
    "GROUP BY j.version, j.action ORDER BY version"
);

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
        let error = match asked.rows(&BOTH, &[]).await {
            Ok(rows) => return Self::of(&rows),
            Err(error) => error,
        };
        // One of the two tables is missing or another's: a history without a journal is refinery's.
        let lacks_rights = error.kind() == DatabaseErrorKind::InsufficientPrivilege;
        if !lacks_rights && error.kind() != DatabaseErrorKind::UndefinedTable {
            return Err(error);
        }
        let Some(applied) = history::ask(asked).await? else { return Ok(Self::default()) };
        if lacks_rights && asked.has_own("migrator_journal").await? {
            return Err(explain_missing_rights(error, "migrator_journal"));
        }
        Ok(Self { applied, begun: Vec::new() })
    }

    fn of(rows: &[Row]) -> Result<Self, DatabaseError> {
        let (mut applied, mut begun) = (Vec::new(), Vec::new());
        for row in rows {
            match row.get::<Option<String>>("action")? {
                None => applied.push(Applied::from_row(row)?),
                Some(_) => begun.push(Begun::from_row(row)?),
            }
        }
        // That counts which the history says nothing of.
        begun.retain(|begun| begun.is_undo == applied.iter().any(|it| it.version == begun.version));
        Ok(Self { applied, begun })
    }
}
