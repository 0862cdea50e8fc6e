//! What is written, listed and told of snapshots, on both databases, is what a plain reference makes of the
//! same rows: random ones, with equal times, many offsets, leap days, large and small numbers, and none.

use std::collections::BTreeMap;

use foundation::on_both_databases;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;
use time::{Duration, OffsetDateTime, UtcOffset};

use crate::metrics_support;
use crate::metrics_support::{PATH, World};

/// A snapshot as the reference keeps it; its place in the list is the order of ids.
#[derive(Clone, Debug)]
struct Row {
    time: OffsetDateTime,
    offset: UtcOffset,
    source: &'static str,
    metric_type: &'static str,
    data: Value,
}

/// What is asked of the rows.
#[derive(Clone, Debug)]
struct Question {
    source: Option<&'static str>,
    from: OffsetDateTime,
    to: OffsetDateTime,
    offset: UtcOffset,
    step: (i64, &'static str),
    newest_first: bool,
    limit: usize,
}

const FIGURES: [&str; 11] =
    ["avg", "min", "max", "sum", "count", "p50", "p95", "p99", "first", "last", "rate"];
const PATHS: [&str; 4] = ["value", "cpu.total", "disks.1.used", "cpu.0"];
const SOURCES: [&str; 3] = ["b", "Ä host", "B"];

/// Around a leap day, the two changes of the clocks in Europe, and the beginning of time.
fn times() -> impl Strategy<Value = OffsetDateTime> {
    let day = select(vec![
        datetime!(2024-02-28 22:00 UTC),
        datetime!(2024-02-29 22:00 UTC),
        datetime!(2026-03-29 00:00 UTC),
        datetime!(2026-10-25 00:00 UTC),
        datetime!(1970-01-01 00:00 UTC),
    ]);
    // Few of the seconds, so that many times are equal; some moments that are none of seconds.
    let second = prop_oneof![0_i64..4, 3_598..3_602_i64, 0..18_000_i64];
    (day, second, select(vec![0_i64, 0, 0, 1, 999_999]))
        .prop_map(|(day, second, micro)| day + Duration::seconds(second) + Duration::microseconds(micro))
}

fn offsets() -> impl Strategy<Value = UtcOffset> {
    let minutes = select(vec![0, 60, 120, -210, 345, 840, -720]);
    minutes.prop_map(|minutes| UtcOffset::from_whole_seconds(minutes * 60).unwrap())
}

fn numbers() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => (-1000_i64..1000).prop_map(Value::from),
        6 => (-1e6..1e6_f64).prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => proptest::num::f64::NORMAL.prop_map(Value::from),
        1 => select(vec![json!(5e-324), json!(-0.0), json!(1.5e308), json!(-1.5e308), json!(1e-300)]),
        2 => select(vec![json!(null), json!("7"), json!(true), json!([1]), json!({})]),
    ]
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let data = (numbers(), numbers(), numbers(), 0..4_u8).prop_map(|(value, total, used, shape)| match shape {
        0 => json!({ "other": value }),
        1 => json!({ "value": value, "cpu": [total, used] }),
        _ => json!({ "value": value, "cpu": {"total": total, "0": used}, "disks": [{"used": value}, {"used": used}] }),
    });
    let row = (times(), offsets(), select(&SOURCES[..]), select(&["cpu", "Cpu"][..]), data);
    let row = row.prop_map(|(time, offset, source, metric_type, data)| Row {
        time,
        offset,
        source,
        metric_type,
        data,
    });
    prop::collection::vec(row, 1..120)
}

fn questions() -> impl Strategy<Value = Question> {
    let source = prop::option::of(select(&SOURCES[..]));
    let step = select(vec![(7, "7s"), (60, "1m"), (3600, "3600s"), (86_400, "1d"), (25_200, "7h")]);
    // Finer than what is kept.
    let from = (times(), select(vec![0_i64, 0, 1, 999]));
    let from = from.prop_map(|(time, nano)| time + Duration::nanoseconds(nano));
    (
        source,
        from,
        prop_oneof![0_i64..20_000, 0..200_000_000_i64],
        offsets(),
        step,
        any::<bool>(),
        1_usize..40,
    )
        .prop_map(|(source, from, length, offset, step, newest_first, limit)| {
            let to = from + Duration::seconds(length);
            Question { source, from, to, offset, step, newest_first, limit }
        })
}

