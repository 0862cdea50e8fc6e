//! Sums of numbers as they are written: exact, however large they are on their way, and rounded once at the end.

use bigdecimal::BigDecimal;

use crate::domain::metrics_snapshots::document::MAX_NUMBER;
use crate::domain::metrics_snapshots::scan::Number;

/// An exact sum. It is as long as from the largest to the smallest digit of a double precision float that was written
/// out: some hundreds of bytes, or one to two thousand digits, however many numbers there are.
#[derive(Clone, Debug, Default)]
pub struct ExactSum(BigDecimal);

impl ExactSum {
    /// The sum that is written like this, as a database has added it up.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }

    /// Adds a number. One that was not written through the API may have any number of digits, and is added as the
    /// float that it is.
    pub fn add(&mut self, number: Number<'_>) {
        // Its exponent may be any.
        if number.value == 0.0 {
            return;
        }
        let exact = if number.text.len() <= MAX_NUMBER { number.text.parse().ok() } else { None };
        if let Some(exact) = exact.or_else(|| BigDecimal::try_from(number.value).ok()) {
            self.0 += exact;
        }
    }

    /// The float that is next to it; infinite where it is too large for one.
    #[must_use]
    pub fn total(&self) -> f64 {
        nearest(&self.0)
    }

    /// The float that is next to the mean of so many numbers; nothing of none.
    #[must_use]
    pub fn mean(&self, count: u64) -> Option<f64> {
        // Of a quotient a hundred digits are kept.
        (count > 0).then(|| nearest(&(&self.0 / BigDecimal::from(count))))
    }
}

/// Reading its text rounds but once. A zero has no sign.
fn nearest(number: &BigDecimal) -> f64 {
    number.to_scientific_notation().parse().unwrap_or(f64::NAN) + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(numbers: &[&str]) -> ExactSum {
        let mut sum = ExactSum::default();
        numbers.iter().for_each(|text| sum.add(Number { text, value: text.parse().expect("a number") }));
        sum
    }

    #[test]
    fn sums_are_exact_whatever_cancels() {
        let long = format!("0.1{}1", "0".repeat(200));
        let longer = format!("0.1{}1", "0".repeat(2000));
        for (numbers, total) in [
            (&["0.1", "0.2", "-0.3"][..], 0.0),
            (&["1e300", "1e150", "1", "-1e300", "-1e150"], 1.0),
            (&["1.79769313486231575e308"], f64::MAX),
            (&["1e308", "1e308", "-1e308"], 1e308),
            (&["5e-324", "1e308", "-1e308"], 5e-324),
            (&["-0", "-0.0e-5", "0e999999999999999999999"], 0.0),
            (&["1E+2", "-1e2", "3e-1"], 0.3),
            (&[&long, "-0.1"], 1e-202),
            (&[&longer, "-0.1"], 5.551_115_123_125_783e-18),
            (&["9007199254740993", "-1"], 9_007_199_254_740_992.0),
            (&[], 0.0),
        ] {
            assert_eq!(sum(numbers).total().to_bits(), total.to_bits(), "{numbers:?}");
        }
        assert_eq!(sum(&["1e308", "1e308"]).total(), f64::INFINITY);
        let sum = sum(&["0.1", "0.1", "0.1"]);
        assert_eq!((sum.mean(3), sum.mean(0)), (Some(0.1), None));
        assert_eq!(ExactSum::parse("-1234.500").map(|it| it.total()), Some(-1234.5));
        assert!(ExactSum::parse("NaN").is_none());
    }

    /// However many numbers there are, and whatever they are.
    #[test]
    fn sums_stay_small() {
        let mut all = ExactSum::default();
        let digits = "7".repeat(1000);
        for place in 0..20_000_i32 {
            let text = format!("{digits}e{}", place % 600 - 1300);
            all.add(Number { text: &text, value: text.parse().expect("a number") });
        }
        let digits = all.0.as_bigint_and_exponent().0.to_string().len();
        assert!(digits < 2500, "{digits}");
    }
}
