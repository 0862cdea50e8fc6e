//! Snapshots to be written, read from their JSON without a tree of values.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::conventions::bodies::{AsObject, bounded};
use crate::domain::metrics_snapshots::{NewSnapshot, Rejection, Rules, Written};

/// The most snapshots of one request.
pub(super) const MAX_ITEMS: usize = 1000;

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

/// What came, told apart: what may be written, and why the rest may not.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// What may be written.
    pub(super) good: Vec<NewSnapshot>,
    /// The number of each of the others, from 0, and why.
    pub(super) bad: Vec<(u64, Rejection)>,
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
pub(super) fn read_item(json: &[u8], rules: &Rules) -> Result<NewSnapshot, Rejection> {
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

/// What is said of data, without the place: that is the place in the one item. Thousands of them may be told
/// at once.
fn said(error: &serde_json::Error) -> String {
    let said = error.to_string();
    bounded(said.rsplit_once(" at line ").map_or(said.as_str(), |(said, _)| said))
}

/// Reads the body of a request: `{"items":[...]}`.
///
/// # Errors
/// It is no JSON, or not of this form.
pub(super) fn read_items(json: &[u8], rules: &Rules) -> serde_json::Result<Sorted> {
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
