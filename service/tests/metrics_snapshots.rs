//! Snapshots are written and listed, on both databases: nothing good is lost, nothing bad is stored.

use foundation::clock::Clock;
use foundation::database::Backend;
use foundation::on_both_databases;
use foundation::testing::TestDatabase;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, UtcOffset};

use crate::users_support::{Person, World, json as body_of, pointers};

const PATH: &str = "/api/v1/metrics/snapshots";

async fn world(test: TestDatabase) -> (World, Person) {
    let world = World::start(test).await;
    let person = world.person("agent", false).await;
    (world, person)
}

/// Now, in full seconds.
fn now() -> OffsetDateTime {
    Clock::system().now().replace_nanosecond(0).unwrap()
}

fn text(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap()
}

fn item(time: OffsetDateTime, source: &str, value: i64) -> Value {
    json!({"timestamp": text(time), "source": source, "metric_type": "cpu", "metric_data": {"value": value}})
}

async fn stored(world: &World) -> i64 {
    world.count("SELECT count(*) AS count FROM metrics_snapshot", &[]).await
}

/// The values on all pages of a list.
async fn values(world: &World, person: &Person, query: &str) -> Vec<i64> {
    let (mut values, mut cursor) = (Vec::new(), String::new());
    for _page in 0..200 {
        let path = format!("{PATH}?metric_type=cpu&{query}{cursor}");
        let answer = world.get(&path, person).await;
        assert_eq!(answer.status(), 200, "{path}");
        let page = body_of(answer).await;
        let items = page["items"].as_array().unwrap();
        values.extend(items.iter().map(|it| it["metric_data"]["value"].as_i64().unwrap()));
        match &page["next_cursor"] {
            Value::Null => return values,
            next => cursor = format!("&cursor={}", next.as_str().unwrap()),
        }
    }
    panic!("{query} has no end");
}

