//! Where a run works on PostgreSQL: the database, the role that owns what is made, and the schema.

use foundation::database::{Backend, Connection, DatabaseError, DatabaseErrorKind, Statement};

use super::Context;
use crate::error::MigratorError;

const CURRENT_SCHEMA: Statement = Statement::write("pg_namespace", "SELECT current_schema()::text AS schema");

const IS_STANDBY: Statement =
    Statement::write("pg_stat_wal_receiver", "SELECT pg_is_in_recovery() AS is_standby");

/// Makes the database that the URL names, from the one called `postgres` on the same server.
pub(super) async fn create_database(context: &Context, missing: DatabaseError) -> Result<(), MigratorError> {
    let name = context.url.name();
    let mut elsewhere = context.clone();
    elsewhere.url = context.url.with_database("postgres");
    // Who signs in makes it, for the role that is to own it.
    elsewhere.settings.role = None;
    let mut connection = match elsewhere.connect(context.settings.wait_timeout).await {
        Ok(connection) => connection,
        Err(error) => {
            tracing::warn!(error = %error, "the database postgres, from which others are made, cannot be used");
            return Err(missing.into());
        }
    };
    tracing::info!(database = name, "the database is missing; making it");
    let quoted = name.replace('"', "\"\"");
    // Said before the database is made: the role is there, and this one is a member of it.
    assume_role(context, &mut connection).await?;
    connection.batch("RESET ROLE").await?;
    let owner = context.settings.role.as_ref();
    let owner = owner.map(|it| format!(" OWNER \"{}\"", it.replace('"', "\"\""))).unwrap_or_default();
    match connection.batch(&format!("CREATE DATABASE \"{quoted}\"{owner}")).await {
        Ok(()) => Ok(()),
        // Another migrator was faster: 42P04, or 23505 when both were at it at the same moment.
        Err(error) if matches!(error.sqlstate(), Some("42P04" | "23505")) => Ok(()),
        Err(error) if error.kind() == DatabaseErrorKind::InsufficientPrivilege => {
            Err(MigratorError::Settings(format!(
                "the database {name} does not exist and the role may not make it; make it (CREATE DATABASE \"{quoted}\"), give the role CREATEDB, or name another one in DATABASE_URL"
            )))
        }
        Err(error) => {
            let error = error.while_trying(format!("the database {name} could not be made"));
            Err(explain_standby(&mut connection, error).await)
        }
    }
}

/// What takes no writes may be a standby: the primary does, or it is about to be one.
async fn explain_standby(connection: &mut Connection, error: DatabaseError) -> MigratorError {
    if error.kind() == DatabaseErrorKind::ReadOnly
        && let Ok(Some(row)) = connection.query_optional(&IS_STANDBY, &[]).await
        && row.get("is_standby").unwrap_or(false)
    {
        return MigratorError::Standby;
    }
    error.into()
}

/// Becomes the role that owns what is made, where the one that signs in is only a member of it.
pub(super) async fn assume_role(context: &Context, connection: &mut Connection) -> Result<(), MigratorError> {
    let Some(role) = &context.settings.role else { return Ok(()) };
    if connection.backend() == Backend::Sqlite {
        return Ok(());
    }
    let quoted = role.replace('"', "\"\"");
    match connection.batch(&format!("SET ROLE \"{quoted}\"")).await {
        Ok(()) => Ok(()),
        // 22023: there is no such role; 42501: this one is no member of it.
        Err(error) if matches!(error.sqlstate(), Some("22023" | "42501")) => {
            Err(MigratorError::Settings(format!(
                "MIGRATOR_ROLE: there is no role \"{quoted}\", or the one that signs in may not act as it ({error}); make it, let the other be a member of it (GRANT \"{quoted}\" TO ...), or name another one"
            )))
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes the schema that everything is in, where one is named and missing.
pub(super) async fn ensure_schema(
    context: &Context,
    connection: &mut Connection,
) -> Result<(), MigratorError> {
    let Some(schema) = &context.database.schema else { return Ok(()) };
    if has_schema(connection).await? {
        return Ok(());
    }
    tracing::info!(schema, "the schema is missing; making it");
    match connection.batch(&format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\"")).await {
        Ok(()) => Ok(()),
        // Another migrator was faster: 42P06, or 23505 when both were at it at the same moment.
        Err(error) if matches!(error.sqlstate(), Some("42P06" | "23505")) => Ok(()),
        Err(error) if error.kind() == DatabaseErrorKind::InsufficientPrivilege => {
            Err(MigratorError::Settings(format!(
                "the schema {schema} does not exist and the role may not make it; make it (CREATE SCHEMA \"{schema}\" AUTHORIZATION ...), give the role CREATE on the database, or name another one in DATABASE_SCHEMA"
            )))
        }
        Err(error) => {
            let error = error.while_trying(format!("the schema {schema} could not be made"));
            Err(explain_standby(connection, error).await)
        }
    }
}

/// Refuses a schema that is missing, where nothing is to be made of what was perhaps misspelt.
pub(crate) async fn require_schema(
    context: &Context,
    connection: &mut Connection,
) -> Result<(), MigratorError> {
    if connection.backend() == Backend::Sqlite || has_schema(connection).await? {
        return Ok(());
    }
    Err(no_schema(context))
}

/// Whether there is one that the role may use of those in which it looks for tables.
async fn has_schema(connection: &mut Connection) -> Result<bool, DatabaseError> {
    let found = connection.query_optional(&CURRENT_SCHEMA, &[]).await?;
    Ok(found.is_some_and(|row| row.get::<Option<String>>("schema").ok().flatten().is_some()))
}

/// What is said where no schema is there to work in.
pub(crate) fn no_schema(context: &Context) -> MigratorError {
    MigratorError::Settings(match &context.database.schema {
        Some(schema) => format!(
            "there is no schema {schema}, or this role may not use it: `migrator up` makes one that is missing; or give the role USAGE on it, or name another one in DATABASE_SCHEMA"
        ),
        None => "there is no schema to work in: none on the search_path of this role exists, or it may use none (SHOW search_path); name one in DATABASE_SCHEMA, or give the role another path (ALTER ROLE ... SET search_path)".to_owned(),
    })
}
