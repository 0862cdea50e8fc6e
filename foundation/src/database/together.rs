//! Two requests that go to the server together.

use std::sync::Arc;

use super::connection::{BEGIN, COMMIT, Driver};
use super::{Connection, DatabaseError, DatabaseErrorKind, Row, Statement, Value};

/// What a connection is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    /// Begins a transaction with these statements, which have no parameters.
    Begin(&'a str),
    /// Runs any number of statements, as [`Connection::batch_rows`] does.
    Batch(&'a str),
    /// Runs one statement with its values, as [`Connection::query`] does. On PostgreSQL it is not prepared before, so
    /// that each value has the type that it has by itself: `bigint`, `text`, `timestamptz`.
    Statement(&'a Statement, &'a [Value]),
    /// Ends a transaction, as [`Connection::commit_with`] does.
    Commit {
        /// The statements that are run before.
        before: &'a str,
        /// Those that are run behind it.
        after: &'a str,
    },
}

impl Request<'_> {
    /// What is shown of it.
    pub(super) fn shown(&self) -> Statement {
        match self {
            Self::Begin(_) => BEGIN,
            Self::Batch(sql) => Statement::write("statements", "").with_sql((*sql).to_owned()),
            Self::Statement(statement, _) => (*statement).clone(),
            Self::Commit { .. } => COMMIT,
        }
    }
}

/// What came of a request.
#[derive(Debug, Default)]
pub struct Answer {
    /// The rows that a single statement found.
    pub rows: Vec<Row>,
    /// How many rows were found or written.
    pub count: u64,
}

impl Connection {
    /// Sends the second request behind the first one without waiting for its answer, and answers both.
    ///
    /// The server does one after the other, and the second whatever came of the first: in a transaction that has failed
    /// it refuses everything, and a commit takes it back. In one that the first request has ended it does not. Where
    /// there is no server, on SQLite, the second request is not begun when the first one fails.
    ///
    /// # Errors
    /// Of each what the database says, as where it is asked by itself.
    pub async fn together(
        &mut self,
        first: Request<'_>,
        second: Request<'_>,
    ) -> (Result<Answer, DatabaseError>, Result<Answer, DatabaseError>) {
        let watch = Arc::clone(&self.watch);
        if let Driver::Postgres(driver) = &mut self.driver {
            return driver.together(&watch, first, second).await;
        }
        match self.one(first).await {
            Ok(answer) => (Ok(answer), self.one(second).await),
            Err(error) => (Err(error), Err(not_begun())),
        }
    }

    async fn one(&mut self, request: Request<'_>) -> Result<Answer, DatabaseError> {
        match request {
            Request::Begin(sql) => {
                self.begin().await?;
                self.batch(sql).await.map(|()| Answer::default())
            }
            Request::Batch(sql) => Ok(Answer { count: self.batch_rows(sql).await?, ..Answer::default() }),
            Request::Statement(statement, values) => {
                let rows = self.query(statement, values).await?;
                Ok(Answer { count: rows.len() as u64, rows })
            }
            Request::Commit { before, after } => {
                self.commit_with(before, after).await.map(|()| Answer::default())
            }
        }
    }
}

/// What is said of the second request where the first one was not done.
pub(super) fn not_begun() -> DatabaseError {
    DatabaseError::new(DatabaseErrorKind::Other, "it was not begun, because what comes before it failed")
}
