//! The SQL of archive policies.

use foundation::database::{
    Backend, Database, DatabaseError, DatabaseErrorKind, Row, Statement, Transaction, Value,
};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::archive_policies::{ArchivePolicy, UnknownArchiveAction};

macro_rules! columns {
    () => {
        "id, metric_type, retention_days, action, is_enabled, last_run_at, created_at, updated_at, version"
    };
}

fn from_row(row: &Row) -> Result<ArchivePolicy, DatabaseError> {
    let malformed = |what: String| DatabaseError::new(DatabaseErrorKind::Conversion, what);
    let action: String = row.get("action")?;
    let days: i64 = row.get("retention_days")?;
    Ok(ArchivePolicy {
        id: row.get("id")?,
        metric_type: row.get("metric_type")?,
        retention_days: u32::try_from(days).map_err(|error| malformed(format!("retention_days: {error}")))?,
        action: action
            .parse()
            .map_err(|error: UnknownArchiveAction| malformed(format!("the column action: {error}")))?,
        is_enabled: row.get("is_enabled")?,
        last_run_at: row.get("last_run_at")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
        version: row.get("version")?,
    })
}

const FIND: Statement =
    Statement::lookup("archive_policy", concat!("SELECT ", columns!(), " FROM archive_policy WHERE id = $1"));

/// The policy with this id.
///
/// # Errors
/// What the database says.
pub async fn find(database: &Database, id: Uuid) -> Result<Option<ArchivePolicy>, DatabaseError> {
    database.query_optional(&FIND, &[id.into()]).await?.as_ref().map(from_row).transpose()
}

const PAGE: Statement = Statement::read(
    "archive_policy",
    concat!("SELECT ", columns!(), " FROM archive_policy WHERE id > $1 ORDER BY id LIMIT $2"),
);

/// The policies behind the one with the id `after`, in the order of their making, at most `limit`.
///
/// # Errors
/// What the database says.
pub async fn page(
    database: &Database,
    after: Option<Uuid>,
    limit: u32,
) -> Result<Vec<ArchivePolicy>, DatabaseError> {
    let after = after.unwrap_or(Uuid::nil());
    database.query(&PAGE, &[after.into(), limit.into()]).await?.iter().map(from_row).collect()
}

const ALL: Statement = Statement::read(
    "archive_policy",
    concat!("SELECT ", columns!(), " FROM archive_policy ORDER BY metric_type"),
);

/// Every policy: there is one for a type at most.
///
/// # Errors
/// What the database says.
pub async fn all(database: &Database) -> Result<Vec<ArchivePolicy>, DatabaseError> {
    database.query(&ALL, &[]).await?.iter().map(from_row).collect()
}

const HOLD: Statement = Statement::write("archive_policy", "LOCK TABLE archive_policy IN SHARE MODE");

/// Every policy, of which none is made, changed or deleted before the transaction ends. Rows alone could not be
/// held against one that is made. On SQLite every transaction is alone.
///
/// # Errors
/// What the database says.
pub async fn hold_all(
    transaction: &mut Transaction,
    backend: Backend,
) -> Result<Vec<ArchivePolicy>, DatabaseError> {
    if backend == Backend::Postgres {
        transaction.execute(&HOLD, &[]).await?;
    }
    transaction.query(&ALL, &[]).await?.iter().map(from_row).collect()
}

/// An update that changes nothing is the one way to hold a row that both databases have.
const LOCK: Statement = Statement::write(
    "archive_policy",
    concat!("UPDATE archive_policy SET version = version WHERE id = $1 RETURNING ", columns!()),
);

/// The policy with this id, which nobody else changes before the transaction ends.
///
/// # Errors
/// What the database says.
pub async fn lock(transaction: &mut Transaction, id: Uuid) -> Result<Option<ArchivePolicy>, DatabaseError> {
    transaction.query_optional(&LOCK, &[id.into()]).await?.as_ref().map(from_row).transpose()
}

const INSERT: Statement = Statement::write(
    "archive_policy",
    "INSERT INTO archive_policy (id, metric_type, retention_days, action, is_enabled, created_at, updated_at, version) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
);

/// Adds a policy.
///
/// # Errors
/// What the database says; [`DatabaseErrorKind::UniqueViolation`]: its type has one.
pub async fn insert(transaction: &mut Transaction, policy: &ArchivePolicy) -> Result<(), DatabaseError> {
    let values: [Value; 8] = [
        policy.id.into(),
        policy.metric_type.as_str().into(),
        policy.retention_days.into(),
        policy.action.name().into(),
        policy.is_enabled.into(),
        policy.created_at.into(),
        policy.updated_at.into(),
        policy.version.into(),
    ];
    transaction.execute(&INSERT, &values).await.map(drop)
}

const UPDATE: Statement = Statement::write(
    "archive_policy",
    "UPDATE archive_policy SET retention_days = $2, action = $3, is_enabled = $4, updated_at = $5, version = $6 \
     WHERE id = $1",
);

/// Writes what can be edited of a policy.
///
/// # Errors
/// What the database says.
pub async fn update(transaction: &mut Transaction, policy: &ArchivePolicy) -> Result<(), DatabaseError> {
    let values: [Value; 6] = [
        policy.id.into(),
        policy.retention_days.into(),
        policy.action.name().into(),
        policy.is_enabled.into(),
        policy.updated_at.into(),
        policy.version.into(),
    ];
    transaction.execute(&UPDATE, &values).await.map(drop)
}

const DELETE: Statement = Statement::write("archive_policy", "DELETE FROM archive_policy WHERE id = $1");

/// Deletes a policy.
///
/// # Errors
/// What the database says.
pub async fn delete(transaction: &mut Transaction, id: Uuid) -> Result<(), DatabaseError> {
    transaction.execute(&DELETE, &[id.into()]).await.map(drop)
}

const OBEYED: Statement =
    Statement::write("archive_policy", "UPDATE archive_policy SET last_run_at = $1 WHERE is_enabled");

/// Notes that the policies that are enabled were obeyed.
///
/// # Errors
/// What the database says.
pub async fn obeyed(transaction: &mut Transaction, now: OffsetDateTime) -> Result<(), DatabaseError> {
    transaction.execute(&OBEYED, &[now.into()]).await.map(drop)
}
