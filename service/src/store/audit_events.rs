//! The SQL of audit events.

use foundation::database::{DatabaseError, Statement, Transaction, Value};

use crate::domain::audit::AuditEvent;

const INSERT: Statement = Statement::write(
    "audit_event",
    "INSERT INTO audit_event (id, occurred_at, action, actor_id, actor_kind, target_type, target_id, address, request_id, before, after) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
);

/// Writes an event, in the transaction of what it tells of.
///
/// # Errors
/// What the database says.
pub async fn insert(transaction: &mut Transaction, event: &AuditEvent) -> Result<(), DatabaseError> {
    let json = |value: &Option<serde_json::Value>| {
        value.as_ref().map_or(Value::Null, |it| Value::Json(it.to_string()))
    };
    let values: [Value; 11] = [
        event.id.into(),
        event.occurred_at.into(),
        event.action.as_str().into(),
        event.actor.id.into(),
        event.actor.kind.name().into(),
        event.target.kind.as_str().into(),
        event.target.id.clone().into(),
        event.address.clone().into(),
        event.request_id.clone().into(),
        json(&event.change.before),
        json(&event.change.after),
    ];
    transaction.execute(&INSERT, &values).await.map(drop)
}
