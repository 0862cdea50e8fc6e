//! Figures of the numbers in snapshots, over buckets of time.
//!
//! Buckets begin at multiples of the step since 1970 in UTC. A snapshot without a number at the path does not
//! count for it; a figure of no numbers, or one that no double precision float holds, is null. Sums and means are
//! those of the numbers as they are written, rounded once.

pub mod numbers;
pub mod sums;

use time::OffsetDateTime;

use super::metrics_snapshots::scan::Step as PathStep;

/// The most buckets of one answer.
pub const MAX_BUCKETS: i64 = 2000;

/// The longest step, in seconds: 366 days.
pub const MAX_STEP: i64 = 366 * 24 * 60 * 60;

/// The most paths of one question.
pub const MAX_PATHS: usize = 8;

/// The most steps of a path.
pub const MAX_PATH_STEPS: usize = 16;

/// The most numbers of a bucket of which a percentile is told, for each path: where the database does not sort
/// them, they are all in memory.
pub const MAX_SORTED: u64 = 1_000_000;

/// A bucket has too many numbers to tell a percentile of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a bucket has more than {0} numbers, of which no percentile is told: take a shorter step, or one source"
)]
pub struct TooManyNumbers(pub u64);

/// What is told of the numbers of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// Their mean.
    Avg,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// Their sum.
    Sum,
    /// How many they are.
    Count,
    /// The median.
    P50,
    /// What 95 % of them are not above.
    P95,
    /// What 99 % of them are not above.
    P99,
    /// The first.
    First,
    /// The last.
    Last,
    /// From the first to the last, per second. Negative where a counter began anew.
    Rate,
}

impl Figure {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Avg,
        Self::Min,
        Self::Max,
        Self::Sum,
        Self::Count,
        Self::P50,
        Self::P95,
        Self::P99,
        Self::First,
        Self::Last,
        Self::Rate,
    ];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Count => "count",
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::First => "first",
            Self::Last => "last",
            Self::Rate => "rate",
        }
    }

    /// Which part of the numbers is not above it, for a percentile.
    #[must_use]
    pub const fn fraction(self) -> Option<f64> {
        match self {
            Self::P50 => Some(0.5),
            Self::P95 => Some(0.95),
            Self::P99 => Some(0.99),
            _ => None,
        }
    }

    /// The figure of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }
}

/// A path to a number in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// As it was written: keys with dots between them.
    pub text: String,
    /// Its steps.
    pub steps: Vec<PathStep>,
}

impl Path {
    /// The path that is written like this; nothing where it has an empty step, too many, or a NUL.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let steps: Vec<PathStep> = text.split('.').map(PathStep::new).collect();
        let is_good = steps.len() <= MAX_PATH_STEPS && steps.iter().all(|it| !it.key.is_empty());
        (is_good && !text.contains('\0')).then(|| Self { text: text.to_owned(), steps })
    }
}

/// A number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step(i64);

