//! Snapshots as streams of lines, in and out, on both databases.

use std::io::Write as _;

use foundation::clock::Clock;
use foundation::on_both_databases;
use foundation::testing::eventually;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::metrics_support::{NDJSON, PATH, World, json as body_of};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 3).unwrap()
}

/// A line, compressed with a window that is the power of two.
fn windowed(log: u32) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(log).unwrap();
    encoder.write_all(line(1).as_bytes()).unwrap();
    // What is flushed is of a stream whose length is not known, so that the window is as large as it is asked for.
    encoder.flush().unwrap();
    encoder.finish().unwrap()
}

fn line(value: usize) -> String {
    // The times are those of the numbers.
    let time = Clock::system().now() - time::Duration::hours(1)
        + time::Duration::milliseconds(value.try_into().unwrap());
    let time = time.format(&Rfc3339).unwrap();
    json!({"timestamp": time, "source": "a", "metric_type": "cpu", "metric_data": {"value": value}})
        .to_string()
}

fn numbers(lines: &[Value]) -> Vec<usize> {
    let number = |line: &Value| usize::try_from(line["metric_data"]["value"].as_u64().unwrap()).unwrap();
    lines.iter().map(number).collect()
}

/// A stream of which the head was read, of more than fits between the two; and how many bytes of rows went in.
async fn begin_to_read(world: &World) -> (tokio::net::TcpStream, usize) {
    let large = json!({"timestamp": Clock::system().now().format(&Rfc3339).unwrap(), "source": "a",
        "metric_type": "cpu", "metric_data": {"text": "x".repeat(60_000)}});
    let text = format!("{large}\n").repeat(500);
    assert_eq!(world.send("", "zstd", zstd(text.as_bytes())).await.status(), 200);
    let mut stream = tokio::net::TcpStream::connect(world.service.address).await.unwrap();
    let head = format!(
        "GET {PATH}?metric_type=cpu HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\naccept: {NDJSON}\r\n\r\n",
        world.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    (stream, text.len())
}

on_both_databases! {
    async fn good_lines_are_stored_and_bad_ones_told(test: TestDatabase) {
        let world = World::start(test, &[("METRICS_DATA_LIMIT", "1KiB")]).await;
        let mut lines: Vec<String> = (0..500).map(line).collect();
        for place in [0, 7, 499] {
            lines[place] = format!("{{\"place\": {place}}}");
        }
        lines[8] = String::new();
        lines[9] = format!("  {}\r", lines[9]);
        lines[10] = format!("{{\"x\":\"{}\"}}", "x".repeat(1_000_000));
        let text = lines.join("\n");
        let mut expected = 0;
        for (encoding, body) in [
            ("identity", text.clone().into_bytes()),
            ("gzip", gzip(text.as_bytes())),
            ("gzip", [gzip(&text.as_bytes()[..5000]), gzip(&text.as_bytes()[5000..])].concat()),
            ("zstd", zstd(text.as_bytes())),
        ] {
            let answer = world.send("", encoding, body).await;
            assert_eq!(answer.status(), 200, "{encoding}");
            let told = body_of(answer).await;
            assert_eq!((&told["accepted"], &told["rejected"]), (&json!(495), &json!(4)), "{encoding}: {told}");
            let errors = told["errors"].as_array().unwrap().iter();
            let errors: Vec<_> = errors.map(|it| (it["index"].as_u64().unwrap(), it["code"].as_str().unwrap())).collect();
            assert_eq!(errors, [(0, "invalid"), (7, "invalid"), (10, "too_large"), (499, "invalid")], "{encoding}");
            expected += 495;
            assert_eq!(world.stored().await, expected, "{encoding}");
        }
    }

    /// What is told of bad lines is small, however long the words are that would be repeated.
    async fn what_was_sent_is_not_sent_back(test: TestDatabase) {
        let world = World::start(test, &[]).await;
        let text = format!("{{\"{}\":1}}\n", "ä".repeat(30_000)).repeat(200);
        let answer = world.send("", "zstd", zstd(text.as_bytes())).await;
        assert_eq!(answer.status(), 200);
        let answer = answer.text().await.unwrap();
        assert!(answer.len() < 200 * 1000, "{} bytes", answer.len());
        let told: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(told["rejected"], 200);
        let detail = told["errors"][199]["detail"].as_str().unwrap();
        assert!(detail.starts_with("unknown field `ää") && detail.contains("…, expected one of `timestamp`"), "{detail}");
        let body = json!({"items": [], "x".repeat(60_000): 1}).to_string();
        let request = world.service.client.post(world.service.url(PATH)).bearer_auth(&world.token);
        let refused = request.header("content-type", "application/json").body(body).send().await.unwrap();
        assert_eq!(refused.status(), 400);
        assert!(refused.text().await.unwrap().len() < 2000);
    }

    async fn an_atomic_stream_is_stored_whole_or_not_at_all(test: TestDatabase) {
        let world = World::start(test, &[]).await;
        let good: Vec<String> = (0..12_000).map(line).collect();
        let mut bad = good.clone();
        bad[11_000] = "{".to_owned();
        let answer = world.send("?atomic=true", "identity", bad.join("\n").into_bytes()).await;
        assert_eq!(answer.status(), 422);
        assert_eq!(body_of(answer).await["errors"][0]["pointer"], "/body/11000");
        assert_eq!(world.stored().await, 0);
        let answer = world.send("?atomic=true", "gzip", gzip(good.join("\n").as_bytes())).await;
        assert_eq!(body_of(answer).await["accepted"], 12_000);
        assert_eq!(world.stored().await, 12_000);
        let large = json!({"timestamp": "", "source": "", "metric_type": "", "metric_data": {"text": "x".repeat(60_000)}});
        let large = format!("{large}\n").repeat(17 * 1024 * 1024 / 60_000);
        let answer = world.send("?atomic=true", "zstd", zstd(large.as_bytes())).await;
        assert_eq!(answer.status(), 413);
        assert_eq!(world.stored().await, 12_000);
    }

    async fn everything_is_read_as_lines_in_either_order(test: TestDatabase) {
        let world = World::start(test, &[("HTTP_BODY_LIMIT", "64KiB")]).await;
        let count = 25_000;
        let text = (0..count).map(line).collect::<Vec<_>>().join("\n");
        let answer = world.send("", "identity", text.into_bytes()).await;
        assert_eq!(body_of(answer).await["accepted"], count, "HTTP_BODY_LIMIT is not that of a stream");
        let all: Vec<usize> = (0..count).collect();
        assert_eq!(numbers(&world.lines("&order=asc").await), all);
        assert_eq!(numbers(&world.lines("&order=desc&limit=3").await), [count - 1, count - 2, count - 3]);
        assert_eq!(world.lines("&source=nobody").await, Vec::<Value>::new());
    }

    async fn a_stream_that_is_none_is_refused(test: TestDatabase) {
        let variables = [("METRICS_STREAM_LIMIT", "256KiB"), ("METRICS_STREAM_IDLE_TIMEOUT", "1s")];
        let world = World::start(test, &variables).await;
        let keyed = world.post("").header("Idempotency-Key", "k").body(line(1)).send().await.unwrap();
        assert_eq!(keyed.status(), 400);
        assert_eq!(body_of(keyed).await["errors"][0]["pointer"], "/header/idempotency-key");
        let cut = |mut all: Vec<u8>, most: usize| { all.truncate(all.len() - most); all };
        let (gzipped, zipped) = (gzip(line(1).as_bytes()), zstd(line(1).as_bytes()));
        for (encoding, body, told) in [
            ("gzip", line(1).into_bytes(), "it is not compressed as Content-Encoding says: invalid gzip header"),
            ("gzip", cut(gzipped.clone(), 9), "what is compressed ends before its end"),
            ("gzip", cut(gzipped, 1), "what is compressed ends before its end"),
            ("zstd", line(1).into_bytes(), "it is not compressed as Content-Encoding says: Unknown frame descriptor"),
            ("zstd", cut(zipped, 1), "what is compressed ends before its end"),
            ("zstd", windowed(27), "the window of zstd may have 8.0 MiB at most, as with --long=23"),
        ] {
            let answer = world.send("", encoding, body).await;
            assert_eq!((answer.status().as_u16(), encoding), (400, encoding));
            let problem = body_of(answer).await;
            assert_eq!(problem["errors"][0], json!({"pointer": "/body", "detail": told}), "{encoding}");
        }
        assert_eq!(world.stored().await, 0);
        assert_eq!(body_of(world.send("", "zstd", windowed(23)).await).await["accepted"], 1);
        world.empty().await;
        // A megabyte of nothing in some bytes.
        let bomb = vec![b' '; 1024 * 1024];
        assert_eq!(world.send("", "zstd", zstd(&bomb)).await.status(), 413);
        assert_eq!(world.send("", "gzip", gzip(&bomb)).await.status(), 413);
        assert_eq!(world.send("", "identity", bomb).await.status(), 413);
        assert_eq!(world.stored().await, 0);
    }

    async fn a_silent_client_is_not_waited_for(test: TestDatabase) {
        let world = World::start(test, &[("METRICS_STREAM_IDLE_TIMEOUT", "1s")]).await;
        let mut stream = tokio::net::TcpStream::connect(world.service.address).await.unwrap();
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\ncontent-type: {NDJSON}\r\ncontent-length: 1000000\r\n\r\n{}\n",
            world.token,
            line(1)
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let count = stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("body_timeout"), "{answer}");
        assert!(answer.contains("nothing more of the body came for 1s"), "{answer}");
        // A place for the next stream is free again.
        let answers = (0..4).map(|_| world.send("", "identity", line(1).into_bytes()));
        for answer in futures_util::future::join_all(answers).await {
            assert_eq!(answer.status(), 200);
        }
    }

    async fn lines_are_sent_to_those_who_want_them(test: TestDatabase) {
        let world = World::start(test, &[]).await;
        let json = "application/json";
        for (accept, sent) in [
            ("application/x-ndjson", NDJSON),
            ("application/x-ndjson;q=0.1", NDJSON),
            ("application/x-ndjson, application/json;q=0.9", NDJSON),
            ("application/x-ndjson, */*", NDJSON),
            ("application/json, application/x-ndjson;q=0.1", json),
            ("application/x-ndjson;q=0, */*", json),
            ("application/x-ndjson;q=0", json),
            ("*/*", json),
            ("text/html, */*;q=0.1", json),
        ] {
            let url = world.service.url(&format!("{PATH}?metric_type=cpu"));
            let request = world.service.client.get(url).bearer_auth(&world.token).header("accept", accept);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.headers()["content-type"], sent, "{accept}");
        }
    }

    async fn what_a_broken_stream_stored_is_told(test: TestDatabase) {
        let world = World::start(test, &[("METRICS_STREAM_LIMIT", "2MiB")]).await;
        let text = format!("{}\n", line(1)).repeat(40_000);
        let answer = world.send("", "gzip", gzip(text.as_bytes())).await;
        assert_eq!(answer.status(), 413);
        let stored = world.stored().await;
        assert!(stored > 0, "{stored}");
        let detail = body_of(answer).await["detail"].as_str().unwrap().to_owned();
        assert!(detail.ends_with(&format!("; {stored} of the stream are stored")), "{detail}");
    }

    async fn who_does_not_read_on_gives_the_place_up(test: TestDatabase) {
        let world = World::start(test, &[("METRICS_STREAMS", "1"), ("METRICS_STREAM_IDLE_TIMEOUT", "1s")]).await;
        let (mut stream, whole) = begin_to_read(&world).await;
        assert_eq!(world.read("&limit=1").await.status(), 503, "there is one place");
        let is_free = || async { world.read("&limit=1").await.status() == 200 };
        eventually(std::time::Duration::from_secs(15), "the place is free again", is_free).await;
        // What it got is not taken for the whole: the answer ends without its end.
        let mut rest = Vec::new();
        let _broken_off = stream.read_to_end(&mut rest).await;
        assert!(rest.len() < whole && !rest.ends_with(b"\r\n0\r\n\r\n"), "{} bytes", rest.len());
    }

    /// A stream holds a lock and a snapshot of the database as long as it is read.
    async fn who_reads_for_ever_gives_the_place_up(test: TestDatabase) {
        let world = World::start(test, &[("METRICS_STREAMS", "1"), ("METRICS_STREAM_TIMEOUT", "2s")]).await;
        let (mut stream, whole) = begin_to_read(&world).await;
        let slow = tokio::spawn(async move {
            let (mut all, mut some) = (Vec::new(), vec![0; 16 * 1024]);
            // Slowly as long as there is something to hold, and to the end then.
            let begun = std::time::Instant::now();
            while let Ok(count) = stream.read(&mut some).await
                && count > 0
            {
                all.extend_from_slice(&some[..count]);
                if begun.elapsed() < std::time::Duration::from_secs(8) {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            }
            all
        });
        assert_eq!(world.read("&limit=1").await.status(), 503, "there is one place");
        let is_free = || async { world.read("&limit=1").await.status() == 200 };
        eventually(std::time::Duration::from_secs(7), "the place is free again", is_free).await;
        let all = slow.await.unwrap();
        assert!(all.len() < whole && !all.ends_with(b"\r\n0\r\n\r\n"), "{} bytes", all.len());
    }
}
