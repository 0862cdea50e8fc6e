//! Out of service without a request that is lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{DEADLINE, Program, client, json, wait_for};

const REQUEST: &[u8] = b"GET /health/db HTTP/1.1\r\nHost: x\r\n\r\n";

/// What one connection came to.
enum End {
    /// It was closed between two requests, or after an answer that said so.
    Closed,
    /// Nobody listens any more.
    Refused,
}

/// Reads one answer; says whether the connection goes on after it.
async fn read_answer(stream: &mut TcpStream) -> Result<bool, String> {
    let mut answer = Vec::new();
    loop {
        let head_ends = answer.windows(4).position(|it| it == b"\r\n\r\n");
        if let Some(end) = head_ends {
            let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|it| it.parse().ok()).ok_or("no length")?;
            if answer.len() >= end + 4 + length {
                if !head.starts_with("http/1.1 200 ") {
                    return Err(format!("not well: {}", String::from_utf8_lossy(&answer)));
                }
                return Ok(!head.contains("connection: close"));
            }
        }
        let read = stream.read_buf(&mut answer).await.map_err(|error| error.to_string())?;
        if read == 0 {
            return Err(format!("cut after {} bytes of an answer", answer.len()));
        }
    }
}

/// Asks on one connection, `requests` times at most, counting answers.
async fn ask(address: SocketAddr, requests: usize, answers: &AtomicUsize) -> Result<End, String> {
    let mut stream = match TcpStream::connect(address).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => return Ok(End::Refused),
        Err(error) => return Err(format!("connecting: {error}")),
    };
    for _ in 0..requests {
        stream.write_all(REQUEST).await.map_err(|error| format!("asking: {error}"))?;
        let goes_on = read_answer(&mut stream).await?;
        answers.fetch_add(1, Ordering::Relaxed);
        if !goes_on {
            return Ok(End::Closed);
        }
    }
    Ok(End::Closed)
}

/// Clients that ask until nobody listens, on connections for `requests` requests each.
async fn load(
    address: SocketAddr,
    clients: usize,
    requests: usize,
    answers: Arc<AtomicUsize>,
) -> Vec<String> {
    let clients = (0..clients).map(|_| {
        let answers = answers.clone();
        tokio::spawn(async move {
            loop {
                match ask(address, requests, &answers).await {
                    Ok(End::Closed) => {}
                    Ok(End::Refused) => return None,
                    Err(error) => return Some(error),
                }
            }
        })
    });
    let ends = futures_util::future::join_all(clients).await;
    ends.into_iter().filter_map(|end| end.expect("a client")).collect()
}

async fn drain_under_load(delay: &str) {
    let mut program = Program::serve(&[
        ("HTTP_DRAIN_DELAY", delay),
        ("LOG_LEVEL", "warn,service::server=info,service::commands=info"),
    ]);
    let address = program.address();
    let url = format!("http://{address}/readyz");
    wait_for(&client(), &url, StatusCode::OK).await;
    let answers = Arc::new(AtomicUsize::new(0));
    let lasting = tokio::spawn(load(address, 16, usize::MAX, answers.clone()));
    let fresh = tokio::spawn(load(address, 16, 1, answers.clone()));
    let started = Instant::now();
    while answers.load(Ordering::Relaxed) < 2000 {
        assert!(started.elapsed() < DEADLINE, "there is no load");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    program.signal("TERM");
    let failures = [lasting.await.expect("clients"), fresh.await.expect("clients")].concat();
    let status = tokio::task::spawn_blocking(move || program.ended()).await.expect("the program");
    assert!(
        failures.is_empty(),
        "{} of {} failed: {failures:?}",
        failures.len(),
        answers.load(Ordering::Relaxed)
    );
    assert_eq!(status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_when_the_service_stops_under_load() {
    drain_under_load("300ms").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_without_a_delay_either() {
    for _ in 0..3 {
        drain_under_load("0").await;
    }
}

#[tokio::test]
async fn readiness_fails_first_and_answers_close_their_connections() {
    let mut program = Program::serve(&[("HTTP_DRAIN_DELAY", "30s")]);
    let url = format!("http://{}", program.address());
    let client = client();
    wait_for(&client, &format!("{url}/readyz"), StatusCode::OK).await;
    program.signal("TERM");
    program.logged("stopping: not ready");
    let answer = client.get(format!("{url}/readyz")).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["connection"], "close");
    assert_eq!(json(answer).await["reasons"][0], "the service is stopping");
    for path in ["/livez", "/health", "/health/db", "/docs"] {
        let answer = client.get(format!("{url}{path}")).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    // A second signal does not wait.
    program.signal("TERM");
    let started = Instant::now();
    assert_eq!(program.ended().code(), Some(75));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn silent_connections_do_not_hold_the_end_up() {
    let mut program = Program::serve(&[("HTTP_DRAIN_DELAY", "0"), ("HTTP_DRAIN_TIMEOUT", "60s")]);
    let address = program.address();
    let mut asked = TcpStream::connect(address).await.expect("a connection");
    asked.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    assert!(read_answer(&mut asked).await.expect("an answer"));
    let never_asked = TcpStream::connect(address).await.expect("a connection");
    let started = Instant::now();
    program.signal("TERM");
    assert_eq!(program.ended().code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    drop((asked, never_asked));
}

#[tokio::test]
async fn a_running_request_is_finished_and_one_that_never_ends_is_cut() {
    let mut program = Program::serve(&[
        ("HTTP_DRAIN_DELAY", "0"),
        ("HTTP_DRAIN_TIMEOUT", "1s"),
        ("HTTP_REQUEST_TIMEOUT", "60s"),
    ]);
    let address = program.address();
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(never_answered(address).await);
    }
    let started = Instant::now();
    program.signal("TERM");
    for mut slow in all {
        let mut answer = Vec::new();
        slow.read_to_end(&mut answer).await.expect("it ends");
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(program.ended().code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    // They are told as any other request is, but by their end. It is their clients who kept them waiting.
    let log = program.everything();
    let lines: Vec<serde_json::Value> = log.lines().filter_map(|it| serde_json::from_str(it).ok()).collect();
    let cut = lines.iter().filter(|it| it["message"] == "POST /api/v1/auth/login cut by the server");
    let levels: Vec<_> = cut.map(|it| it["level"].clone()).collect();
    assert_eq!(levels, ["INFO"; 5], "{log}");
    let summary = "stopping: HTTP_DRAIN_TIMEOUT is over, connections are cut";
    let counts: Vec<_> =
        lines.iter().filter(|it| it["message"] == summary).map(|it| &it["connections"]).collect();
    assert_eq!(counts, [5], "{log}");
}

/// A request whose body never comes, so that its answer never does.
async fn never_answered(address: SocketAddr) -> TcpStream {
    let mut slow = TcpStream::connect(address).await.expect("a connection");
    let head = "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n";
    slow.write_all(head.as_bytes()).await.expect("sent");
    slow.read_exact(&mut [0; 25]).await.expect("its body is waited for");
    slow
}

/// A second signal cuts what runs, and says so too.
#[tokio::test]
async fn what_is_cut_at_once_is_told_too() {
    let mut program = Program::serve(&[("HTTP_DRAIN_DELAY", "30s")]);
    let _slow = never_answered(program.address()).await;
    program.signal("TERM");
    program.logged("stopping: not ready");
    program.signal("TERM");
    assert_eq!(program.ended().code(), Some(75));
    let log = program.everything();
    assert!(log.contains("POST /api/v1/auth/login cut by the server"), "{log}");
}
