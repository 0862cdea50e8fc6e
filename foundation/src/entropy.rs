//! Randomness, passed in so that a test can choose it.

use std::fmt;
use std::sync::Arc;

use time::OffsetDateTime;
use uuid::Uuid;

/// Gives random bytes. Cheap to clone.
#[derive(Clone)]
pub struct Entropy(Arc<Fill>);

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

impl Entropy {
    /// The operating system's generator, fit for secrets.
    ///
    /// # Panics
    /// When the operating system has no randomness to give: nothing that needs a secret can go on then.
    #[must_use]
    #[expect(clippy::expect_used, reason = "without randomness no secret can be made")]
    pub fn system() -> Self {
        Self(Arc::new(|bytes| getrandom::fill(bytes).expect("the operating system gives random bytes")))
    }

    /// The same bytes each time: `byte`, repeated.
    #[must_use]
    pub fn fixed(byte: u8) -> Self {
        Self(Arc::new(move |bytes| bytes.fill(byte)))
    }

    /// `N` random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }

    /// A number in `0.0..1.0`.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        f64::from(u32::from_le_bytes(self.bytes())) / (f64::from(u32::MAX) + 1.0)
    }

    /// A UUID of version 7, which sorts by the time it was made.
    #[must_use]
    pub fn uuid_v7(&self, now: OffsetDateTime) -> Uuid {
        let milliseconds = u64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(milliseconds, &self.bytes()).into_uuid()
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Entropy")
    }
}
