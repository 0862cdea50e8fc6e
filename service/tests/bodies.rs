//! Bodies that are refused, and the memory of those that are not.

use std::time::{Duration, Instant};

use foundation::database::Backend;
use foundation::testing::TestDatabase;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::accounts::{Accounts, Kind, migrate};
use crate::support::{self, DEADLINE, TestService};

const SNAPSHOTS: &str = "/api/v1/metrics/snapshots";
const MIB: usize = 1024 * 1024;

/// A service, and the session of an administrator.
async fn service(variables: &[(&str, &str)]) -> (TestDatabase, TestService, String) {
    let database = TestDatabase::new(Backend::Sqlite).await;
    migrate(&database).await;
    let variables = [&[("DATABASE_URL", database.address.as_str())][..], variables].concat();
    let service = TestService::with(&variables, |it| it).await;
    let accounts = Accounts::new(database.open());
    let admin = accounts.user("admin", Kind { is_admin: true, ..Kind::default() }).await;
    let token = accounts.session(admin).await;
    (database, service, token)
}

/// The head of a request with a body of this length, or chunked.
fn head(method: &str, path: &str, headers: &str, length: Option<usize>) -> String {
    let length = length.map_or("Transfer-Encoding: chunked".to_owned(), |it| format!("Content-Length: {it}"));
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}{length}\r\n\r\n")
}

/// The head of an answer. Reads no further.
async fn answered(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(timeout(DEADLINE, stream.read_u8()).await.expect("in time").expect("an answer"));
    }
    String::from_utf8(answer).unwrap().to_ascii_lowercase()
}

