//! What is tried in a scratch database.

use foundation::database::{Backend, Connection, DatabaseError};

use super::{QUIETLY, Scratch};
use crate::error::MigratorError;
use crate::session::{line_at, trial};
use crate::source::{Dialect, Migration};
use crate::statements::{Part, split, undo_runs_in_parts};
use crate::structure::names::mentions;

/// What PostgreSQL says of a role that is not there.
const UNDEFINED_OBJECT: &str = "42704";

/// Runs a migration as `up` does, without recording it. `after` is called after each statement on
/// PostgreSQL, with the connection still inside of the transaction, unless it runs outside of one.
pub(crate) async fn run_migration(
    scratch: &mut Scratch,
    migration: &Migration,
    after: &mut impl AsyncFnMut(&mut Connection, &str) -> Result<(), DatabaseError>,
) -> Result<(), MigratorError> {
    let title = migration.display();
    if migration.instructions().no_transaction {
        return in_parts(scratch, &title, migration.sql(), after).await;
    }
    run(scratch, &title, migration.sql(), after).await
}

async fn in_parts(
    scratch: &mut Scratch,
    title: &str,
    sql: &str,
    after: &mut impl AsyncFnMut(&mut Connection, &str) -> Result<(), DatabaseError>,
) -> Result<(), MigratorError> {
    let parts = tried(scratch, title, sql)?;
    trial::begin_parts(scratch).await?;
    for part in parts {
        let ran =
            run_one(scratch, title, &part, false).await.map_err(|source| MigratorError::FailedInPart {
                line: Some(line_of(&part, &source)),
                migration: title.to_owned(),
                source,
            })?;
        if ran {
            after(scratch, part.sql).await?;
        }
    }
    trial::leave_parts(scratch, title).await?;
    trial::end_parts(scratch).await?;
    trial::end_file(scratch).await?;
    match scratch.backend() {
        Backend::Postgres => Ok(scratch.batch(QUIETLY).await?),
        Backend::Sqlite => Ok(()),
    }
}

/// Runs an undo as `down` does.
pub(crate) async fn run_undo(scratch: &mut Scratch, title: &str, sql: &str) -> Result<(), MigratorError> {
    if undo_runs_in_parts(scratch.backend().into(), sql) {
        return in_parts(scratch, title, sql, &mut async |_: &mut Connection, _: &str| Ok(())).await;
    }
    run_text(scratch, title, sql).await
}

/// Runs a text in one transaction.
pub(crate) async fn run_text(scratch: &mut Scratch, title: &str, sql: &str) -> Result<(), MigratorError> {
    run(scratch, title, sql, &mut async |_: &mut Connection, _: &str| Ok(())).await
}

async fn run(
    scratch: &mut Scratch,
    title: &str,
    sql: &str,
    after: &mut impl AsyncFnMut(&mut Connection, &str) -> Result<(), DatabaseError>,
) -> Result<(), MigratorError> {
    let parts = tried(scratch, title, sql)?;
    trial::begin(scratch).await?;
    let ran = match scratch.backend() {
        Backend::Postgres => one_by_one(scratch, title, parts, after).await,
        Backend::Sqlite => scratch.batch(sql).await.map_err(|source| MigratorError::Failed {
            migration: title.to_owned(),
            line: source.position().map(|position| line_at(sql, position)),
            source,
        }),
    };
    let ran = match ran {
        Ok(()) => trial::commit(scratch, title).await,
        failed => failed,
    };
    if ran.is_err()
        && let Err(error) = scratch.rollback().await
    {
        tracing::debug!(error = %error, "nothing was rolled back");
    }
    ran
}

async fn one_by_one(
    scratch: &mut Scratch,
    title: &str,
    parts: Vec<Part<'_>>,
    after: &mut impl AsyncFnMut(&mut Connection, &str) -> Result<(), DatabaseError>,
) -> Result<(), MigratorError> {
    for part in parts {
        let ran = run_one(scratch, title, &part, true).await.map_err(|source| MigratorError::Failed {
            migration: title.to_owned(),
            line: Some(line_of(&part, &source)),
            source,
        })?;
        if ran {
            after(scratch, part.sql).await?;
        }
    }
    Ok(())
}

/// Runs one statement. Whether it was run: what fails for the lack of a role whose making was left out is left out too.
async fn run_one(
    scratch: &mut Scratch,
    title: &str,
    part: &Part<'_>,
    in_transaction: bool,
) -> Result<bool, DatabaseError> {
    if !scratch.left_out.iter().any(|role| mentions(part.sql, role, Dialect::Postgres)) {
        return scratch.batch(part.sql).await.map(|()| true);
    }
    let (before, back, after) = match in_transaction {
        true => ("SAVEPOINT trial", "ROLLBACK TO SAVEPOINT trial", "RELEASE SAVEPOINT trial"),
        false => ("", "", ""),
    };
    scratch.batch(before).await?;
    let ran = match scratch.batch(part.sql).await {
        Err(error) if error.sqlstate() == Some(UNDEFINED_OBJECT) => {
            scratch.batch(back).await?;
            tell_left_out(title, part, "it names a role that is made by what is left out");
            false
        }
        ran => ran.map(|()| true)?,
    };
    scratch.batch(after).await?;
    Ok(ran)
}

/// The statements that can be tried without changing anything but the scratch database. Roles and the settings of
/// databases are the server's: they are left out, which makes no difference to a schema.
///
/// # Errors
/// [`MigratorError::Schema`] where the rest cannot be tried without them: another file of SQLite's.
fn tried<'a>(scratch: &mut Scratch, title: &str, sql: &'a str) -> Result<Vec<Part<'a>>, MigratorError> {
    let dialect = scratch.backend().into();
    let mut tried = Vec::new();
    for part in split(dialect, sql) {
        if part.opens_a_file(dialect) {
            return Err(MigratorError::Schema(vec![format!(
                "{title}: line {} opens another file, which a trial would change: it cannot be tried in a scratch database",
                part.line
            )]));
        }
        if part.is_of_server(dialect) {
            tell_left_out(title, &part, "it changes the whole server, or another database");
            scratch.left_out.extend(part.made_role());
        } else {
            tried.push(part);
        }
    }
    Ok(tried)
}

fn tell_left_out(title: &str, part: &Part<'_>, why: &str) {
    let [first, second] = part.first_words(Dialect::Postgres);
    tracing::warn!(
        migration = title, line = part.line, statement = %format_args!("{first} {second}"),
        "left out of the trial, because {why}"
    );
}

/// The line of the file at which one of its statements failed.
fn line_of(part: &Part<'_>, error: &DatabaseError) -> usize {
    part.line - 1 + line_at(part.sql, error.position().unwrap_or(1))
}