fn text(time: OffsetDateTime, offset: UtcOffset) -> String {
    time.to_offset(offset).format(&Rfc3339).unwrap()
}

fn query_text(time: OffsetDateTime, offset: UtcOffset) -> String {
    text(time, offset).replace('+', "%2B")
}

/// What a path leads to, if that is a number.
fn number(data: &Value, path: &str) -> Option<f64> {
    let step = |data: &Value, key: &str| match data {
        Value::Object(object) => object.get(key).cloned(),
        Value::Array(array) => key.parse::<usize>().ok().and_then(|index| array.get(index).cloned()),
        _ => None,
    };
    path.split('.').try_fold(data.clone(), |data, key| step(&data, key))?.as_f64()
}

/// A figure of numbers in their order, and how large what it was made of is.
fn figure(name: &str, numbers: &[(OffsetDateTime, f64)]) -> (Option<f64>, f64) {
    const SCALE: f64 = 1.0 / (1_u64 << 60) as f64;
    let mut sorted: Vec<f64> = numbers.iter().map(|it| it.1).collect();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len() as f64;
    let magnitude: f64 = sorted.iter().map(|it| it.abs() * SCALE).sum();
    // Too large on the way is not too large in the end; too small to be scaled is not too large.
    let plain: f64 = sorted.iter().sum();
    let scaled: f64 = sorted.iter().map(|it| it * SCALE).sum();
    let (sum, scale) = if plain.is_finite() { (plain, 1.0) } else { (scaled, SCALE) };
    let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else {
        return ((name == "count").then_some(0.0), 0.0);
    };
    let percentile = |fraction: f64| {
        let place = fraction * (count - 1.0);
        let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
        (Some(below + (place - place.floor()) * (above - below)), below.abs().max(above.abs()))
    };
    let seconds = (last.0 - first.0).as_seconds_f64();
    let (value, magnitude) = match name {
        "avg" => (Some(sum / count / scale), magnitude / count / SCALE),
        "sum" => (Some(sum / scale), magnitude / SCALE),
        "min" => (sorted.first().copied(), 0.0),
        "max" => (sorted.last().copied(), 0.0),
        "count" => (Some(count), 0.0),
        "p50" => percentile(0.5),
        "p95" => percentile(0.95),
        "p99" => percentile(0.99),
        "first" => (Some(first.1), 0.0),
        "last" => (Some(last.1), 0.0),
        _ => ((seconds > 0.0).then(|| (last.1 - first.1) / seconds), 0.0),
    };
    (value.filter(|it| it.is_finite()), magnitude)
}

fn check_figure(name: &str, told: &Value, numbers: &[(OffsetDateTime, f64)]) -> Result<(), TestCaseError> {
    let (expected, magnitude) = figure(name, numbers);
    let found = told.as_f64();
    // Beyond the largest float, the one or the other rounding decides.
    if magnitude > 1e308 {
        return Ok(());
    }
    let is_right = match (expected, found) {
        (Some(expected), Some(found)) => {
            let tolerance = 1e-9 * expected.abs().max(found.abs()).max(magnitude);
            let is_exact = ["count", "min", "max", "first", "last"].contains(&name);
            found == expected || !is_exact && (found - expected).abs() <= tolerance
        }
        (expected, found) => expected.is_none() && found.is_none() && told.is_null(),
    };
    prop_assert!(is_right, "{name} is {told} instead of {expected:?} for {numbers:?}");
    Ok(())
}

/// The rows that a question is about, in the order of time.
fn chosen<'a>(rows: &'a [Row], question: &Question) -> Vec<&'a Row> {
    let mut chosen: Vec<&Row> = rows
        .iter()
        .filter(|row| row.metric_type == "cpu" && question.source.is_none_or(|it| it == row.source))
        .filter(|row| (question.from..question.to).contains(&row.time))
        .collect();
    chosen.sort_by_key(|row| row.time);
    chosen
}

