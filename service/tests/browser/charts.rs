//! `/`: charts of whatever figures there are, in whatever range.

use foundation::clock::Clock;
use foundation::database::{Backend, Statement, Value as Bound};
use foundation::testing::TestDatabase;
use serde_json::json;
use thirtyfour::{By, Key};
use time::{Duration, OffsetDateTime};

use crate::browser::Browser;
use crate::page::Page;
use crate::support::TestService;
use crate::support::accounts::{ADMIN_PASSWORD, migrate};

/// A service with these snapshots of one source.
async fn with_snapshots(
    database: &TestDatabase,
    metric_type: &str,
    snapshots: impl IntoIterator<Item = (OffsetDateTime, String)>,
) -> TestService {
    migrate(database).await;
    let insert = Statement::write(
        "metrics_snapshot",
        "INSERT INTO metrics_snapshot (timestamp, source, metric_type, metric_data) VALUES ($1, 'host', $2, $3)",
    );
    let pool = database.open();
    for (time, document) in snapshots {
        pool.execute(&insert, &[time.into(), metric_type.into(), Bound::Json(document)]).await.unwrap();
    }
    TestService::with(&[("DATABASE_URL", database.address.as_str())], |it| it).await
}

/// Figures below zero, and those that are very small and very large, are drawn where they belong, and can be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn charts_of_any_figures_stay_in_their_places() {
    let Some(browser) = Browser::start("page-figures").await else { return };
    let database = TestDatabase::new(Backend::Sqlite).await;
    let now = Clock::system().now();
    let snapshots = (0..40).map(|index| {
        let below = f64::from(index % 8) * 2.5 - 14.0;
        let document = format!(
            "{{\"below\": {below}, \"tiny\": 0.0032, \"huge\": {}e15, \"a_b\": 1, \"a\": {{\"b\": 2}}}}",
            300 + index
        );
        (now - Duration::minutes(i64::from(40 - index)), document)
    });
    let service = with_snapshots(&database, "odd_type", snapshots).await;
    let page = Page::open(&browser, &service).await;
    page.sign_in("admin", ADMIN_PASSWORD).await;
    let titles = ["below", "tiny", "huge", "a_b", "a.b"].map(|it| format!("odd_type: {it}"));
    let titles = titles.each_ref().map(String::as_str);
    let said = page.charts(&titles).await;
    assert_eq!(page.evaluate("return document.querySelectorAll('.chart').length").await, json!(titles.len()));
    for (said, words) in said.iter().zip([": 3.5 now, -", "0.0032 now", "3.39E17 now", ": 1 now", ": 2 now"])
    {
        assert!(said.contains(words), "{said}");
    }
    let marks = "return [...document.querySelectorAll('.chart')].map(chart => \
        [...chart.querySelectorAll('.plot text[text-anchor=end]')].map(it => it.textContent))";
    let marks = page.evaluate(marks).await;
    let all: Vec<Vec<String>> = serde_json::from_value(marks).unwrap();
    assert!(all.iter().any(|it| it.first().is_some_and(|it| it.starts_with('-'))), "{all:?}");
    for marks in &all {
        let distinct: std::collections::BTreeSet<_> = marks.iter().collect();
        assert_eq!(distinct.len(), marks.len(), "each mark says something else: {marks:?}");
    }
    // Nothing is drawn over the rest of the page.
    let outside = "return [...document.querySelectorAll('.plot')].flatMap(plot => { \
        const place = plot.getBoundingClientRect(); \
        return [...plot.querySelectorAll('path, circle, line, text')].filter(it => { \
            const its = it.getBoundingClientRect(); \
            return its.left < place.left - 1 || its.right > place.right + 1 || its.top < place.top - 1 \
                || its.bottom > place.bottom + 1; \
        }).map(it => it.outerHTML) })";
    assert_eq!(page.evaluate(outside).await, json!([]));
    page.assert_usable("1-figures").await;
    assert_eq!(page.evaluate(outside).await, json!([]));
    browser.assert_quiet(&service.url("/")).await;
    browser.quit().await;
}

const FOCUSED: &str = "return document.activeElement.id || document.activeElement.name";

