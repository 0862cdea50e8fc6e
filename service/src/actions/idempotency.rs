//! Requests that are done once, however often they are sent: the answer is kept in the transaction of what
//! was done, so that either both are there or neither.

use std::borrow::Cow;

use foundation::database::{DatabaseErrorKind, Transaction};
use time::OffsetDateTime;

use super::{ActionError, Actions};
use crate::domain::idempotency::{Answer, KeyedRequest};
use crate::store::idempotency_keys;

/// What the bodies of requests without a query are signed for.
const PURPOSE: &str = "idempotent body";

/// What queries and bodies are signed for.
const QUERY_PURPOSE: &str = "idempotent query and body";

/// What is signed of a request: its body, and before it, where there is one, the query with its length, so that
/// nothing of the one is taken for the other.
fn signed(request: &KeyedRequest) -> (&'static str, Cow<'_, [u8]>) {
    let Some(query) = &request.query else { return (PURPOSE, Cow::Borrowed(&request.body)) };
    let length = (query.len() as u64).to_be_bytes();
    (QUERY_PURPOSE, [&length, query.as_bytes(), &request.body].concat().into())
}

/// What became of keeping an answer.
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is returned, and kept nowhere")]
pub enum Kept {
    /// It is kept as soon as this transaction, in which the rest is to be done, comes to its end.
    Now(Transaction),
    /// The request was done before, and this was answered.
    Before(Answer),
}

impl Actions {
    /// Answers are forgotten that are as old as this.
    fn kept_since(&self) -> OffsetDateTime {
        self.clock.now() - self.settings.idempotency_retention
    }

    /// What was answered when the request was done before.
    ///
    /// # Errors
    /// [`ActionError::IdempotencyMismatch`]: its key was used with another query or another body.
    pub async fn replay(&self, request: Option<&KeyedRequest>) -> Result<Option<Answer>, ActionError> {
        let Some(request) = request else { return Ok(None) };
        let found = idempotency_keys::find(&self.database, request, self.kept_since()).await?;
        let Some(kept) = found else { return Ok(None) };
        let (purpose, message) = signed(request);
        if self.keys.verify(purpose, &message, &kept.body_hmac) {
            // Whoever did not get the answer of that time does not know where it ended either.
            self.database.note_position().await?;
            Ok(Some(kept.answer))
        } else {
            Err(ActionError::IdempotencyMismatch)
        }
    }

    /// Keeps the answer of a request that is being done, unless it was done meanwhile: then the transaction is
    /// given up, and the answer of that time returned. The same request that is being done elsewhere is waited
    /// for.
    ///
    /// # Errors
    /// [`ActionError::IdempotencyMismatch`]: the key was used meanwhile with another query or another body.
    /// [`ActionError::Conflict`]: it was used, and forgotten at this moment.
    pub async fn keep(
        &self,
        mut transaction: Transaction,
        request: Option<&KeyedRequest>,
        answer: &Answer,
    ) -> Result<Kept, ActionError> {
        let Some(request) = request else { return Ok(Kept::Now(transaction)) };
        let (purpose, message) = signed(request);
        let hmac = self.keys.sign(purpose, &message);
        let (now, since) = (self.clock.now(), self.kept_since());
        match idempotency_keys::insert(&mut transaction, request, hmac, answer, now, since).await {
            Ok(()) => return Ok(Kept::Now(transaction)),
            Err(error) if error.kind() != DatabaseErrorKind::UniqueViolation => return Err(error.into()),
            Err(_) => drop(transaction),
        }
        let answer = self.replay(Some(request)).await?.ok_or_else(|| ActionError::Conflict {
            pointer: "/header/idempotency-key",
            detail: "the same request was done and forgotten at this moment; send it again".to_owned(),
        })?;
        Ok(Kept::Before(answer))
    }
}
