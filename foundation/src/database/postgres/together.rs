//! Two requests of which the second is sent before the first is answered.

use std::pin::pin;

use deadpool_postgres::ClientWrapper;
use futures_util::FutureExt as _;
use futures_util::future::join;
use tokio_postgres::types::ToSql;

use super::values::{self, Parameter};
use super::{PostgresConnection, batch_rows, committing};
use crate::database::DatabaseError;
use crate::database::statement::Watch;
use crate::database::together::{Answer, Request, not_begun};

type Answered = Result<Answer, DatabaseError>;

impl PostgresConnection {
    pub(in crate::database) async fn together(
        &mut self,
        watch: &Watch,
        first: Request<'_>,
        second: Request<'_>,
    ) -> (Answered, Answered) {
        self.in_transaction |= matches!(first, Request::Begin(_));
        let (one, two) = (first.shown(), second.shown());
        let count = |answer: &Answer| answer.count;
        // Each is sent when it is looked at for the first time.
        let asked = self.within_limit(async |client| {
            let mut one = pin!(watch.statement(&one, count, answer(client, first)));
            let two = watch.statement(&two, count, answer(client, second));
            match one.as_mut().now_or_never() {
                // What cannot be sent is unknown to the server, which would commit without it.
                Some(Err(error)) => (Err(error), Err(not_begun())),
                Some(done) => (done, two.await),
                None => join(one, two).await,
            }
        });
        let (one, two) = match asked.await {
            Ok(answered) => answered,
            Err(error) => return (Err(error), Err(not_begun())),
        };
        if matches!(second, Request::Commit { .. }) && two.is_ok() {
            self.in_transaction = false;
        }
        (one.map_err(|error| self.explain(error)), two.map_err(|error| self.explain(error)))
    }
}

/// Sends the request before it waits for anything, so nothing is prepared.
async fn answer(client: &ClientWrapper, request: Request<'_>) -> Answered {
    match request {
        Request::Begin(sql) => client.batch_execute(&format!("BEGIN;\n{sql}")).await?,
        Request::Batch(sql) => {
            let mut done = 0;
            let ran = batch_rows(client, sql, &mut done).await;
            let count = ran.map_err(|error| DatabaseError::from(error).in_statement(done))?;
            return Ok(Answer { count, ..Answer::default() });
        }
        Request::Statement(statement, values) => {
            let parameters: Vec<_> =
                values.iter().map(|value| (Parameter(value), values::type_of(value))).collect();
            let bound: Vec<_> =
                parameters.iter().map(|(value, of)| (value as &(dyn ToSql + Sync), of.clone())).collect();
            let rows = values::rows(client.query_typed(statement.sql(), &bound).await?);
            return Ok(Answer { count: rows.len() as u64, rows });
        }
        Request::Commit { before, after } => client.batch_execute(&committing(before, after)).await?,
    }
    Ok(Answer::default())
}
