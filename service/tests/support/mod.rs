//! What the tests of the service share.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod accounts;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use foundation::clock::Clock;
use foundation::entropy::Entropy;
use foundation::settings::Environment;
use foundation::testing::{evidence, pooled};
use migrator::stop::Stop;
use poem_openapi::OpenApi;
use reqwest::{Response, StatusCode};
use serde_json::Value;
use service::api::Application;
use service::commands::Serving;
use service::server::Signals;
use service::settings::ServiceSettings;
use tempfile::TempDir;

/// How long anything may take before a test calls it broken.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The service in this process, on a SQLite file of its own unless the variables say otherwise.
pub struct TestService {
    pub address: SocketAddr,
    pub client: reqwest::Client,
    _folder: TempDir,
}

impl TestService {
    pub async fn start() -> Self {
        Self::with(&[], |it| it).await
    }

    /// With these variables, and what `adapt` adds.
    pub async fn with<T: OpenApi + Send + 'static>(
        variables: &[(&str, &str)],
        adapt: impl FnOnce(Application) -> Application<T>,
    ) -> Self {
        Self::with_clock(variables, Clock::system(), adapt).await
    }

    /// The same, by this clock.
    pub async fn with_clock<T: OpenApi + Send + 'static>(
        variables: &[(&str, &str)],
        clock: Clock,
        adapt: impl FnOnce(Application) -> Application<T>,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let database = sqlite_url(&folder);
        let served = served(variables);
        let defaults = [
            ("DATABASE_URL", database.as_str()),
            ("HTTP_ADDRESS", "127.0.0.1:0"),
            ("TELEMETRY_PROMETHEUS_ADDRESS", "off"),
            // Tests count what they did, and nothing else.
            ("METRICS_COLLECT_INTERVAL", "off"),
        ];
        let defaults = defaults.into_iter().filter(|(name, _)| variables.iter().all(|(it, _)| it != name));
        evidence::watch();
        evidence::variables(variables.iter().copied());
        let given = served.iter().map(|(name, value)| (*name, value.as_str()));
        let mut environment = Environment::from_pairs(defaults.chain(given));
        let settings = ServiceSettings::read(&mut environment);
        environment.finish().expect("the settings are good");
        let (_nobody_stops_it, stop) = Stop::new();
        let serving = Serving::start(settings, clock, Entropy::system(), stop).await;
        let serving = serving.expect("it starts");
        let serving = serving.map_application(adapt);
        let address = serving.address();
        tokio::spawn(async move {
            let mut signals = Signals::new().expect("signals");
            serving.run(&mut signals, false).await
        });
        Self { address, client: client(), _folder: folder }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.expect("an answer")
    }

    /// Waits until the service is ready.
    pub async fn ready(&self) {
        wait_for(&self.client, &self.url("/readyz"), StatusCode::OK).await;
    }
}

/// The variables as the service is given them: its database may stand behind a pooler.
fn served<'a>(variables: &[(&'a str, &str)]) -> Vec<(&'a str, String)> {
    let value = |(name, value): &(&'a str, &str)| match *name {
        "DATABASE_URL" | "DATABASE_READ_URL" => (*name, pooled(value)),
        name => (name, (*value).to_owned()),
    };
    variables.iter().map(value).collect()
}

pub fn client() -> reqwest::Client {
    // It knows TLS, as the clients of clouds do, and asks for its provider; another test may have been first.
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .timeout(DEADLINE)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client")
}

/// Asks until the answer has this status, and returns it.
pub async fn wait_for(client: &reqwest::Client, url: &str, status: StatusCode) -> Response {
    let started = Instant::now();
    loop {
        let answer = client.get(url).send().await;
        match answer {
            Ok(answer) if answer.status() == status => return answer,
            other => assert!(started.elapsed() < DEADLINE, "{url} is not {status}: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn sqlite_url(folder: &TempDir) -> String {
    format!("sqlite:///{}", folder.path().join("test.db").display())
}

/// The JSON of an answer.
pub async fn json(answer: Response) -> Value {
    let failed = !answer.status().is_success();
    let body: Value = answer.json().await.expect("JSON");
    if failed {
        evidence::said("error", &body.to_string());
    } else {
        evidence::secrets_in(&body);
    }
    body
}

pub fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    let value = answer.headers().get(name).unwrap_or_else(|| panic!("no {name} in {answer:?}"));
    value.to_str().expect("text")
}

/// The program `service`, running. It is killed when this is dropped.
pub struct Program {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
    folder: TempDir,
}

impl Program {
    /// `service serve` with these variables and no others, on a free port.
    pub fn serve(variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let database = sqlite_url(&folder);
        evidence::variables(variables.iter().copied());
        let mut command = command(&folder);
        command
            .env("DATABASE_URL", database)
            .env("HTTP_ADDRESS", "127.0.0.1:0")
            .env("TELEMETRY_PROMETHEUS_ADDRESS", "off")
            .env("METRICS_COLLECT_INTERVAL", "off")
            .envs(served(variables))
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                evidence::said("program", &line);
                // The test may have seen enough.
                let _unheard = sender.send(line);
            }
        });
        Self { child, lines, seen: Vec::new(), folder }
    }

    /// Waits for a line of the log with this message, and returns it.
    pub fn logged(&mut self, message: &str) -> Value {
        let started = Instant::now();
        while let Some(left) = DEADLINE.checked_sub(started.elapsed()) {
            let Ok(line) = self.lines.recv_timeout(left) else { break };
            self.seen.push(line.clone());
            match serde_json::from_str::<Value>(&line) {
                Ok(value) if value["message"].as_str().is_some_and(|it| it.starts_with(message)) => {
                    return value;
                }
                _ => {}
            }
        }
        panic!("{message:?} was not logged, but {:#?}", self.seen);
    }

    /// Whether such a line is among those that it has logged until now.
    pub fn has_logged(&mut self, is_it: impl Fn(&Value) -> bool) -> bool {
        self.seen.extend(self.lines.try_iter());
        self.seen.iter().filter_map(|line| serde_json::from_str(line).ok()).any(|line| is_it(&line))
    }

    /// Where it listens.
    pub fn address(&mut self) -> SocketAddr {
        self.logged("listening")["address"].as_str().and_then(|it| it.parse().ok()).expect("an address")
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// How much memory the program has, in KiB.
    pub fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let memory = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).expect("its memory");
        memory.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Waits until the program has ended.
    pub fn ended(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(started.elapsed() < DEADLINE, "the program does not end: {:#?}", self.seen);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Everything that it logged, once it has ended.
    pub fn everything(&mut self) -> String {
        self.ended();
        self.seen.extend(self.lines.iter());
        self.seen.join("\n")
    }

    pub fn folder(&self) -> &TempDir {
        &self.folder
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The program in an empty environment and folder.
pub fn command(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_service"));
    command.env_clear().current_dir(folder.path()).stdin(Stdio::null());
    command
}
