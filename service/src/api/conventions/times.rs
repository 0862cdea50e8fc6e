//! Times in bodies: RFC 3339, in answers in UTC. A list has hundreds of them, so they are written without the
//! machinery that any format can be described to.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use serde::de::{Error as _, Unexpected};
use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use super::Nullable;
use crate::actions::ActionError;
use crate::api::problem::{Failure, FieldError};

/// The years that may be asked for, in UTC: of them there are times in both databases, and a year before the first
/// still has four digits, so that what begins earlier (a bucket of figures) can be told.
const YEARS: RangeInclusive<i32> = 1..=9999;

/// What a time should be, to follow "expected".
pub(crate) const A_TIME: &str = "a time of RFC 3339, such as 2026-01-31T12:00:00Z";

/// Reads a time that may be missing and may not be null.
///
/// # Errors
/// It is none.
pub fn given_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OffsetDateTime>, D::Error> {
    let text = Cow::<str>::deserialize(deserializer)?;
    let time = OffsetDateTime::parse(&text, &Rfc3339);
    time.map(Some).map_err(|_| D::Error::invalid_value(Unexpected::Str(&text), &A_TIME))
}

/// Holds a range of times together: `to` is not part of it, so that the two may be equal.
///
/// # Errors
/// One of them is of no year that there is, or the range ends before it begins.
pub fn check_range(from: Option<OffsetDateTime>, to: Option<OffsetDateTime>) -> Result<(), Failure> {
    let given = [("/query/from", from), ("/query/to", to)];
    let wrong: Vec<_> = given.into_iter().filter(|it| it.1.is_some_and(|time| !is_of_a_year(time))).collect();
    if !wrong.is_empty() {
        let detail = format!("in UTC it is not of the years {:04} to {}", YEARS.start(), YEARS.end());
        let error = |pointer: &str| FieldError { pointer: pointer.to_owned(), detail: detail.clone() };
        return Err(Failure::Parameters(wrong.into_iter().map(|it| error(it.0)).collect()));
    }
    match (from, to) {
        (Some(from), Some(to)) if from > to => {
            let rule = ("/query/from".to_owned(), "it is later than `to`".to_owned());
            Err(ActionError::Invalid(vec![rule]).into())
        }
        _ => Ok(()),
    }
}

/// A time with an offset may lie beyond the years that there are in UTC.
fn is_of_a_year(time: OffsetDateTime) -> bool {
    time.checked_to_offset(UtcOffset::UTC).is_some_and(|it| YEARS.contains(&it.year()))
}

/// Writes a time as `time::serde::rfc3339` does.
///
/// # Errors
/// The year has no four digits.
pub fn rfc3339<S: Serializer>(time: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    match written(*time, &mut ROOM.clone()) {
        Some(text) => serializer.serialize_str(text),
        None => time::serde::rfc3339::serialize(time, serializer),
    }
}

/// Writes a time, or null.
///
/// # Errors
/// As [`rfc3339`].
pub fn rfc3339_or_null<S: Serializer>(
    time: &Nullable<OffsetDateTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match &time.0 {
        Some(time) => rfc3339(time, serializer),
        None => None::<()>.serialize(serializer),
    }
}

/// Room for the text of a time.
pub(crate) const ROOM: [u8; 27] = *b"0000-00-00T00:00:00.000000Z";

/// The time's text, put into the places of `buffer`, which is [`ROOM`]. Returns `None` when the time is not one
/// that was cut to microseconds, of a year of four digits, in UTC.
pub(crate) fn written(time: OffsetDateTime, buffer: &mut [u8; 27]) -> Option<&str> {
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second, nanosecond) = time.to_hms_nano();
    let year = u32::try_from(year).ok().filter(|it| *it <= 9999)?;
    if time.offset() != UtcOffset::UTC || nanosecond % 1000 != 0 {
        return None;
    }
    put(&mut buffer[0..4], year);
    put(&mut buffer[5..7], u8::from(month).into());
    put(&mut buffer[8..10], day.into());
    put(&mut buffer[11..13], hour.into());
    put(&mut buffer[14..16], minute.into());
    put(&mut buffer[17..19], second.into());
    put(&mut buffer[20..26], nanosecond / 1000);
    // Zeros at the end say nothing, nor does a point without a digit.
    let mut end = 26;
    while buffer[end - 1] == b'0' && end > 20 {
        end -= 1;
    }
    let end = if end == 20 { 19 } else { end };
    buffer[end] = b'Z';
    std::str::from_utf8(&buffer[..=end]).ok()
}

/// Puts the digits of a number into the places.
fn put(places: &mut [u8], mut number: u32) {
    for place in places.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use time::macros::datetime;
    use time::{Date, Duration};

    use super::*;

    #[derive(Serialize)]
    struct Ours(#[serde(serialize_with = "rfc3339")] OffsetDateTime);

    #[derive(Serialize)]
    struct Theirs(#[serde(with = "time::serde::rfc3339")] OffsetDateTime);

    #[test]
    fn times_are_written_as_the_library_writes_them() {
        let mut times = vec![
            datetime!(2024-02-29 23:59:59.999_999 UTC),
            datetime!(2024-02-29 23:59:59.999_999_999 UTC),
            datetime!(2024-12-31 00:00:00 UTC),
            datetime!(2024-12-31 00:00:00.1 UTC),
            datetime!(2024-12-31 00:00:00.000_001 UTC),
            datetime!(2024-12-31 00:00:00.100_100 UTC),
            datetime!(0000-01-01 00:00:00 UTC),
            datetime!(9999-12-31 23:59:59 UTC),
            datetime!(2024-02-29 23:59:59.5 +02:30),
        ];
        let first = datetime!(1999-12-31 23:59:59.000_010 UTC);
        times.extend(
            (0..5000)
                .map(|step| first + Duration::new(step * 700_001, 0) + Duration::microseconds(step * 997)),
        );
        for time in times {
            let (ours, theirs) = (serde_json::to_string(&Ours(time)), serde_json::to_string(&Theirs(time)));
            assert_eq!(ours.unwrap(), theirs.unwrap());
        }
    }

    #[test]
    fn a_year_before_the_first_is_refused() {
        let time = Date::MIN.midnight().assume_utc();
        assert!(serde_json::to_string(&Ours(time)).is_err());
    }

    #[test]
    fn years_that_are_asked_for_have_times_in_every_zone() {
        for (time, is_one) in [
            (datetime!(0001-01-01 00:00 UTC), true),
            (datetime!(9999-12-31 23:59:59.999_999_999 UTC), true),
            (datetime!(0000-12-31 23:59 -00:01), true),
            (datetime!(0000-12-31 23:59:59 UTC), false),
            (datetime!(0001-01-01 00:00 +00:01), false),
            (datetime!(9999-12-31 23:59:59 -23:59), false),
            (datetime!(0000-01-01 00:00 +23:59), false),
        ] {
            assert_eq!(is_of_a_year(time), is_one, "{time}");
        }
    }

    #[test]
    fn none_is_null() {
        #[derive(Serialize)]
        struct Maybe(#[serde(serialize_with = "rfc3339_or_null")] Nullable<OffsetDateTime>);

        assert_eq!(serde_json::to_string(&Maybe(Nullable(None))).unwrap(), "null");
        let time = datetime!(2024-02-29 00:00:00 UTC);
        assert_eq!(serde_json::to_string(&Maybe(Nullable(Some(time)))).unwrap(), "\"2024-02-29T00:00:00Z\"");
    }
}
