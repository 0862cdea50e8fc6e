//! The SQL of failed logins: counted in the database, so that all replicas act as one.

use foundation::database::{Database, DatabaseError, DatabaseErrorKind, Row, Statement, Transaction, Value};
use time::OffsetDateTime;

use crate::domain::login_limits::Subject;

/// What is known of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failures {
    /// How many there were, without those that are forgiven.
    pub failures: i64,
    /// When the last one was, in UTC.
    pub last_failed_at: OffsetDateTime,
    /// Nobody is let in by this subject before then, in UTC.
    pub locked_until: OffsetDateTime,
}

const FIND: Statement = Statement::lookup(
    "login_failure",
    "SELECT subject, failures, last_failed_at, locked_until FROM login_failure WHERE subject IN ($1, $2, $3)",
);

/// The row is locked until the transaction ends, so that the number that is written follows from the one
/// that was read. Where there was none, one is made that tells so by its time.
const LOCK: Statement = Statement::write(
    "login_failure",
    "INSERT INTO login_failure (subject, failures, last_failed_at, locked_until) VALUES ($1, 1, $2, $2) \
     ON CONFLICT (subject) DO UPDATE SET failures = login_failure.failures \
     RETURNING subject, failures, last_failed_at, locked_until",
);

const UPDATE: Statement = Statement::write(
    "login_failure",
    "UPDATE login_failure SET failures = $2, last_failed_at = $3, locked_until = $4 WHERE subject = $1",
);

/// Of those who do this at the same time, one writes the row.
const TAKE: Statement = Statement::write(
    "login_failure",
    "INSERT INTO login_failure (subject, failures, last_failed_at, locked_until) VALUES ($1, 1, $2, $2) \
     ON CONFLICT (subject) DO UPDATE SET failures = 1, last_failed_at = $2, locked_until = $2 \
     WHERE login_failure.last_failed_at < $3",
);

/// Only what was taken then, with no failure since.
const GIVE_BACK: Statement = Statement::write(
    "login_failure",
    "DELETE FROM login_failure WHERE subject = $1 AND failures = 1 AND last_failed_at = $2",
);

const CLEAR: Statement = Statement::write("login_failure", "DELETE FROM login_failure WHERE subject = $1");

/// What is known of each of these subjects.
///
/// # Errors
/// What the database says.
pub async fn find(
    database: &Database,
    subjects: [Option<&Subject>; 3],
) -> Result<[Option<Failures>; 3], DatabaseError> {
    let keys = subjects.map(|it| it.map(ToString::to_string));
    let rows = database.query(&FIND, &keys.clone().map(Value::from)).await?;
    let mut found = [None; 3];
    for row in &rows {
        let key: Option<String> = Some(row.get("subject")?);
        for (found, _) in found.iter_mut().zip(&keys).filter(|(_, it)| **it == key) {
            *found = Some(from_row(row)?);
        }
    }
    Ok(found)
}

/// What is known of the subject, which nobody else changes before the transaction ends.
///
/// # Errors
/// What the database says.
pub async fn lock(
    transaction: &mut Transaction,
    subject: &Subject,
) -> Result<Option<Failures>, DatabaseError> {
    let never = OffsetDateTime::UNIX_EPOCH;
    let row = transaction.query_optional(&LOCK, &[subject.to_string().into(), never.into()]).await?;
    let missing = || DatabaseError::new(DatabaseErrorKind::Other, "the failures were not read");
    let failures = from_row(&row.ok_or_else(missing)?)?;
    Ok((failures.last_failed_at != never).then_some(failures))
}

/// Writes down what is known of a subject that is locked.
///
/// # Errors
/// What the database says.
pub async fn update(
    transaction: &mut Transaction,
    subject: &Subject,
    after: &Failures,
) -> Result<(), DatabaseError> {
    let values = [
        subject.to_string().into(),
        after.failures.into(),
        after.last_failed_at.into(),
        after.locked_until.into(),
    ];
    transaction.execute(&UPDATE, &values).await.map(drop)
}

/// Writes down a first failure at `now`, unless there was one since `forgotten`. True for one of those who
/// try it at the same time.
///
/// # Errors
/// What the database says.
pub async fn take(
    database: &Database,
    subject: &Subject,
    now: OffsetDateTime,
    forgotten: OffsetDateTime,
) -> Result<bool, DatabaseError> {
    let values = [subject.to_string().into(), now.into(), forgotten.into()];
    Ok(database.execute(&TAKE, &values).await? == 1)
}

/// Takes back what [`take`] wrote, unless there was a failure since.
///
/// # Errors
/// What the database says.
pub async fn give_back(
    database: &Database,
    subject: &Subject,
    taken_at: OffsetDateTime,
) -> Result<(), DatabaseError> {
    database.execute(&GIVE_BACK, &[subject.to_string().into(), taken_at.into()]).await.map(drop)
}

/// Forgets the failures of a subject.
///
/// # Errors
/// What the database says.
pub async fn clear(transaction: &mut Transaction, subject: &Subject) -> Result<(), DatabaseError> {
    transaction.execute(&CLEAR, &[subject.to_string().into()]).await.map(drop)
}

fn from_row(row: &Row) -> Result<Failures, DatabaseError> {
    Ok(Failures {
        failures: row.get("failures")?,
        last_failed_at: row.get("last_failed_at")?,
        locked_until: row.get("locked_until")?,
    })
}
