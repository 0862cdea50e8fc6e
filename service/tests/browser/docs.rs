//! `/docs`: somebody signs in, authorizes, makes a user and sees them listed.

use std::collections::BTreeMap;

use foundation::database::DatabaseUrl;
use foundation::on_both_databases;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::support::TestService;
use crate::support::accounts::{ADMIN_PASSWORD, migrate};
use crate::swagger::Swagger;

on_both_databases! {
    async fn an_administrator_makes_a_user_with_try_it_out(database: TestDatabase) {
        let postgres = matches!(database.url, DatabaseUrl::Postgres(_));
        let folder = if postgres { "docs-postgres" } else { "docs-sqlite" };
        let Some(browser) = Browser::start(folder).await else { return };
        migrate(&database).await;
        let service = TestService::with(&[("DATABASE_URL", &database.address)], |it| it).await;
        let swagger = Swagger::open(&browser, &service.url("/docs")).await;
        browser.screenshot("1-opened").await;
        let demanded = demands(&service).await;
        assert_locks(&swagger, &demanded, false).await;

        let token = sign_in(&swagger).await;
        swagger.authorize(&token).await;
        assert_locks(&swagger, &demanded, true).await;
        make_user(&swagger, "grace").await;
        list_users(&swagger, &["grace", "admin"]).await;

        browser.assert_quiet(&service.url("/")).await;
        browser.quit().await;
    }
}

/// Signs in as the first administrator, and returns the token in the answer that is shown.
async fn sign_in(swagger: &Swagger<'_>) -> String {
    let login = swagger.operation("Auth", "login").await;
    login.try_it_out().await;
    login.edit("ada", "admin").await;
    login.edit("correct horse battery staple", ADMIN_PASSWORD).await;
    let entered = json!({ "username": "admin", "password": ADMIN_PASSWORD });
    assert_eq!(login.body().await, entered);
    let (status, answer) = login.execute().await;
    swagger.browser.screenshot("2-signed-in").await;
    assert_eq!((status.as_str(), &answer["user"]["username"]), ("200", &json!("admin")));
    login.press(".opblock-summary-control").await;
    answer["token"].as_str().expect("a token").to_owned()
}

/// Edits the example's name and makes that user.
async fn make_user(swagger: &Swagger<'_>, name: &str) {
    let create = swagger.operation("Users", "create_user").await;
    let described = create.part(".opblock-description").await.text().await.unwrap();
    let demand = "Needs a session, or an API token with the scope users:write; administrators only.";
    assert!(described.contains(demand), "{described}");
    swagger.browser.screenshot("5-create-user").await;
    create.try_it_out().await;
    create.edit("\"ada\"", &format!("\"{name}\"")).await;
    create.edit("ada@", &format!("{name}@")).await;
    assert_eq!(create.body().await["username"], name);
    swagger.browser.screenshot("6-edited").await;
    let (status, answer) = create.execute().await;
    swagger.browser.screenshot("7-created").await;
    assert_eq!((status.as_str(), &answer["username"]), ("201", &json!(name)));
    create.press(".opblock-summary-control").await;
}

/// Asks for the list, and finds these in the answer that is shown.
async fn list_users(swagger: &Swagger<'_>, names: &[&str]) {
    let list = swagger.operation("Users", "list_users").await;
    list.try_it_out().await;
    swagger.browser.screenshot("8-list-users").await;
    let (status, answer) = list.execute().await;
    swagger.browser.screenshot("9-listed").await;
    assert_eq!(status, "200");
    let items = answer["items"].as_array().expect("a page");
    let mut listed: Vec<_> = items.iter().filter_map(|it| it["username"].as_str()).collect();
    listed.sort_unstable();
    let mut expected = names.to_vec();
    expected.sort_unstable();
    assert_eq!(listed, expected);
}

/// Every operation of the document, by the id of its block on the page, and whether it demands a token.
async fn demands(service: &TestService) -> BTreeMap<String, bool> {
    let document: Value = service.get("/openapi.json").await.json().await.unwrap();
    let paths = document["paths"].as_object().unwrap().values();
    let operations = paths.flat_map(|it| it.as_object().unwrap().values());
    let demanding = operations.map(|it| {
        let [tag, id] = [&it["tags"][0], &it["operationId"]].map(|it| it.as_str().unwrap());
        (format!("operations-{tag}-{id}"), it["security"].as_array().is_some_and(|it| !it.is_empty()))
    });
    demanding.collect()
}

/// Exactly the operations that demand a token have a lock, and it is locked when one is sent.
async fn assert_locks(swagger: &Swagger<'_>, demanded: &BTreeMap<String, bool>, locked: bool) {
    let expected = demanded.iter().filter(|(_, demanded)| **demanded);
    let expected: BTreeMap<_, _> = expected.map(|(id, _)| (id.clone(), locked)).collect();
    assert!(expected.len() > 10 && expected.len() < demanded.len());
    let shown: BTreeMap<_, _> = swagger.locks().await.into_iter().collect();
    assert_eq!(shown, expected);
}
