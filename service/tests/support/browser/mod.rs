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

mod processes;

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use thirtyfour::error::WebDriverResult;
use thirtyfour::{
    BrowserLogEntry, By, ChromeCapabilities, ChromiumLikeCapabilities as _, LoggingPrefsLogLevel, WebDriver,
    WebElement,
};
use tokio::time::Instant;

use self::processes::{
    Process, Profile, port_of_chromium, programs, start_chromedriver, start_chromium, tell,
};

/// How long anything may take before a test calls it broken.
const LIMIT: Duration = Duration::from_secs(30);

/// A browser with one page. It is gone when this is dropped, also by a panic. It is a [`WebDriver`] too.
pub struct Browser {
    /// Only `None` while it is dropped.
    driver: Option<WebDriver>,
    name: String,
    // Dropped in this order: the profile goes when nobody writes to it any more.
    chromedriver: Process,
    chromium: Process,
    profile: Profile,
}

impl Browser {
    /// Starts one with a profile of its own. `name` is that of the folder of its screenshots. Where there
    /// is no browser and the tests may go without, the answer is `None`, and a line says so.
    pub async fn start(name: &str) -> Option<Self> {
        let (chromium, chromedriver) = programs(name)?;
        let profile = Profile::new();
        let chromium = start_chromium(&chromium, profile.path());
        let chromium_port = port_of_chromium(profile.path()).await;
        let (chromedriver, address) = start_chromedriver(&chromedriver, profile.path());
        let driver = connect(&address, chromium_port).await;
        let browser = Self { driver: Some(driver), name: name.to_owned(), chromedriver, chromium, profile };
        browser.resize(1280, 1000).await;
        Some(browser)
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
                panic!(
                    "not within {LIMIT:?}: {what}{last}; the page is shown in {}",
                    self.show_failure().await
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Where a picture of the page is now, or why there is none.
    async fn show_failure(&self) -> String {
        match self.screenshot_as_png().await {
            Ok(picture) => self.keep("failed", &picture).display().to_string(),
            Err(error) => format!("no picture: {error}"),
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

    /// What a script returns; it is the body of a function of these `arguments`.
    pub async fn evaluate(&self, script: &str, arguments: Vec<Value>) -> Value {
        let answer = self.execute(script, arguments).await;
        answer.unwrap_or_else(|error| panic!("{script}: {error}")).json().clone()
    }

    /// Makes the page's part of the window this large, in CSS pixels: 1280 by 1000 at first.
    pub async fn resize(&self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Has the page as a person's settings make it, such as `prefers-color-scheme` and `dark`.
    pub async fn prefer(&self, feature: &str, value: &str) {
        let features = json!({ "features": [{ "name": feature, "value": value }] });
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    /// What a command of the Chrome DevTools Protocol answers.
    pub async fn devtools(&self, method: &str, parameters: Value) -> Value {
        let answer = self.cdp().send_raw(method, parameters).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Writes what is seen to `target/tmp/browser/NAME/`, and returns the file.
    pub async fn screenshot(&self, name: &str) -> PathBuf {
        self.keep(name, &self.screenshot_as_png().await.expect("a picture"))
    }

    fn keep(&self, name: &str, picture: &[u8]) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser").join(&self.name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join(format!("{name}.png"));
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

    /// axe-core finds nothing on the page as it is now that keeps people from using it: nothing of serious or
    /// critical impact by WCAG 2.2, levels A and AA, and by what is held to be good practice. Where there is
    /// no axe-core, a line says so.
    pub async fn assert_accessible(&self, place: &str) {
        let Some(axe) = std::env::var_os("TEST_AXE") else {
            tell(&format!(
                "!!! SKIPPED axe-core for {place}: it is not there; `make test-browser` fetches it"
            ));
            return;
        };
        let axe = std::fs::read_to_string(axe).expect("axe-core can be read");
        self.execute(axe, Vec::new()).await.expect("axe-core loads");
        let run = "const done = arguments[0]; axe.run(document, { resultTypes: ['violations'] })\
             .then(found => done(found), error => done(String(error)))";
        let found = self.execute_async(run, Vec::new()).await.expect("axe-core runs").json().clone();
        let checked = found["passes"].as_array().map_or(0, Vec::len);
        assert!(checked > 10, "{place}: axe-core checked {checked} rules: {found}");
        let violations = found["violations"].as_array().expect("a list").iter();
        let bad = violations.filter(|it| matches!(it["impact"].as_str(), Some("serious" | "critical")));
        let bad: Vec<_> = bad
            .map(|it| {
                let nodes = it["nodes"].as_array().into_iter().flatten();
                let nodes: Vec<_> =
                    nodes.map(|node| format!("{} {}", node["html"], node["failureSummary"])).collect();
                format!("{} ({}): {}", it["id"], it["impact"], nodes.join("\n  "))
            })
            .collect();
        assert!(bad.is_empty(), "{place}: {}", bad.join("\n"));
    }

    /// Ends it in good order.
    pub async fn quit(mut self) {
        if let Some(driver) = self.driver.take() {
            driver.quit().await.expect("it ends");
        }
    }

    /// The ids of its two processes, and where its profile is.
    pub fn traces(&self) -> ([u32; 2], PathBuf) {
        let processes = [self.chromium.id(), self.chromedriver.id()];
        (processes, self.profile.path().to_owned())
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

async fn connect(address: &str, chromium_port: u16) -> WebDriver {
    let mut capabilities = ChromeCapabilities::new();
    let debugger = format!("127.0.0.1:{chromium_port}");
    let set = capabilities
        .set_debugger_address(&debugger)
        .and_then(|()| capabilities.set_logging_prefs("browser", LoggingPrefsLogLevel::All))
        .and_then(|()| capabilities.set_logging_prefs("performance", LoggingPrefsLogLevel::All));
    set.expect("they are known");
    // What the surroundings say about proxies is not meant for this machine.
    // The client asks for a provider of TLS although it speaks plain HTTP.
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().timeout(LIMIT).build().expect("a client");
    let driver = WebDriver::builder(address, capabilities).client(client).connect().await;
    driver.expect("chromedriver reaches Chromium")
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
