//! Pages of rows with documents, which are bounded in bytes as well as in number.

use foundation::database::{Database, DatabaseError, DatabaseErrorKind, Row, Statement, Value};
use futures_util::TryStreamExt as _;

/// The most bytes of documents on a page that has more than one row.
pub const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// The most bytes of documents that are asked for at once. What may be more comes as a stream, which costs a
/// transaction of its own and is broken off where the page is full.
const AT_ONCE_BYTES: usize = 8 * 1024 * 1024;

/// How much is on a page.
#[derive(Clone, Copy, Debug)]
pub struct PageLimits {
    /// Rows at most.
    pub rows: u32,
    /// How large a document may be, in bytes.
    pub document: usize,
}

impl PageLimits {
    fn count(self) -> usize {
        usize::try_from(self.rows).unwrap_or(usize::MAX)
    }

    /// Whether the rows, and the one behind them, may all be held in memory.
    pub(super) fn fit_at_once(self) -> bool {
        self.count().saturating_add(1).saturating_mul(self.document) <= AT_ONCE_BYTES
    }
}

/// The rows of a page, and whether there are more. The statement finds one more than `limits` has, in an order
/// that is whole, and a column `metric_data`.
///
/// # Errors
/// What the database says.
pub(super) async fn rows(
    database: &Database,
    statement: &Statement,
    values: &[Value],
    limits: PageLimits,
) -> Result<(Vec<Row>, bool), DatabaseError> {
    if limits.fit_at_once() {
        let mut rows = database.query(statement, values).await?;
        let has_more = cut(&mut rows, limits, |it| it)?;
        return Ok((rows, has_more));
    }
    match streamed(database, statement, values, limits).await {
        // A standby breaks off what is in the way of its replay, and nobody was told anything of it yet.
        Err(error) if database.has_standby() && is_broken_off(error.kind()) => {
            streamed(&database.primary(), statement, values, limits).await
        }
        found => found,
    }
}

const fn is_broken_off(kind: DatabaseErrorKind) -> bool {
    matches!(kind, DatabaseErrorKind::SerializationFailure | DatabaseErrorKind::Unreachable)
}

async fn streamed(
    database: &Database,
    statement: &Statement,
    values: &[Value],
    limits: PageLimits,
) -> Result<(Vec<Row>, bool), DatabaseError> {
    let mut stream = database.query_stream(statement, values).await?;
    let (mut rows, mut bytes, mut has_more) = (Vec::new(), 0, false);
    while let Some(row) = stream.try_next().await? {
        if rows.len() == limits.count() {
            // It is the last: a stream that is not read to its end costs its connection.
            has_more = true;
        } else if fits(&mut bytes, &row)? {
            rows.push(row);
        } else {
            return Ok((rows, true));
        }
    }
    Ok((rows, has_more))
}

/// Cuts off what is more than a page, and says whether there was something.
pub(super) fn cut<T>(
    found: &mut Vec<T>,
    limits: PageLimits,
    row: impl Fn(&T) -> &Row,
) -> Result<bool, DatabaseError> {
    let (mut kept, mut bytes) = (0, 0);
    while kept < limits.count() && kept < found.len() && fits(&mut bytes, row(&found[kept]))? {
        kept += 1;
    }
    let has_more = found.len() > kept;
    found.truncate(kept);
    Ok(has_more)
}

/// Whether another row has room on the page, on which so many bytes are: the first one has.
fn fits(bytes: &mut usize, row: &Row) -> Result<bool, DatabaseError> {
    let is_first = *bytes == 0;
    *bytes += row.text("metric_data")?.len();
    Ok(is_first || *bytes <= PAGE_BYTES)
}