fn same(item: &Value, row: &Row) -> bool {
    // What is written 0.1e1 or -0 is the same number in another form on PostgreSQL.
    fn equal(left: &Value, right: &Value) -> bool {
        match (left, right) {
            (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
            (Value::Array(left), Value::Array(right)) => {
                left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
            }
            (Value::Object(left), Value::Object(right)) => {
                left.len() == right.len()
                    && left.iter().all(|(key, left)| right.get(key).is_some_and(|right| equal(left, right)))
            }
            _ => left == right,
        }
    }
    item["timestamp"] == text(row.time, UtcOffset::UTC)
        && item["source"] == row.source
        && item["metric_type"] == row.metric_type
        && equal(&item["metric_data"], &row.data)
}

async fn check_list(world: &World, rows: &[Row], question: &Question) -> Result<(), TestCaseError> {
    let mut expected = chosen(rows, question);
    if question.newest_first {
        expected.reverse();
    }
    let range = format!(
        "from={}&to={}",
        query_text(question.from, question.offset),
        query_text(question.to, question.offset)
    );
    let source =
        question.source.map(|it| format!("&source={}", it.replace('Ä', "%C3%84").replace(' ', "%20")));
    let order = if question.newest_first { "desc" } else { "asc" };
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!(
            "{PATH}?metric_type=cpu&{range}{}&order={order}&limit={}{cursor}",
            source.as_deref().unwrap_or_default(),
            question.limit
        );
        let page = world.get(&path).await;
        let items = page["items"].as_array().unwrap();
        prop_assert!(items.len() <= question.limit);
        found.extend(items.iter().cloned());
        let Some(next) = page["next_cursor"].as_str() else { break };
        prop_assert_eq!(items.len(), question.limit, "only the last page is shorter");
        cursor = format!("&cursor={next}");
    }
    prop_assert_eq!(found.len(), expected.len(), "{:?}", question);
    for (item, row) in found.iter().zip(expected) {
        prop_assert!(same(item, row), "{item} instead of {row:?}");
    }
    Ok(())
}

async fn check_aggregate(world: &World, rows: &[Row], question: &Question) -> Result<(), TestCaseError> {
    let (step, written) = question.step;
    let path = format!(
        "/api/v1/metrics/aggregate?metric_type=cpu&from={}&to={}&step={written}&path={}&fn={}{}",
        query_text(question.from, question.offset),
        query_text(question.to, question.offset),
        PATHS.join(","),
        FIGURES.join(","),
        question
            .source
            .map_or(String::new(), |it| format!("&source={}", it.replace('Ä', "%C3%84").replace(' ', "%20")))
    );
    let answer = world.try_get(&path).await;
    let (first, end) = (question.from.unix_timestamp().div_euclid(step), question.to - Duration::NANOSECOND);
    let count = end.unix_timestamp().div_euclid(step) - first + 1;
    if count > 2000 && question.from < question.to {
        prop_assert_eq!(answer.status().as_u16(), 422);
        return Ok(());
    }
    let mut expected: BTreeMap<i64, Vec<&Row>> = BTreeMap::new();
    for row in chosen(rows, question) {
        expected.entry(row.time.unix_timestamp().div_euclid(step)).or_default().push(row);
    }
    prop_assert_eq!(answer.status().as_u16(), 200, "{}", path);
    let told = metrics_support::json(answer).await;
    let buckets = told["buckets"].as_array().unwrap();
    prop_assert_eq!(buckets.len(), expected.len(), "{:?}", question);
    for (bucket, (number_of, rows)) in buckets.iter().zip(&expected) {
        let start = OffsetDateTime::from_unix_timestamp(number_of * step).unwrap();
        prop_assert_eq!(bucket["start"].as_str().unwrap(), text(start, UtcOffset::UTC));
        for path in PATHS {
            let numbers: Vec<_> =
                rows.iter().filter_map(|row| Some((row.time, number(&row.data, path)?))).collect();
            for name in FIGURES {
                check_figure(name, &bucket["paths"][path][name], &numbers)?;
            }
        }
    }
    let filled = world.get(&format!("{path}&fill=true").replace(&PATHS.join(","), "value")).await;
    let filled = filled["buckets"].as_array().unwrap();
    prop_assert_eq!(filled.len() as i64, if question.from < question.to { count } else { 0 });
    for (place, bucket) in filled.iter().enumerate() {
        let start = OffsetDateTime::from_unix_timestamp((first + place as i64) * step).unwrap();
        prop_assert_eq!(bucket["start"].as_str().unwrap(), text(start, UtcOffset::UTC));
        let rows = expected.get(&(first + place as i64)).map_or(&[][..], Vec::as_slice);
        let numbers: Vec<_> =
            rows.iter().filter_map(|row| Some((row.time, number(&row.data, "value")?))).collect();
        for name in FIGURES {
            check_figure(name, &bucket[name], &numbers)?;
        }
    }
    Ok(())
}