on_both_databases! {
    async fn what_is_written_is_listed_as_it_was(test: TestDatabase) {
        let (world, person) = world(test).await;
        let time = now() + Duration::microseconds(123_456);
        let paris = time.to_offset(UtcOffset::from_hms(5, 45, 0).unwrap());
        let document = r#"{"value": 12.50, "big": 12345678901234567890.123, "nested": {"ä\"": ["😀", null, true]}}"#;
        let body = format!(
            r#"{{"items": [{{"metric_data": {document}, "timestamp": "{}", "source": "h\u00f6st \"1\"", "metric_type": "cpu"}}]}}"#,
            text(paris + Duration::nanoseconds(789))
        );
        let request = world.request(reqwest::Method::POST, PATH, &person);
        let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(body_of(answer).await, json!({"accepted": 1, "rejected": 0, "errors": []}));
        let answer = world.get(&format!("{PATH}?metric_type=cpu"), &person).await;
        assert_eq!(answer.headers()["vary"], "Accept");
        let listed = answer.text().await.unwrap();
        for kept in ["12.50", "12345678901234567890.123"] {
            assert!(listed.contains(kept), "{kept} is not as it was written: {listed}");
        }
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let item = &listed["items"][0];
        assert_eq!(item["timestamp"], text(time), "in UTC, to the microsecond");
        assert_eq!(item["source"], "höst \"1\"");
        assert_eq!(item["metric_type"], "cpu");
        assert_eq!(item["metric_data"], serde_json::from_str::<Value>(document).unwrap());
        assert!(item["id"].is_i64());
        assert_eq!(listed["next_cursor"], Value::Null);
    }

    async fn what_is_bad_is_told_and_the_rest_is_stored(test: TestDatabase) {
        let (world, person) = world(test).await;
        let time = now();
        let bad = [
            ("timestamp_too_old", json!({"timestamp": text(time - Duration::days(8))})),
            ("timestamp_too_new", json!({"timestamp": text(time + Duration::hours(2))})),
            ("timestamp_invalid", json!({"timestamp": "yesterday"})),
            ("source_invalid", json!({"source": ""})),
            ("source_invalid", json!({"source": "a\0b"})),
            ("metric_type_invalid", json!({"metric_type": "x".repeat(51)})),
            ("not_an_object", json!({"metric_data": [1]})),
            ("nul_character", json!({"metric_data": {"a": "\0"}})),
            ("too_large", json!({"metric_data": {"a": "x".repeat(70_000)}})),
            ("invalid", json!({"metric_data": null, "more": 1})),
            ("invalid", json!({"timestamp": 7})),
        ];
        let as_array = json!([text(time), "a", "cpu", {}]);
        let mut items = vec![item(time, "a", 0)];
        for (index, (_, change)) in bad.iter().enumerate() {
            let mut broken = item(time, "a", -1);
            broken.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            items.push(broken);
            items.push(item(time, "a", i64::try_from(index).unwrap() + 1));
        }
        items.push(as_array);
        items.push(json!({}));
        let body = json!({ "items": items });
        let answer = world.post(&format!("{PATH}?atomic=true"), &person, &body).await;
        let found = pointers(answer, 422).await;
        assert_eq!(found[0], "/body/items/1/timestamp");
        assert_eq!(found.last().unwrap(), &format!("/body/items/{}", items.len() - 1));
        assert_eq!((found.len(), stored(&world).await), (bad.len() + 2, 0), "all or nothing");

        let answer = world.post(PATH, &person, &body).await;
        assert_eq!(answer.status(), 200);
        let told = body_of(answer).await;
        assert_eq!((&told["accepted"], &told["rejected"]), (&json!(bad.len() + 1), &json!(bad.len() + 2)));
        let codes = bad.iter().map(|(code, _)| *code).chain(["invalid", "invalid"]);
        let errors = told["errors"].as_array().unwrap();
        for (place, (code, error)) in codes.zip(errors).enumerate() {
            let index = if place < bad.len() { 2 * place + 1 } else { bad.len() + place + 1 };
            assert_eq!((&error["code"], &error["index"]), (&json!(code), &json!(index)), "{error}");
            assert!(!error["detail"].as_str().unwrap().is_empty());
        }
        let mut values = values(&world, &person, "").await;
        values.sort_unstable();
        assert_eq!(values, (0..=i64::try_from(bad.len()).unwrap()).collect::<Vec<_>>());
    }

    async fn a_request_that_is_none_is_refused(test: TestDatabase) {
        let (world, person) = world(test).await;
        for (body, status, pointer) in [
            (r#"{"items": ["#.to_owned(), 400, "/body"),
            ("[]".to_owned(), 400, "/body"),
            ("[[]]".to_owned(), 400, "/body"),
            (r#"{"items": 1}"#.to_owned(), 400, "/body"),
            (r#"{"items": [], "more": 1}"#.to_owned(), 400, "/body"),
            (r#"{"items": []}"#.to_owned(), 422, "/body/items"),
            (json!({"items": vec![item(now(), "a", 1); 1001]}).to_string(), 422, "/body/items"),
        ] {
            let request = world.request(reqwest::Method::POST, PATH, &person);
            let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
            assert_eq!(pointers(answer, status).await, [pointer]);
        }
        for (content_type, encoding) in [("text/plain", "identity"), ("application/json", "gzip"), ("application/x-ndjson", "br")] {
            let request = world.request(reqwest::Method::POST, PATH, &person).body("{}");
            let request = request.header("content-type", content_type).header("content-encoding", encoding);
            assert_eq!(request.send().await.unwrap().status(), 415, "{content_type} {encoding}");
        }
        assert_eq!(stored(&world).await, 0);
    }

    async fn a_request_with_a_key_is_done_once(test: TestDatabase) {
        let (world, person) = world(test).await;
        let body = json!({"items": [item(now(), "a", 1), {}]});
        let send = async |body: &Value| {
            let request = world.request(reqwest::Method::POST, PATH, &person).header("Idempotency-Key", "k");
            request.json(body).send().await.unwrap()
        };
        let first = send(&body).await;
        assert!(!first.headers().contains_key("idempotent-replayed"));
        let first = body_of(first).await;
        assert_eq!(first["accepted"], 1);
        let again = send(&body).await;
        assert_eq!(again.headers()["idempotent-replayed"], "true");
        assert_eq!(body_of(again).await, first);
        assert_eq!(pointers(send(&json!({"items": [{}]})).await, 422).await, ["/header/idempotency-key"]);
        assert_eq!(stored(&world).await, 1);
    }

    /// A request that may be done in part is not the one that may not.
    async fn a_key_is_that_of_one_query(test: TestDatabase) {
        let (world, person) = world(test).await;
        let body = json!({"items": [item(now(), "a", 1)]});
        let send = async |key: &str, query: &str| {
            let request = world.request(reqwest::Method::POST, &format!("{PATH}{query}"), &person);
            request.header("Idempotency-Key", key).json(&body).send().await.unwrap()
        };
        for (key, first, others) in [
            ("a", "", ["?atomic=true", "?atomic=false"]),
            ("b", "?atomic=true", ["", "?atomic=false"]),
        ] {
            assert_eq!(send(key, first).await.status(), 200);
            for other in others {
                let refused = send(key, other).await;
                assert_eq!(refused.status(), 422, "{first} {other}");
                assert_eq!(body_of(refused).await["code"], "idempotency_mismatch", "{first} {other}");
            }
            assert_eq!(send(key, first).await.headers()["idempotent-replayed"], "true");
        }
        assert_eq!(send("a", "?").await.headers()["idempotent-replayed"], "true");
        assert_eq!(stored(&world).await, 2);
    }

    /// Pages of large documents are short ones, and together all of them.
    async fn a_page_is_bounded_in_bytes(test: TestDatabase) {
        let (world, person) = world(test).await;
        let (begin, text) = (now() - Duration::hours(1), "x".repeat(60_000));
        for batch in 0..10 {
            let large = |it: i64| {
                let mut large = item(begin + Duration::seconds(it / 3), &format!("{:03}", it % 150), it);
                large["metric_data"]["text"] = text.as_str().into();
                large
            };
            let items: Vec<Value> = (batch * 15..batch * 15 + 15).map(large).collect();
            let written = body_of(world.post(PATH, &person, &json!({ "items": items })).await).await;
            assert_eq!(written["accepted"], 15, "{written}");
        }
        // At once and as a stream.
        for limit in [100, 149, 150, 1000] {
            for path in [
                format!("{PATH}?metric_type=cpu&order=asc&limit={limit}"),
                format!("/api/v1/metrics/latest?limit={limit}"),
            ] {
                let (mut found, mut cursor) = (Vec::new(), String::new());
                loop {
                    let answer = world.get(&format!("{path}{cursor}"), &person).await;
                    assert_eq!(answer.status(), 200, "{path}");
                    let answer = answer.text().await.unwrap();
                    assert!(answer.len() < 4_300_000, "{path}: {}", answer.len());
                    let page: Value = serde_json::from_str(&answer).unwrap();
                    let items = page["items"].as_array().unwrap();
                    let values: Vec<_> = items.iter().map(|it| it["metric_data"]["value"].as_i64().unwrap()).collect();
                    found.extend(values);
                    let Some(next) = page["next_cursor"].as_str() else { break };
                    assert_eq!(items.len(), 69, "{path}");
                    cursor = format!("&cursor={next}");
                }
                assert_eq!(found, (0..150).collect::<Vec<_>>(), "{path}");
            }
        }
    }

    /// What PostgreSQL writes out is counted as it comes back.
    async fn numbers_count_as_they_are_written_out(test: TestDatabase) {
        let (world, person) = world(test).await;
        let of = |count: usize| {
            let time = text(now());
            let numbers = vec!["1e307"; count].join(",");
            let item = format!(r#"{{"timestamp":"{time}","source":"a","metric_type":"cpu","metric_data":{{"value":[{numbers}]}}}}"#);
            let request = world.request(reqwest::Method::POST, PATH, &person);
            request.header("content-type", "application/json").body(format!(r#"{{"items":[{item}]}}"#)).send()
        };
        let refused = body_of(of(10_000).await.unwrap()).await;
        assert_eq!(refused["errors"][0]["code"], "too_large", "{refused}");
        assert_eq!(body_of(of(200).await.unwrap()).await["accepted"], 1);
        let read = world.get(&format!("{PATH}?metric_type=cpu"), &person).await.text().await.unwrap();
        assert!(read.len() < 64 * 1024, "{}", read.len());
    }

    async fn every_page_size_shows_every_snapshot_once(test: TestDatabase) {
        let (world, person) = world(test).await;
        let begin = now() - Duration::days(2);
        // Three of each time, over several partitions.
        let items: Vec<Value> = (0..30)
            .map(|it| item(begin + Duration::hours(it / 3 * 5), ["a", "b"][usize::try_from(it % 2).unwrap()], it))
            .collect();
        let mut body = json!({ "items": items });
        body["items"][0]["metric_type"] = "other".into();
        assert_eq!(body_of(world.post(PATH, &person, &body).await).await["accepted"], 30);
        let all: Vec<i64> = (1..30).collect();
        let reversed: Vec<i64> = all.iter().rev().copied().collect();
        for limit in [1, 2, 3, 7, 28, 29, 30] {
            let asked = |order| format!("limit={limit}&order={order}");
            assert_eq!(values(&world, &person, &asked("asc")).await, all, "{limit}");
            assert_eq!(values(&world, &person, &asked("desc")).await, reversed, "{limit}");
            let of_one = format!("source=b&{}", asked("asc"));
            let expected: Vec<i64> = all.iter().copied().filter(|it| it % 2 == 1).collect();
            assert_eq!(values(&world, &person, &of_one).await, expected, "{limit}");
            let (from, to) = (begin + Duration::hours(5), begin + Duration::hours(20));
            let range = format!("from={}&to={}&limit={limit}", text(from), text(to));
            assert_eq!(values(&world, &person, &range).await, (3..12).rev().collect::<Vec<_>>(), "{limit}");
        }
        let first = body_of(world.get(&format!("{PATH}?metric_type=cpu&limit=2"), &person).await).await;
        let cursor = first["next_cursor"].as_str().unwrap();
        for (query, pointer) in [
            (format!("metric_type=cpu&order=asc&cursor={cursor}"), "/query/cursor"),
            (format!("metric_type=other&cursor={cursor}"), "/query/cursor"),
            ("metric_type=cpu&limit=0".to_owned(), "/query/limit"),
            ("metric_type=cpu&limit=1001".to_owned(), "/query/limit"),
            ("limit=1".to_owned(), "/query/metric_type"),
            ("metric_type=a%00".to_owned(), "/query/metric_type"),
            ("metric_type=a&source=a%00".to_owned(), "/query/source"),
            ("metric_type=cpu&from=x".to_owned(), "/query/from"),
        ] {
            let answer = world.get(&format!("{PATH}?{query}"), &person).await;
            assert_eq!(pointers(answer, 400).await, [pointer], "{query}");
        }
    }
}

/// The database ends a deadlock by one of those in it, which may have done nothing wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_met_a_deadlock_is_tried_again() {
    let test = TestDatabase::new(Backend::Postgres).await;
    let deadlocks = "CREATE SEQUENCE deadlocks;
        CREATE FUNCTION deadlock() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF nextval('deadlocks') <= 2 THEN RAISE 'deadlock detected' USING ERRCODE = 'deadlock_detected'; END IF;
          RETURN NEW;
        END $$;
        CREATE TRIGGER deadlock BEFORE INSERT ON metrics_snapshot FOR EACH ROW EXECUTE FUNCTION deadlock()";
    let mut connection = test.connect().await;
    let (world, person) = world(test).await;
    connection.batch(deadlocks).await.unwrap();
    let written = world.post(PATH, &person, &json!({ "items": [item(now(), "a", 1)] })).await;
    assert_eq!(body_of(written).await["accepted"], 1);
    assert_eq!(stored(&world).await, 1);
}
