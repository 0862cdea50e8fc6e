//! The SQL of failed logins: counted in the database, so that all replicas act as one.

use foundation::database::{Database, DatabaseError, DatabaseErrorKind, Statement, Transaction, Value};
use time::OffsetDateTime;

use crate::domain::login_limits::Subject;

const LOCKS: Statement = Statement::lookup(
    "login_failure",
    "SELECT subject, locked_until FROM login_failure WHERE subject IN ($1, $2) AND locked_until > $3",
);

/// A subject whose last failure is forgotten begins anew. The row is locked until the transaction ends, so
/// that the delay that follows from the number belongs to it.
const COUNT: Statement = Statement::write(
    "login_failure",
    "INSERT INTO login_failure (subject, failures, last_failed_at, locked_until) VALUES ($1, 1, $2, $2) \
     ON CONFLICT (subject) DO UPDATE SET last_failed_at = $2, \
       failures = CASE WHEN login_failure.last_failed_at < $3 THEN 1 ELSE login_failure.failures + 1 END \
     RETURNING failures",
);

const LOCK: Statement =
    Statement::write("login_failure", "UPDATE login_failure SET locked_until = $2 WHERE subject = $1");

const CLEAR: Statement = Statement::write("login_failure", "DELETE FROM login_failure WHERE subject = $1");

/// The keys of those subjects that are locked at `now`, and until when.
///
/// # Errors
/// What the database says.
pub async fn locks(
    database: &Database,
    account: Option<&Subject>,
    address: Option<&Subject>,
    now: OffsetDateTime,
) -> Result<Vec<(String, OffsetDateTime)>, DatabaseError> {
    let key = |subject: Option<&Subject>| Value::from(subject.map(ToString::to_string));
    let rows = database.query(&LOCKS, &[key(account), key(address), now.into()]).await?;
    rows.iter().map(|row| Ok((row.get("subject")?, row.get("locked_until")?))).collect()
}

/// Counts a failure at `now`, and returns the number of those since `forgotten`.
///
/// # Errors
/// What the database says.
pub async fn count(
    transaction: &mut Transaction,
    subject: &Subject,
    now: OffsetDateTime,
    forgotten: OffsetDateTime,
) -> Result<i64, DatabaseError> {
    let values = [subject.to_string().into(), now.into(), forgotten.into()];
    let row = transaction.query_optional(&COUNT, &values).await?;
    let missing = || DatabaseError::new(DatabaseErrorKind::Other, "the failure was not counted");
    row.ok_or_else(missing)?.get("failures")
}

/// Lets nobody in by this subject before `until`.
///
/// # Errors
/// What the database says.
pub async fn lock(
    transaction: &mut Transaction,
    subject: &Subject,
    until: OffsetDateTime,
) -> Result<(), DatabaseError> {
    transaction.execute(&LOCK, &[subject.to_string().into(), until.into()]).await.map(drop)
}

/// Forgets the failures of a subject.
///
/// # Errors
/// What the database says.
pub async fn clear(transaction: &mut Transaction, subject: &Subject) -> Result<(), DatabaseError> {
    transaction.execute(&CLEAR, &[subject.to_string().into()]).await.map(drop)
}
