//! Figures of numbers that cancel each other, or are next to what a float cannot hold: the same on both databases,
//! to the last digit.

use foundation::clock::Clock;
use foundation::on_both_databases;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use crate::metrics_support::{World, json as body_of};

const LARGEST: f64 = f64::MAX;
const SMALLEST: f64 = 5e-324;

/// Numbers as they are written, and their sum, mean, smallest, largest, first, last and median.
fn cases() -> [(&'static [&'static str], [Value; 7]); 9] {
    [
        (
            &["0.1", "0.2", "-0.3"],
            [json!(0.0), json!(0.0), json!(-0.3), json!(0.2), json!(0.1), json!(-0.3), json!(0.1)],
        ),
        (
            &["1e300", "1e150", "1", "-1e300", "-1e150"],
            [json!(1.0), json!(0.2), json!(-1e300), json!(1e300), json!(1e300), json!(-1e150), json!(1.0)],
        ),
        (&["1.79769313486231575e308"], [LARGEST; 7].map(Value::from)),
        (&["-1.79769313486231575e308"], [-LARGEST; 7].map(Value::from)),
        (&["-0"], [0.0; 7].map(Value::from)),
        (&["-0.0e-3", "0", "-0.0"], [0.0; 7].map(Value::from)),
        (
            &["1e308", "1e308"],
            [Value::Null, json!(1e308), json!(1e308), json!(1e308), json!(1e308), json!(1e308), json!(1e308)],
        ),
        // The mean lies in the middle between zero and the smallest float, a bit above.
        (&["5e-324", "0"], [SMALLEST, SMALLEST, 0.0, SMALLEST, SMALLEST, 0.0, 0.0].map(Value::from)),
        (
            &["9007199254740993", "-1", "0.5"],
            [
                json!(9_007_199_254_740_992.0),
                json!(3_002_399_751_580_331.0),
                json!(-1.0),
                json!(9_007_199_254_740_992.0),
                json!(9_007_199_254_740_992.0),
                json!(0.5),
                json!(0.5),
            ],
        ),
    ]
}

on_both_databases! {
    async fn figures_are_the_same_to_the_last_digit(test: TestDatabase) {
        let world = World::start(test, &[]).await;
        let now = Clock::system().now().replace_nanosecond(0).unwrap();
        let (from, to) = (now.format(&Rfc3339).unwrap(), (now + time::Duration::SECOND).format(&Rfc3339).unwrap());
        for (place, (numbers, expected)) in cases().into_iter().enumerate() {
            let line = |number: &&str| {
                format!(
                    r#"{{"timestamp":"{from}","source":"{place}","metric_type":"cpu","metric_data":{{"value":{number}}}}}"#
                )
            };
            let lines: Vec<String> = numbers.iter().map(line).collect();
            let told = body_of(world.send("", "identity", lines.join("\n").into_bytes()).await).await;
            assert_eq!(told["accepted"], numbers.len(), "{told}");
            let names = ["sum", "avg", "min", "max", "first", "last", "p50"];
            let told = world.get(&format!(
                "/api/v1/metrics/aggregate?metric_type=cpu&source={place}&from={from}&to={to}&step=1s&fn={}",
                names.join(",")
            )).await;
            for (name, expected) in names.into_iter().zip(expected) {
                // As texts, because a zero with a sign is as large as one without.
                assert_eq!(told["buckets"][0][name].to_string(), expected.to_string(), "{name} of {numbers:?}");
            }
        }
        // Of one figure what it is made of is asked too.
        let alone = format!("/api/v1/metrics/aggregate?metric_type=cpu&from={from}&to={to}&step=1s&source=0&fn=avg");
        assert_eq!(world.get(&alone).await["buckets"][0]["avg"], 0.0);
    }
}
