//! A database that exists for the length of a trial, beside the real one.

use std::time::Duration;

use foundation::database::{Backend, Connection, DatabaseError, DatabaseErrorKind, DatabaseUrl, Statement};

use crate::error::MigratorError;
use crate::session::{Context, line_at, trial};
use crate::source::{Dialect, Migration, bookkeeping};
use crate::statements::{Part, split, undo_runs_in_parts};
use crate::structure::names::{quote_name, quote_text};

/// The longest name that PostgreSQL keeps, in bytes.
const LONGEST_NAME: usize = 63;

/// Notices are of no interest in a trial.
const QUIETLY: &str = "SET client_min_messages = warning";

const HOME: Statement = Statement::read(
    "pg_database",
    "SELECT coalesce(current_schema(), 'public')::text AS schema, current_setting('search_path') AS search_path,
       pg_encoding_to_char(encoding)::text AS encoding,
       datcollate::text AS collate, datctype::text AS ctype
     FROM pg_database WHERE datname = current_database()",
);

/// The context for a scratch database of SQLite, which is in memory.
pub(crate) fn in_memory(context: &Context) -> Context {
    Context { url: DatabaseUrl::sqlite(":memory:"), ..context.clone() }
}

/// Makes a database, lets `work` use it, and drops it, whatever came of the work.
pub(crate) async fn with<T>(
    context: &Context,
    work: impl AsyncFnOnce(&mut Connection) -> Result<T, MigratorError>,
) -> Result<T, MigratorError> {
    let DatabaseUrl::Postgres(_) = &context.url else {
        let context = in_memory(context);
        let mut connection = context.connect(Duration::ZERO).await?;
        connection.batch("PRAGMA foreign_keys = OFF").await?;
        prepare(&mut connection).await?;
        return stoppable(&context, work(&mut connection)).await;
    };
    let context = &context.for_writing();
    let mut home = home(context).await?;
    let (name, schema) = create(context, &mut home).await?;
    let worked = stoppable(context, async {
        let there = Context { url: context.url.with_database(&name), ..context.clone() };
        let mut connection = there.connect(Duration::ZERO).await?;
        let schema = quote_name(&schema);
        connection.batch(&format!("{QUIETLY}; CREATE SCHEMA IF NOT EXISTS {schema}")).await?;
        prepare(&mut connection).await?;
        work(&mut connection).await
    })
    .await;
    let dropped = drop_database(context, home, &name).await;
    let result = worked?;
    dropped?;
    Ok(result)
}

async fn prepare(connection: &mut Connection) -> Result<(), DatabaseError> {
    let dialect = connection.backend().into();
    let tables = [
        bookkeeping::history_table_sql(dialect),
        bookkeeping::journal_table_sql(dialect),
        bookkeeping::structure_table_sql(dialect),
    ];
    connection.batch(&tables.join(";\n")).await
}

async fn stoppable<T>(
    context: &Context,
    work: impl Future<Output = Result<T, MigratorError>>,
) -> Result<T, MigratorError> {
    tokio::select! {
        biased;
        worked = work => worked,
        () = context.stop.requested() => Err(MigratorError::Stopped),
    }
}

/// The connection from which the database is made and dropped.
async fn home(context: &Context) -> Result<Connection, MigratorError> {
    match context.connect(Duration::ZERO).await {
        Err(MigratorError::Database(error)) if error.kind() == DatabaseErrorKind::MissingDatabase => {
            let elsewhere = Context { url: context.url.with_database("postgres"), ..context.clone() };
            elsewhere.connect(Duration::ZERO).await
        }
        connected => connected,
    }
}

/// Makes a database like the real one; says how it is called, and which schema is the current one here.
async fn create(context: &Context, home: &mut Connection) -> Result<(String, String), MigratorError> {
    let suffix = format!("_rehearsal_{:016x}", u64::from_le_bytes(context.entropy.bytes()));
    let mut name = context.url.name();
    while name.len() + suffix.len() > LONGEST_NAME {
        name.pop();
    }
    name.push_str(&suffix);
    let (mut like, mut path) = (String::new(), None);
    // The named one may be missing from the real database still.
    let named = context.database.schema.clone();
    let mut schema = named.clone().unwrap_or_else(|| "public".to_owned());
    if let Some(row) = home.query_optional(&HOME, &[]).await? {
        let text = |column| row.get::<String>(column).map(|it| quote_text(&it));
        like = format!(
            " ENCODING {} LC_COLLATE {} LC_CTYPE {}",
            text("encoding")?,
            text("collate")?,
            text("ctype")?
        );
        if named.is_none() {
            schema = row.get("schema")?;
            // As the server writes it, which is as it is read.
            path = Some(row.get::<String>("search_path")?).filter(|it| !it.trim().is_empty());
        }
    }
    let sql = format!("CREATE DATABASE {} TEMPLATE template0{like}", quote_name(&name));
    match home.batch(&sql).await {
        Ok(()) => {
            if let Some(path) = path {
                // The real one's may be a setting of that database, and what a file has set ends with it.
                let sql = format!("ALTER DATABASE {} SET search_path = {path}", quote_name(&name));
                home.batch(&sql).await?;
            }
            Ok((name, schema))
        }
        Err(error) if error.kind() == DatabaseErrorKind::InsufficientPrivilege => {
            Err(MigratorError::Settings(format!(
                "a scratch database is needed beside {} and the role may not make one ({error}); give it the right (ALTER ROLE ... CREATEDB), or let DATABASE_URL name a role that has it",
                context.url
            )))
        }
        Err(error) => Err(error.while_trying("the scratch database could not be made".to_owned()).into()),
    }
}

