//! The JSON of snapshots.

use std::collections::BTreeMap;
use std::io::Write as _;

use poem_openapi::types::Example;
use poem_openapi::{Enum, Object};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;

use crate::api::conventions::{Nullable, times};
use crate::domain::metrics_snapshots::document::on_one_line;
use crate::domain::metrics_snapshots::{Order, Rejection, Snapshot};

/// A snapshot to be written.
#[derive(Object)]
#[oai(rename = "NewSnapshot", example, deny_unknown_fields)]
pub struct NewSnapshotBody {
    /// When it was measured, with any offset; cut to the microsecond. No longer ago than `METRICS_WRITE_PAST`, and
    /// no further ahead than `METRICS_WRITE_AHEAD`.
    pub timestamp: OffsetDateTime,
    /// The host or agent that it comes from.
    #[oai(validator(min_length = 1, max_length = 255))]
    pub source: String,
    /// What was measured, such as `cpu`.
    #[oai(validator(min_length = 1, max_length = 50))]
    pub metric_type: String,
    /// What was measured of it: an object.
    pub metric_data: DocumentBody,
}

/// Snapshots to be written.
#[derive(Object)]
#[oai(rename = "NewSnapshots", example, deny_unknown_fields)]
pub struct NewSnapshotsBody {
    /// 1 to 1,000 snapshots.
    #[oai(validator(min_items = 1, max_items = 1000))]
    pub items: Vec<NewSnapshotBody>,
}

/// An object of any keys and values.
pub type DocumentBody = BTreeMap<String, serde_json::Value>;

/// Why one of the snapshots was not taken.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "SnapshotError", example)]
pub struct SnapshotErrorBody {
    /// Which one, from 0; in a stream, which line.
    pub index: u64,
    /// A word for what is wrong, for programs.
    pub code: String,
    /// What is wrong, for people.
    pub detail: String,
}

/// What became of snapshots.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "SnapshotsWritten", example)]
pub struct SnapshotsWrittenBody {
    /// How many are stored.
    pub accepted: u64,
    /// How many are not.
    pub rejected: u64,
    /// Why not, one for each of them; in a stream, for the first 1,000.
    pub errors: Vec<SnapshotErrorBody>,
}

impl SnapshotErrorBody {
    /// What is told of one that was not taken.
    #[must_use]
    pub fn new(index: u64, rejection: &Rejection) -> Self {
        let Rejection { code, field, detail } = rejection;
        let detail = if field.is_empty() { detail.clone() } else { format!("{field}: {detail}") };
        Self { index, code: (*code).to_owned(), detail }
    }
}

/// In which order snapshots are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename = "SnapshotOrder", rename_all = "lowercase")]
pub enum OrderName {
    /// The newest first.
    Desc,
    /// The oldest first.
    Asc,
}

impl From<OrderName> for Order {
    fn from(name: OrderName) -> Self {
        match name {
            OrderName::Desc => Self::NewestFirst,
            OrderName::Asc => Self::OldestFirst,
        }
    }
}

/// A snapshot.
#[derive(Object)]
#[oai(rename = "Snapshot", example)]
pub struct SnapshotBody {
    /// The database's number for it.
    pub id: i64,
    /// When it was measured.
    pub timestamp: OffsetDateTime,
    /// The host or agent that it came from.
    pub source: String,
    /// What was measured.
    pub metric_type: String,
    /// What was measured of it.
    pub metric_data: DocumentBody,
}

/// A page of snapshots.
#[derive(Object)]
#[oai(rename = "SnapshotPage", example)]
pub struct SnapshotPageBody {
    /// The snapshots.
    pub items: Vec<SnapshotBody>,
    /// Pass it as `cursor`, with the same filters and order, for the page behind this one. Null: this is the
    /// last.
    pub next_cursor: Nullable<String>,
}

/// Writes the JSON of a snapshot on one line, its document as it is in the table but for breaks of lines.
///
/// # Errors
/// A text or a time has no form in JSON: neither can be.
pub fn write_snapshot(out: &mut Vec<u8>, snapshot: &Snapshot<'_>) -> std::io::Result<()> {
    write!(out, "{{\"id\":{},\"timestamp\":\"", snapshot.id)?;
    write_time(out, snapshot.timestamp)?;
    out.extend_from_slice(b"\",\"source\":");
    serde_json::to_writer(&mut *out, snapshot.source)?;
    out.extend_from_slice(b",\"metric_type\":");
    serde_json::to_writer(&mut *out, snapshot.metric_type)?;
    out.extend_from_slice(b",\"metric_data\":");
    out.extend_from_slice(on_one_line(snapshot.metric_data).as_bytes());
    out.push(b'}');
    Ok(())
}

fn write_time(out: &mut Vec<u8>, time: OffsetDateTime) -> std::io::Result<()> {
    match times::written(time, &mut times::ROOM.clone()) {
        Some(text) => out.extend_from_slice(text.as_bytes()),
        None => drop(time.format_into(out, &Rfc3339).map_err(std::io::Error::other)?),
    }
    Ok(())
}

/// Writes the JSON of a page.
///
/// # Errors
/// As [`write_snapshot`].
pub fn write_page(snapshots: &[Snapshot<'_>], next_cursor: Option<&str>) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(snapshots.len() * 192 + 64);
    out.extend_from_slice(b"{\"items\":[");
    for (index, snapshot) in snapshots.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_snapshot(&mut out, snapshot)?;
    }
    out.extend_from_slice(b"],\"next_cursor\":");
    serde_json::to_writer(&mut out, &next_cursor)?;
    out.push(b'}');
    Ok(out)
}

fn example_document() -> DocumentBody {
    [("value".to_owned(), 12.5.into()), ("unit".to_owned(), "percent".into())].into_iter().collect()
}

impl Example for NewSnapshotBody {
    fn example() -> Self {
        Self {
            timestamp: datetime!(2026-01-31 12:00:00 UTC),
            source: "host-01".to_owned(),
            metric_type: "cpu".to_owned(),
            metric_data: example_document(),
        }
    }
}

impl Example for NewSnapshotsBody {
    fn example() -> Self {
        Self { items: vec![NewSnapshotBody::example()] }
    }
}

impl Example for SnapshotErrorBody {
    fn example() -> Self {
        let detail = "metric_data: it has to be an object".to_owned();
        Self { index: 3, code: "not_an_object".to_owned(), detail }
    }
}

impl Example for SnapshotsWrittenBody {
    fn example() -> Self {
        Self { accepted: 9, rejected: 1, errors: vec![SnapshotErrorBody::example()] }
    }
}

impl Example for SnapshotBody {
    fn example() -> Self {
        Self {
            id: 7,
            timestamp: datetime!(2026-01-31 12:00:00 UTC),
            source: "host-01".to_owned(),
            metric_type: "cpu".to_owned(),
            metric_data: example_document(),
        }
    }
}

impl Example for SnapshotPageBody {
    fn example() -> Self {
        Self { items: vec![SnapshotBody::example()], next_cursor: Nullable(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_in_rfc_3339() {
        for time in [
            datetime!(2024-02-29 23:59:59.999_999 UTC),
            datetime!(0001-01-01 00:00:00.1 UTC),
            datetime!(9999-12-31 10:20:30.000_010 UTC),
            datetime!(2026-11-21 17:05 UTC),
            datetime!(2026-11-21 17:05 +05:45),
        ] {
            let mut written = Vec::new();
            write_time(&mut written, time).expect("it can be written");
            assert_eq!(written, time.format(&Rfc3339).expect("it can be written").into_bytes());
        }
    }
}