impl Step {
    /// The step that is written as `3600s`, `60m`, `1h` or `1d`; nothing for anything else, and for more than
    /// [`MAX_STEP`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let factor = match text.as_bytes().last()? {
            b's' => 1,
            b'm' => 60,
            b'h' => 60 * 60,
            b'd' => 24 * 60 * 60,
            _ => return None,
        };
        let digits = &text[..text.len() - 1];
        let is_number = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
        let seconds = digits.parse::<i64>().ok().filter(|_| is_number)?.checked_mul(factor)?;
        (1..=MAX_STEP).contains(&seconds).then_some(Self(seconds))
    }

    /// In seconds.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0
    }

    /// The number of the bucket that the time lies in.
    #[must_use]
    pub const fn bucket_of(self, time: OffsetDateTime) -> i64 {
        time.unix_timestamp().div_euclid(self.0)
    }

    /// When a bucket begins; nothing beyond the years that there are dates for.
    #[must_use]
    pub fn start(self, bucket: i64) -> Option<OffsetDateTime> {
        OffsetDateTime::from_unix_timestamp(bucket.checked_mul(self.0)?).ok()
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Aggregation {
    /// Of the snapshots of this type.
    pub metric_type: String,
    /// Of this source; of all of them where there is none.
    pub source: Option<String>,
    /// Those from this moment on.
    pub from: OffsetDateTime,
    /// Those before this moment.
    pub to: OffsetDateTime,
    /// How long a bucket is.
    pub step: Step,
    /// Where the numbers are.
    pub paths: Vec<Path>,
    /// What is told of them.
    pub figures: Vec<Figure>,
}

impl Aggregation {
    /// The numbers of the buckets that the range touches.
    #[must_use]
    pub fn buckets(&self) -> std::ops::Range<i64> {
        if self.from >= self.to {
            return 0..0;
        }
        let last = self.to - time::Duration::NANOSECOND;
        self.step.bucket_of(self.from)..self.step.bucket_of(last) + 1
    }

    /// Whether one of the figures is a percentile.
    #[must_use]
    pub fn sorts(&self) -> bool {
        self.figures.iter().any(|it| it.fraction().is_some())
    }

    /// Whether one of the figures is this one.
    #[must_use]
    pub fn asks_for(&self, figures: &[Figure]) -> bool {
        self.figures.iter().any(|it| figures.contains(it))
    }
}

/// A figure that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Found {
    /// How many numbers there are.
    Count(u64),
    /// A number, or none.
    Number(Option<f64>),
}

/// What was found in a bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    /// When it begins.
    pub start: OffsetDateTime,
    /// For each path, each figure in the order that they were asked in.
    pub figures: Vec<Vec<Found>>,
}

impl Bucket {
    /// One that has no snapshots.
    #[must_use]
    pub fn empty(start: OffsetDateTime, aggregation: &Aggregation) -> Self {
        let none = |figure: &Figure| match figure {
            Figure::Count => Found::Count(0),
            _ => Found::Number(None),
        };
        let figures = aggregation.figures.iter().map(none).collect::<Vec<_>>();
        Self { start, figures: vec![figures; aggregation.paths.len()] }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn steps_are_whole_seconds() {
        for (text, seconds) in [
            ("1s", Some(1)),
            ("3600s", Some(3600)),
            ("15m", Some(900)),
            ("1h", Some(3600)),
            ("366d", Some(MAX_STEP)),
            ("367d", None),
            ("0s", None),
            ("-1s", None),
            ("+1s", None),
            ("1.5h", None),
            ("h", None),
            ("1", None),
            ("", None),
            ("1ö", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(Step::parse(text).map(Step::seconds), seconds, "{text}");
        }
    }

    #[test]
    fn buckets_are_those_that_a_range_touches() {
        let of = |from, to| {
            let step = Step(3600);
            let aggregation = Aggregation {
                metric_type: String::new(),
                source: None,
                from,
                to,
                step,
                paths: Vec::new(),
                figures: Vec::new(),
            };
            let starts = aggregation.buckets().filter_map(|it| step.start(it));
            starts.map(OffsetDateTime::hour).collect::<Vec<_>>()
        };
        let (noon, one) = (datetime!(2024-02-29 12:00 UTC), datetime!(2024-02-29 13:00 UTC));
        let moment = time::Duration::MICROSECOND;
        assert_eq!(of(noon, one), [12]);
        assert_eq!(of(noon - moment, one + moment), [11, 12, 13]);
        assert_eq!(of(noon, noon), [0_u8; 0]);
        assert_eq!(of(one, noon), [0_u8; 0]);
        assert_eq!(of(datetime!(1969-12-31 23:59 UTC), datetime!(1970-01-01 00:01 UTC)), [23, 0]);
        assert_eq!(of(datetime!(2024-03-10 12:30 +05:45), datetime!(2024-03-10 13:00 +05:45)), [6, 7]);
    }

    #[test]
    fn paths_have_steps() {
        assert_eq!(Path::parse("cpu.total").unwrap().steps.len(), 2);
        assert_eq!(Path::parse("disks.0").unwrap().steps[1].index, Some(0));
        for bad in ["", ".", "a.", "a..b", "a\0", &"a.".repeat(16)] {
            assert_eq!(Path::parse(bad), None, "{bad:?}");
        }
    }
}
