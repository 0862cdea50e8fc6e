//! `Value` as rusqlite binds and reads it.

use rusqlite::Statement;
use rusqlite::types::{Value as Stored, ValueRef};

use crate::database::Value;

/// SQLite numbers `$1` by first appearance, so the parameters are found by their names.
pub(super) fn bind(statement: &mut Statement<'_>, values: Vec<Value>) -> Result<(), rusqlite::Error> {
    for (index, value) in values.into_iter().enumerate() {
        let name = format!("${}", index + 1);
        let place = statement.parameter_index(&name)?.ok_or(rusqlite::Error::InvalidParameterName(name))?;
        statement.raw_bind_parameter(place, stored(value))?;
    }
    Ok(())
}

pub(super) fn stored(value: Value) -> Stored {
    match value {
        Value::Null => Stored::Null,
        Value::Bool(value) => Stored::Integer(value.into()),
        Value::Integer(value) => Stored::Integer(value),
        Value::Float(value) => Stored::Real(value),
        Value::Text(text) | Value::Json(text) => Stored::Text(text),
        Value::Bytes(bytes) => Stored::Blob(bytes),
        Value::Uuid(id) => Stored::Text(id.to_string()),
        // The years that a time can have fit: i64 holds 292,000 of them in microseconds.
        Value::Timestamp(time) => {
            Stored::Integer(i64::try_from(time.unix_timestamp_nanos().div_euclid(1000)).unwrap_or(i64::MAX))
        }
    }
}

pub(super) fn read(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Real(value) => Value::Float(value),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    }
}
