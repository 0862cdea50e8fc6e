//! `/`: somebody signs in and sees what the collector wrote.

use std::time::Duration;

use foundation::database::{Database, DatabaseUrl, Statement};
use foundation::on_both_databases;
use foundation::testing::{TestDatabase, eventually};
use serde_json::{Value, json};
use thirtyfour::Key;

use crate::browser::Browser;
use crate::support::TestService;
use crate::support::accounts::{ADMIN_PASSWORD, migrate};

const DEADLINE: Duration = Duration::from_secs(30);

/// A service that collects each second, with its database up to date.
async fn collecting(database: &TestDatabase) -> TestService {
    migrate(database).await;
    let variables = [("DATABASE_URL", database.address.as_str()), ("METRICS_COLLECT_INTERVAL", "1s")];
    let service = TestService::with(&variables, |it| it).await;
    let pool = database.open();
    eventually(DEADLINE, "there are snapshots", || async { snapshots(&pool).await >= 15 }).await;
    service
}

async fn snapshots(database: &Database) -> i64 {
    let count =
        Statement::read("metrics_snapshot", "SELECT CAST(count(*) AS BIGINT) AS count FROM metrics_snapshot");
    database.query_optional(&count, &[]).await.unwrap().unwrap().get("count").unwrap()
}

/// The page in a browser.
pub struct Page<'a>(pub &'a Browser);

impl<'a> Page<'a> {
    pub async fn open(browser: &'a Browser, service: &TestService) -> Self {
        browser.open(&service.url("/")).await;
        browser.shown("#tile-service .state.good").await;
        browser.shown("#tile-database .state.good").await;
        Self(browser)
    }

    /// With the keyboard alone: from the top of the page to the form, through it, and in.
    pub async fn sign_in(&self, name: &str, password: &str) {
        self.0.shown("#username").await.click().await.unwrap();
        self.0.action_chain().send_keys(name).perform().await.unwrap();
        self.0
            .action_chain()
            .send_keys(Key::Tab)
            .send_keys(password)
            .send_keys(Key::Enter)
            .perform()
            .await
            .unwrap();
    }

    pub async fn evaluate(&self, script: &str) -> Value {
        self.0.evaluate(script, vec![]).await
    }

    pub async fn text(&self, css: &str) -> String {
        self.0.shown(css).await.text().await.unwrap()
    }

    /// Waits until each of these charts has a line, and says what each tells those who do not see it.
    pub async fn charts(&self, titles: &[&str]) -> Vec<String> {
        let script = "return Object.fromEntries([...document.querySelectorAll('.chart')].map(it => \
            [it.querySelector('h3').textContent, it.querySelector('.trace') && it.querySelector('.plot svg').ariaLabel]))";
        self.0
            .until(&format!("{titles:?} have lines"), async || {
                let shown = self.0.execute(script, Vec::new()).await?.json().clone();
                let found: Option<Vec<_>> =
                    titles.iter().map(|it| shown[*it].as_str().map(str::to_owned)).collect();
                Ok(found)
            })
            .await
    }

    /// By day and by night, on a desk and on a phone: nothing keeps anybody from using it, and nothing is
    /// wider than the screen.
    pub async fn assert_usable(&self, name: &str) {
        for (device, width, height) in [("desktop", 1280, 1000), ("phone", 360, 740)] {
            self.0.resize(width, height).await;
            for scheme in ["light", "dark"] {
                self.0.prefer("prefers-color-scheme", scheme).await;
                let place = format!("{name}-{device}-{scheme}");
                self.0.assert_accessible(&place).await;
                let wide = self.evaluate("return document.documentElement.scrollWidth").await;
                assert_eq!(wide, json!(width), "{place}");
                self.0.screenshot(&place).await;
            }
        }
        // The whole of it, at once.
        let height = self.evaluate("return document.documentElement.scrollHeight").await.as_u64().unwrap();
        self.0.resize(360, u32::try_from(height).unwrap()).await;
        self.0.screenshot(&format!("{name}-phone-whole")).await;
        self.0.prefer("prefers-color-scheme", "light").await;
        self.0.resize(1280, 1000).await;
        let height = self.evaluate("return document.documentElement.scrollHeight").await.as_u64().unwrap();
        self.0.resize(1280, u32::try_from(height).unwrap()).await;
        self.0.screenshot(&format!("{name}-desktop-whole")).await;
        self.0.resize(1280, 1000).await;
    }
}

