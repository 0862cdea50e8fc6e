//! Many rows into one table, as fast as the database takes them.

use super::connection::Driver;
use super::postgres::CopyIn;
use super::sqlite::ChunkedInsert;
use super::statement::Watched;
use super::{DatabaseError, DatabaseErrorKind, Statement, Transaction, Value};

/// The type of a column that rows are inserted into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// [`Value::Bool`].
    Bool,
    /// [`Value::Integer`].
    Integer,
    /// [`Value::Float`].
    Float,
    /// [`Value::Text`].
    Text,
    /// [`Value::Bytes`].
    Bytes,
    /// [`Value::Uuid`].
    Uuid,
    /// [`Value::Timestamp`].
    Timestamp,
    /// [`Value::Json`].
    Json,
}

impl ValueType {
    /// Whether the value is of this type, or none at all.
    fn admits(self, value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Bool(_) => self == Self::Bool,
            Value::Integer(_) => self == Self::Integer,
            Value::Float(_) => self == Self::Float,
            Value::Text(_) => self == Self::Text,
            Value::Bytes(_) => self == Self::Bytes,
            Value::Uuid(_) => self == Self::Uuid,
            Value::Timestamp(_) => self == Self::Timestamp,
            Value::Json(_) => self == Self::Json,
        }
    }
}

/// Rows on their way into a table: `COPY` on PostgreSQL, one prepared statement on SQLite. At most some
/// hundred KiB of them wait in memory.
///
/// Nothing of it is certain before [`finish`](Self::finish). An error may be told later than at the row
/// that it is about; it names that row where the database does ([`DatabaseError::row`], counted from 0).
/// After an error, or dropped unfinished, the transaction can only be rolled back. The database has no time
/// limit for the whole of it, only one for each time that rows are handed to it.
#[must_use = "rows that are not finished are not inserted"]
pub struct InsertRows<'a> {
    driver: Inserter<'a>,
    /// Told of the end: until then the transaction counts as failed.
    failed: Option<&'a mut bool>,
    types: Vec<ValueType>,
    count: u64,
    watched: Watched,
    broken: bool,
}

enum Inserter<'a> {
    Postgres(Box<CopyIn<'a>>),
    Sqlite(ChunkedInsert<'a>),
}

impl Transaction {
    /// Starts to insert rows into these columns of a table, each with a value of the type at its place.
    ///
    /// # Errors
    /// What the database says, for example that there is no such table or column.
    pub async fn insert_rows(
        &mut self,
        table: &'static str,
        columns: &[&'static str],
        types: &[ValueType],
    ) -> Result<InsertRows<'_>, DatabaseError> {
        if columns.len() != types.len() || columns.is_empty() {
            return Err(mismatch(columns.len(), types.len()));
        }
        let names = columns.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
        let sql = match &self.connection.driver {
            Driver::Postgres(_) => format!("COPY {} ({names}) FROM STDIN BINARY", quoted(table)),
            Driver::Sqlite(_) => {
                let places = (1..=columns.len()).map(|place| format!("?{place}")).collect::<Vec<_>>();
                format!("INSERT INTO {} ({names}) VALUES ({})", quoted(table), places.join(", "))
            }
        };
        let statement = Statement::write(table, "").with_sql(sql);
        let mut watched = self.connection.watch.begin(&statement);
        let had_failed = std::mem::replace(&mut self.failed, true);
        let driver = match &mut self.connection.driver {
            Driver::Postgres(driver) => {
                let described = format!("SELECT {names} FROM {} LIMIT 0", quoted(table));
                let started = driver.copy_in(statement.sql(), &described).await;
                let started = started.inspect_err(|error| watched.finish(None, Some(error)))?;
                Inserter::Postgres(Box::new(started))
            }
            Driver::Sqlite(driver) => Inserter::Sqlite(driver.insert_rows(statement.sql())),
        };
        let failed = (!had_failed).then_some(&mut self.failed);
        Ok(InsertRows { driver, failed, types: types.to_vec(), count: 0, watched, broken: false })
    }
}

impl InsertRows<'_> {
    /// Takes one more row, its values in the order of the columns.
    ///
    /// # Errors
    /// [`DatabaseErrorKind::Conversion`] when a value is not of its column's type, else what the database
    /// says, of this row or of one before.
    pub async fn push(&mut self, values: &[Value]) -> Result<(), DatabaseError> {
        let checked = self.check(values);
        // A caller who goes away in the middle leaves rows behind of which nothing is known.
        self.broken = true;
        let pushed = match (checked, &mut self.driver) {
            (Err(error), _) => Err(error),
            (Ok(()), Inserter::Postgres(driver)) => driver.push(values).await,
            (Ok(()), Inserter::Sqlite(driver)) => driver.push(values).await,
        };
        self.count += 1;
        self.broken = pushed.is_err();
        pushed.inspect_err(|error| self.watched.finish(None, Some(error)))
    }

    fn check(&self, values: &[Value]) -> Result<(), DatabaseError> {
        if self.broken {
            let message = "nothing more can be inserted after an error";
            return Err(DatabaseError::new(DatabaseErrorKind::Other, message));
        }
        if values.len() != self.types.len() {
            return Err(mismatch(self.types.len(), values.len()).in_row(self.count));
        }
        let wrong = self.types.iter().zip(values).position(|(it, value)| !it.admits(value));
        wrong.map_or(Ok(()), |place| {
            let message = format!("value {} is not of the type {:?}", place + 1, self.types[place]);
            Err(DatabaseError::new(DatabaseErrorKind::Conversion, message).in_row(self.count))
        })
    }

    /// Waits until all rows are in the table, and says how many they are. What makes them permanent is
    /// the transaction's [`commit`](Transaction::commit).
    ///
    /// # Errors
    /// What the database says of any of the rows.
    pub async fn finish(mut self) -> Result<u64, DatabaseError> {
        if self.broken {
            return self.check(&[]).map(|()| 0);
        }
        let finished = match self.driver {
            Inserter::Postgres(driver) => driver.finish().await,
            Inserter::Sqlite(driver) => driver.finish().await,
        };
        self.watched.finish(finished.as_ref().ok().copied(), finished.as_ref().err());
        if let (Ok(_), Some(failed)) = (&finished, self.failed) {
            *failed = false;
        }
        finished
    }
}

fn mismatch(expected: usize, given: usize) -> DatabaseError {
    let message = format!("{given} values are given for {expected} columns");
    DatabaseError::new(DatabaseErrorKind::Conversion, message)
}

/// A name as it stands in SQL, on either database.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
