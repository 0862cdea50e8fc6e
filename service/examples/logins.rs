//! What `make bench` asks logins with: one after the other to compare their times, or many at once beside
//! somebody who only asks who they are. It needs nothing but the standard library, so that it is built in a
//! second, and prints lines of a key and a number.
//!
//! ```text
//! logins timing ADDRESS PASSWORD TRIES            milliseconds by the kind of login
//! logins crowd ADDRESS PASSWORD CLIENTS SECONDS   counts of answers, and milliseconds of whoami
//! ```
//!
//! The accounts that it signs in with are those of `deploy/bench/logins.sh`.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "this is no part of the service")]

use std::error::Error;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Logins that must not be told apart, each with its name, whether the password is right, and the status
/// that it is answered with.
const KINDS: [(&str, &str, bool, u16); 6] = [
    ("unknown", "bench-nobody", false, 401),
    ("wrong", "bench-active", false, 401),
    ("inactive", "bench-absent", true, 401),
    ("inactive-wrong", "bench-absent", false, 401),
    ("blocked-wrong", "bench-barred", false, 401),
    ("blocked", "bench-barred", true, 403),
];

/// How many connections ask who they are, and how often each of them does.
const WATCHERS: usize = 4;
const PACE: Duration = Duration::from_millis(10);

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["timing", address, password, tries] => timing(address, password, tries.parse()?),
        ["crowd", address, password, clients, seconds] => {
            crowd(address, password, clients.parse()?, Duration::from_secs(seconds.parse()?))
        }
        _ => {
            Err("logins timing ADDRESS PASSWORD TRIES, or logins crowd ADDRESS PASSWORD CLIENTS SECONDS"
                .into())
        }
    }
}

/// Asks each kind of login `tries` times, in an order that is mixed anew for each round, so that whatever
/// else the machine does falls on all of them alike.
fn timing(address: &str, password: &str, tries: usize) -> Result<(), Failure> {
    let mut connection = Connection::open(address)?;
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    // The first round opens the connections of the pool and fills caches.
    for round in 0..=tries {
        let mut kinds = KINDS;
        for last in (1..kinds.len()).rev() {
            kinds.swap(last, dice.below(last + 1));
        }
        for (kind, name, is_right, expected) in kinds {
            let password = if is_right { password.to_owned() } else { "x".repeat(password.len()) };
            let (answer, milliseconds) = connection.log_in(name, &password)?;
            if answer.status != expected {
                return Err(format!("{kind} was answered with {}, not {expected}", answer.status).into());
            }
            if round > 0 {
                println!("{kind} {milliseconds:.3}");
            }
        }
    }
    Ok(())
}

/// Signs `clients` in at the same time, each again as soon as it is answered or may come again, while
/// others ask who they are; and these once more while nobody signs in.
fn crowd(address: &str, password: &str, clients: usize, duration: Duration) -> Result<(), Failure> {
    let (answer, _) = Connection::open(address)?.log_in("bench-active", password)?;
    let token = answer.body.split("\"token\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let token = token.ok_or("signing in gave no token")?;
    watch("whoami-alone", address, token, duration)?;

    let (is_over, start) = (AtomicBool::new(false), Barrier::new(clients + 1));
    thread::scope(|scope| {
        let (is_over, start) = (&is_over, &start);
        let clients: Vec<_> = (0..clients)
            .map(|number| scope.spawn(move || sign_in(address, number, password, start, is_over)))
            .collect();
        start.wait();
        let watched = watch("whoami-beside", address, token, duration);
        is_over.store(true, Ordering::Relaxed);
        for client in clients {
            for (status, milliseconds) in client.join().map_err(|_| "a client panicked")?? {
                println!("login-{status} {milliseconds:.3}");
            }
        }
        watched
    })
}

/// One client of the crowd: how it was answered, and after how many milliseconds. A 503 that does not say
/// when to come again has a status of its own.
fn sign_in(
    address: &str,
    number: usize,
    password: &str,
    start: &Barrier,
    is_over: &AtomicBool,
) -> Result<Vec<(String, f64)>, Failure> {
    let connection = Connection::open(address);
    // Whoever could not connect must not keep the others waiting.
    start.wait();
    let (mut connection, mut answers) = (connection?, Vec::new());
    while !is_over.load(Ordering::Relaxed) {
        let (answer, milliseconds) = connection.log_in(&format!("bench-crowd-{number}"), password)?;
        answers.push(match (answer.status, answer.retry_after) {
            (503, None) => ("503-without-time".to_owned(), milliseconds),
            (status, _) => (status.to_string(), milliseconds),
        });
        if let Some(seconds) = answer.retry_after {
            thread::sleep(Duration::from_secs(seconds));
        }
    }
    Ok(answers)
}

/// Asks who one is, on several connections at a steady pace. What is late counts from when it should have
/// been asked.
fn watch(key: &str, address: &str, token: &str, duration: Duration) -> Result<(), Failure> {
    let request =
        format!("GET /api/v1/auth/whoami HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n");
    let ask = || -> Result<Vec<f64>, Failure> {
        let mut connection = Connection::open(address)?;
        let (begin, mut times) = (Instant::now(), Vec::new());
        let mut due = begin;
        while due < begin + duration {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let answer = connection.ask(&request)?;
            if answer.status != 200 {
                return Err(format!("whoami was answered with {}", answer.status).into());
            }
            times.push(due.elapsed().as_secs_f64() * 1e3);
            due += PACE;
        }
        Ok(times)
    };
    thread::scope(|scope| {
        let watchers: Vec<_> = (0..WATCHERS).map(|_| scope.spawn(ask)).collect();
        for watcher in watchers {
            for milliseconds in watcher.join().map_err(|_| "a watcher panicked")?? {
                println!("{key} {milliseconds:.3}");
            }
        }
        Ok(())
    })
}

/// A connection that is kept open.
struct Connection(BufReader<TcpStream>);

/// What is looked at of an answer.
struct Answer {
    status: u16,
    retry_after: Option<u64>,
    body: String,
}

impl Connection {
    fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// The answer, and the milliseconds until it was there.
    fn log_in(&mut self, name: &str, password: &str) -> Result<(Answer, f64), Failure> {
        let body = format!(r#"{{"username":"{name}","password":"{password}"}}"#);
        let length = body.len();
        let request = format!(
            "POST /api/v1/auth/login HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        let begin = Instant::now();
        let answer = self.ask(&request)?;
        Ok((answer, begin.elapsed().as_secs_f64() * 1e3))
    }

    fn ask(&mut self, request: &str) -> Result<Answer, Failure> {
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let status = line.split(' ').nth(1).ok_or("this is no answer in HTTP")?.parse()?;
        let (mut length, mut retry_after) = (0, None);
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse()?,
                "retry-after" => retry_after = Some(value.trim().parse()?),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok(Answer { status, retry_after, body: String::from_utf8(body)? })
    }
}

/// Numbers that look like chance and are the same each time (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % limit
    }
}