/// A day of last year, in steps of ten minutes.
async fn with_a_day_of_last_year(database: &TestDatabase) -> TestService {
    let day = time::macros::datetime!(2025-07-10 0:00 UTC);
    let snapshots = (0..24 * 6).map(|index| {
        let document = format!("{{\"usage_percent\": {}}}", 20 + index % 60);
        (day + Duration::minutes(10 * i64::from(index)), document)
    });
    with_snapshots(database, "cpu", snapshots).await
}

/// The form for a range between two times.
struct Range<'a>(&'a Page<'a>);

impl<'a> Range<'a> {
    /// Signs in somebody in Berlin, and chooses it with the keyboard.
    async fn choose(page: &'a Page<'a>) -> Self {
        page.sign_in("admin", ADMIN_PASSWORD).await;
        let range = Self(page);
        page.0.shown("#ranges label").await;
        page.0.shown(".chart").await;
        page.0
            .until("the focus is at the ranges", async || {
                let is_there = page.0.execute(FOCUSED, Vec::new()).await?.json() == &json!("range");
                if !is_there {
                    range.press(Key::Tab).await;
                }
                Ok(is_there.then_some(()))
            })
            .await;
        // From the last hour to the left: the last 15 minutes, and around the corner.
        range.press(Key::Left).await;
        range.press(Key::Left).await;
        page.0.shown("#own-range").await;
        assert_eq!(page.evaluate(FOCUSED).await, json!("range"), "who chooses is not sent elsewhere");
        range.press(Key::Tab).await;
        assert_eq!(page.evaluate(FOCUSED).await, json!("range-from"));
        range
    }

    async fn press(&self, key: Key) {
        self.0.0.action_chain().send_keys(key).perform().await.unwrap();
    }

    async fn enter(&self, from: &str, to: &str) {
        let script = "const [from, to] = arguments; \
            document.querySelector('#range-from').value = from; document.querySelector('#range-to').value = to; \
            document.querySelector('#range-from').dispatchEvent(new Event('input', { bubbles: true })); \
            document.querySelector('#range-to').focus()";
        self.0.0.evaluate(script, vec![json!(from), json!(to)]).await;
        self.press(Key::Enter).await;
    }

    /// What is wrong with it, and where the focus is.
    async fn problem(&self) -> (String, String) {
        let problem = self.0.0.find(By::Css("#range-problem")).await.unwrap().text().await.unwrap();
        (problem, self.0.evaluate(FOCUSED).await.as_str().unwrap().to_owned())
    }
}

