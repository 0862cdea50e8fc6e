//! The SQL of audit events.

use foundation::database::{Database, DatabaseError, DatabaseErrorKind, Row, Statement, Transaction, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::audit::{
    ACTIONS, Actor, ActorKind, AuditEvent, AuditFilter, Change, Target, UnknownActorKind,
};

const INSERT: Statement = Statement::write(
    "audit_event",
    "INSERT INTO audit_event (id, occurred_at, action, actor_id, actor_kind, credential_id, target_type, \
       target_id, address, request_id, before, after) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
);

/// Writes an event, in the transaction of what it tells of.
///
/// # Errors
/// What the database says.
pub async fn insert(transaction: &mut Transaction, event: &AuditEvent) -> Result<(), DatabaseError> {
    debug_assert!(ACTIONS.contains(&event.action.as_str()), "{} is no known action", event.action);
    let json = |value: &Option<serde_json::Value>| {
        value.as_ref().map_or(Value::Null, |it| Value::Json(it.to_string()))
    };
    let values: [Value; 12] = [
        event.id.into(),
        event.occurred_at.into(),
        event.action.as_str().into(),
        event.actor.id.into(),
        event.actor.kind.name().into(),
        event.actor.credential.into(),
        event.target.kind.as_str().into(),
        event.target.id.clone().into(),
        event.address.clone().into(),
        event.request_id.clone().into(),
        json(&event.change.before),
        json(&event.change.after),
    ];
    transaction.execute(&INSERT, &values).await.map(drop)
}

const SELECT: Statement = Statement::read("audit_event", "");

const COLUMNS: &str = "id, occurred_at, action, actor_id, actor_kind, credential_id, target_type, target_id, \
     address, request_id, before, after";

/// The events that the filter is for, newest first, at most `limit` of them: those that are older than the
/// one with the id `before`.
///
/// # Errors
/// What the database says.
pub async fn page(
    database: &Database,
    filter: &AuditFilter,
    before: Option<Uuid>,
    limit: u32,
) -> Result<Vec<AuditEvent>, DatabaseError> {
    let (mut conditions, mut values) = (Vec::new(), Vec::new());
    let mut demand = |comparison: &str, value: Option<Value>| {
        if let Some(value) = value {
            values.push(value);
            conditions.push(format!("{comparison} ${}", values.len()));
        }
    };
    demand("id <", before.map(Value::from));
    demand("actor_id =", filter.actor_id.map(Value::from));
    demand("credential_id =", filter.credential_id.map(Value::from));
    demand("target_type =", filter.target_type.as_deref().map(Value::from));
    demand("target_id =", filter.target_id.as_deref().map(Value::from));
    demand("action =", filter.action.as_deref().map(Value::from));
    demand("occurred_at >=", filter.from.map(Value::from));
    demand("occurred_at <", filter.to.map(Value::from));
    // An id begins with the millisecond of its event, so that a time long ago is a range of the index too.
    demand("id >=", filter.from.map(|it| first_id(it, 0).into()));
    demand("id <", filter.to.map(|it| first_id(it, 1).into()));
    let demanded = if conditions.is_empty() { String::new() } else { "WHERE ".to_owned() };
    let conditions = conditions.join(" AND ");
    values.push(limit.into());
    let sql = format!(
        "SELECT {COLUMNS} FROM audit_event {demanded}{conditions} ORDER BY id DESC LIMIT ${}",
        values.len()
    );
    database.query(&SELECT.with_sql(sql), &values).await?.iter().map(from_row).collect()
}

/// The smallest id that an event can have which happened `later` milliseconds after `time`.
fn first_id(time: OffsetDateTime, later: u64) -> Uuid {
    let milliseconds = u64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(milliseconds + later, &[0; 10]).into_uuid()
}

fn from_row(row: &Row) -> Result<AuditEvent, DatabaseError> {
    let malformed = |what: String| DatabaseError::new(DatabaseErrorKind::Conversion, what);
    let json = |column: &str| {
        let text: Option<String> = row.get(column)?;
        text.map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| malformed(format!("the column {column} is no JSON (line {})", error.line())))
    };
    let kind: String = row.get("actor_kind")?;
    let kind: ActorKind = kind
        .parse()
        .map_err(|error: UnknownActorKind| malformed(format!("the column actor_kind: {error}")))?;
    Ok(AuditEvent {
        id: row.get("id")?,
        occurred_at: row.get("occurred_at")?,
        action: row.get("action")?,
        actor: Actor { id: row.get("actor_id")?, kind, credential: row.get("credential_id")? },
        target: Target { kind: row.get("target_type")?, id: row.get("target_id")? },
        address: row.get("address")?,
        request_id: row.get("request_id")?,
        change: Change { before: json("before")?, after: json("after")? },
    })
}

#[cfg(test)]
mod tests {
    use foundation::entropy::Entropy;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_first_id_of_a_moment_bounds_all_of_it() {
        let moment = datetime!(2026-01-31 12:00:00.123_456 UTC);
        for entropy in [Entropy::fixed(0), Entropy::fixed(0xff)] {
            let id = entropy.uuid_v7(moment);
            assert!(first_id(moment, 0) <= id && id < first_id(moment, 1));
        }
    }
}
