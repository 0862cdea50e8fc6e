//! Statements that were put together at run time, of which a connection keeps the latest prepared.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use deadpool_postgres::ClientWrapper;

/// How many of them a connection keeps. The server keeps a plan of each, and that of a table with many partitions
/// takes most of a megabyte: as many as callers can think of would fill its memory.
const KEPT: usize = 16;

/// The texts that a connection may have prepared, the latest at the end.
#[derive(Debug, Default)]
pub(super) struct Composed(Mutex<VecDeque<String>>);

impl Composed {
    /// Notes one that is run next. Where that makes too many, the one that was not run for the longest time is
    /// given up, here and on the server.
    pub(super) fn note(&self, client: &ClientWrapper, sql: &str) {
        // Nothing that can panic happens under this lock.
        let mut texts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = match texts.iter().rposition(|text| text == sql) {
            Some(last) if last + 1 == texts.len() => return,
            Some(place) => texts.remove(place).unwrap_or_default(),
            None => sql.to_owned(),
        };
        texts.push_back(text);
        if texts.len() > KEPT
            && let Some(oldest) = texts.pop_front()
        {
            client.statement_cache.remove(&oldest, &[]);
        }
    }
}
