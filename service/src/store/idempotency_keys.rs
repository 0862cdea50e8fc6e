//! The SQL of requests that are done once.

use foundation::database::{Database, DatabaseError, DatabaseErrorKind, Statement, Transaction, Value};
use time::OffsetDateTime;

use crate::domain::idempotency::{Answer, KeyedRequest};

/// What was answered, and the HMAC of the body that was asked with.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The HMAC of the body.
    pub body_hmac: Vec<u8>,
    /// What was answered.
    pub answer: Answer,
}

const FIND: Statement = Statement::lookup(
    "idempotency_key",
    "SELECT body_hmac, status, headers, body FROM idempotency_key \
     WHERE caller = $1 AND method = $2 AND path = $3 AND key = $4 AND created_at > $5",
);

const FORGET: Statement = Statement::write(
    "idempotency_key",
    "DELETE FROM idempotency_key \
     WHERE caller = $1 AND method = $2 AND path = $3 AND key = $4 AND created_at <= $5",
);

const INSERT: Statement = Statement::write(
    "idempotency_key",
    "INSERT INTO idempotency_key (caller, method, path, key, body_hmac, status, headers, body, created_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
);

fn names(request: &KeyedRequest) -> [Value; 4] {
    let KeyedRequest { caller, method, path, key, .. } = request;
    [(*caller).into(), (*method).into(), path.as_str().into(), key.as_str().into()]
}

fn malformed(error: impl std::fmt::Display) -> DatabaseError {
    DatabaseError::new(DatabaseErrorKind::Conversion, format!("a kept answer: {error}"))
}

/// What was answered to the same request after `not_before`.
///
/// # Errors
/// What the database says.
pub async fn find(
    database: &Database,
    request: &KeyedRequest,
    not_before: OffsetDateTime,
) -> Result<Option<Kept>, DatabaseError> {
    let values: Vec<Value> = names(request).into_iter().chain([not_before.into()]).collect();
    let Some(row) = database.query_optional(&FIND, &values).await? else { return Ok(None) };
    let headers: String = row.get("headers")?;
    let answer = Answer {
        status: u16::try_from(row.get::<i64>("status")?).map_err(malformed)?,
        headers: serde_json::from_str(&headers).map_err(malformed)?,
        body: row.get("body")?,
    };
    Ok(Some(Kept { body_hmac: row.get("body_hmac")?, answer }))
}

/// Keeps an answer, in the transaction of what it tells of. What is as old as `not_before` is forgotten.
///
/// # Errors
/// What the database says; [`DatabaseErrorKind::UniqueViolation`]: the request was done meanwhile.
pub async fn insert(
    transaction: &mut Transaction,
    request: &KeyedRequest,
    body_hmac: [u8; 32],
    answer: &Answer,
    now: OffsetDateTime,
    not_before: OffsetDateTime,
) -> Result<(), DatabaseError> {
    let old: Vec<Value> = names(request).into_iter().chain([not_before.into()]).collect();
    transaction.execute(&FORGET, &old).await?;
    let headers = serde_json::to_string(&answer.headers).map_err(malformed)?;
    let kept: [Value; 5] = [
        body_hmac.to_vec().into(),
        i64::from(answer.status).into(),
        Value::Json(headers),
        answer.body.as_str().into(),
        now.into(),
    ];
    let values: Vec<Value> = names(request).into_iter().chain(kept).collect();
    transaction.execute(&INSERT, &values).await.map(drop)
}
