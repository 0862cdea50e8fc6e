//! What `repair` needs of history and journal: the text that was applied, and rows put right.

use foundation::database::{Backend, Connection, DatabaseError, Statement, Value};

use crate::history::Applied;
use crate::own::{Asked, Question, question};
use crate::source::{Migration, Version};

const CORRECT: Statement = Statement::write(
    "refinery_schema_history",
    "UPDATE refinery_schema_history SET version = $2, name = $3, checksum = $4 WHERE version = $1 AND coalesce(checksum, '') = $5",
);
const SET_ASIDE: Statement = Statement::write(
    "refinery_schema_history",
    "UPDATE refinery_schema_history SET version = $2 WHERE version = $1 AND coalesce(checksum, '') = $3",
);
const FORGET: Statement = Statement::write(
    "refinery_schema_history",
    "DELETE FROM refinery_schema_history WHERE version = $1 AND coalesce(checksum, '') = $2",
);

const APPLIED_SQL: Question = question!("migrator_journal":
    "SELECT sql FROM migrator_journal AS j WHERE version = $1 AND checksum = $2 AND statement IS NULL AND error IS NULL
       AND outcome <> 'undone' AND sql IS NOT NULL AND" own "j" of "migrator_journal" "ORDER BY id DESC LIMIT 1"
);

/// Whether the journal has what migrators keep by now.
const KEEPS_SQL_ON_POSTGRES: Statement = Statement::write(
    "pg_attribute",
    "SELECT 1 AS it FROM pg_attribute WHERE attrelid = to_regclass(quote_ident(current_schema()) || '.migrator_journal') AND attname = 'sql' AND NOT attisdropped",
);
const KEEPS_SQL_ON_SQLITE: Statement = Statement::write(
    "pragma_table_info",
    "SELECT 1 AS it FROM pragma_table_info('migrator_journal') WHERE name = 'sql'",
);

/// Whether the journal keeps the text of what was applied: those of older migrators do not.
pub(crate) async fn journal_keeps_sql(connection: &mut Connection) -> Result<bool, DatabaseError> {
    let statement = match connection.backend() {
        Backend::Postgres => &KEEPS_SQL_ON_POSTGRES,
        Backend::Sqlite => &KEEPS_SQL_ON_SQLITE,
    };
    Ok(connection.query_optional(statement, &[]).await?.is_some())
}

/// The text of the file that was applied, where the journal has it: migrators before this column did not keep it.
pub(crate) async fn applied_sql(
    connection: &mut Connection,
    applied: &Applied,
) -> Result<Option<String>, DatabaseError> {
    let values = [applied.version.into(), applied.checksum.as_str().into()];
    match Asked::Connection(connection).own_rows(&APPLIED_SQL, &values).await {
        Ok(rows) => rows.unwrap_or_default().first().map(|row| row.get("sql")).transpose(),
        // A journal that an older migrator made.
        Err(_) if !journal_keeps_sql(connection).await? => Ok(None),
        Err(error) => Err(error),
    }
}

/// The change that records a row of the history as this file is now; when it was applied stays.
pub(crate) fn correction(applied: &Applied, migration: &Migration, from: Version) -> (Statement, Vec<Value>) {
    let values = vec![
        from.into(),
        migration.version().into(),
        migration.name().into(),
        migration.checksum().to_string().into(),
        applied.checksum.as_str().into(),
    ];
    (CORRECT, values)
}

/// Moves a row out of the way of those that take its place.
pub(crate) fn set_aside(applied: &Applied) -> (Statement, Vec<Value>) {
    let values = vec![applied.version.into(), (-applied.version).into(), applied.checksum.as_str().into()];
    (SET_ASIDE, values)
}

/// Takes a row out of the history.
pub(crate) fn forget(applied: &Applied) -> (Statement, Vec<Value>) {
    (FORGET, vec![applied.version.into(), applied.checksum.as_str().into()])
}
