//! The limits of a connection.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::support::{DEADLINE, Program, TestService, client};

const REQUEST: &[u8] = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";

/// Everything that comes until the connection is closed.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut answer))
        .await
        .expect("it is closed")
        .expect("it is closed well");
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn a_connection_that_does_not_ask_is_closed() {
    let service = TestService::with(&[("HTTP_IDLE_TIMEOUT", "100ms")], |it| it).await;
    for sent in ["", "GET /livez HTTP/1.1\r\nHost:"] {
        let mut stream = TcpStream::connect(service.address).await.expect("a connection");
        stream.write_all(sent.as_bytes()).await.expect("sent");
        rest(&mut stream).await;
    }
    let mut stream = TcpStream::connect(service.address).await.expect("a connection");
    stream.write_all(REQUEST).await.expect("sent");
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_connection_that_never_asked_has_less_time() {
    let service = TestService::start().await;
    let started = Instant::now();
    for sent in ["", "GET /livez HTTP/1.1\r\nHost:"] {
        let mut stream = TcpStream::connect(service.address).await.expect("a connection");
        stream.write_all(sent.as_bytes()).await.expect("sent");
        let mut asked = TcpStream::connect(service.address).await.expect("a connection");
        asked.write_all(REQUEST).await.expect("sent");
        rest(&mut stream).await;
        assert!(started.elapsed() < 2 * DEADLINE);
        // One that has asked may do so again.
        let mut buffer = [0; 4096];
        let _answer = asked.read(&mut buffer).await.expect("an answer");
        asked.write_all(REQUEST).await.expect("sent");
        let _another = timeout(DEADLINE, asked.read(&mut buffer)).await.expect("in time").expect("an answer");
        assert!(buffer.starts_with(b"HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn where_everybody_has_a_request_the_next_waits_for_its_turn() {
    let service = TestService::with(&[("HTTP_MAX_CONNECTIONS", "1")], |it| it).await;
    let mut first = TcpStream::connect(service.address).await.expect("a connection");
    let head = "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                Content-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    first.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 100", "the body is waited for");
    let mut second = TcpStream::connect(service.address).await.expect("the kernel accepts it");
    second.write_all(REQUEST).await.expect("sent");
    let waiting = timeout(Duration::from_millis(200), second.read_exact(&mut answer)).await;
    assert!(waiting.is_err(), "it is not its turn");
    first.write_all(b"{}").await.expect("sent");
    timeout(DEADLINE, second.read_exact(&mut answer)).await.expect("it is its turn").expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
    // It was answered, and made room after that.
    assert!(rest(&mut first).await.contains("HTTP/1.1 400 "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_keep_no_probe_from_its_answer() {
    let service = TestService::with(&[("HTTP_MAX_CONNECTIONS", "64")], |it| it).await;
    let address = service.address;
    // They come again as soon as they are closed; one in two asks something first, one in four half of it.
    let silent = (0..128).map(|number| async move {
        loop {
            let Ok(mut stream) = TcpStream::connect(address).await else { continue };
            let sent = [&b""[..], REQUEST, &REQUEST[..20], REQUEST][number % 4];
            let _closed = stream.write_all(sent).await;
            let _closed = stream.read_to_end(&mut Vec::new()).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let silent: Vec<_> = silent.map(tokio::spawn).collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    for _ in 0..20 {
        let started = Instant::now();
        let mut probe = TcpStream::connect(address).await.expect("a connection");
        probe.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.expect("sent");
        assert!(rest(&mut probe).await.starts_with("HTTP/1.1 200 "));
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    }
    silent.into_iter().for_each(|it| it.abort());
}

/// Says a byte now and then of a body, or reads a little now and then of large answers, until it is thrown out.
async fn dawdle(address: SocketAddr, large: Option<&str>) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let mut stream = socket.connect(address).await?;
    let head = match large {
        Some(path) => format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n").repeat(8),
        None => "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                 Content-Length: 1000\r\n\r\n"
            .to_owned(),
    };
    stream.write_all(head.as_bytes()).await?;
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        match large {
            Some(_) if stream.read(&mut [0; 1024]).await? == 0 => return Ok(()),
            Some(_) => {}
            None => stream.write_all(b" ").await?,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_for_their_clients_keep_no_probe_from_its_answer() {
    let service = TestService::with(&[("HTTP_MAX_CONNECTIONS", "16")], |it| it).await;
    let address = service.address;
    let page = service.get("/docs").await.text().await.expect("text");
    let bundle = page.split('"').find(|it| it.ends_with(".js") && it.contains("bundle")).expect("a bundle");
    for large in [None, Some(bundle)] {
        let slow = (0..24).map(|_| {
            let large = large.map(str::to_owned);
            tokio::spawn(async move {
                loop {
                    let _thrown_out = dawdle(address, large.as_deref()).await;
                }
            })
        });
        let slow: Vec<_> = slow.collect();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let started = Instant::now();
        let mut probe = TcpStream::connect(address).await.expect("a connection");
        probe.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.expect("sent");
        assert!(rest(&mut probe).await.starts_with("HTTP/1.1 200 "));
        assert!(started.elapsed() < Duration::from_secs(15), "{large:?}: {:?}", started.elapsed());
        slow.into_iter().for_each(|it| it.abort());
    }
}

/// What the kernel keeps of the answers of a server, in bytes: of each of its connections.
#[cfg(target_os = "linux")]
fn unsent(server: SocketAddr) -> Vec<u64> {
    let local = format!(":{:04X}", server.port());
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the table of connections");
    let rows = table.lines().map(|it| it.split_ascii_whitespace().collect::<Vec<_>>());
    let of_server = rows.filter(|it| it[1].ends_with(&local) && it[3] == "01");
    of_server
        .map(|it| u64::from_str_radix(it[4].split(':').next().expect("a number"), 16).expect("hex"))
        .collect()
}

/// Clients that ask for something large, and read nothing of it.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_take_little_memory() {
    const CLIENTS: usize = 100;
    let mut program = Program::serve(&[]);
    let address = program.address();
    let get =
        async |path: &str| client().get(format!("http://{address}{path}")).send().await.expect("an answer");
    let page = get("/docs").await.text().await.expect("text");
    let bundle = page.split('"').find(|it| it.ends_with(".js") && it.contains("bundle")).expect("a bundle");
    let size = get(bundle).await.bytes().await.expect("a file").len() as u64;
    let before = program.memory();
    let mut silent = Vec::new();
    for _ in 0..CLIENTS {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let mut stream = socket.connect(address).await.expect("a connection");
        let head = format!("GET {bundle} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("sent");
        silent.push(stream);
    }
    // Each has the beginning of its answer.
    for stream in &mut silent {
        timeout(DEADLINE, stream.read_exact(&mut [0; 12])).await.expect("in time").expect("an answer");
    }
    let kept = unsent(address);
    let most = kept.iter().max().copied().unwrap_or_default();
    assert!(
        kept.len() >= CLIENTS && most > 0 && most < size / 8,
        "{most} of {size} bytes at {} clients",
        kept.len()
    );
    let more = program.memory().saturating_sub(before);
    assert!(more < 90 * CLIENTS as u64, "{more} KiB more for {CLIENTS} clients");
}

/// One that takes its answer steadily is no silent one, however much of the answer is on its way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_its_answer_gets_all_of_it_and_the_silent_one_makes_room() {
    let service = TestService::with(&[("HTTP_MAX_CONNECTIONS", "2")], |it| it).await;
    let page = service.get("/docs").await.text().await.expect("text");
    let bundle = page.split('"').find(|it| it.ends_with(".js") && it.contains("bundle")).expect("a bundle");
    let size = service.get(bundle).await.bytes().await.expect("a file").len();
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(64 * 1024).expect("a small buffer");
    let mut reader = socket.connect(service.address).await.expect("a connection");
    let mut silent = TcpStream::connect(service.address).await.expect("a connection");
    let head = format!("GET {bundle} HTTP/1.1\r\nHost: x\r\n\r\n");
    reader.write_all(head.as_bytes()).await.expect("sent");
    let head = "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                Content-Length: 9\r\n\r\n";
    silent.write_all(head.as_bytes()).await.expect("sent");
    let reading = tokio::spawn(async move {
        let (mut answer, mut part) = (Vec::new(), vec![0; size / 80]);
        let mut left = usize::MAX;
        while left > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let read = reader.read(&mut part).await.expect("it is not reset");
            assert!(read > 0, "it is closed after {} of {size} bytes", answer.len());
            answer.extend_from_slice(&part[..read]);
            let head = answer.windows(4).take(4096).position(|it| it == b"\r\n\r\n").expect("a head") + 4;
            left = head + size - answer.len();
        }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut newcomer = TcpStream::connect(service.address).await.expect("a connection");
    newcomer.write_all(REQUEST).await.expect("sent");
    let mut answer = [0; 12];
    timeout(DEADLINE, newcomer.read_exact(&mut answer)).await.expect("there is room").expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert!(!reading.is_finished(), "it was the silent one that made room");
    reading.await.expect("all of it is read");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let service = TestService::start().await;
    let long = "x".repeat(16 * 1024);
    for head in [
        format!("GET /livez HTTP/1.1\r\nHost: x\r\nLong: {long}\r\n\r\n"),
        format!("GET /livez HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(101)),
    ] {
        let mut stream = TcpStream::connect(service.address).await.expect("a connection");
        // The service may answer and close before it has read everything.
        let _sent = stream.write_all(head.as_bytes()).await;
        let mut answer = [0; 12];
        timeout(DEADLINE, stream.read_exact(&mut answer)).await.expect("in time").expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 431");
    }
}

#[tokio::test]
async fn several_requests_go_over_one_connection() {
    let service = TestService::start().await;
    let mut stream = TcpStream::connect(service.address).await.expect("a connection");
    let last = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(&[REQUEST, REQUEST, last].concat()).await.expect("sent");
    assert_eq!(rest(&mut stream).await.matches("HTTP/1.1 200 OK").count(), 3);
}
