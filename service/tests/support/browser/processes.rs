//! Chromium and chromedriver: where they are, how they start, how they end.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

use super::LIMIT;

/// A process that is ended when this is dropped.
pub(super) struct Process(Child);

impl Process {
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Starts a program that keeps its files in this folder.
    fn start(mut command: Command, folder: &Path) -> Self {
        command.stdin(Stdio::null()).env("HOME", folder).env("TMPDIR", folder).env_remove("DISPLAY");
        let child = command.spawn();
        Self(
            child.unwrap_or_else(|error| {
                panic!("{} does not start: {error}", command.get_program().display())
            }),
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Asked, Chromium ends its own processes; killed, it would leave that to them.
        let id = self.0.id().to_string();
        let _gone = Command::new("kill").args(["-s", "TERM", &id]).stderr(Stdio::null()).status();
        for _ in 0..500 {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Where a browser keeps what is its own. It is removed when this is dropped, after the browser's end.
pub(super) struct Profile(TempDir);

impl Profile {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        // Some processes outlive the one that started them for a moment, and write.
        for _ in 0..500 {
            if std::fs::remove_dir_all(self.path()).is_ok() || !self.path().exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Where Chromium and chromedriver are. `deploy/development/browser.sh` says so.
pub(super) fn programs(name: &str) -> Option<(PathBuf, PathBuf)> {
    let [chromium, chromedriver] = ["TEST_CHROMIUM", "TEST_CHROMEDRIVER"].map(std::env::var_os);
    if let (Some(chromium), Some(chromedriver)) = (chromium, chromedriver) {
        return Some((chromium.into(), chromedriver.into()));
    }
    let skipped = std::env::var_os("TEST_BROWSER").is_some_and(|it| it == "skip");
    assert!(skipped, "TEST_CHROMIUM and TEST_CHROMEDRIVER name no browser: run `make test-browser`");
    tell(&format!(
        "!!! SKIPPED {name}: there is no Chromium and chromedriver; `make test-browser` installs them"
    ));
    None
}

/// Past the test harness, which shows what a test prints only when it fails.
pub(super) fn tell(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("there is a standard error");
}

pub(super) fn start_chromium(program: &Path, profile: &Path) -> Process {
    let log = std::fs::File::create(profile.join("chromium.log")).expect("a file");
    let mut command = Command::new(program);
    command
        .args(["--headless", "--remote-debugging-port=0", "--no-first-run", "--no-default-browser-check"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(["--force-device-scale-factor=1", "--hide-scrollbars", "--lang=en-US"])
        // A container's shared memory is small, and it has no graphics.
        .args(["--disable-dev-shm-usage", "--disable-gpu"])
        // It asks its maker for nothing, and no page reaches anybody but this machine.
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"])
        .args(["--password-store=basic", "--use-mock-keychain", "--disable-crash-reporter"]);
    if std::fs::metadata(profile).expect("a folder").uid() == 0 {
        // Chromium refuses to run as root with its sandbox.
        command.arg("--no-sandbox");
    }
    command.arg("about:blank").stdout(Stdio::null()).stderr(log);
    Process::start(command, profile)
}

/// Waits until Chromium has written the port that it listens at for the driver.
pub(super) async fn port_of_chromium(profile: &Path) -> u16 {
    let deadline = Instant::now() + LIMIT;
    loop {
        let file = std::fs::read_to_string(profile.join("DevToolsActivePort")).unwrap_or_default();
        if let Some(port) = file.lines().next().and_then(|it| it.parse().ok()) {
            return port;
        }
        let log = || std::fs::read_to_string(profile.join("chromium.log")).unwrap_or_default();
        assert!(Instant::now() < deadline, "Chromium does not start: {}", log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How often chromedriver is started. It chooses a port for one family of addresses, and ends where another program
/// has that port of the other family.
const STARTS: usize = 5;

/// Starts chromedriver on a port that it chooses, and returns its address.
pub(super) fn start_chromedriver(program: &Path, profile: &Path) -> (Process, String) {
    let started = (0..STARTS).find_map(|_| try_chromedriver(program, profile));
    started.expect("chromedriver says which port it listens at")
}

fn try_chromedriver(program: &Path, profile: &Path) -> Option<(Process, String)> {
    let mut command = Command::new(program);
    command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = Process::start(command, profile);
    let mut lines = BufReader::new(process.0.stdout.take().expect("a pipe")).lines();
    let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let (_, port) = line.split_once("started successfully on port ")?;
        port.trim_end_matches('.').parse::<u16>().ok()
    })?;
    // The pipe is read to its end, so that nothing that is said later blocks.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    Some((process, format!("http://127.0.0.1:{port}")))
}
