//! A headless Chromium that a test opens pages in. `make test-browser` says where it is.
//!
//! ```ignore
//! let Some(browser) = Browser::start("welcome").await else { return };
//! browser.open(&service.url("/")).await;
//! browser.shown("main h1").await.click().await.unwrap();
//! browser.screenshot("1-clicked").await;
//! browser.assert_quiet(&service.url("/")).await;
//! browser.quit().await;
//! ```
#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "each test file uses a part of it, and a test ends by panicking"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::ops::Deref;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use thirtyfour::error::WebDriverResult;
use thirtyfour::{
    BrowserLogEntry, By, ChromeCapabilities, ChromiumLikeCapabilities as _, LoggingPrefsLogLevel, WebDriver,
    WebElement,
};
use tokio::time::Instant;

/// How long anything may take before a test calls it broken.
const LIMIT: Duration = Duration::from_secs(30);

/// How large the window is at first, in CSS pixels.
const WINDOW: (u32, u32) = (1280, 1000);

/// A browser with one page. It is gone when this is dropped, also by a panic. It is a [`WebDriver`] too.
pub struct Browser {
    /// Only `None` while it is dropped.
    driver: Option<WebDriver>,
    name: String,
    // Dropped in this order: the profile goes when nobody writes to it any more.
    _chromedriver: Process,
    _chromium: Process,
    _profile: TempDir,
}

/// A process that is ended when this is dropped.
struct Process(Child);

impl Browser {
    /// Starts one with a profile of its own. `name` is that of the folder of its screenshots. Where there
    /// is no browser and the tests may go without, the answer is `None`, and a line says so.
    pub async fn start(name: &str) -> Option<Self> {
        let (chromium, chromedriver) = programs(name)?;
        let profile = tempfile::tempdir().expect("a folder");
        let chromium = start_chromium(&chromium, profile.path());
        let chromium_port = port_of_chromium(profile.path()).await;
        let (chromedriver, address) = start_chromedriver(&chromedriver, profile.path());
        let driver = connect(&address, chromium_port).await;
        Some(Self {
            driver: Some(driver),
            name: name.to_owned(),
            _chromedriver: chromedriver,
            _chromium: chromium,
            _profile: profile,
        })
    }

    /// Opens a page, and waits until it and what it names is loaded.
    pub async fn open(&self, url: &str) {
        self.goto(url).await.unwrap_or_else(|error| panic!("{url} does not open: {error}"));
    }

