//! Rows of snapshots on their way into the archive and back.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;

/// A row as a line of a file has it.
#[derive(Debug, Serialize, Deserialize)]
pub struct ArchivedRow {
    /// Its id.
    pub id: i64,
    /// Its time, in UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub timestamp: OffsetDateTime,
    /// Where it came from.
    pub source: String,
    /// Its type.
    pub metric_type: String,
    /// What was measured, its numbers as they are stored.
    pub metric_data: Box<RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::metrics_snapshots::document::on_one_line;

    #[test]
    fn a_line_keeps_numbers_and_texts_as_they_are() {
        let document = on_one_line("{\n \"a\": 1.10,\r\n \"b\": \"x\\n\", \"c\": 1E400}");
        let line = format!(
            "{{\"id\":7,\"timestamp\":\"2026-01-31T12:00:00.000001Z\",\"source\":\"a\\nb\",\"metric_type\":\"cpu\",\"metric_data\":{document}}}"
        );
        let row: ArchivedRow = serde_json::from_str(&line).unwrap();
        assert_eq!(serde_json::to_string(&row).unwrap(), line);
        assert!(!line.contains('\n') && line.contains("1.10") && line.contains("1E400"));
    }
}
