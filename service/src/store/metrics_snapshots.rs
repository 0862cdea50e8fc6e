//! The SQL of snapshots.

use foundation::database::{DatabaseError, Transaction, Value, ValueType};

use crate::domain::metrics_snapshots::NewSnapshot;

const COLUMNS: [&str; 4] = ["timestamp", "source", "metric_type", "metric_data"];

const TYPES: [ValueType; 4] = [ValueType::Timestamp, ValueType::Text, ValueType::Text, ValueType::Json];

/// Writes snapshots, as fast as the database takes them.
///
/// # Errors
/// What the database says.
pub async fn insert(transaction: &mut Transaction, snapshots: &[NewSnapshot]) -> Result<u64, DatabaseError> {
    let mut rows = transaction.insert_rows("metrics_snapshot", &COLUMNS, &TYPES).await?;
    for snapshot in snapshots {
        let values: [Value; 4] = [
            snapshot.timestamp.into(),
            snapshot.source.as_str().into(),
            snapshot.metric_type.as_str().into(),
            Value::Json(snapshot.metric_data.clone()),
        ];
        rows.push(&values).await?;
    }
    rows.finish().await
}
