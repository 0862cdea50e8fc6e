//! Snapshots: what a source measured at a time.

use time::OffsetDateTime;

/// A snapshot that is not stored yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSnapshot {
    /// When it was measured, cut to the microsecond.
    pub timestamp: OffsetDateTime,
    /// The host or agent that it came from.
    pub source: String,
    /// Of what type it is.
    pub metric_type: String,
    /// The document, as it was written.
    pub metric_data: String,
}
