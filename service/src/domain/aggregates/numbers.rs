//! The numbers of one bucket, counted one after the other in the order of time. PostgreSQL does the same
//! inside; this is for where the database does not.

use time::OffsetDateTime;

use super::sums::ExactSum;
use super::{Aggregation, Bucket, Figure, Found, TooManyNumbers};
use crate::domain::metrics_snapshots::scan::{Number, number_at};

/// What is kept of numbers beside what costs nothing.
#[derive(Clone, Copy, Debug)]
struct Needs {
    sum: bool,
    all: bool,
}

/// The numbers of one path.
#[derive(Clone, Debug, Default)]
struct Numbers {
    count: u64,
    /// Where a sum or a mean is asked for.
    sum: ExactSum,
    smallest: Option<f64>,
    largest: Option<f64>,
    first: Option<(OffsetDateTime, f64)>,
    last: Option<(OffsetDateTime, f64)>,
    /// All of them, where a percentile is asked for.
    all: Vec<f64>,
}

impl Numbers {
    fn add(&mut self, time: OffsetDateTime, number: Number<'_>, needs: Needs) {
        let value = number.value;
        self.count += 1;
        if needs.sum {
            self.sum.add(number);
        }
        self.smallest = Some(self.smallest.map_or(value, |it| it.min(value)));
        self.largest = Some(self.largest.map_or(value, |it| it.max(value)));
        self.first.get_or_insert((time, value));
        self.last = Some((time, value));
        if needs.all {
            self.all.push(value);
        }
    }

    /// Between the two numbers that lie next to the place, in proportion.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a list is a whole number that is not negative"
    )]
    fn percentile(&self, fraction: f64) -> Option<f64> {
        let place = fraction * (self.all.len().checked_sub(1)?) as f64;
        let (below, above) = (self.all[place.floor() as usize], self.all[place.ceil() as usize]);
        Some(below + (place - place.floor()) * (above - below))
    }

    fn found(&self, figure: Figure) -> Found {
        let value = |it: Option<(OffsetDateTime, f64)>| it.map(|it| it.1);
        let number = match figure {
            Figure::Count => return Found::Count(self.count),
            Figure::Avg => self.sum.mean(self.count),
            Figure::Min => self.smallest,
            Figure::Max => self.largest,
            Figure::Sum => (self.count > 0).then(|| self.sum.total()),
            Figure::P50 | Figure::P95 | Figure::P99 => figure.fraction().and_then(|it| self.percentile(it)),
            Figure::First => value(self.first),
            Figure::Last => value(self.last),
            Figure::Rate => rate(self.first, self.last),
        };
        Found::Number(finite(number))
    }
}

/// What JSON has a form for.
#[must_use]
pub fn finite(number: Option<f64>) -> Option<f64> {
    number.filter(|it| it.is_finite())
}

/// How much a number changed per second between two moments; nothing where these are the same.
#[must_use]
pub fn rate(first: Option<(OffsetDateTime, f64)>, last: Option<(OffsetDateTime, f64)>) -> Option<f64> {
    let ((begin, first), (end, last)) = (first?, last?);
    let seconds = (end - begin).as_seconds_f64();
    (seconds > 0.0).then(|| (last - first) / seconds)
}

/// Counts the numbers of snapshots that come in the order of time.
pub struct Counting<'a> {
    aggregation: &'a Aggregation,
    needs: Needs,
    /// How many of a bucket and path are kept, at most.
    most: u64,
    bucket: Option<i64>,
    numbers: Vec<Numbers>,
    done: Vec<Bucket>,
}

impl<'a> Counting<'a> {
    /// Begins with none; percentiles are told of `most` numbers.
    #[must_use]
    pub fn new(aggregation: &'a Aggregation, most: u64) -> Self {
        let sum = aggregation.asks_for(&[Figure::Avg, Figure::Sum]);
        let needs = Needs { sum, all: aggregation.sorts() };
        let numbers = vec![Numbers::default(); aggregation.paths.len()];
        Self { aggregation, needs, most, bucket: None, numbers, done: Vec::new() }
    }

    /// Counts one more.
    ///
    /// # Errors
    /// There are too many of them.
    pub fn add(&mut self, time: OffsetDateTime, document: &str) -> Result<(), TooManyNumbers> {
        let bucket = Some(self.aggregation.step.bucket_of(time));
        if bucket != self.bucket {
            self.end_bucket();
            self.bucket = bucket;
        }
        for (path, numbers) in self.aggregation.paths.iter().zip(&mut self.numbers) {
            if let Some(number) = number_at(document, &path.steps) {
                if self.needs.all && numbers.count >= self.most {
                    return Err(TooManyNumbers(self.most));
                }
                numbers.add(time, number, self.needs);
            }
        }
        Ok(())
    }

    fn end_bucket(&mut self) {
        let Some(start) = self.bucket.and_then(|it| self.aggregation.step.start(it)) else { return };
        let figures = self.numbers.iter_mut().map(|numbers| {
            numbers.all.sort_unstable_by(f64::total_cmp);
            let found = self.aggregation.figures.iter().map(|figure| numbers.found(*figure)).collect();
            let mut all = std::mem::take(&mut numbers.all);
            all.clear();
            *numbers = Numbers { all, ..Numbers::default() };
            found
        });
        let figures = figures.collect();
        self.done.push(Bucket { start, figures });
    }

    /// All buckets that have snapshots.
    #[must_use]
    pub fn finish(mut self) -> Vec<Bucket> {
        self.end_bucket();
        self.done
    }
}