/// Sends all of a request before it reads, as most clients do, in parts that the kernel does not take at once.
async fn sent_then_read(service: &TestService, head: &str, parts: usize) -> String {
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let is_chunked = head.contains("chunked");
    let part = vec![b'x'; 64 * 1024];
    for _ in 0..parts {
        if is_chunked {
            stream.write_all(b"10000\r\n").await.unwrap();
        }
        stream.write_all(&part).await.expect("the service reads on");
        if is_chunked {
            stream.write_all(b"\r\n").await.unwrap();
        }
    }
    if is_chunked {
        stream.write_all(b"0\r\n\r\n").await.expect("the service reads on");
    }
    // Whatever was lost until now is lost for good.
    tokio::time::sleep(Duration::from_millis(200)).await;
    answered(&mut stream).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_while_sending_is_told_why() {
    let (_database, service, token) = service(&[]).await;
    let parts = 27 * 16;
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let (json, ndjson) = ("Content-Type: application/json\r\n", "Content-Type: application/x-ndjson\r\n");
    let text = "Content-Type: text/plain\r\n";
    let all = parts * 64 * 1024;
    for (method, path, headers, length, status) in [
        // An expired token.
        ("POST", SNAPSHOTS, format!("Authorization: Bearer nobody\r\n{ndjson}"), Some(all), "401"),
        ("POST", SNAPSHOTS, format!("Authorization: Bearer nobody\r\n{ndjson}"), None, "401"),
        ("POST", "/nothing", String::new(), None, "404"),
        ("POST", "/livez", String::new(), None, "405"),
        ("POST", SNAPSHOTS, format!("{bearer}{text}"), None, "415"),
        ("POST", SNAPSHOTS, format!("{bearer}{json}"), None, "413"),
        ("POST", SNAPSHOTS, format!("{bearer}{json}"), Some(all), "413"),
        ("POST", SNAPSHOTS, format!("{bearer}Idempotency-Key: k\r\n{ndjson}"), Some(all), "400"),
        // Not an error, and as little read.
        ("GET", "/api/v1/users", bearer.clone(), None, "200"),
    ] {
        let head = head(method, path, &headers, length);
        let answer = sent_then_read(&service, &head, parts).await;
        assert!(answer.starts_with(&format!("http/1.1 {status} ")), "{head} {answer}");
        assert!(answer.contains("connection: close"), "{head} {answer}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_told_so_to_the_end() {
    let (_database, service, _) = service(&[]).await;
    let head = format!("GET /livez HTTP/1.1\r\nLong: {}\r\n\r\n", "x".repeat(2 * MIB));
    assert!(sent_then_read(&service, &head, 0).await.starts_with("http/1.1 431 "));
}

#[tokio::test]
async fn an_answer_does_not_wait_for_what_is_sent_after_it() {
    let (_database, service, _) = service(&[]).await;
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    let started = Instant::now();
    stream.write_all(head("POST", SNAPSHOTS, "", Some(MIB)).as_bytes()).await.unwrap();
    assert!(answered(&mut stream).await.starts_with("http/1.1 401 "));
    assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
    // It may send on for a while, and nobody minds.
    for _ in 0..16 {
        stream.write_all(&vec![b'x'; MIB / 16]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut rest = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("it is closed").expect("it is not reset");
    assert!(String::from_utf8(rest).unwrap().contains("\"unauthorized\""));
}

/// A small body that is refused costs nobody the connection.
#[tokio::test]
async fn a_small_body_that_is_refused_keeps_its_connection() {
    let (_database, service, _) = service(&[]).await;
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    for _ in 0..3 {
        let request =
            format!("{}{{}}", head("POST", SNAPSHOTS, "Content-Type: application/json\r\n", Some(2)));
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = answered(&mut stream).await;
        assert!(answer.starts_with("http/1.1 401 ") && !answer.contains("connection: close"), "{answer}");
        let length = answer.split_once("content-length: ").unwrap().1.split("\r\n").next().unwrap();
        stream.read_exact(&mut vec![0; length.parse().unwrap()]).await.unwrap();
    }
}

/// Eight bodies of the largest size are collected at the same time, and no byte more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_have_so_much_memory_together() {
    let (_database, service, token) = service(&[("HTTP_BODY_LIMIT", "256KiB")]).await;
    let headers = format!(
        "Authorization: Bearer {token}\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    );
    let size = 256 * 1024;
    let mut unfinished = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        stream.write_all(head("POST", SNAPSHOTS, &headers, Some(size)).as_bytes()).await.unwrap();
        assert!(answered(&mut stream).await.starts_with("http/1.1 100 "), "it is read");
        unfinished.push(stream);
    }
    let url = service.url(SNAPSHOTS);
    let post = |blanks: usize| {
        let body = format!("{}{{\"items\":[]}}", " ".repeat(blanks));
        let request =
            service.client.post(&url).bearer_auth(&token).header("content-type", "application/json");
        request.body(body).send()
    };
    let refused = post(200 * 1024).await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(support::header(&refused, "retry-after"), "1");
    assert_eq!(support::json(refused).await["code"], "busy");
    // What is small, a login among it, does not wait for the large.
    assert_ne!(post(15 * 1024).await.unwrap().status(), 503);
    // Where one has ended, there is room for the next.
    unfinished.remove(0);
    let started = Instant::now();
    while post(200 * 1024).await.unwrap().status() == 503 {
        assert!(started.elapsed() < DEADLINE, "there is no room");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // And the largest is always possible when there is nobody else.
    drop(unfinished);
    let started = Instant::now();
    while post(size - 12).await.unwrap().status() == 503 {
        assert!(started.elapsed() < DEADLINE, "there is no room");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// serde takes the values of a struct's fields in a row for the struct.
#[tokio::test]
async fn no_array_is_taken_for_an_object() {
    let (_database, service, token) = service(&[]).await;
    let document: Value = service.get("/openapi.json").await.json().await.unwrap();
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let Some(content) = operation["requestBody"]["content"].as_object() else { continue };
            let path = path.replace("{id}", "01890a5d-ac96-774b-bcce-b302099a8057");
            let url = service.url(&path.replace("{key}", "archive.run_hour"));
            let json_types = content.keys().filter(|it| it.ends_with("json") && !it.ends_with("ndjson"));
            for content_type in json_types {
                for body in [json!([]), json!([false]), json!(["a", "b"]), json!(["cpu", 1, "delete", true])]
                {
                    let method: Method = method.to_uppercase().parse().unwrap();
                    let request = service.client.request(method, &url).bearer_auth(&token);
                    let request = request.header("if-match", "*").header("content-type", content_type);
                    let answer = request.body(body.to_string()).send().await.unwrap();
                    assert_eq!(answer.status(), 400, "{path}: {body}");
                    let problem = support::json(answer).await;
                    let told = problem["errors"][0]["detail"].as_str().unwrap();
                    assert!(told.starts_with("expected an object"), "{path}: {body}: {problem}");
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 40, "{asked}");
}
