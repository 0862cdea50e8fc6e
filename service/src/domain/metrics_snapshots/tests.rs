//! Tests of the rules of snapshots.

use time::macros::datetime;

use super::document::{DocumentLimits, Flaw, check};
use super::scan::{Step, number_at};
use super::*;

const LIMITS: DocumentLimits = DocumentLimits { bytes: 4000, depth: 3, keys: 12 };

fn rules() -> Rules {
    let hour = Duration::from_secs(3600);
    Rules::new(datetime!(2024-03-01 00:00 UTC), 24 * hour, hour, LIMITS)
}

fn written<'a>(timestamp: &'a str) -> Written<'a> {
    Written { timestamp, source: "host", metric_type: "cpu", metric_data: "{}" }
}

#[test]
fn documents_are_taken_or_refused_for_their_flaw() {
    let long_key = format!(r#"{{"{}":1}}"#, "k".repeat(256));
    let wide_key = format!(r#"{{"{}":1}}"#, "ö".repeat(255));
    let long_number = format!(r#"{{"a":{}}}"#, "1".repeat(1101));
    let small = format!(r#"{{"a":0.{}1}}"#, "0".repeat(400));
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(4000));
    let many: Vec<String> = (0..13).map(|it| format!(r#""k{it}":1"#)).collect();
    let twice: Vec<String> = (0..12).map(|it| format!(r#""k{}":1"#, it % 11)).collect();
    for (document, flaw) in [
        ("{}", None),
        (r#"{"a": [1, {"b": "x"}], "c": null, "d": true}"#, None),
        (r#"{"a":{"b":1},"b":{"a":1,"b":2}}"#, None),
        (r#"{"a":"}]{[,:\"\\","b":1}"#, None),
        (r#"{"a":"\ud83d\ude00 \u00e4 \\u0000"}"#, None),
        (r#"{"a":1e308,"b":-1.7976931348623157e308,"c":0e999,"d":5e-324,"e":-0.0}"#, None),
        (wide_key.as_str(), None),
        ("[]", Some(Flaw::NotAnObject)),
        ("1", Some(Flaw::NotAnObject)),
        (&large, Some(Flaw::TooLarge)),
        (r#"{"a":[1e307,1e307,1e307,1e307,1E+307,1e-307,1e307,1e307,1e307,1e307,1e307,1e307]}"#, None),
        (
            r#"{"a":[1e307,1e307,1e307,1e307,1E+307,1e-307,1e307,1e307,1e307,1e307,1e307,1e307,1e307]}"#,
            Some(Flaw::TooLarge),
        ),
        (r#"{"a":-0e-16000}"#, Some(Flaw::TooLarge)),
        (r#"{"a":0e99999999999999999999999}"#, Some(Flaw::TooLarge)),
        (r#"{"a":[[[]]]}"#, Some(Flaw::TooDeep)),
        (&format!("{{{}}}", many.join(",")), Some(Flaw::TooManyKeys)),
        (&long_key, Some(Flaw::KeyTooLong)),
        (r#"{"a":1,"a":1}"#, Some(Flaw::DuplicateKey)),
        (r#"{"a":1,"\u0061":1}"#, Some(Flaw::DuplicateKey)),
        (r#"{"b":[{"a":1,"c":3,"a":2}]}"#, Some(Flaw::DuplicateKey)),
        (&format!("{{{}}}", twice.join(",")), Some(Flaw::DuplicateKey)),
        (r#"{"a":"\u0000"}"#, Some(Flaw::Nul)),
        (r#"{"\u0000":1}"#, Some(Flaw::Nul)),
        (r#"{"a":"\ud83d"}"#, Some(Flaw::LoneSurrogate)),
        (r#"{"a":"\ude00\ud83d"}"#, Some(Flaw::LoneSurrogate)),
        (r#"{"a":"\ud83dx\ude00"}"#, Some(Flaw::LoneSurrogate)),
        (r#"{"a":1e309}"#, Some(Flaw::Number)),
        (r#"{"a":-1.8E308}"#, Some(Flaw::Number)),
        (r#"{"a":1e-400}"#, Some(Flaw::Number)),
        (&small, Some(Flaw::Number)),
        (&long_number, Some(Flaw::Number)),
    ] {
        assert_eq!(check(document, LIMITS).err(), flaw, "{document}");
    }
}

#[test]
fn a_zero_has_no_more_digits_than_are_kept() {
    let limits = DocumentLimits { bytes: 64 * 1024, ..LIMITS };
    for (number, flaw) in [
        ("0e-16383", None),
        ("-0E-016383", None),
        ("0.0e-16382", None),
        ("0.000e-16380", None),
        ("0.000e+16384", None),
        ("0e60000", None),
        ("0e-16384", Some(Flaw::Number)),
        ("0e-20000", Some(Flaw::Number)),
        ("0.000e-16382", Some(Flaw::Number)),
        ("-0.0e-16383", Some(Flaw::Number)),
        ("0e-9223372036854775808", Some(Flaw::Number)),
        ("0e-99999999999999999999999", Some(Flaw::Number)),
        // It is too long where it is written out.
        ("0e99999999999999999999999", Some(Flaw::TooLarge)),
    ] {
        assert_eq!(check(&format!(r#"{{"a":{number}}}"#), limits).err(), flaw, "{number}");
    }
}

#[test]
fn times_lie_in_the_window_and_are_cut() {
    let rules = rules();
    let time = |text| rules.check(written(text)).map(|it| it.timestamp).map_err(|it| it.code);
    for (text, expected) in [
        ("2024-02-29T23:59:59.123456789Z", Ok(datetime!(2024-02-29 23:59:59.123_456 UTC))),
        ("2024-02-29T23:00:00-01:30", Ok(datetime!(2024-03-01 00:30 UTC))),
        ("2024-02-29t05:45:00+05:45", Ok(datetime!(2024-02-29 00:00 UTC))),
        ("2024-03-01T01:00:00Z", Ok(datetime!(2024-03-01 01:00 UTC))),
        ("2024-03-01T01:00:00.000001Z", Err("timestamp_too_new")),
        ("2024-02-28T23:59:59.999999Z", Err("timestamp_too_old")),
        ("0000-01-01T00:00:00+23:59", Err("timestamp_too_old")),
        ("9999-12-31T23:59:59-23:59", Err("timestamp_invalid")),
        ("2023-02-29T00:00:00Z", Err("timestamp_invalid")),
        ("2024-02-29T00:00:00", Err("timestamp_invalid")),
        ("1709164800", Err("timestamp_invalid")),
        ("", Err("timestamp_invalid")),
    ] {
        assert_eq!(time(text), expected, "{text}");
    }
}

#[test]
fn names_have_what_a_table_takes() {
    let rules = rules();
    let time = "2024-03-01T00:00:00Z";
    let code = |source: &str, metric_type: &str| {
        let written = Written { source, metric_type, ..written(time) };
        rules.check(written).map(|_| ()).map_err(|it| it.code)
    };
    assert_eq!(code(&"ö".repeat(255), &"ö".repeat(50)), Ok(()));
    assert_eq!(code(&"ö".repeat(256), "cpu"), Err("source_invalid"));
    assert_eq!(code("", "cpu"), Err("source_invalid"));
    assert_eq!(code("a\0", "cpu"), Err("source_invalid"));
    assert_eq!(code("a", &"x".repeat(51)), Err("metric_type_invalid"));
    assert_eq!(code("a", ""), Err("metric_type_invalid"));
}

#[test]
fn paths_lead_to_numbers_alone() {
    let text = r#" { "value" : 1.5e1 , "cpu":{"total":-2,"x.y":3}, "disks":[{"used":1},{"used":7, "0":9}],
        "text":"8", "\u006bey":4, "n":null, "m":{"0":5,"00":6}, "b":[true,[1,2],"a]",-0.5], "huge":1e400 }"#;
    for (path, expected) in [
        ("value", Some(15.0)),
        ("cpu.total", Some(-2.0)),
        ("cpu", None),
        ("cpu.total.x", None),
        ("disks.0.used", Some(1.0)),
        ("disks.1.used", Some(7.0)),
        ("disks.1.0", Some(9.0)),
        ("disks.2.used", None),
        ("disks.01.used", None),
        ("disks.-1.used", None),
        ("text", None),
        ("key", Some(4.0)),
        ("n", None),
        ("m.0", Some(5.0)),
        ("m.00", Some(6.0)),
        ("b.1.1", Some(2.0)),
        ("b.3", Some(-0.5)),
        ("b.0", None),
        ("b.4", None),
        ("huge", None),
        ("none", None),
    ] {
        let steps: Vec<Step> = path.split('.').map(Step::new).collect();
        assert_eq!(number_at(text, &steps).map(|it| it.value), expected, "{path}");
    }
    for broken in ["", "{", r#"{"value"#, r#"{"value":"#, "{]", "[", r#"{"a":1 "value":2}"#] {
        assert_eq!(number_at(broken, &[Step::new("value")]), None, "{broken}");
    }
}

#[test]
fn what_is_asked_may_be_finer_than_what_is_kept() {
    let kept = datetime!(1969-12-31 23:59:59.999_999 UTC);
    assert_eq!(first_kept(kept), kept);
    assert_eq!(first_kept(kept - time::Duration::NANOSECOND), kept);
    assert_eq!(first_kept(kept + time::Duration::NANOSECOND), datetime!(1970-01-01 00:00 UTC));
}

#[test]
fn positions_are_read_as_they_were_written() {
    for timestamp in [datetime!(2024-02-29 23:59:59.999_999 UTC), datetime!(1969-12-31 23:59 UTC)] {
        let position = Position { timestamp, id: 7 };
        let written = serde_json::to_string(&position).unwrap();
        assert_eq!(serde_json::from_str::<Position>(&written).unwrap(), position, "{written}");
    }
}
