//! Randomness, passed in so that a test can choose it.

use std::cell::RefCell;
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
        Self(Arc::new(|bytes| buffered(bytes).expect("the operating system gives random bytes")))
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

thread_local! {
    /// Random bytes that nobody has yet, and how many of them are left. Each request needs some for its
    /// ids, and asking the operating system each time was a tenth of the shortest answers' time.
    static BUFFER: RefCell<([u8; 256], usize)> = const { RefCell::new(([0; 256], 0)) };
}

/// Fills `bytes` from this thread's buffer, where they are forgotten at once.
fn buffered(bytes: &mut [u8]) -> Result<(), getrandom::Error> {
    BUFFER.with_borrow_mut(|(buffer, left)| {
        if bytes.len() > buffer.len() {
            return getrandom::fill(bytes);
        }
        if *left < bytes.len() {
            getrandom::fill(buffer)?;
            *left = buffer.len();
        }
        let taken = &mut buffer[*left - bytes.len()..*left];
        bytes.copy_from_slice(taken);
        taken.fill(0);
        *left -= bytes.len();
        Ok(())
    })
}

impl fmt::Debug for Entropy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Entropy")
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_fraction_is_at_least_nought_and_less_than_one() {
        assert!(Entropy::fixed(0).fraction().abs() < f64::EPSILON);
        let most = Entropy::fixed(0xff).fraction();
        assert!(most < 1.0 && most > 0.999_999, "{most}");
        let system = Entropy::system();
        assert!((0..1000).map(|_| system.fraction()).all(|it| (0.0..1.0).contains(&it)));
    }

    #[test]
    fn ids_sort_by_the_time_they_were_made() {
        let (system, start) = (Entropy::system(), datetime!(2026-01-02 03:04:05.678 UTC));
        let ids: Vec<Uuid> =
            (0..1000).map(|step| system.uuid_v7(start + Duration::milliseconds(step))).collect();
        assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(ids.iter().map(Uuid::to_string).is_sorted(), "as texts too");
        assert!(ids.iter().all(|it| it.get_version_num() == 7));
        assert!(
            Entropy::fixed(0xff).uuid_v7(start) < Entropy::fixed(0).uuid_v7(start + Duration::MILLISECOND)
        );
    }

    #[test]
    fn a_time_before_1970_gives_an_id_too() {
        assert_eq!(Entropy::fixed(1).uuid_v7(datetime!(1969-01-01 0:00 UTC)).get_version_num(), 7);
    }

    #[test]
    fn the_system_s_bytes_differ() {
        assert_ne!(Entropy::system().bytes::<16>(), Entropy::system().bytes::<16>());
    }
}