async fn drop_database(
    context: &Context,
    mut home_connection: Connection,
    name: &str,
) -> Result<(), MigratorError> {
    let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote_name(name));
    if home_connection.batch(&sql).await.is_ok() {
        return Ok(());
    }
    // The connection may have been lost while the work went on.
    let again = async {
        home(context).await?.batch(&sql).await?;
        Ok::<_, MigratorError>(())
    };
    again.await.inspect_err(|error| {
        tracing::error!(error = %error, "the scratch database {name} could not be dropped; drop it by hand: {sql}");
    })
}

/// Runs a migration as `up` does, without recording it. `after` is called after each statement on
/// PostgreSQL, with the connection still inside of the transaction, unless it runs outside of one.
pub(crate) async fn run_migration(
    connection: &mut Connection,
    migration: &Migration,
    after: &mut impl AsyncFnMut(&mut Connection, &str) -> Result<(), DatabaseError>,
) -> Result<(), MigratorError> {
    let title = migration.display();
    if migration.instructions().no_transaction {
        return in_parts(connection, &title, migration.sql(), after).await;
    }
    run(connection, &title, migration.sql(), after).await
}

async fn in_parts(
    connection: &mut Connection,
    title: &str,
    sql: &str,
    after: &mut impl AsyncFnMut(&mut Connection, &str) -> Result<(), DatabaseError>,
) -> Result<(), MigratorError> {
    let dialect = connection.backend().into();
    let parts = tried(dialect, title, sql)?;
    trial::begin_parts(connection).await?;
    for part in parts {
        connection.batch(part.sql).await.map_err(|source| MigratorError::FailedInPart {
            line: Some(line_of(&part, &source)),
            migration: title.to_owned(),
            source,
        })?;
        after(connection, part.sql).await?;
    }
    trial::end_parts(connection).await?;
    trial::end_file(connection).await?;
    match connection.backend() {
        Backend::Postgres => Ok(connection.batch(QUIETLY).await?),
        Backend::Sqlite => Ok(()),
    }
}

/// Runs an undo as `down` does.
pub(crate) async fn run_undo(
    connection: &mut Connection,
    title: &str,
    sql: &str,
) -> Result<(), MigratorError> {
    if undo_runs_in_parts(connection.backend().into(), sql) {
        return in_parts(connection, title, sql, &mut async |_: &mut Connection, _: &str| Ok(())).await;
    }
    run_text(connection, title, sql).await
}

/// Runs a text in one transaction.
pub(crate) async fn run_text(
    connection: &mut Connection,
    title: &str,
    sql: &str,
) -> Result<(), MigratorError> {
    run(connection, title, sql, &mut async |_: &mut Connection, _: &str| Ok(())).await
}

async fn run(
    connection: &mut Connection,
    title: &str,
    sql: &str,
    after: &mut impl AsyncFnMut(&mut Connection, &str) -> Result<(), DatabaseError>,
) -> Result<(), MigratorError> {
    let parts = tried(connection.backend().into(), title, sql)?;
    trial::begin(connection).await?;
    let ran = match connection.backend() {
        Backend::Postgres => one_by_one(connection, title, parts, after).await,
        Backend::Sqlite => connection.batch(sql).await.map_err(|source| MigratorError::Failed {
            migration: title.to_owned(),
            line: source.position().map(|position| line_at(sql, position)),
            source,
        }),
    };
    let ran = match ran {
        Ok(()) => trial::commit(connection, title).await,
        failed => failed,
    };
    if ran.is_err()
        && let Err(error) = connection.rollback().await
    {
        tracing::debug!(error = %error, "nothing was rolled back");
    }
    ran
}

async fn one_by_one(
    connection: &mut Connection,
    title: &str,
    parts: Vec<Part<'_>>,
    after: &mut impl AsyncFnMut(&mut Connection, &str) -> Result<(), DatabaseError>,
) -> Result<(), MigratorError> {
    for part in parts {
        connection.batch(part.sql).await.map_err(|source| MigratorError::Failed {
            migration: title.to_owned(),
            line: Some(line_of(&part, &source)),
            source,
        })?;
        after(connection, part.sql).await?;
    }
    Ok(())
}

/// The statements that can be tried without changing anything but the scratch database. Roles and the settings of
/// databases are the server's: they are left out, which makes no difference to a schema.
///
/// # Errors
/// [`MigratorError::Schema`] where the rest cannot be tried without them: another file of SQLite's.
fn tried<'a>(dialect: Dialect, title: &str, sql: &'a str) -> Result<Vec<Part<'a>>, MigratorError> {
    let mut tried = Vec::new();
    for part in split(dialect, sql) {
        if part.opens_a_file(dialect) {
            return Err(MigratorError::Schema(vec![format!(
                "{title}: line {} opens another file, which a trial would change: it cannot be tried in a scratch database",
                part.line
            )]));
        }
        if part.is_of_server(dialect) {
            let [first, second] = part.first_words();
            tracing::warn!(
                migration = title, line = part.line, statement = %format_args!("{first} {second}"),
                "left out of the trial, because it changes the whole server, or another database"
            );
        } else {
            tried.push(part);
        }
    }
    Ok(tried)
}

/// The line of the file at which one of its statements failed.
fn line_of(part: &Part<'_>, error: &DatabaseError) -> usize {
    part.line - 1 + line_at(part.sql, error.position().unwrap_or(1))
}
