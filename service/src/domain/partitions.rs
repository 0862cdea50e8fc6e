//! The ranges of time that the snapshots are kept in on PostgreSQL.

use std::time::Duration;

use time::OffsetDateTime;
use time::macros::datetime;

/// A range of time: from `lower` up to but not with `upper`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// Its first moment.
    pub lower: OffsetDateTime,
    /// The first moment after it.
    pub upper: OffsetDateTime,
}

impl Range {
    /// Whether the moment lies in it.
    #[must_use]
    pub fn contains(&self, time: OffsetDateTime) -> bool {
        (self.lower..self.upper).contains(&time)
    }

    /// Whether the two have a moment in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.lower < other.upper && other.lower < self.upper
    }
}

/// The times that there are partitions for.
pub const MADE: Range =
    Range { lower: datetime!(1970-01-01 0:00 UTC), upper: datetime!(2262-01-01 0:00 UTC) };

/// How long the range of a partition is: full minutes. Partitions begin at multiples of it since 1970 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width(i64);

impl Width {
    /// A day.
    pub const DAY: Self = Self(24 * 60 * 60);

    /// This long; nothing when that is not one full minute or more.
    #[must_use]
    pub fn new(width: Duration) -> Option<Self> {
        let seconds = i64::try_from(width.as_secs()).ok()?;
        (seconds > 0 && seconds % 60 == 0 && width.subsec_nanos() == 0).then_some(Self(seconds))
    }

    /// The number of the range that the moment lies in.
    #[must_use]
    pub const fn slot_of(self, time: OffsetDateTime) -> i64 {
        time.unix_timestamp().div_euclid(self.0)
    }

    /// Whether a partition may have the moment: between the years that the function of the database makes them in.
    #[must_use]
    pub fn has_room_for(self, time: OffsetDateTime) -> bool {
        self.range(self.slot_of(time)).is_some_and(|it| it.lower >= MADE.lower && it.upper <= MADE.upper)
    }

    /// The range with this number; nothing beyond the years that there are dates for.
    #[must_use]
    pub fn range(self, slot: i64) -> Option<Range> {
        let time = |slot: i64| OffsetDateTime::from_unix_timestamp(slot.checked_mul(self.0)?).ok();
        Some(Range { lower: time(slot)?, upper: time(slot.checked_add(1)?)? })
    }
}

/// A partition that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The table.
    pub name: String,
    /// The times of its rows.
    pub range: Range,
    /// What it takes on the disk, with its indexes.
    pub bytes: u64,
    /// When it was made, where that is known.
    pub made_at: Option<OffsetDateTime>,
}

/// How long a partition without rows is left alone after it was made: it may be there for a load of old data.
const NEW_FOR: time::Duration = time::Duration::days(7);

impl Partition {
    /// Whether it was made so short a time before `now` that it may not have its rows yet.
    #[must_use]
    pub fn is_new(&self, now: OffsetDateTime) -> bool {
        self.made_at.is_some_and(|made_at| now - made_at < NEW_FOR)
    }
}

/// A partition that was taken out of the table and is not dropped yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detached {
    /// The table.
    pub name: String,
    /// The times of its rows.
    pub range: Range,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_meet_and_begin_at_midnight() {
        for time in [
            datetime!(2026-03-29 01:59:59.999_999 UTC),
            datetime!(1969-12-31 23:59:59 UTC),
            datetime!(2024-02-29 00:00 +05:45),
        ] {
            let slot = Width::DAY.slot_of(time);
            let range = Width::DAY.range(slot).unwrap();
            assert!(range.contains(time), "{range:?}");
            assert_eq!(range.lower.time(), time::Time::MIDNIGHT);
            let next = Width::DAY.range(slot + 1).unwrap();
            assert_eq!(range.upper, next.lower);
            assert!(!range.overlaps(&next));
        }
    }

    #[test]
    fn a_partition_is_new_for_a_week() {
        let (now, range) = (datetime!(2026-03-31 12:00 UTC), Width::DAY.range(0).unwrap());
        for (made_at, is_new) in [
            (Some(datetime!(2026-03-24 12:00 UTC)), false),
            (Some(datetime!(2026-03-24 12:00:01 UTC)), true),
            (None, false),
        ] {
            let partition = Partition { name: String::new(), range, bytes: 0, made_at };
            assert_eq!(partition.is_new(now), is_new, "{made_at:?}");
        }
    }

    #[test]
    fn a_width_has_full_minutes() {
        for (width, good) in [(0, false), (30, false), (60, true), (90, false), (86_400, true)] {
            assert_eq!(Width::new(Duration::from_secs(width)).is_some(), good, "{width}");
        }
        assert_eq!(Width::new(Duration::from_millis(60_500)), None);
        assert_eq!(Width::DAY.range(i64::MAX), None);
    }
}
