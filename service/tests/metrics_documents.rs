//! What is kept of a document, on both databases: its numbers as they were written, on one line.

use foundation::clock::Clock;
use foundation::database::Statement;
use foundation::on_both_databases;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use crate::metrics_support::{NDJSON, PATH, World, json as body_of};

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

    /// What the README has people try first is taken as it stands there.
    async fn the_example_of_the_readme_is_stored(test: TestDatabase) {
        let world = World::start(test, &[]).await;
        let readme = include_str!("../README.md");
        let (_, behind) = readme.split_once("\n## Metrics\n").unwrap();
        let (_, behind) = behind.split_once("--json '").unwrap();
        let (body, _) = behind.split_once("' \\\n").unwrap();
        let now = Clock::system().now().replace_nanosecond(0).unwrap().format(&Rfc3339).unwrap();
        let body = body.replace("'$(date -u +%FT%TZ)'", &now);
        let request = world.service.client.post(world.service.url(PATH)).bearer_auth(&world.token);
        let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
        assert_eq!(body_of(answer).await, json!({"accepted": 1, "rejected": 0, "errors": []}));
    }

    /// A document that was written over several lines is one line of an answer of lines, also where it got into
    /// the table by other means.
    async fn a_document_of_several_lines_is_one_of_a_stream(test: TestDatabase) {
        let world = World::start(test, &[]).await;
        let document = "{\n  \"value\": 1.10,\r\n\t\"text\": \"a\\nb\"\n}";
        assert_eq!(send(&world, &[item(document)]).await["accepted"], 1);
        let insert = Statement::write(
            "metrics_snapshot",
            "INSERT INTO metrics_snapshot (timestamp, source, metric_type, metric_data) VALUES ($1, 'b', 'cpu', $2)",
        );
        let values = [Clock::system().now().into(), foundation::database::Value::Json(document.to_owned())];
        world.database.execute(&insert, &values).await.unwrap();
        let text = world.read("").await.text().await.unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        let documents: Vec<_> = lines.iter().map(|it| it["metric_data"].clone()).collect();
        let expected = json!({"value": 1.1, "text": "a\nb"});
        assert_eq!(documents, [expected.clone(), expected]);
        assert!(!text.contains('\r') && text.matches("1.10").count() == 2, "{text}");
        // What is read can be written.
        let lines = lines.into_iter().map(|mut line| {
            line.as_object_mut().unwrap().remove("id");
            line.to_string()
        });
        let again = world.send("", "identity", lines.collect::<Vec<_>>().join("\n").into_bytes()).await;
        assert_eq!(body_of(again).await["accepted"], 2, "{NDJSON} is read as it is written");
        // What was written through the API lies on one line.
        let select = Statement::read("metrics_snapshot", "SELECT metric_data FROM metrics_snapshot WHERE source = 'a'");
        for row in world.database.query(&select, &[]).await.unwrap() {
            assert!(!row.text("metric_data").unwrap().contains(['\n', '\r']));
        }
    }
}