    /// Waits until `condition` gives something, and returns that. Errors of the driver count as nothing,
    /// because a page that is being drawn again takes its elements away.
    pub async fn until<T>(
        &self,
        what: &str,
        mut condition: impl AsyncFnMut() -> WebDriverResult<Option<T>>,
    ) -> T {
        let deadline = Instant::now() + LIMIT;
        loop {
            let last = match condition().await {
                Ok(Some(it)) => return it,
                Ok(None) => String::new(),
                Err(error) => format!(" ({error})"),
            };
            if Instant::now() > deadline {
                let picture = self.screenshot("failed").await;
                panic!("not within {LIMIT:?}: {what}{last}; the page is shown in {}", picture.display());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a person sees an element for this CSS selector, and returns the first.
    pub async fn shown(&self, css: &str) -> WebElement {
        self.until(&format!("{css} is shown"), async || {
            for element in self.find_all(By::Css(css)).await? {
                if element.is_displayed().await? {
                    return Ok(Some(element));
                }
            }
            Ok(None)
        })
        .await
    }

    /// Waits until no element is there for this CSS selector.
    pub async fn gone(&self, css: &str) {
        self.until(&format!("{css} is gone"), async || {
            let none = self.find_all(By::Css(css)).await?.is_empty();
            Ok(none.then_some(()))
        })
        .await;
    }

    /// What a script returns; it is the body of a function of these `arguments`. For axe-core, execute its
    /// source with this and then its `run` with [`WebDriver::execute_async`].
    pub async fn evaluate(&self, script: &str, arguments: Vec<Value>) -> Value {
        let answer = self.execute(script, arguments).await;
        answer.unwrap_or_else(|error| panic!("{script}: {error}")).json().clone()
    }

    /// Makes the window this large, in CSS pixels.
    pub async fn resize(&self, width: u32, height: u32) {
        self.set_window_rect(0, 0, width, height).await.expect("it is resized");
    }

    /// Writes what is seen to `target/tmp/browser/NAME/`, and returns the file.
    pub async fn screenshot(&self, name: &str) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser").join(&self.name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join(format!("{name}.png"));
        let picture = self.screenshot_as_png().await.expect("a picture");
        std::fs::write(&file, picture).expect("it is written");
        file
    }

    /// The errors and warnings in the console since this was asked last: scripts that failed, files that did
    /// not load, and what the page's policy forbade.
    pub async fn complaints(&self) -> Vec<String> {
        let entries = self.log("browser").await.into_iter();
        let bad = entries.filter(|it| matches!(it.level.as_str(), "SEVERE" | "WARNING"));
        bad.map(|it| it.message).collect()
    }

    /// The addresses that the page asked since this was asked last, whether there was an answer or not.
    pub async fn requests(&self) -> Vec<String> {
        let entries = self.log("performance").await.into_iter();
        entries.filter_map(|entry| requested(&entry.message)).collect()
    }

    /// Since this was asked last there were requests, all went to the origin of this address, and the
    /// console has no complaint.
    pub async fn assert_quiet(&self, address: &str) {
        let origin = origin_of(address);
        let requests = self.requests().await;
        assert!(!requests.is_empty(), "the browser tells of its requests");
        let elsewhere: Vec<_> = requests.iter().filter(|url| origin_of(url) != origin).collect();
        assert!(elsewhere.is_empty(), "the page asked somebody else than {origin}: {elsewhere:?}");
        let complaints = self.complaints().await;
        assert!(complaints.is_empty(), "the console complains: {complaints:#?}");
    }

    /// Ends it in good order.
    pub async fn quit(mut self) {
        if let Some(driver) = self.driver.take() {
            driver.quit().await.expect("it ends");
        }
    }

    /// The ids of its two processes, and where its profile is.
    pub fn traces(&self) -> ([u32; 2], PathBuf) {
        let processes = [self._chromium.0.id(), self._chromedriver.0.id()];
        (processes, self._profile.path().to_owned())
    }

    async fn log(&self, kind: &str) -> Vec<BrowserLogEntry> {
        self.get_log(kind).await.unwrap_or_else(|error| panic!("no log of the {kind}: {error}"))
    }
}

impl Deref for Browser {
    type Target = WebDriver;

    fn deref(&self) -> &WebDriver {
        self.driver.as_ref().expect("it is not dropped yet")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Left alone, the driver would ask for an orderly end and block the runtime until that comes.
        if let Some(Err(error)) = self.driver.take().map(WebDriver::leak) {
            tell(&format!("the browser had ended already: {error}"));
        }
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

/// Where Chromium and chromedriver are. `deploy/development/browser.sh` says so.
fn programs(name: &str) -> Option<(PathBuf, PathBuf)> {
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
fn tell(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("there is a standard error");
}

fn start_chromium(program: &Path, profile: &Path) -> Process {
    let log = std::fs::File::create(profile.join("chromium.log")).expect("a file");
    let mut command = Command::new(program);
    command
        .args(["--headless", "--remote-debugging-port=0", "--no-first-run", "--no-default-browser-check"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--window-size={},{}", WINDOW.0, WINDOW.1))
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
async fn port_of_chromium(profile: &Path) -> u16 {
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

/// Starts chromedriver on a port that the system chooses, and returns its address.
fn start_chromedriver(program: &Path, profile: &Path) -> (Process, String) {
    let mut command = Command::new(program);
    command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = Process::start(command, profile);
    let mut lines = BufReader::new(process.0.stdout.take().expect("a pipe")).lines();
    let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let (_, port) = line.split_once("started successfully on port ")?;
        port.trim_end_matches('.').parse::<u16>().ok()
    });
    let port = port.expect("chromedriver says which port it listens at");
    // The pipe is read to its end, so that nothing that is said later blocks.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    (process, format!("http://127.0.0.1:{port}"))
}

async fn connect(address: &str, chromium_port: u16) -> WebDriver {
    let mut capabilities = ChromeCapabilities::new();
    let debugger = format!("127.0.0.1:{chromium_port}");
    let set = capabilities
        .set_debugger_address(&debugger)
        .and_then(|()| capabilities.set_logging_prefs("browser", LoggingPrefsLogLevel::All))
        .and_then(|()| capabilities.set_logging_prefs("performance", LoggingPrefsLogLevel::All));
    set.expect("they are known");
    // What the surroundings say about proxies is not meant for this machine.
    let client = reqwest::Client::builder().no_proxy().timeout(LIMIT).build().expect("a client");
    let driver = WebDriver::builder(address, capabilities).client(client).connect().await;
    driver.expect("chromedriver reaches Chromium")
}

impl Process {
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

/// The address in an entry of the log of what the page did, when that was a request.
fn requested(entry: &str) -> Option<String> {
    let entry: Value = serde_json::from_str(entry).expect("JSON");
    let message = &entry["message"];
    let url = match message["method"].as_str()? {
        "Network.requestWillBeSent" => &message["params"]["request"]["url"],
        "Network.webSocketCreated" => &message["params"]["url"],
        _ => return None,
    };
    let url = url.as_str()?;
    // These are in the page itself.
    let inside = ["data:", "blob:", "about:"].iter().any(|it| url.starts_with(it));
    (!inside).then(|| url.to_owned())
}

/// `http://host:port` of an address.
fn origin_of(url: &str) -> String {
    url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
}
