//! A database that exists for the length of a trial, beside the real one.

mod run;

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use foundation::database::{Connection, DatabaseError, DatabaseErrorKind, DatabaseUrl, Statement};

use crate::error::MigratorError;
use crate::session::Context;
use crate::source::bookkeeping;
use crate::structure::names::{quote_name, quote_text};

pub(crate) use run::{run_migration, run_text, run_undo};

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

/// The connection to a scratch database.
pub(crate) struct Scratch {
    connection: Connection,
    /// The roles that files make, which are the server's: they may not be there.
    left_out: BTreeSet<String>,
}

impl Scratch {
    fn new(connection: Connection) -> Self {
        Self { connection, left_out: BTreeSet::new() }
    }
}

impl Deref for Scratch {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

/// The context for a scratch database of SQLite, which is in memory.
pub(crate) fn in_memory(context: &Context) -> Context {
    Context { url: DatabaseUrl::sqlite(":memory:"), ..context.clone() }
}

/// Makes a database, lets `work` use it, and drops it, whatever came of the work.
pub(crate) async fn with<T>(
    context: &Context,
    work: impl AsyncFnOnce(&mut Scratch) -> Result<T, MigratorError>,
) -> Result<T, MigratorError> {
    let DatabaseUrl::Postgres(_) = &context.url else {
        let context = in_memory(context);
        let mut connection = context.connect(Duration::ZERO).await?;
        connection.batch("PRAGMA foreign_keys = OFF").await?;
        prepare(&mut connection).await?;
        return stoppable(&context, work(&mut Scratch::new(connection))).await;
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
        work(&mut Scratch::new(connection)).await
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
