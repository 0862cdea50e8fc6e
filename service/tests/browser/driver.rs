//! What the other tests rely on: that the browser complains when it should, and that nothing of it stays.

use std::process::Command;
use std::time::Duration;

use foundation::testing::eventually;
use serde_json::json;

use crate::browser::Browser;
use crate::support::TestService;
use crate::swagger::Swagger;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_policy_of_the_page_forbids_is_in_the_console() {
    let Some(browser) = Browser::start("policy").await else { return };
    let service = TestService::start().await;
    Swagger::open(&browser, &service.url("/docs")).await;
    browser.assert_quiet(&service.url("/")).await;

    let inline = "const script = document.createElement('script'); script.textContent = 'window.ran = true'; \
         document.body.append(script); return window.ran === true";
    assert_eq!(browser.evaluate(inline, vec![]).await, json!(false));
    let complaints = browser.complaints().await;
    assert!(complaints.iter().any(|it| it.contains("Content Security Policy")), "{complaints:?}");

    let elsewhere = "http://127.0.0.2:8099/";
    let ask =
        "const done = arguments[1]; fetch(arguments[0]).then(() => done('sent'), () => done('refused'))";
    let answer = browser.execute_async(ask, vec![json!(elsewhere)]).await.unwrap();
    assert_eq!(*answer.json(), json!("refused"));
    let complaints = browser.complaints().await;
    assert!(complaints.iter().any(|it| it.contains(elsewhere)), "{complaints:?}");
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_to_somebody_else_is_noticed() {
    let Some(browser) = Browser::start("elsewhere").await else { return };
    let [service, other] = [TestService::start().await, TestService::start().await];
    browser.open(&service.url("/livez")).await;
    let requests = browser.requests().await;
    assert!(requests.contains(&service.url("/livez")), "{requests:?}");
    browser.open(&other.url("/livez")).await;
    let requests = browser.requests().await;
    assert!(requests.contains(&other.url("/livez")), "{requests:?}");
    for elsewhere in ["http://bedplate.example/", "http://127.0.0.2:8099/"] {
        let refused = browser.goto(elsewhere).await.unwrap_err().to_string();
        assert!(refused.contains("ERR_NAME_NOT_RESOLVED"), "{refused}");
        let requests = browser.requests().await;
        assert!(requests.contains(&elsewhere.to_owned()), "{requests:?}");
    }
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_shown_as_large_and_as_dark_as_asked() {
    let Some(browser) = Browser::start("shown").await else { return };
    let service = TestService::start().await;
    browser.open(&service.url("/docs")).await;
    let shown = "return [innerWidth, innerHeight, matchMedia('(prefers-color-scheme: dark)').matches]";
    assert_eq!(browser.evaluate(shown, vec![]).await, json!([1280, 1000, false]));
    browser.resize(390, 844).await;
    browser.prefer("prefers-color-scheme", "dark").await;
    assert_eq!(browser.evaluate(shown, vec![]).await, json!([390, 844, true]));
    let picture = std::fs::read(browser.screenshot("narrow").await).unwrap();
    // The head of a PNG has its width and its height.
    let [width, height] = [16, 20].map(|at| u32::from_be_bytes(picture[at..at + 4].try_into().unwrap()));
    assert_eq!((width, height), (390, 844));
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_a_browser_whose_test_panics() {
    let Some(browser) = Browser::start("panic").await else { return };
    browser.open("about:blank").await;
    let (processes, profile) = browser.traces();
    assert!(processes.iter().all(|id| runs(*id)) && profile.exists());
    let children = children(processes[0]);
    assert!(!children.is_empty());
    let test = tokio::spawn(async move {
        browser.open("about:blank").await;
        panic!("this is the panic that the test is about");
    });
    assert!(test.await.unwrap_err().is_panic());
    assert!(!processes.into_iter().any(runs) && !profile.exists());
    eventually(Duration::from_secs(10), "Chromium's own processes end", || async {
        !children.iter().any(|id| runs(*id))
    })
    .await;
}

/// One that was ended and only waits to be reaped does not run.
fn runs(process: u32) -> bool {
    let asked = Command::new("ps").args(["-o", "stat=", "-p", &process.to_string()]).output().unwrap();
    let state = String::from_utf8(asked.stdout).unwrap();
    !state.trim().is_empty() && !state.trim_start().starts_with('Z')
}

/// The processes that one has started.
fn children(process: u32) -> Vec<u32> {
    let listed = Command::new("pgrep").args(["-P", &process.to_string()]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    listed.split_whitespace().map(|id| id.parse().unwrap()).collect()
}