on_both_databases! {
    async fn who_signs_in_sees_what_was_collected(database: TestDatabase) {
        let postgres = matches!(database.url, DatabaseUrl::Postgres(_));
        let folder = if postgres { "page-postgres" } else { "page-sqlite" };
        let Some(browser) = Browser::start(folder).await else { return };
        let service = collecting(&database).await;
        let page = Page::open(&browser, &service).await;
        page.assert_usable("1-signed-out").await;

        page.sign_in("admin", ADMIN_PASSWORD).await;
        assert_eq!(page.text("#user").await, "admin");
        for chart in page.charts(&["CPU", "Load", "Memory", "Service: memory", "Service: connections"]).await {
            assert!(chart.contains("in the last hour"), "{chart}");
            assert!(chart.contains(" now, ") && chart.contains(" at most"), "{chart}");
        }
        let version = page.text("#history td").await;
        assert_eq!(page.text("#tile-schema .more").await, format!("version {version}"));
        let backend = if postgres { "PostgreSQL" } else { "SQLite" };
        assert!(page.text("#tile-database .more").await.starts_with(backend));
        assert_eq!(page.text("#updated").await.get(..6), Some("As of "));
        page.assert_usable("2-signed-in").await;
        browser.assert_quiet(&service.url("/")).await;
        browser.quit().await;
    }
}

/// Axes are marked with round figures, whatever they show.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axes_have_round_marks() {
    let Some(browser) = Browser::start("page-axes").await else { return };
    let service = TestService::start().await;
    Page::open(&browser, &service).await;
    let script = "const [highest, unit, done] = arguments; \
        import(document.querySelector('link[href*=format]').href)\
            .then(it => done(it.marks(highest, unit).map(mark => it.figure(mark, unit))))";
    for (highest, unit, expected) in [
        (100.0, "percent", "0 % | 25 % | 50 % | 75 % | 100 %"),
        (3.7, "percent", "0 % | 1 % | 2 % | 3 % | 4 %"),
        (0.0, "", "0 | 0.25 | 0.5 | 0.75 | 1"),
        (0.0, "rate", "0 B/s | 1 B/s | 2 B/s | 3 B/s | 4 B/s"),
        (1_500_000.0, "rate", "0 B/s | 512 KiB/s | 1 MiB/s | 1.5 MiB/s"),
        (64.0 * 1_048_576.0, "bytes", "0 B | 20 MiB | 40 MiB | 60 MiB | 80 MiB"),
        (11.0, "", "0 | 5 | 10 | 15"),
        (0.0032, "", "0 | 0.001 | 0.002 | 0.003 | 0.004"),
        (3e17, "", "0 | 1E17 | 2E17 | 3E17"),
        (1.7e308, "", "0 | 5E307 | 1E308 | 1.5E308 | 1.8E308"),
        (5e-324, "", "0 | 1E-300 | 2E-300 | 3E-300 | 4E-300"),
    ] {
        let marks = browser.execute_async(script, vec![json!(highest), json!(unit)]).await.unwrap();
        let marks: Vec<String> = serde_json::from_value(marks.json().clone()).unwrap();
        assert_eq!(marks.join(" | "), expected, "{highest} {unit}");
    }
    let script = "const [highest, lowest, unit, done] = arguments; \
        import(document.querySelector('link[href*=format]').href)\
            .then(it => done(it.marks(highest, unit, lowest).map(mark => it.figure(mark, unit))))";
    for (highest, lowest, unit, expected) in [
        (5.0, -12.0, "", "-15 | -10 | -5 | 0 | 5"),
        (0.0, -0.004, "", "-0.004 | -0.003 | -0.002 | -0.001 | 0"),
        (4096.0, -9000.0, "rate", "-10 KiB/s | -5 KiB/s | 0 B/s | 5 KiB/s"),
        (1.7e308, -1.7e308, "", "-1.8E308 | -1E308 | 0 | 1E308 | 1.8E308"),
    ] {
        let values = vec![json!(highest), json!(lowest), json!(unit)];
        let marks = browser.execute_async(script, values).await.unwrap();
        let marks: Vec<String> = serde_json::from_value(marks.json().clone()).unwrap();
        assert_eq!(marks.join(" | "), expected, "{lowest} to {highest} {unit}");
    }
    let script = "const [minutes, width, done] = arguments; const to = Date.UTC(2026, 0, 31, 12, 7, 42); \
        import(document.querySelector('link[href*=format]').href)\
            .then(it => done(it.timeMarks(to - minutes * 60e3, to, width).map(mark => [mark.at, mark.words])))";
    for (minutes, width, distance) in
        [(1, 500, 10), (15, 500, 120), (60, 250, 900), (1440, 500, 10_800), (10_080, 250, 172_800)]
    {
        let marks = browser.execute_async(script, vec![json!(minutes), json!(width)]).await.unwrap();
        let marks: Vec<(f64, String)> = serde_json::from_value(marks.json().clone()).unwrap();
        assert!(
            marks.len() >= 2 && marks.is_sorted_by(|a, b| a.0 + f64::from(distance) * 1e3 == b.0),
            "{marks:?}"
        );
    }
    browser.assert_quiet(&service.url("/")).await;
    browser.quit().await;
}

