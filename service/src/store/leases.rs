//! The SQL of leases. Whether one is over is said by the clock of the database, which all have in common.

use std::time::Duration;

use foundation::database::{Backend, Database, DatabaseError, Statement, Transaction, Value};
use uuid::Uuid;

/// A lease as its holder knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The duty.
    pub name: &'static str,
    /// Who has it.
    pub holder: Uuid,
    /// Raised whenever it goes to somebody else.
    pub fencing: i64,
}

/// The clock of the database.
const fn now(backend: Backend) -> &'static str {
    match backend {
        Backend::Postgres => "clock_timestamp()",
        Backend::Sqlite => "CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000",
    }
}

/// The clock of the database, `$n` microseconds later.
fn later(backend: Backend, parameter: &str) -> String {
    match backend {
        Backend::Postgres => {
            format!("clock_timestamp() + CAST({parameter} AS BIGINT) * interval '1 microsecond'")
        }
        Backend::Sqlite => format!("{} + {parameter}", now(backend)),
    }
}

/// Whoever has a duty renews it while the work has the connections of the pool, or requests have.
const WRITE: Statement = Statement::reserved("lease", "");

fn microseconds(duration: Duration) -> Value {
    Value::Integer(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

/// Takes the lease for `lifetime` when nobody has it.
///
/// # Errors
/// What the database says.
pub async fn acquire(
    database: &Database,
    name: &'static str,
    holder: Uuid,
    lifetime: Duration,
) -> Result<Option<Held>, DatabaseError> {
    let backend = database.backend();
    let (now, until) = (now(backend), later(backend, "$3"));
    let sql = format!(
        "INSERT INTO lease (name, holder, fencing, expires_at) VALUES ($1, $2, 1, {until}) \
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, fencing = lease.fencing + 1, \
           expires_at = excluded.expires_at WHERE lease.expires_at <= {now} \
         RETURNING fencing"
    );
    let values = [name.into(), holder.into(), microseconds(lifetime)];
    let row = database.query_optional(&WRITE.with_sql(sql), &values).await?;
    row.map(|row| Ok(Held { name, holder, fencing: row.get("fencing")? })).transpose()
}

/// Has the lease last for `lifetime` from now on, unless somebody else took it; says whether it is still held.
///
/// # Errors
/// What the database says.
pub async fn renew(database: &Database, held: &Held, lifetime: Duration) -> Result<bool, DatabaseError> {
    let until = later(database.backend(), "$4");
    let sql =
        format!("UPDATE lease SET expires_at = {until} WHERE name = $1 AND holder = $2 AND fencing = $3");
    let values = [held.name.into(), held.holder.into(), held.fencing.into(), microseconds(lifetime)];
    Ok(database.execute(&WRITE.with_sql(sql), &values).await? == 1)
}

/// Gives the lease back, if it is still held.
///
/// # Errors
/// What the database says.
pub async fn release(database: &Database, held: &Held) -> Result<(), DatabaseError> {
    let now = now(database.backend());
    let sql = format!("UPDATE lease SET expires_at = {now} WHERE name = $1 AND holder = $2 AND fencing = $3");
    let values = [held.name.into(), held.holder.into(), held.fencing.into()];
    database.execute(&WRITE.with_sql(sql), &values).await.map(drop)
}

/// Whether the lease is held, and stays so until the end of the transaction.
///
/// # Errors
/// What the database says.
pub async fn confirm(
    transaction: &mut Transaction,
    backend: Backend,
    held: &Held,
) -> Result<bool, DatabaseError> {
    let (now, lock) = match backend {
        Backend::Postgres => (now(backend), " FOR SHARE"),
        // The transaction is the only one that writes.
        Backend::Sqlite => (now(backend), ""),
    };
    let sql = format!(
        "SELECT fencing FROM lease WHERE name = $1 AND holder = $2 AND fencing = $3 AND expires_at > {now}{lock}"
    );
    let values = [held.name.into(), held.holder.into(), held.fencing.into()];
    Ok(transaction.query_optional(&WRITE.with_sql(sql), &values).await?.is_some())
}
