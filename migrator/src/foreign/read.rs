//! What the table of a tool says is applied.

use foundation::database::{Connection, Row, Statement};

use super::{Checksum, Tool};
use crate::error::MigratorError;
use crate::structure::names::quote_name;

/// What a tool says, in the order in which it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Alembic: the revisions that the database is at.
    Heads(Vec<String>),
    /// golang-migrate: everything up to and with this version; nothing at all without one.
    UpTo(Option<String>),
    /// Each version by itself.
    Each {
        applied: Vec<Theirs>,
        /// The version that Flyway was told to begin after.
        baseline: Option<String>,
        /// What is worth knowing of the rest, in sentences.
        notes: Vec<String>,
    },
}

/// A version that is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Theirs {
    pub(crate) version: String,
    pub(crate) checksum: Checksum,
}

/// Reads the table, or says which of its rows have to be mended first.
pub(crate) async fn read(
    connection: &mut Connection,
    tool: Tool,
    table: &str,
) -> Result<Said, MigratorError> {
    let columns = match tool {
        Tool::Alembic => "version_num AS version",
        Tool::Flyway => {
            "CAST(version AS text) AS version, CAST(type AS text) AS type, CAST(script AS text) AS script,
             CAST(checksum AS BIGINT) AS checksum, CAST(CASE WHEN success THEN 1 ELSE 0 END AS BIGINT) AS good"
        }
        Tool::GolangMigrate => {
            "CAST(version AS text) AS version, CAST(CASE WHEN dirty THEN 0 ELSE 1 END AS BIGINT) AS good"
        }
        Tool::Sqlx => {
            "CAST(version AS text) AS version, checksum, CAST(CASE WHEN success THEN 1 ELSE 0 END AS BIGINT) AS good"
        }
        Tool::Dbmate => "CAST(version AS text) AS version",
        Tool::Goose => {
            "CAST(version_id AS text) AS version, CAST(CASE WHEN is_applied THEN 1 ELSE 0 END AS BIGINT) AS good"
        }
    };
    let order = match tool {
        Tool::Flyway => "installed_rank",
        Tool::Goose => "id",
        Tool::Alembic => "version_num",
        Tool::GolangMigrate | Tool::Sqlx | Tool::Dbmate => "version",
    };
    // Behind the name of the table, `version` is that of the table and not the text of the answer.
    let name = quote_name(table);
    let sql = format!("SELECT {columns} FROM {name} ORDER BY {name}.{order}");
    let statement = Statement::read("migrations of another tool", "").with_sql(sql);
    let rows = connection.query(&statement, &[]).await?;
    match tool {
        Tool::Alembic => Ok(Said::Heads(texts(&rows)?)),
        Tool::GolangMigrate => golang_migrate(&rows, table),
        Tool::Flyway => flyway(&rows),
        Tool::Sqlx => sqlx(&rows, table),
        Tool::Dbmate => {
            let plain = |version| Theirs { version, checksum: Checksum::None };
            Ok(each(texts(&rows)?.into_iter().map(plain).collect()))
        }
        Tool::Goose => goose(&rows),
    }
}

fn each(applied: Vec<Theirs>) -> Said {
    Said::Each { applied, baseline: None, notes: Vec::new() }
}

fn texts(rows: &[Row]) -> Result<Vec<String>, MigratorError> {
    Ok(rows.iter().map(|row| row.get("version")).collect::<Result<_, _>>()?)
}

fn is_good(row: &Row) -> Result<bool, MigratorError> {
    Ok(row.get::<i64>("good")? == 1)
}

fn golang_migrate(rows: &[Row], table: &str) -> Result<Said, MigratorError> {
    let Some(row) = rows.first() else { return Ok(Said::UpTo(None)) };
    let version: String = row.get("version")?;
    if rows.len() > 1 {
        let reason = format!("{table} has {} rows, and golang-migrate keeps one", rows.len());
        return Err(MigratorError::Schema(vec![reason]));
    }
    if !is_good(row)? {
        let reason = format!(
            "golang-migrate says that version {version} is dirty: it failed on the way there, and what it left is not known. Look, mend it by hand, say with `migrate force VERSION` where the database is then, and run this again"
        );
        return Err(MigratorError::Schema(vec![reason]));
    }
    // It writes -1 where nothing is applied.
    Ok(Said::UpTo(Some(version).filter(|it| it != "-1")))
}

fn flyway(rows: &[Row]) -> Result<Said, MigratorError> {
    let (mut applied, mut baseline) = (Vec::<Theirs>::new(), None);
    let (mut failed, mut notes) = (Vec::new(), Vec::new());
    for row in rows {
        let (kind, script): (String, String) = (row.get("type")?, row.get("script")?);
        let Some(version) = row.get::<Option<String>>("version")? else {
            // Without a version are the schema that it made, and repeatable migrations.
            if kind != "SCHEMA" {
                notes.push(format!("{script} is repeatable, has no version, and is not taken over"));
            }
            continue;
        };
        if !is_good(row)? {
            failed.push(format!(
                "Flyway says that version {version} ({script}) failed: mend what it left, `flyway repair` takes it out of the history; then run this again"
            ));
        } else if kind.starts_with("UNDO") || kind == "DELETE" {
            applied.retain(|it| it.version != version);
        } else if kind.contains("BASELINE") {
            baseline = Some(version);
        } else {
            let checksum = row.get::<Option<i64>>("checksum")?.map_or(Checksum::None, Checksum::Lines);
            applied.push(Theirs { version, checksum });
        }
    }
    if failed.is_empty() {
        Ok(Said::Each { applied, baseline, notes })
    } else {
        Err(MigratorError::Schema(failed))
    }
}

fn sqlx(rows: &[Row], table: &str) -> Result<Said, MigratorError> {
    let (mut applied, mut failed) = (Vec::new(), Vec::new());
    for row in rows {
        let version: String = row.get("version")?;
        if is_good(row)? {
            applied.push(Theirs { version, checksum: Checksum::Bytes(row.get("checksum")?) });
        } else {
            failed.push(format!(
                "sqlx says that version {version} did not succeed: look what it left; when that is taken back, DELETE FROM {table} WHERE version = {version}, and when it is completed, UPDATE {table} SET success = true WHERE version = {version}; then run this again"
            ));
        }
    }
    if failed.is_empty() { Ok(each(applied)) } else { Err(MigratorError::Schema(failed)) }
}

/// The last row of a version counts: old releases wrote a second one when it was taken back.
fn goose(rows: &[Row]) -> Result<Said, MigratorError> {
    let mut applied = Vec::<Theirs>::new();
    for row in rows {
        let version: String = row.get("version")?;
        applied.retain(|it| it.version != version);
        // Version 0 is written when the table is made.
        if is_good(row)? && version != "0" {
            applied.push(Theirs { version, checksum: Checksum::None });
        }
    }
    Ok(each(applied))
}
