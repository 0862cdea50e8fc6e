//! Series: what one source says of one type.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A series with its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// The type.
    pub metric_type: String,
    /// The source.
    pub source: String,
    /// The time of its first snapshot.
    pub first: OffsetDateTime,
    /// The time of its last snapshot.
    pub last: OffsetDateTime,
}

/// Which series are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeriesFilter {
    /// Those of this type.
    pub metric_type: Option<String>,
    /// Those of this source.
    pub source: Option<String>,
}

/// What a series is known by, in the order of series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeriesKey {
    /// The type.
    pub metric_type: String,
    /// The source.
    pub source: String,
}
