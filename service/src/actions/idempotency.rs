//! Requests that are done once, however often they are sent: the answer is kept in the transaction of what
//! was done, so that either both are there or neither.

use foundation::database::{DatabaseErrorKind, Transaction};
use time::OffsetDateTime;

use super::{ActionError, Actions};
use crate::domain::idempotency::{Answer, KeyedRequest};
use crate::store::idempotency_keys;

/// What the bodies are signed for.
const PURPOSE: &str = "idempotent body";

impl Actions {
    /// Answers are forgotten that are as old as this.
    fn kept_since(&self) -> OffsetDateTime {
        self.clock.now() - self.settings.idempotency_retention
    }

    /// What was answered when the request was done before.
    ///
    /// # Errors
    /// [`ActionError::IdempotencyMismatch`]: its key was used with another body.
    pub async fn replay(&self, request: Option<&KeyedRequest>) -> Result<Option<Answer>, ActionError> {
        let Some(request) = request else { return Ok(None) };
        let found = idempotency_keys::find(&self.database, request, self.kept_since()).await?;
        let Some(kept) = found else { return Ok(None) };
        if self.keys.verify(PURPOSE, &request.body, &kept.body_hmac) {
            // Whoever did not get the answer of that time does not know where it ended either.
            self.database.note_position().await?;
            Ok(Some(kept.answer))
        } else {
            Err(ActionError::IdempotencyMismatch)
        }
    }

    /// Keeps the answer of a request that is being done. Says whether it was done meanwhile: the transaction
    /// is of no use then. The same request that is being done elsewhere is waited for.
    ///
    /// # Errors
    /// What the database says.
    pub async fn keep(
        &self,
        transaction: &mut Transaction,
        request: Option<&KeyedRequest>,
        answer: &Answer,
    ) -> Result<bool, ActionError> {
        let Some(request) = request else { return Ok(false) };
        let hmac = self.keys.sign(PURPOSE, &request.body);
        let (now, since) = (self.clock.now(), self.kept_since());
        match idempotency_keys::insert(transaction, request, hmac, answer, now, since).await {
            Ok(()) => Ok(false),
            Err(error) if error.kind() == DatabaseErrorKind::UniqueViolation => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}
