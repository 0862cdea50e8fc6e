//! Questions about tables that are the migrator's own: those of the schema in which it makes them.
//!
//! That is the first one of the search path. A table of the same name in one further on belongs to another migrator,
//! of another service perhaps, and says nothing of this schema. Each question tells the two apart by itself, so that
//! nobody has to be asked before.

use foundation::database::{
    Backend, Connection, Database, DatabaseError, DatabaseErrorKind, Row, Statement, Value,
};

/// Whether there is such a table in the first schema.
const IS_THERE: Statement = Statement::read(
    "pg_class",
    "SELECT to_regclass(quote_ident(current_schema()) || '.' || CAST($1 AS text)) IS NOT NULL AS it",
);

/// What is read from tables of one's own.
pub(crate) struct Question {
    /// The one that matters most.
    pub(crate) table: &'static str,
    pub(crate) postgres: Statement,
    pub(crate) sqlite: Statement,
}

/// A [`Question`] by its text. `own "x" of "table"` stands where a condition may, and is true of the rows of that
/// table, which the statement calls `x`, where it is one's own. A SQLite file has one schema, so there all are.
macro_rules! question {
    ($table:literal: $($text:literal $(own $alias:literal of $named:literal)?)+) => {
        $crate::own::Question {
            table: $table,
            postgres: foundation::database::Statement::read($table, concat!($(
                $text, " ",
                $($alias, ".tableoid = (SELECT to_regclass(quote_ident(current_schema()) || '.", $named, "')) ",)?
            )+)),
            sqlite: foundation::database::Statement::read($table, concat!($(
                $text, " ",
                $($crate::own::all_rows!($named),)?
            )+)),
        }
    };
}

macro_rules! all_rows {
    ($named:literal) => {
        "TRUE "
    };
}

pub(crate) use {all_rows, question};

/// Who is asked: a connection of one's own, or a pool.
pub(crate) enum Asked<'a> {
    Connection(&'a mut Connection),
    Pool(&'a Database),
}

impl Asked<'_> {
    fn backend(&self) -> Backend {
        match self {
            Self::Connection(connection) => connection.backend(),
            Self::Pool(database) => database.backend(),
        }
    }

    async fn query(&mut self, statement: &Statement, values: &[Value]) -> Result<Vec<Row>, DatabaseError> {
        match self {
            Self::Connection(connection) => connection.query(statement, values).await,
            Self::Pool(database) => database.query(statement, values).await,
        }
    }

    /// All rows that the question finds. That a table is missing is an error here.
    ///
    /// Where nothing was found, or what may not be read, it may be another's table: PostgreSQL goes on to look there
    /// when one's own is made after the statement was prepared on this connection. One of another text is not.
    pub(crate) async fn rows(
        &mut self,
        question: &Question,
        values: &[Value],
    ) -> Result<Vec<Row>, DatabaseError> {
        if self.backend() == Backend::Sqlite {
            return self.query(&question.sqlite, values).await;
        }
        let found = self.query(&question.postgres, values).await;
        let may_be_anothers = match &found {
            Ok(rows) => rows.is_empty(),
            Err(error) => error.kind() == DatabaseErrorKind::InsufficientPrivilege,
        };
        if !may_be_anothers {
            return found;
        }
        match (self.has_own(question.table).await, found) {
            (Ok(true), _) => {
                let sql = format!("{} -- one's own", question.postgres.sql());
                self.query(&question.postgres.clone().with_sql(sql), values).await
            }
            // A transaction that has failed answers nothing more.
            (Ok(false), found) | (Err(_), found @ Err(_)) => found,
            (Err(error), Ok(_)) => Err(error),
        }
    }

    /// The same; nothing when the table is missing, or the one that was found is another's, of whose rights nothing
    /// is known.
    ///
    /// # Errors
    /// What the database says; of rights that are missing with the way out.
    pub(crate) async fn own_rows(
        &mut self,
        question: &Question,
        values: &[Value],
    ) -> Result<Option<Vec<Row>>, DatabaseError> {
        match self.rows(question, values).await {
            Ok(rows) => Ok(Some(rows)),
            Err(error) if error.kind() == DatabaseErrorKind::UndefinedTable => Ok(None),
            Err(error) if error.kind() == DatabaseErrorKind::InsufficientPrivilege => {
                if self.has_own(question.table).await? {
                    Err(explain_missing_rights(error, question.table))
                } else {
                    Ok(None)
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the first schema has a table of this name.
    pub(crate) async fn has_own(&mut self, table: &'static str) -> Result<bool, DatabaseError> {
        if self.backend() == Backend::Sqlite {
            return Ok(true);
        }
        let rows = self.query(&IS_THERE, &[table.into()]).await?;
        rows.first().map_or(Ok(false), |row| row.get("it"))
    }
}

/// A role that may not read the history must not look like a schema that is behind.
pub(crate) fn explain_missing_rights(error: DatabaseError, table: &str) -> DatabaseError {
    error.while_trying(format!(
        "the role may not read {table}; run the migrator with MIGRATOR_GRANT_TO naming this role"
    ))
}
