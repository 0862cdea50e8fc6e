//! Partitions: what each is a part of, and whether it is the schema's own.

use std::collections::BTreeSet;

use super::tokens::tokens;
use super::{Partition, Table};
use crate::source::Dialect;

impl Partition {
    /// Its bound, and how it is partitioned itself: neither text has the other's words in it.
    pub(super) fn bound_and_key(&self) -> (&str, &str) {
        let words = tokens(&self.definition, Dialect::Postgres);
        let key = words.iter().find(|it| it.is("partition")).map_or(self.definition.len(), |it| it.start);
        let (bound, key) = self.definition.split_at(key);
        (bound.trim_end(), key)
    }

    /// Whether its bound takes every value that this other one took.
    pub(super) fn takes_all_of(&self, other: &Self) -> bool {
        let values = |it: &Self| -> BTreeSet<String> {
            let (bound, _) = it.bound_and_key();
            tokens(bound, Dialect::Postgres).iter().map(|it| it.text.to_owned()).collect()
        };
        values(other).is_subset(&values(self))
    }
}

impl Table {
    /// What a partition of it is a part of, from the nearest on.
    pub(super) fn ancestors<'a>(&'a self, partition: &'a Partition) -> impl Iterator<Item = &'a String> {
        std::iter::successors(Some(&partition.of), |it| self.partitions.get(*it).map(|it| &it.of))
    }

    /// Whether a partition of it, or what that is a part of, is one by range.
    pub(super) fn comes_and_goes(&self, partition: &Partition) -> bool {
        self.ancestors(partition).any(|it| match self.partitions.get(it) {
            Some(partition) => partition.bound_and_key().1.starts_with("PARTITION BY RANGE"),
            None => self.partition_key.as_ref().is_some_and(|it| it.starts_with("RANGE")),
        })
    }
}
