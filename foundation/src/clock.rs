//! The time of day, passed in so that a test can choose it.

use std::fmt;
use std::sync::Arc;

use time::OffsetDateTime;

/// Tells the time of day in UTC. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> OffsetDateTime + Send + Sync>);

impl Clock {
    /// The clock of this machine.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    pub fn system() -> Self {
        Self(Arc::new(OffsetDateTime::now_utc))
    }

    /// A clock that always shows `time`.
    #[must_use]
    pub fn fixed(time: OffsetDateTime) -> Self {
        Self(Arc::new(move || time))
    }

    /// A clock that shows what `tell` says.
    #[must_use]
    pub fn told_by(tell: impl Fn() -> OffsetDateTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// The time, cut to microseconds, which is what both databases keep.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        truncate_to_microseconds((self.0)())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Clock({})", self.now())
    }
}

/// Cuts what is finer than a microsecond off `time`.
#[must_use]
pub fn truncate_to_microseconds(time: OffsetDateTime) -> OffsetDateTime {
    time.replace_microsecond(time.microsecond()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn what_a_database_does_not_keep_is_cut_off() {
        let clock = Clock::fixed(datetime!(2024-02-29 23:59:59.999_999_999 UTC));
        assert_eq!(clock.now(), datetime!(2024-02-29 23:59:59.999_999 UTC));
        assert_eq!(clock.clone().now(), clock.now());
        assert_eq!(Clock::system().now().nanosecond() % 1000, 0);
    }

    #[test]
    fn the_system_s_clock_goes_on() {
        let clock = Clock::system();
        let before = clock.now();
        assert!(clock.now() >= before);
        assert!(before > datetime!(2024-01-01 0:00 UTC));
    }
}