async fn in_berlin(browser: &Browser) {
    let zone = json!({ "timezoneId": "Europe/Berlin" });
    browser.devtools("Emulation.setTimezoneOverride", zone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_that_is_none_is_told() {
    let Some(browser) = Browser::start("page-range-problem").await else { return };
    let database = TestDatabase::new(Backend::Sqlite).await;
    let service = with_a_day_of_last_year(&database).await;
    in_berlin(&browser).await;
    let page = Page::open(&browser, &service).await;
    let range = Range::choose(&page).await;
    assert!(page.text("#range-zone").await.contains("Europe/Berlin, UTC+0"));
    let told = |words: &str, place: &str| (words.to_owned(), place.to_owned());
    range.enter("", "2025-07-11T02:00").await;
    assert_eq!(range.problem().await, told("Enter both times, each with its date.", "range-from"));
    page.assert_usable("1-problem").await;
    range.enter("2025-07-11T02:00", "2025-07-11T02:00").await;
    assert_eq!(range.problem().await, told("The end has to be after the beginning.", "range-to"));
    range.enter("0025-07-11T02:00", "2025-07-11T02:00").await;
    assert_eq!(range.problem().await, told("Enter times from 1970 to 2261.", "range-from"));
    range.enter("2025-07-10T02:00", "2025-07-11T02:00").await;
    assert_eq!(range.problem().await, told("", "range-to"));
    browser.assert_quiet(&service.url("/")).await;
    browser.quit().await;
}

/// Such as that of rows of long ago which were brought back from the archive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_between_two_times_is_drawn() {
    let Some(browser) = Browser::start("page-range").await else { return };
    let database = TestDatabase::new(Backend::Sqlite).await;
    let service = with_a_day_of_last_year(&database).await;
    in_berlin(&browser).await;
    let page = Page::open(&browser, &service).await;
    let range = Range::choose(&page).await;
    range.enter("2025-07-10T02:00", "2025-07-11T02:00").await;
    let said = page.charts(&["CPU"]).await.remove(0);
    assert!(said.contains("in the range from Jul 10, 2025, 02:00 to Jul 11, 2025, 02:00"), "{said}");
    assert!(said.contains(" at the end, ") && said.contains("79 % at most"), "{said}");
    assert!(page.text("#range-zone").await.ends_with("Europe/Berlin, UTC+02:00"));
    let asked = "return new URL(performance.getEntriesByType('resource').map(it => it.name) \
        .findLast(it => it.includes('/aggregate?'))).searchParams.toString()";
    let query = page.evaluate(asked).await;
    let query = query.as_str().unwrap();
    assert!(query.contains("from=2025-07-10T00%3A00%3A00.000Z&to=2025-07-11T00%3A00%3A00.000Z"), "{query}");
    assert!(query.contains("step=600s"), "{query}");
    page.assert_usable("1-day").await;
    // However long it is, as many points are asked for as a chart has room for.
    range.enter("1970-01-01T01:00", "2261-01-01T00:00").await;
    browser
        .until("three centuries are asked for", async || {
            let query = browser.execute(asked, Vec::new()).await?.json().clone();
            Ok(query.as_str().is_some_and(|it| it.contains("step=31536000s")).then_some(()))
        })
        .await;
    range.enter("2025-01-01T00:00", "2025-12-31T00:00").await;
    let said = "return document.querySelector('.plot svg').ariaLabel";
    browser
        .until("a year is drawn", async || {
            let said = browser.execute(said, Vec::new()).await?.json().clone();
            let is_drawn =
                said.as_str().is_some_and(|it| it.starts_with("CPU in the range from Jan 1, 2025"));
            Ok(is_drawn.then_some(()))
        })
        .await;
    assert_eq!(page.evaluate("return document.querySelector('#notice').textContent").await, json!(""));
    browser.screenshot("2-year").await;
    browser.assert_quiet(&service.url("/")).await;
    browser.quit().await;
}

/// So it can be kept and passed on. What an address asks for that nobody can show is passed over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_looked_at_stands_in_the_address() {
    let Some(browser) = Browser::start("page-address").await else { return };
    let database = TestDatabase::new(Backend::Sqlite).await;
    let service = with_a_day_of_last_year(&database).await;
    in_berlin(&browser).await;
    let page = Page::open(&browser, &service).await;
    let range = Range::choose(&page).await;
    range.enter("2025-07-10T02:00", "2025-07-11T02:00").await;
    let said = page.charts(&["CPU"]).await;
    let address = page.evaluate("return location.search").await.as_str().unwrap().to_owned();
    let times = "from=2025-07-10T00%3A00%3A00.000Z&to=2025-07-11T00%3A00%3A00.000Z";
    assert_eq!(address, format!("?{times}&source=host"));
    let chosen = "return [document.querySelector('#ranges input:checked').value, document.querySelector('#own-range').hidden, \
        document.querySelector('#range-from').value, document.querySelector('#range-to').value]";
    browser.open(&service.url(&format!("/{address}"))).await;
    assert_eq!(page.charts(&["CPU"]).await, said);
    assert_eq!(page.evaluate(chosen).await, json!(["own", false, "2025-07-10T02:00", "2025-07-11T02:00"]));
    for (asked, key) in [
        ("range=7d&source=nobody", "7d"),
        ("range=__proto__&source=", "1h"),
        ("from=0000-01-01&to=2025-07-11", "1h"),
        ("from=2025-07-11&to=2025-07-10", "1h"),
        ("from=2025-07-11&to=9999-01-01", "1h"),
    ] {
        browser.open(&service.url(&format!("/?{asked}"))).await;
        browser.shown(".chart h3").await;
        assert_eq!(page.evaluate(chosen).await, json!([key, true, "", ""]), "{asked}");
        assert_eq!(page.evaluate("return document.querySelector('#source').value").await, json!("host"));
    }
    page.evaluate("document.querySelector(\"#ranges input[value='24h']\").click()").await;
    assert_eq!(page.evaluate("return location.search").await, json!("?range=24h&source=host"));
    browser.assert_quiet(&service.url("/")).await;
    browser.quit().await;
}

