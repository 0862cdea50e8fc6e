//! The JSON of snapshots.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::marker::PhantomData;

use poem_openapi::types::Example;
use poem_openapi::{Enum, Object};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;

use crate::api::conventions::Nullable;
use crate::domain::metrics_snapshots::{NewSnapshot, Order, Rejection, Rules, Snapshot, Written};

/// The most snapshots of one request.
pub const MAX_ITEMS: usize = 1000;

/// A snapshot to be written.
#[derive(Object)]
#[oai(rename = "NewSnapshot", example, deny_unknown_fields)]
pub struct NewSnapshotBody {
    /// When it was measured, with any offset; cut to the microsecond.
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

/// A snapshot as it comes. Its parts are looked at one by one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    metric_type: Cow<'a, str>,
    #[serde(borrow)]
    metric_data: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Items<'a> {
    #[serde(borrow)]
    items: Vec<AsObject<Item<'a>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawItems<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
}

/// What is written as an object. serde takes an array for a struct too.
struct AsObject<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for AsObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfObject<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OfObject<T> {
            type Value = T;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(OfObject(PhantomData)).map(Self)
    }
}

/// What came, told apart: what may be written, and why the rest may not.
#[derive(Debug, Default)]
pub struct Sorted {
    /// What may be written.
    pub good: Vec<NewSnapshot>,
    /// The number of each of the others, from 0, and why.
    pub bad: Vec<(u64, Rejection)>,
}

impl Item<'_> {
    fn check(&self, rules: &Rules) -> Result<NewSnapshot, Rejection> {
        rules.check(Written {
            timestamp: &self.timestamp,
            source: &self.source,
            metric_type: &self.metric_type,
            metric_data: self.metric_data.get(),
        })
    }
}

/// Reads one snapshot.
///
/// # Errors
/// Why it may not be written.
pub fn read_item(json: &[u8], rules: &Rules) -> Result<NewSnapshot, Rejection> {
    let AsObject::<Item<'_>>(item) = serde_json::from_slice(json).map_err(|error| {
        // What the reader says of data names fields and types, and repeats texts that were sent: only the
        // sender reads it.
        Rejection::new(
            "invalid",
            "",
            if error.is_data() { said(&error) } else { "it is not JSON".to_owned() },
        )
    })?;
    item.check(rules)
}

/// What is said of data, without the place: that is the place in the one item.
fn said(error: &serde_json::Error) -> String {
    let said = error.to_string();
    said.split_once(" at line ").map_or_else(|| said.clone(), |(said, _)| said.to_owned())
}

/// Reads the body of a request: `{"items":[...]}`.
///
/// # Errors
/// It is no JSON, or not of this form.
pub fn read_items(json: &[u8], rules: &Rules) -> serde_json::Result<Sorted> {
    let mut sorted = Sorted::default();
    let mut sort = |index: usize, checked: Result<NewSnapshot, Rejection>| match checked {
        Ok(snapshot) => sorted.good.push(snapshot),
        Err(rejection) => sorted.bad.push((index as u64, rejection)),
    };
    // Mostly all have the right form; where one has not, they are looked at one by one.
    if let Ok(AsObject(Items { items })) = serde_json::from_slice(json) {
        items.iter().enumerate().for_each(|(index, AsObject(item))| sort(index, item.check(rules)));
    } else {
        let AsObject(RawItems { items }) = serde_json::from_slice(json)?;
        let items = items.iter().enumerate();
        items.for_each(|(index, item)| sort(index, read_item(item.get().as_bytes(), rules)));
    }
    Ok(sorted)
}

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

/// Writes the JSON of a snapshot, its document as it is in the table.
///
/// # Errors
/// A text or a time has no form in JSON: neither can be.
pub fn write_snapshot(out: &mut Vec<u8>, snapshot: &Snapshot) -> std::io::Result<()> {
    write!(out, "{{\"id\":{},\"timestamp\":\"", snapshot.id)?;
    snapshot.timestamp.format_into(out, &Rfc3339).map_err(std::io::Error::other)?;
    out.extend_from_slice(b"\",\"source\":");
    serde_json::to_writer(&mut *out, &snapshot.source)?;
    out.extend_from_slice(b",\"metric_type\":");
    serde_json::to_writer(&mut *out, &snapshot.metric_type)?;
    out.extend_from_slice(b",\"metric_data\":");
    out.extend_from_slice(snapshot.metric_data.as_bytes());
    out.push(b'}');
    Ok(())
}

/// Writes the JSON of a page.
///
/// # Errors
/// As [`write_snapshot`].
pub fn write_page(snapshots: &[Snapshot], next_cursor: Option<&str>) -> std::io::Result<Vec<u8>> {
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
