//! Values that go into statements, and rows that come out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use time::OffsetDateTime;
use uuid::Uuid;

use super::postgres::PostgresRow;
use super::{DatabaseError, DatabaseErrorKind};

/// A value bound to a statement, or found in a row. SQLite keeps some of them in another form:
/// booleans as 0 and 1, times as microseconds since 1970, UUIDs and JSON as text.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A floating-point number.
    Float(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A UUID.
    Uuid(Uuid),
    /// A time, to the microsecond.
    Timestamp(OffsetDateTime),
    /// A JSON document as it was written.
    Json(String),
}

macro_rules! into_value {
    ($($Type:ty => $variant:ident),* $(,)?) => { $(
        impl From<$Type> for Value {
            fn from(value: $Type) -> Self {
                Self::$variant(value.into())
            }
        }
    )* };
}

into_value! {
    bool => Bool, i64 => Integer, i32 => Integer, u32 => Integer, f64 => Float, String => Text, &str => Text,
    Vec<u8> => Bytes, &[u8] => Bytes, Uuid => Uuid, OffsetDateTime => Timestamp,
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A type that a column can be read as, from the form of either database.
pub trait FromValue: Sized {
    /// Turns the value into the type, or gives it back.
    ///
    /// # Errors
    /// The value, when it is of another type.
    fn from_value(value: Value) -> Result<Self, Value>;
}

macro_rules! from_value {
    ($($Type:ty: $($pattern:pat => $value:expr),+;)*) => { $(
        impl FromValue for $Type {
            fn from_value(value: Value) -> Result<Self, Value> {
                match value {
                    $( $pattern => Ok($value), )+
                    other => Err(other),
                }
            }
        }
    )* };
}

from_value! {
    bool: Value::Bool(value) => value, Value::Integer(value @ (0 | 1)) => value == 1;
    i64: Value::Integer(value) => value;
    String: Value::Text(value) => value, Value::Json(value) => value;
    Vec<u8>: Value::Bytes(value) => value;
}

impl FromValue for Value {
    fn from_value(value: Value) -> Result<Self, Value> {
        Ok(value)
    }
}

impl FromValue for f64 {
    #[expect(clippy::cast_precision_loss, reason = "SQLite gives a whole number for a sum of whole numbers")]
    fn from_value(value: Value) -> Result<Self, Value> {
        match value {
            Value::Float(value) => Ok(value),
            Value::Integer(value) => Ok(value as Self),
            other => Err(other),
        }
    }
}

impl FromValue for Uuid {
    fn from_value(value: Value) -> Result<Self, Value> {
        match value {
            Value::Uuid(value) => Ok(value),
            Value::Text(text) => Self::parse_str(&text).map_err(|_| Value::Text(text)),
            other => Err(other),
        }
    }
}

impl FromValue for OffsetDateTime {
    fn from_value(value: Value) -> Result<Self, Value> {
        match value {
            Value::Timestamp(value) => Ok(value),
            Value::Integer(microseconds) => {
                Self::from_unix_timestamp_nanos(i128::from(microseconds) * 1000).map_err(|_| value)
            }
            other => Err(other),
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Result<Self, Value> {
        match value {
            Value::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

/// A row of an answer, its columns found by name.
#[derive(Debug)]
pub struct Row {
    cells: Cells,
    /// Where the next column is looked for first: most are asked for in the order that they stand in.
    next: AtomicUsize,
}

#[derive(Debug)]
enum Cells {
    /// As PostgreSQL sent them: each becomes a value when it is asked for.
    Postgres(PostgresRow),
    /// As SQLite gave them.
    Values { columns: Arc<[String]>, values: Vec<Value> },
}

impl From<PostgresRow> for Row {
    fn from(row: PostgresRow) -> Self {
        Self { cells: Cells::Postgres(row), next: AtomicUsize::new(0) }
    }
}

impl Row {
    pub(super) fn new(columns: Arc<[String]>, values: Vec<Value>) -> Self {
        Self { cells: Cells::Values { columns, values }, next: AtomicUsize::new(0) }
    }

    /// The value of the column of that name.
    ///
    /// # Errors
    /// [`DatabaseErrorKind::Conversion`] when there is no such column, or its value is of another type.
    pub fn get<T: FromValue>(&self, name: &str) -> Result<T, DatabaseError> {
        let index = self.index_of(name)?;
        let value = match &self.cells {
            Cells::Postgres(row) => row.value(index)?,
            Cells::Values { values, .. } => values[index].clone(),
        };
        T::from_value(value).map_err(|_| not_of_type::<T>(name))
    }

    /// The text or the JSON document in the column of that name, as it lies in the answer: a document is not
    /// read once more, because the database has.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn text(&self, name: &str) -> Result<&str, DatabaseError> {
        let index = self.index_of(name)?;
        match &self.cells {
            Cells::Postgres(row) => row.text(index),
            Cells::Values { values, .. } => match &values[index] {
                Value::Text(text) | Value::Json(text) => Ok(text),
                _ => Err(not_of_type::<&str>(name)),
            },
        }
    }

    fn index_of(&self, name: &str) -> Result<usize, DatabaseError> {
        let (count, next) = (self.columns(), self.next.load(Ordering::Relaxed));
        let mut places = (next..count).chain(0..next.min(count));
        let index = places.find(|index| self.name(*index) == name).ok_or_else(|| {
            DatabaseError::new(DatabaseErrorKind::Conversion, format!("the answer has no column {name}"))
        })?;
        self.next.store(index + 1, Ordering::Relaxed);
        Ok(index)
    }

    fn columns(&self) -> usize {
        match &self.cells {
            Cells::Postgres(row) => row.columns(),
            Cells::Values { columns, .. } => columns.len(),
        }
    }

    fn name(&self, index: usize) -> &str {
        match &self.cells {
            Cells::Postgres(row) => row.name(index),
            Cells::Values { columns, .. } => &columns[index],
        }
    }
}

fn not_of_type<T>(column: &str) -> DatabaseError {
    let wanted = std::any::type_name::<T>();
    let message = format!("the column {column} does not hold a value of type {wanted}");
    DatabaseError::new(DatabaseErrorKind::Conversion, message)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn both_forms_of_a_value_are_read() {
        assert_eq!(bool::from_value(Value::Integer(1)), Ok(true));
        assert_eq!(bool::from_value(Value::Integer(2)), Err(Value::Integer(2)));
        let time = datetime!(2024-02-29 12:00:00.000001 UTC);
        assert_eq!(OffsetDateTime::from_value(Value::Timestamp(time)), Ok(time));
        assert_eq!(OffsetDateTime::from_value(Value::Integer(1_709_208_000_000_001)), Ok(time));
        let id = Uuid::from_u128(7);
        assert_eq!(Uuid::from_value(Value::Text(id.to_string())), Ok(id));
        assert_eq!(Option::<i64>::from_value(Value::Null), Ok(None));
        assert_eq!(Value::from(None::<i64>), Value::Null);
    }

    #[test]
    fn columns_are_found_in_any_order_and_again() {
        let columns: Arc<[String]> = ["a", "b", "c"].map(str::to_owned).into();
        let row = Row::new(columns, [1, 2, 3].map(Value::Integer).into());
        for (name, value) in [("a", 1), ("b", 2), ("c", 3), ("c", 3), ("a", 1), ("c", 3), ("b", 2), ("a", 1)]
        {
            assert_eq!(row.get::<i64>(name).unwrap(), value, "{name}");
        }
        assert!(row.get::<i64>("d").is_err());
        assert!(row.text("a").is_err());
        assert_eq!(row.get::<i64>("b").unwrap(), 2);
    }

    #[test]
    fn a_column_that_is_not_there_is_named() {
        let row = Row::new(Arc::from(["id".to_owned()]), vec![Value::Integer(1)]);
        assert_eq!(row.get::<i64>("id").unwrap(), 1);
        assert!(row.text("name").unwrap_err().to_string().contains("name"));
        assert!(row.text("id").unwrap_err().to_string().contains("id"));
        assert!(row.get::<i64>("name").unwrap_err().to_string().contains("name"));
        assert!(row.get::<String>("id").unwrap_err().to_string().contains("id"));
    }
}
