//! What is kept of a document, on both databases: its numbers as they were written.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests do what programs may not"
)]

mod metrics_support;

use foundation::clock::Clock;
use foundation::on_both_databases;
use metrics_support::{PATH, World, json as body_of};
use serde_json::Value;
use time::format_description::well_known::Rfc3339;

fn item(document: &str) -> String {
    let time = Clock::system().now().format(&Rfc3339).unwrap();
    format!(r#"{{"timestamp":"{time}","source":"a","metric_type":"cpu","metric_data":{document}}}"#)
}

/// Sends snapshots as JSON.
async fn send(world: &World, items: &[String]) -> Value {
    let body = format!(r#"{{"items":[{}]}}"#, items.join(","));
    let request = world.service.client.post(world.service.url(PATH)).bearer_auth(&world.token);
    let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    body_of(answer).await
}

on_both_databases! {
    /// Zeros whose digits one of the databases would not keep are refused on both, and cost nobody else a row.
    async fn a_zero_of_many_digits_is_refused_alone(test: TestDatabase) {
        let world = World::start(test, &[]).await;
        let numbers = ["0e-16383", "0e-20000", "0.0e-16382", "0.000e-16382", "0e60000", "0e-16384", "1"];
        let items: Vec<String> = numbers.iter().map(|it| item(&format!(r#"{{"value":{it}}}"#))).collect();
        let as_lines = world.send("", "identity", items.join("\n").into_bytes()).await;
        assert_eq!(as_lines.status(), 200);
        for told in [body_of(as_lines).await, send(&world, &items).await] {
            assert_eq!(told["accepted"], 4, "{told}");
            let errors = told["errors"].as_array().unwrap().iter();
            let errors: Vec<_> = errors.map(|it| (it["index"].as_i64().unwrap(), it["code"].as_str().unwrap())).collect();
            assert_eq!(errors, [1, 3, 5].map(|index| (index, "number_out_of_range")));
        }
        assert_eq!(world.lines("").await.len(), 8);
    }
}