/// In Berlin the 29th of March 2026 has 23 hours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_are_marked_where_clocks_show_them() {
    let Some(browser) = Browser::start("page-marks").await else { return };
    let service = TestService::start().await;
    in_berlin(&browser).await;
    let _page = Page::open(&browser, &service).await;
    let script = "const [from, to, width] = arguments; \
        const address = performance.getEntriesByType('resource').map(it => it.name).find(it => it.includes('/format.')); \
        return import(address).then(({ timeMarks }) => \
            timeMarks(Date.parse(from), Date.parse(to), width).map(({ at, words }) => `${new Date(at).toISOString().slice(5, 16)} ${words}`))";
    let marks = async |from: &str, to: &str, width: u32| {
        browser.evaluate(script, vec![json!(from), json!(to), json!(width)]).await
    };
    let days = [
        "03-23T23:00 Mar 24",
        "03-24T23:00 Mar 25",
        "03-25T23:00 Mar 26",
        "03-26T23:00 Mar 27",
        "03-27T23:00 Mar 28",
        "03-28T23:00 Mar 29",
        "03-29T22:00 Mar 30",
        "03-30T22:00 Mar 31",
    ];
    assert_eq!(marks("2026-03-24T00:00:00+01:00", "2026-03-31T00:00:00+02:00", 600).await, json!(days));
    let hours = [
        "03-28T20:00 21:00",
        "03-28T23:00 00:00",
        "03-29T01:00 03:00",
        "03-29T04:00 06:00",
        "03-29T07:00 09:00",
    ];
    assert_eq!(marks("2026-03-28T20:00:00+01:00", "2026-03-29T09:00:00+02:00", 300).await, json!(hours));
    // What no clock shows is marked once, as what it shows instead; what it shows twice, the first time.
    let forward = ["03-29T00:30 01:30", "03-29T01:00 03:00", "03-29T01:30 03:30"];
    assert_eq!(marks("2026-03-29T01:15:00+01:00", "2026-03-29T03:45:00+02:00", 200).await, json!(forward));
    let back = ["10-25T00:30 02:30", "10-25T02:00 03:00"];
    assert_eq!(marks("2026-10-25T02:15:00+02:00", "2026-10-25T03:15:00+01:00", 250).await, json!(back));
    browser.assert_quiet(&service.url("/")).await;
    browser.quit().await;
}

/// A type whose figures cannot be asked for is no trouble of those that can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_odd_type_is_no_trouble_of_the_others() {
    let Some(browser) = Browser::start("page-odd-type").await else { return };
    let database = TestDatabase::new(Backend::Sqlite).await;
    let now = Clock::system().now();
    let key = |letter: &str| letter.repeat(250);
    let nested = |letter: &str| format!("\"{0}\": {{\"{0}\": {{\"{0}\": 1}}}}", key(letter));
    let title = |letter: &str| format!("long: {0} {0} {0}", key(letter));
    let times = [3, 2, 1].map(|it| now - Duration::minutes(it));
    // Two of these paths have room in one question.
    let document = format!("{{{}, {}, {}}}", nested("a"), nested("b"), nested("c"));
    let service = with_snapshots(&database, "long", times.map(|it| (it, document.clone()))).await;
    let insert = Statement::write(
        "metrics_snapshot",
        "INSERT INTO metrics_snapshot (timestamp, source, metric_type, metric_data) VALUES ($1, 'host', $2, $3)",
    );
    let pool = database.open();
    for (metric_type, document) in [("cpu", "{\"usage_percent\": 7}"), ("odd", "{\"odd\": 1}")] {
        for time in times {
            let values = [time.into(), metric_type.into(), Bound::Json(document.to_owned())];
            pool.execute(&insert, &values).await.unwrap();
        }
    }
    let page = Page::open(&browser, &service).await;
    let refuse = "const ask = window.fetch; window.fetch = (address, options) => \
        address.includes('/aggregate?metric_type=odd') ? Promise.resolve(new Response('{}', { status: 422 })) : ask(address, options)";
    page.evaluate(refuse).await;
    page.sign_in("admin", ADMIN_PASSWORD).await;
    page.charts(&["CPU", &title("a"), &title("b")]).await;
    assert_eq!(page.evaluate("return document.querySelector('#notice').textContent").await, json!(""));
    let drawn = "return document.querySelectorAll('.chart .trace').length";
    assert_eq!(page.evaluate(drawn).await, json!(3));
    browser.assert_quiet(&service.url("/")).await;
    browser.quit().await;
}