/// What is drawn can be read without seeing it, and the range is chosen with the keyboard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_and_ranges_need_no_pointer() {
    let Some(browser) = Browser::start("page-keyboard").await else { return };
    let database = TestDatabase::new(foundation::database::Backend::Sqlite).await;
    let service = collecting(&database).await;
    let page = Page::open(&browser, &service).await;
    page.sign_in("admin", ADMIN_PASSWORD).await;
    page.charts(&["CPU"]).await;
    let focused = "return document.activeElement.id || document.activeElement.name";
    assert_eq!(
        page.evaluate(focused).await,
        json!("metrics-title"),
        "those who listen are told where they are"
    );

    let press = async |key: Key| browser.action_chain().send_keys(key).perform().await.unwrap();
    press(Key::Tab).await;
    assert_eq!(page.evaluate(focused).await, json!("source"));
    press(Key::Tab).await;
    assert_eq!(page.evaluate(focused).await, json!("range"));
    press(Key::Left).await;
    browser
        .until("the last 15 minutes are shown", async || {
            let chart = page.charts(&["CPU"]).await;
            Ok(chart[0].contains("in the last 15 minutes").then_some(()))
        })
        .await;
    let summary = "return document.activeElement.tagName + ' ' + document.activeElement.textContent";
    press(Key::Tab).await;
    assert_eq!(page.evaluate(summary).await, json!("SUMMARY Values of CPU"));
    press(Key::Enter).await;
    let rows = "return [...document.querySelectorAll('.chart table')].map(it => \
        [it.caption.textContent, it.tBodies[0].rows.length, it.tBodies[0].rows[0].cells[1].textContent])";
    browser.shown(".chart table").await;
    let table = page.evaluate(rows).await;
    assert_eq!(table[0][0], "CPU in the last 15 minutes, newest first");
    assert!(table[0][1].as_u64() >= Some(1) && table[0][2].as_str().unwrap().ends_with(" %"), "{table}");
    browser.screenshot("1-values").await;
    browser.assert_accessible("an open table").await;
    browser.assert_quiet(&service.url("/")).await;
    browser.quit().await;
}

/// The page goes on by itself, and says what happened when it cannot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_tells_of_a_wrong_password_a_session_that_is_over_and_a_service_that_is_away() {
    let Some(browser) = Browser::start("page-trouble").await else { return };
    let database = TestDatabase::new(foundation::database::Backend::Sqlite).await;
    let service = collecting(&database).await;
    let page = Page::open(&browser, &service).await;
    page.sign_in("admin", "not the password").await;
    let says = async |css: &str, words: &str| {
        browser
            .until(&format!("{css} says {words:?}"), async || {
                let said = browser.find(thirtyfour::By::Css(css)).await?.text().await?;
                Ok(said.contains(words).then_some(()))
            })
            .await;
    };
    says("#sign-in-problem", "The name or the password is wrong.").await;
    browser.screenshot("1-wrong-password").await;
    browser.assert_accessible("a wrong password").await;
    page.evaluate("document.querySelector('#sign-in-form').reset()").await;

    page.sign_in("admin", ADMIN_PASSWORD).await;
    page.charts(&["CPU"]).await;
    // It asks again by itself.
    let asked = "return performance.getEntriesByType('resource').filter(it => it.name.includes('/aggregate?')).length";
    let before = page.evaluate(asked).await.as_u64().unwrap();
    browser
        .until("it asks again", async || {
            let now = browser.execute(asked, Vec::new()).await?.json().as_u64();
            Ok((now > Some(before)).then_some(()))
        })
        .await;

    let token = "return sessionStorage.getItem('bedplate.token')";
    assert!(page.evaluate(token).await.is_string());
    let kept = page.evaluate("return localStorage.length + document.cookie.length").await;
    assert_eq!(kept, json!(0), "the token is in this tab alone");
    let offline =
        |is: bool| json!({ "offline": is, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
    browser.devtools("Network.emulateNetworkConditions", offline(true)).await;
    says("#notice", "The service cannot be reached.").await;
    browser.screenshot("2-away").await;
    browser.assert_accessible("a service that is away").await;
    browser.devtools("Network.emulateNetworkConditions", offline(false)).await;
    says("#notice", "answers again").await;

    let end = Statement::write("session", "DELETE FROM session");
    database.open().execute(&end, &[]).await.unwrap();
    says("#notice", "Your session is over. Sign in again.").await;
    browser.shown("#username").await;
    assert_eq!(page.evaluate(token).await, Value::Null);
    assert_eq!(page.evaluate("return document.querySelectorAll('.chart').length").await, json!(0));
    browser.screenshot("3-over").await;

    page.sign_in("admin", ADMIN_PASSWORD).await;
    browser.shown("#sign-out").await.click().await.unwrap();
    says("#notice", "You are signed out.").await;
    assert_eq!(page.evaluate(token).await, Value::Null);
    let left = Statement::read("session", "SELECT CAST(count(*) AS BIGINT) AS count FROM session");
    let left: i64 = database.open().query_optional(&left, &[]).await.unwrap().unwrap().get("count").unwrap();
    assert_eq!(left, 0, "the session has ended too");
    browser.quit().await;
}
