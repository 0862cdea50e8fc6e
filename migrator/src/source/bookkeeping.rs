//! The tables in which the migrator remembers what it did.
//!
//! They are not migrations: the row of the first migration is written into them in its own transaction.

use super::Dialect;

/// Makes refinery's own table of what is applied now when it is missing, exactly as refinery with 64-bit versions does.
#[must_use]
pub fn history_table_sql(dialect: Dialect) -> &'static str {
    match dialect {
        // SQLite understands these types too.
        Dialect::Postgres | Dialect::Sqlite => {
            "CREATE TABLE IF NOT EXISTS refinery_schema_history (
    version    int8 PRIMARY KEY,
    name       VARCHAR(255),
    applied_on VARCHAR(255),
    checksum   VARCHAR(255)
)"
        }
    }
}

/// Makes the table of what was ever done when it is missing.
///
/// `action` is `up`, `down`, `stamp`, `repair` or `reset`; `outcome` is `started`, `applied`,
/// `undone`, `stamped`, `repaired`, `reset` or `failed`. `sql` is the text of the file that was applied. `version` and `name` are null for a `reset`, which concerns all.
/// `statement` counts the statements of a file that runs outside of a transaction, from 1: each has a row of its
/// own, `started` or `applied`, its checksum that of its text. It is null in the rows of whole migrations.
/// Times come from the migrator's clock: `timestamptz`, and on SQLite microseconds since 1970 in UTC.
#[must_use]
pub fn journal_table_sql(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => {
            "CREATE TABLE IF NOT EXISTS migrator_journal (
    id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version          bigint,
    name             text,
    statement        bigint,
    action           text        NOT NULL CHECK (action IN ('up', 'down', 'stamp', 'repair', 'reset')),
    outcome          text        NOT NULL
        CHECK (outcome IN ('started', 'applied', 'undone', 'stamped', 'repaired', 'reset', 'failed')),
    started_at       timestamptz NOT NULL,
    finished_at      timestamptz,
    compatible_from  bigint,
    checksum         text,
    undo_sql         text,
    migrator_version text        NOT NULL,
    error            text,
    sql              text,
    CHECK (version IS NOT NULL OR action = 'reset')
)"
        }
        Dialect::Sqlite => {
            "CREATE TABLE IF NOT EXISTS migrator_journal (
    id               INTEGER PRIMARY KEY,
    version          INTEGER,
    name             TEXT,
    statement        INTEGER,
    action           TEXT    NOT NULL CHECK (action IN ('up', 'down', 'stamp', 'repair', 'reset')),
    outcome          TEXT    NOT NULL
        CHECK (outcome IN ('started', 'applied', 'undone', 'stamped', 'repaired', 'reset', 'failed')),
    started_at       INTEGER NOT NULL,
    finished_at      INTEGER,
    compatible_from  INTEGER,
    checksum         TEXT,
    undo_sql         TEXT,
    migrator_version TEXT    NOT NULL,
    error            TEXT,
    sql              TEXT,
    CHECK (version IS NOT NULL OR action = 'reset')
) STRICT"
        }
    }
}

/// Brings the journal of an older migrator to the form above: it had no column `sql` and knew no repair.
#[must_use]
pub fn upgrade_journal_sql(dialect: Dialect) -> String {
    match dialect {
        Dialect::Postgres => "ALTER TABLE migrator_journal ADD COLUMN sql text,
    DROP CONSTRAINT IF EXISTS migrator_journal_action_check,
    DROP CONSTRAINT IF EXISTS migrator_journal_outcome_check,
    ADD CONSTRAINT migrator_journal_action_check CHECK (action IN ('up', 'down', 'stamp', 'repair', 'reset')),
    ADD CONSTRAINT migrator_journal_outcome_check
        CHECK (outcome IN ('started', 'applied', 'undone', 'stamped', 'repaired', 'reset', 'failed'))"
            .to_owned(),
        Dialect::Sqlite => {
            let columns = "id, version, name, statement, action, outcome, started_at, finished_at, compatible_from, checksum, undo_sql, migrator_version, error";
            format!(
                "ALTER TABLE migrator_journal RENAME TO migrator_journal_before;
{};
INSERT INTO migrator_journal ({columns}) SELECT {columns} FROM migrator_journal_before;
DROP TABLE migrator_journal_before",
                journal_table_sql(dialect)
            )
        }
    }
}

/// Makes the table that holds what the schema looked like after the last run, when it is missing. It has one
/// row; `version` and `migrations` say for which history: its newest version and how many there are.
#[must_use]
pub fn structure_table_sql(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => {
            "CREATE TABLE IF NOT EXISTS migrator_structure (
    version     bigint      NOT NULL,
    migrations  bigint      NOT NULL,
    structure   jsonb       NOT NULL,
    recorded_at timestamptz NOT NULL
)"
        }
        Dialect::Sqlite => {
            "CREATE TABLE IF NOT EXISTS migrator_structure (
    version     INTEGER NOT NULL,
    migrations  INTEGER NOT NULL,
    structure   TEXT    NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT"
        }
    }
}
