//! Series: what one source says of one type.

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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeriesKey {
    /// The type.
    pub metric_type: String,
    /// The source.
    pub source: String,
}

impl SeriesKey {
    /// The key as a text. No type has a NUL.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{}\0{}", self.metric_type, self.source)
    }

    /// What [`encode`](Self::encode) wrote.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let (metric_type, source) = text.split_once('\0')?;
        Some(Self { metric_type: metric_type.to_owned(), source: source.to_owned() })
    }
}
