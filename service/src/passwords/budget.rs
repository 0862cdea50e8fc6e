//! The memory that all hashes made at the same time may take together.

use std::sync::{Condvar, Mutex, PoisonError};

/// Memory, taken and given back. Nobody asks for more than there is altogether: it would have it to itself.
pub(super) struct Budget {
    limit: u64,
    taken: Mutex<u64>,
    given_back: Condvar,
}

/// Memory that is taken while this lives.
pub(super) struct Taken<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, taken: Mutex::new(0), given_back: Condvar::new() }
    }

    /// Waits, with the whole thread, until there is room for this many bytes.
    pub(super) fn take(&self, bytes: u64) -> Taken<'_> {
        let bytes = bytes.min(self.limit);
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |taken: &mut u64| *taken > 0 && *taken + bytes > self.limit;
        let waited = self.given_back.wait_while(taken, is_full);
        *waited.unwrap_or_else(PoisonError::into_inner) += bytes;
        Taken { budget: self, bytes }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.budget.taken.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        self.budget.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let budget = Budget::new(10);
        drop((budget.take(4), budget.take(6)));
        drop(budget.take(100));
        assert_eq!(*budget.taken.lock().unwrap(), 0);
    }
}
