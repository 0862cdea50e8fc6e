//! Snapshots: what a source measured at a time, as a JSON document. Which of them are taken, and which are
//! asked for.

pub mod document;
pub mod scan;
mod series;
pub mod streams;

use std::time::Duration;

use foundation::clock::truncate_to_microseconds;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use self::document::DocumentLimits;
pub use self::series::{Series, SeriesFilter, SeriesKey};

/// The longest source, in characters.
pub const MAX_SOURCE: usize = 255;

/// The longest type, in characters.
pub const MAX_METRIC_TYPE: usize = 50;

/// A snapshot as it is in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot<'a> {
    /// The database's number for it.
    pub id: i64,
    /// When it was measured, to the microsecond, in UTC.
    pub timestamp: OffsetDateTime,
    /// The host or agent that it came from.
    pub source: &'a str,
    /// What was measured.
    pub metric_type: &'a str,
    /// The document: an object.
    pub metric_data: &'a str,
}

/// A snapshot that may be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSnapshot {
    /// When it was measured, cut to the microsecond.
    pub timestamp: OffsetDateTime,
    /// The host or agent that it came from.
    pub source: String,
    /// What was measured.
    pub metric_type: String,
    /// The document, as it was written but for breaks of lines: an object, on one line.
    pub metric_data: String,
}

/// A snapshot as somebody wants it written.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// RFC 3339, with any offset.
    pub timestamp: &'a str,
    /// The source.
    pub source: &'a str,
    /// The type.
    pub metric_type: &'a str,
    /// A well-formed JSON text.
    pub metric_data: &'a str,
}

/// Why one snapshot of many is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// A word for it, for programs.
    pub code: &'static str,
    /// Which field it is about; empty for the whole of it.
    pub field: &'static str,
    /// What is wrong, for people.
    pub detail: String,
}

impl Rejection {
    /// A rejection.
    #[must_use]
    pub fn new(code: &'static str, field: &'static str, detail: impl Into<String>) -> Self {
        Self { code, field, detail: detail.into() }
    }
}

/// What a snapshot has to keep to. All that a table refuses is refused here, and what only one of the two
/// databases would keep.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The earliest time that is taken.
    pub earliest: OffsetDateTime,
    /// The latest.
    pub latest: OffsetDateTime,
    /// How large documents may be.
    pub document: DocumentLimits,
}

impl Rules {
    /// Rules of a window around `now`.
    #[must_use]
    pub fn new(now: OffsetDateTime, past: Duration, ahead: Duration, document: DocumentLimits) -> Self {
        let duration = |it: Duration| time::Duration::try_from(it).unwrap_or(time::Duration::MAX);
        let earliest = now.checked_sub(duration(past)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let latest = now.checked_add(duration(ahead)).unwrap_or(now);
        // What the partitions of PostgreSQL begin with.
        Self { earliest: earliest.max(OffsetDateTime::UNIX_EPOCH), latest, document }
    }

    /// The snapshot, ready to be written.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self, written: Written<'_>) -> Result<NewSnapshot, Rejection> {
        let timestamp = self.time(written.timestamp)?;
        name("source", written.source, MAX_SOURCE)?;
        name("metric_type", written.metric_type, MAX_METRIC_TYPE)?;
        document::check(written.metric_data, self.document)
            .map_err(|flaw| Rejection::new(flaw.code(), "metric_data", flaw.detail(self.document)))?;
        Ok(NewSnapshot {
            timestamp,
            source: written.source.to_owned(),
            metric_type: written.metric_type.to_owned(),
            metric_data: document::on_one_line(written.metric_data).into_owned(),
        })
    }

    fn time(&self, text: &str) -> Result<OffsetDateTime, Rejection> {
        const FIELD: &str = "timestamp";
        let invalid = || {
            let detail = "a time is written as in RFC 3339, for example 2026-01-31T12:00:00Z or 2026-01-31T13:00:00+01:00";
            Rejection::new("timestamp_invalid", FIELD, detail)
        };
        let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| invalid())?;
        // A time with an offset may lie beyond the years that there are dates for in UTC.
        let time =
            truncate_to_microseconds(time.checked_to_offset(time::UtcOffset::UTC).ok_or_else(invalid)?);
        let shown = |time: OffsetDateTime| time.format(&Rfc3339).unwrap_or_default();
        if time < self.earliest {
            let detail = format!("it is before {}, the earliest that is taken now", shown(self.earliest));
            return Err(Rejection::new("timestamp_too_old", FIELD, detail));
        }
        if time > self.latest {
            let detail = format!("it is after {}, the latest that is taken now", shown(self.latest));
            return Err(Rejection::new("timestamp_too_new", FIELD, detail));
        }
        Ok(time)
    }
}

fn name(field: &'static str, text: &str, most: usize) -> Result<(), Rejection> {
    if is_name(text, most) {
        return Ok(());
    }
    let code = if field == "source" { "source_invalid" } else { "metric_type_invalid" };
    Err(Rejection::new(code, field, format!("it has 1 to {most} characters, none of them NUL")))
}

/// Whether a source or a type may be this text.
#[must_use]
pub fn is_name(text: &str, most: usize) -> bool {
    // No text has more characters than bytes.
    !text.is_empty() && (text.len() <= most || text.chars().count() <= most) && !text.contains('\0')
}

/// The first time that a snapshot can have which is not before this one: what is asked may be finer than what
/// is kept.
#[must_use]
pub fn first_kept(time: OffsetDateTime) -> OffsetDateTime {
    let cut = truncate_to_microseconds(time);
    if cut < time { cut.checked_add(time::Duration::MICROSECOND).unwrap_or(cut) } else { cut }
}

/// Which snapshots are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFilter {
    /// Those of this type.
    pub metric_type: String,
    /// Those of this source; of all of them where there is none.
    pub source: Option<String>,
    /// Those from this moment on.
    pub from: Option<OffsetDateTime>,
    /// Those before this moment.
    pub to: Option<OffsetDateTime>,
}

/// The order of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The newest first.
    #[default]
    NewestFirst,
    /// The oldest first.
    OldestFirst,
}

/// Where a page begins: behind the snapshot of this time with this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Its time.
    #[serde(with = "time::serde::timestamp::microseconds")]
    pub timestamp: OffsetDateTime,
    /// Its id.
    pub id: i64,
}

#[cfg(test)]
mod tests;
