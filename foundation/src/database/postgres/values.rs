//! `Value` as tokio-postgres binds and reads it.

use std::error::Error;
use std::fmt;

use bytes::BytesMut;
use serde_json::value::RawValue;
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};
use tokio_postgres::types::{FromSql, IsNull, Json, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use crate::database::{DatabaseError, Row, Value};

/// The version that a jsonb begins with.
pub(super) const JSONB_VERSION: u8 = 1;

type Failure = Box<dyn Error + Sync + Send>;

impl ToSql for Value {
    fn to_sql(&self, column: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        match (self, column) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Bool(value), _) => value.to_sql_checked(column, out),
            (Self::Integer(value), &Type::INT2) => i16::try_from(*value)?.to_sql(column, out),
            (Self::Integer(value), &Type::INT4) => i32::try_from(*value)?.to_sql(column, out),
            (Self::Integer(value), _) => value.to_sql_checked(column, out),
            (Self::Float(value), _) => value.to_sql_checked(column, out),
            (Self::Text(text) | Self::Json(text), &(Type::JSON | Type::JSONB)) => {
                Json(serde_json::from_str::<&RawValue>(text)?).to_sql(column, out)
            }
            (Self::Text(text) | Self::Json(text), _) => text.to_sql_checked(column, out),
            (Self::Bytes(bytes), _) => bytes.to_sql_checked(column, out),
            (Self::Uuid(id), &(Type::TEXT | Type::VARCHAR)) => id.to_string().to_sql(column, out),
            (Self::Uuid(id), _) => id.to_sql_checked(column, out),
            (Self::Timestamp(time), &Type::TIMESTAMP) => {
                let time = in_utc(*time)?;
                PrimitiveDateTime::new(time.date(), time.time()).to_sql(column, out)
            }
            (Self::Timestamp(time), _) => in_utc(*time)?.to_sql_checked(column, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// The driver panics at a time that is beyond the years that there are when it is told in UTC.
fn in_utc(time: OffsetDateTime) -> Result<OffsetDateTime, Failure> {
    Ok(time.checked_to_offset(UtcOffset::UTC).ok_or("a time is beyond the years that there are in UTC")?)
}

/// The type that a value has by itself, where no statement says which one is expected.
pub(super) fn type_of(value: &Value) -> Type {
    match value {
        Value::Null => Type::UNKNOWN,
        Value::Bool(_) => Type::BOOL,
        Value::Integer(_) => Type::INT8,
        Value::Float(_) => Type::FLOAT8,
        Value::Text(_) => Type::TEXT,
        Value::Bytes(_) => Type::BYTEA,
        Value::Uuid(_) => Type::UUID,
        Value::Timestamp(_) => Type::TIMESTAMPTZ,
        Value::Json(_) => Type::JSONB,
    }
}

/// A value on its way to the server. The driver logs what it binds, and this shows it nothing.
pub(super) struct Parameter<'a>(pub(super) &'a Value);

impl fmt::Debug for Parameter<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("_")
    }
}

impl ToSql for Parameter<'_> {
    fn to_sql(&self, column: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        self.0.to_sql(column, out)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(column: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        Ok(match *column {
            Type::BOOL => Self::Bool(bool::from_sql(column, raw)?),
            Type::INT2 => Self::Integer(i16::from_sql(column, raw)?.into()),
            Type::INT4 => Self::Integer(i32::from_sql(column, raw)?.into()),
            Type::INT8 => Self::Integer(i64::from_sql(column, raw)?),
            Type::OID => Self::Integer(u32::from_sql(column, raw)?.into()),
            Type::FLOAT4 => Self::Float(f32::from_sql(column, raw)?.into()),
            Type::FLOAT8 => Self::Float(f64::from_sql(column, raw)?),
            Type::BYTEA => Self::Bytes(Vec::from_sql(column, raw)?),
            Type::UUID => Self::Uuid(Uuid::from_sql(column, raw)?),
            Type::TIMESTAMPTZ => Self::Timestamp(OffsetDateTime::from_sql(column, raw)?),
            Type::TIMESTAMP => Self::Timestamp(PrimitiveDateTime::from_sql(column, raw)?.assume_utc()),
            Type::JSON | Type::JSONB => {
                Self::Json(Json::<&RawValue>::from_sql(column, raw)?.0.get().to_owned())
            }
            // The answer of a function that has none, such as pg_notify.
            Type::VOID => Self::Null,
            _ => Self::Text(String::from_sql(column, raw)?),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Failure> {
        Ok(Self::Null)
    }

    fn accepts(column: &Type) -> bool {
        matches!(
            *column,
            Type::BOOL
                | Type::INT2
                | Type::INT4
                | Type::INT8
                | Type::OID
                | Type::FLOAT4
                | Type::FLOAT8
                | Type::BYTEA
                | Type::UUID
                | Type::TIMESTAMPTZ
                | Type::TIMESTAMP
                | Type::JSON
                | Type::JSONB
                | Type::VOID
        ) || <String as FromSql>::accepts(column)
    }
}

/// A row of an answer as the server sent it.
#[derive(Debug)]
pub(in crate::database) struct PostgresRow(tokio_postgres::Row);

impl PostgresRow {
    /// How many columns there are.
    pub(in crate::database) fn columns(&self) -> usize {
        self.0.len()
    }

    /// What a column is called.
    pub(in crate::database) fn name(&self, index: usize) -> &str {
        self.0.columns()[index].name()
    }

    /// What stands in a column.
    pub(in crate::database) fn value(&self, index: usize) -> Result<Value, DatabaseError> {
        Ok(self.0.try_get(index)?)
    }

    /// The text, or the text of the document, that stands in a column.
    pub(in crate::database) fn text(&self, index: usize) -> Result<&str, DatabaseError> {
        Ok(self.0.try_get::<_, Borrowed<'_>>(index)?.0)
    }
}

/// A text, or the text of a document, where it lies.
struct Borrowed<'a>(&'a str);

impl<'a> FromSql<'a> for Borrowed<'a> {
    fn from_sql(column: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        let raw = match *column {
            Type::JSONB => raw.strip_prefix(&[JSONB_VERSION]).ok_or("an unknown version of jsonb")?,
            _ => raw,
        };
        Ok(Self(std::str::from_utf8(raw)?))
    }

    fn accepts(column: &Type) -> bool {
        matches!(*column, Type::JSON | Type::JSONB) || <&str as FromSql>::accepts(column)
    }
}

/// The rows of an answer.
pub(super) fn rows(rows: Vec<tokio_postgres::Row>) -> Vec<Row> {
    rows.into_iter().map(row).collect()
}

/// One row of an answer.
pub(super) fn row(row: tokio_postgres::Row) -> Row {
    PostgresRow(row).into()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_time_that_is_none_in_utc_is_an_error() {
        for column in [Type::TIMESTAMP, Type::TIMESTAMPTZ] {
            let bind = |time: OffsetDateTime| Value::Timestamp(time).to_sql(&column, &mut BytesMut::new());
            assert!(bind(datetime!(9999-12-31 23:59:59 -23:59)).is_err(), "{column}");
            assert!(bind(datetime!(-9999-01-01 00:00 +00:01)).is_err(), "{column}");
            assert!(bind(datetime!(9999-12-31 23:59:59 -00:00)).is_ok(), "{column}");
        }
    }
}
