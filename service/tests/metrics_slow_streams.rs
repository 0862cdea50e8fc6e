//! Streams that last longer than their lines take: what came is stored, by the clock of its own time.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use foundation::clock::Clock;
use foundation::on_both_databases;
use foundation::testing::eventually;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::metrics_support::{NDJSON, PATH, World};

/// How long anything may take before the test calls it broken.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(20);

/// A clock that is ahead of the machine's by as many seconds as the number says.
fn clock(ahead: &Arc<AtomicI64>) -> Clock {
    let ahead = Arc::clone(ahead);
    Clock::told_by(move || Clock::system().now() + time::Duration::seconds(ahead.load(Ordering::SeqCst)))
}

/// A body that is written bit by bit.
struct Slow {
    stream: tokio::net::TcpStream,
    encoder: Box<dyn Encoder>,
}

/// What compresses, and gives away all that it has.
trait Encoder: Send {
    fn encode(&mut self, text: &str) -> Vec<u8>;
    fn end(self: Box<Self>) -> Vec<u8>;
}

struct Plain;

impl Encoder for Plain {
    fn encode(&mut self, text: &str) -> Vec<u8> {
        text.as_bytes().to_vec()
    }

    fn end(self: Box<Self>) -> Vec<u8> {
        Vec::new()
    }
}

impl Encoder for flate2::write::GzEncoder<Vec<u8>> {
    fn encode(&mut self, text: &str) -> Vec<u8> {
        self.write_all(text.as_bytes()).unwrap();
        self.flush().unwrap();
        std::mem::take(self.get_mut())
    }

    fn end(self: Box<Self>) -> Vec<u8> {
        self.finish().unwrap()
    }
}

impl Encoder for zstd::stream::write::Encoder<'static, Vec<u8>> {
    fn encode(&mut self, text: &str) -> Vec<u8> {
        self.write_all(text.as_bytes()).unwrap();
        self.flush().unwrap();
        std::mem::take(self.get_mut())
    }

    fn end(self: Box<Self>) -> Vec<u8> {
        self.finish().unwrap()
    }
}

impl Slow {
    async fn begin(world: &World, query: &str, encoding: &str) -> Self {
        let encoder: Box<dyn Encoder> = match encoding {
            "gzip" => Box::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast())),
            "zstd" => Box::new(zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap()),
            _ => Box::new(Plain),
        };
        let mut stream = tokio::net::TcpStream::connect(world.service.address).await.unwrap();
        let head = format!(
            "POST {PATH}{query} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\ncontent-type: {NDJSON}\r\n\
             content-encoding: {encoding}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n",
            world.token
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        Self { stream, encoder }
    }

    async fn chunk(&mut self, bytes: &[u8]) {
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.stream.write_all(&chunk).await.unwrap();
    }

    /// Sends a snapshot of this time.
    async fn line(&mut self, time: time::OffsetDateTime) {
        let item = json!({"timestamp": time.format(&Rfc3339).unwrap(), "source": "a", "metric_type": "cpu",
            "metric_data": {"value": 1}});
        let bytes = self.encoder.encode(&format!("{item}\n"));
        self.chunk(&bytes).await;
    }

    /// Ends the body, and reads the answer.
    async fn end(self) -> Value {
        let Self { stream, encoder } = self;
        let last = encoder.end();
        let mut rest = Self { stream, encoder: Box::new(Plain) };
        if !last.is_empty() {
            rest.chunk(&last).await;
        }
        rest.chunk(b"").await;
        let mut answer = String::new();
        tokio::time::timeout(DEADLINE, rest.stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let body = answer.lines().find(|it| it.starts_with('{')).expect(&answer);
        serde_json::from_str(body).unwrap()
    }
}

on_both_databases! {
    /// While a stream goes on, what came is stored soon, and what is new is not too new.
    async fn what_comes_slowly_is_stored_as_it_comes(test: TestDatabase) {
        let ahead = Arc::new(AtomicI64::new(0));
        let clock = clock(&ahead);
        let variables = [("METRICS_STREAM_IDLE_TIMEOUT", "60s"), ("METRICS_WRITE_AHEAD", "1m")];
        let world = World::start_by(test, &variables, clock.clone()).await;
        for (place, encoding) in ["identity", "gzip", "zstd"].into_iter().enumerate() {
            // The session is one of now.
            ahead.store(0, Ordering::SeqCst);
            let before = i64::try_from(3 * place).unwrap();
            let is_stored = |count: i64| {
                let world = &world;
                move || async move { world.stored().await == before + count }
            };
            let mut slow = Slow::begin(&world, "", encoding).await;
            slow.line(clock.now()).await;
            eventually(DEADLINE, "the first line is stored", is_stored(1)).await;
            ahead.store(2 * 60 * 60, Ordering::SeqCst);
            slow.line(clock.now()).await;
            eventually(DEADLINE, "the second line is stored", is_stored(2)).await;
            // By the clock of now this one is too new still.
            slow.line(clock.now() + time::Duration::minutes(10)).await;
            slow.line(clock.now()).await;
            let told = slow.end().await;
            assert_eq!((&told["accepted"], &told["rejected"]), (&json!(3), &json!(1)), "{encoding}: {told}");
            assert_eq!(told["errors"][0]["code"], "timestamp_too_new", "{told}");
            assert_eq!(told["errors"][0]["index"], 2, "{told}");
            assert_eq!(world.stored().await, before + 3, "{encoding}");
        }
    }

    /// What is stored as a whole is not stored before, and every line of it by the clock of its own time.
    async fn what_is_stored_as_a_whole_waits_for_its_end(test: TestDatabase) {
        let ahead = Arc::new(AtomicI64::new(0));
        let clock = clock(&ahead);
        let variables = [("METRICS_STREAM_IDLE_TIMEOUT", "60s"), ("METRICS_WRITE_AHEAD", "1m")];
        let world = World::start_by(test, &variables, clock.clone()).await;
        let (mut whole, mut other) =
            (Slow::begin(&world, "?atomic=true", "identity").await, Slow::begin(&world, "", "identity").await);
        whole.line(clock.now()).await;
        // What came later elsewhere is there: so much time has gone by.
        for count in 1..=2 {
            other.line(clock.now()).await;
            eventually(DEADLINE, "a line is stored", || async { world.stored().await == count }).await;
        }
        ahead.store(2 * 60 * 60, Ordering::SeqCst);
        whole.line(clock.now()).await;
        assert_eq!(whole.end().await["accepted"], 2);
        assert_eq!(other.end().await["accepted"], 2);
        assert_eq!(world.stored().await, 4);
    }
}