/// The series, page by page of three, and the newest of each.
async fn check_series(world: &World, rows: &[Row]) -> Result<(), TestCaseError> {
    let mut expected: BTreeMap<(&str, &str), Vec<&Row>> = BTreeMap::new();
    for row in rows {
        expected.entry((row.metric_type, row.source)).or_default().push(row);
    }
    expected.values_mut().for_each(|rows| rows.sort_by_key(|row| row.time));
    for (filter, of_type, of_source) in [
        ("", None, None),
        ("&metric_type=Cpu", Some("Cpu"), None),
        ("&source=b", None, Some("b")),
        ("&metric_type=cpu&source=B", Some("cpu"), Some("B")),
    ] {
        let is_asked = |key: &(&str, &str)| {
            of_type.is_none_or(|it| it == key.0) && of_source.is_none_or(|it| it == key.1)
        };
        let expected: Vec<_> = expected.iter().filter(|(key, _)| is_asked(key)).collect();
        for what in ["series", "latest"] {
            let (mut found, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = world.get(&format!("/api/v1/metrics/{what}?limit=3{filter}{cursor}")).await;
                found.extend(page["items"].as_array().unwrap().iter().cloned());
                let Some(next) = page["next_cursor"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            prop_assert_eq!(found.len(), expected.len(), "{} {}: {:?}", what, filter, found);
            for (item, (key, rows)) in found.iter().zip(&expected) {
                let last = rows.last().unwrap();
                if what == "latest" {
                    prop_assert!(same(item, last), "{item} instead of {last:?}");
                    continue;
                }
                let of = (item["metric_type"].as_str().unwrap(), item["source"].as_str().unwrap());
                prop_assert_eq!(&of, *key);
                prop_assert_eq!(item["first"].as_str().unwrap(), text(rows[0].time, UtcOffset::UTC));
                prop_assert_eq!(item["last"].as_str().unwrap(), text(last.time, UtcOffset::UTC));
            }
        }
    }
    Ok(())
}

async fn check(world: &World, rows: &[Row], questions: &[Question]) -> Result<(), TestCaseError> {
    world.empty().await;
    let items = rows.iter().map(|row| {
        json!({
            "timestamp": text(row.time, row.offset), "source": row.source,
            "metric_type": row.metric_type, "metric_data": row.data,
        })
    });
    let told = world.write(&items.collect::<Vec<_>>()).await;
    prop_assert_eq!(&told["accepted"], &json!(rows.len()), "{}", told);
    for question in questions {
        check_list(world, rows, question).await?;
        check_aggregate(world, rows, question).await?;
    }
    check_series(world, rows).await
}

on_both_databases! {
    async fn everything_is_as_the_reference_says(test: TestDatabase) {
        let world = World::start(test, &[("METRICS_WRITE_PAST", "36500d")]).await;
        let cases = if std::env::var_os("BEDPLATE_TEST_LONG").is_some() { 500 } else { 24 };
        let config = Config { cases, failure_persistence: None, max_shrink_iters: 20, ..Config::default() };
        let strategy = (rows(), prop::collection::vec(questions(), 1..5));
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            let result = TestRunner::new(config).run(&strategy, |(rows, questions)| {
                runtime.block_on(check(&world, &rows, &questions))
            });
            result.unwrap_or_else(|error| panic!("{error}"));
        });
    }
}
