//! The page at `/`, its files, and what it alone asks for.

use std::collections::BTreeSet;

use foundation::clock::Clock;
use foundation::database::{Statement, Value as Bound};
use foundation::on_both_databases;
use reqwest::StatusCode;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::support::accounts::{Accounts, Kind, migrate};
use crate::support::{TestService, header};

/// The addresses of files that a text names.
fn files(text: &str) -> BTreeSet<String> {
    text.split('"').filter(|it| it.starts_with("/assets/")).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_page_loads_its_own_files_and_nothing_else() {
    let service = TestService::start().await;
    let page = service.get("/").await;
    assert_eq!(page.status(), StatusCode::OK);
    assert_eq!(header(&page, "content-type"), "text/html; charset=utf-8");
    assert_eq!(header(&page, "cache-control"), "no-cache");
    let policy = header(&page, "content-security-policy").to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"));
    assert!(!policy.contains("unsafe") && !policy.contains("data:"), "{policy}");
    let etag = header(&page, "etag").to_owned();
    let again = service.client.get(service.url("/")).header("if-none-match", &etag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);

    let page = page.text().await.unwrap();
    assert!(page.contains(service::VERSION) && page.contains("href=\"/docs\""));
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" onclick"), "{page}");
    assert_eq!(page.matches("<script").count(), 1, "none is in the page itself");
    let mut length = page.len();
    let named = files(&page);
    assert_eq!(named.len(), 10, "{named:?}");
    for path in &named {
        let file =
            service.client.get(service.url(path)).header("accept-encoding", "identity").send().await.unwrap();
        assert_eq!(file.status(), StatusCode::OK, "{path}");
        assert_eq!(header(&file, "cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(header(&file, "vary"), "accept-encoding");
        let text = file.text().await.unwrap();
        length += text.len();
        assert!(files(&text).is_subset(&named), "{path} names a file that the page does not");
        let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!elsewhere.contains("http:") && !elsewhere.contains("https:"), "{path} names somebody else");
        let packed =
            service.client.get(service.url(path)).header("accept-encoding", "gzip").send().await.unwrap();
        assert_eq!(header(&packed, "content-encoding"), "gzip");
    }
    assert!(length < 60_000, "{length} bytes");
    assert_eq!(service.get("/assets/app.js").await.status(), StatusCode::NOT_FOUND);
}

on_both_databases! {
    async fn the_schema_is_told_to_who_is_known(database: TestDatabase) {
        migrate(&database).await;
        let pool = database.open();
        let accounts = Accounts::new(pool.clone());
        let token = accounts.session(accounts.user("user", Kind::default()).await).await;
        let service = TestService::with(&[("DATABASE_URL", &database.address)], |it| it).await;
        let schema = async || -> Value {
            let answer = service.client.get(service.url("/api/v1/schema")).bearer_auth(&token).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            answer.json().await.unwrap()
        };
        let told = schema().await;
        let history = told["history"].as_array().unwrap();
        let versions: Vec<_> = history.iter().map(|it| it["version"].as_i64().unwrap()).collect();
        assert!(versions.len() > 5 && versions.is_sorted(), "{versions:?}");
        assert_eq!((&told["state"], &told["reason"]), (&json!("current"), &Value::Null));
        assert_eq!(told["version"], *versions.last().unwrap());
        assert_eq!(told["version"], told["newest_known"]);
        assert_eq!(history[0]["name"], "create_users");
        for migration in history {
            let applied_on = OffsetDateTime::parse(migration["applied_on"].as_str().unwrap(), &Rfc3339).unwrap();
            assert!(Clock::system().now() - applied_on < time::Duration::HOUR, "{migration}");
        }

        let forget = Statement::write("refinery_schema_history", "DELETE FROM refinery_schema_history WHERE version = $1");
        let newest = told["newest_known"].as_i64().unwrap();
        pool.execute(&forget, &[Bound::Integer(newest)]).await.unwrap();
        let told = schema().await;
        assert_eq!((&told["state"], &told["newest_known"]), (&json!("behind"), &json!(newest)));
        assert_eq!(told["version"], versions[versions.len() - 2]);
        assert!(told["reason"].as_str().unwrap().starts_with("the schema is behind"), "{told}");
    }
}
