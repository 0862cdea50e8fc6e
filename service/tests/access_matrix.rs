//! Who may do what: every route, asked by everybody. A route that the documentation names and that has no
//! row here fails the test, and so does a row without a route.

use std::collections::BTreeSet;

use foundation::clock::Clock;
use foundation::on_both_databases;
use reqwest::Method;
use serde_json::{Value, json};
use service::domain::access::Scope;
use time::Duration;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::support::TestService;
use crate::support::accounts::{Accounts, Kind, PASSWORD, migrate};

/// Who asks, in the order of a row's statuses.
const CALLERS: [&str; 9] = [
    "nobody",
    "the user that it is about",
    "another user",
    "an admin",
    "a blocked user",
    "an expired session",
    "an admin's token lacking the scope",
    "an admin's token with the scope",
    "the user's token with the scope",
];

type Statuses = [u16; 9];

/// A route, the scope that a token needs (`-`: none does, or none helps), and what everybody gets. Behind a `#`
/// stands what the request is about where that makes a difference; such a row is beside the one without.
type Row = (&'static str, &'static str, &'static str, Statuses);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    //                                                nobody user other admin block expir -scope +scope user's
    ("GET", "/livez", "-",                             [200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("GET", "/readyz", "-",                            [200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("GET", "/startupz", "-",                          [200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("GET", "/health", "-",                            [200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("GET", "/health/db", "-",                         [200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("GET", "/api/v1/schema", "-",                     [401, 200, 200, 200, 401, 401, 200, 200, 200]),
    ("GET", "/api/v1/audit-events", "audit:read",      [401, 403, 403, 200, 401, 401, 403, 200, 403]),
    ("GET", "/api/v1/config", "config:read",           [401, 403, 403, 200, 401, 401, 403, 200, 403]),
    ("GET", "/api/v1/config/{key}", "config:read",     [401, 403, 403, 200, 401, 401, 403, 200, 403]),
    ("PUT", "/api/v1/config/{key}", "config:write",    [401, 403, 403, 200, 401, 401, 403, 200, 403]),
    ("DELETE", "/api/v1/config/{key}", "config:write", [401, 403, 403, 200, 401, 401, 403, 200, 403]),
    ("POST", "/api/v1/users", "users:write",           [401, 403, 403, 201, 401, 401, 403, 201, 403]),
    ("POST", "/api/v1/users#administrator", "users:write", [401, 403, 403, 201, 401, 401, 403, 403, 403]),
    ("GET", "/api/v1/users", "users:read",             [401, 403, 403, 200, 401, 401, 403, 200, 403]),
    ("GET", "/api/v1/users/{id}", "users:read",        [401, 200, 404, 200, 401, 401, 403, 200, 200]),
    ("PATCH", "/api/v1/users/{id}", "users:write",     [401, 200, 404, 200, 401, 401, 403, 200, 200]),
    ("PATCH", "/api/v1/users/{id}#administrator", "users:write", [401, 403, 404, 200, 401, 401, 403, 403, 403]),
    ("DELETE", "/api/v1/users/{id}", "users:write",    [401, 403, 403, 204, 401, 401, 403, 204, 403]),
    ("POST", "/api/v1/users/{id}/block", "users:write",   [401, 403, 403, 200, 401, 401, 403, 200, 403]),
    ("POST", "/api/v1/users/{id}/unblock", "users:write", [401, 403, 403, 200, 401, 401, 403, 200, 403]),
    ("POST", "/api/v1/users/{id}/unblock#administrator", "users:write", [401, 403, 403, 200, 401, 401, 403, 403, 403]),
    ("POST", "/api/v1/auth/login", "-",                [200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("POST", "/api/v1/auth/logout", "-",               [401, 204, 204, 204, 401, 401, 403, 403, 403]),
    ("GET", "/api/v1/auth/whoami", "-",                [401, 200, 200, 200, 401, 401, 200, 200, 200]),
    ("GET", "/api/v1/auth/sessions", "-",              [401, 200, 200, 200, 401, 401, 403, 403, 403]),
    ("DELETE", "/api/v1/auth/sessions/{id}", "-",      [401, 204, 404, 404, 401, 401, 403, 403, 403]),
    ("POST", "/api/v1/auth/password", "-",             [401, 204, 204, 204, 401, 401, 403, 403, 403]),
    ("POST", "/api/v1/auth/tokens", "-",               [401, 201, 201, 201, 401, 401, 403, 403, 403]),
    ("GET", "/api/v1/auth/tokens", "-",                [401, 200, 200, 200, 401, 401, 403, 403, 403]),
    ("DELETE", "/api/v1/auth/tokens/{id}", "-",        [401, 204, 404, 404, 401, 401, 403, 403, 403]),
    ("DELETE", "/api/v1/auth/tokens/{id}#itself", "-", [401, 204, 404, 404, 401, 401, 204, 204, 204]),
    ("POST", "/api/v1/metrics/snapshots", "metrics:write",  [401, 200, 200, 200, 401, 401, 403, 200, 200]),
    ("GET", "/api/v1/metrics/snapshots", "metrics:read",    [401, 200, 200, 200, 401, 401, 403, 200, 200]),
    ("GET", "/api/v1/metrics/series", "metrics:read",       [401, 200, 200, 200, 401, 401, 403, 200, 200]),
    ("GET", "/api/v1/metrics/latest", "metrics:read",       [401, 200, 200, 200, 401, 401, 403, 200, 200]),
    ("GET", "/api/v1/metrics/aggregate", "metrics:read",    [401, 200, 200, 200, 401, 401, 403, 200, 200]),
    ("POST", "/api/v1/archive-policies", "archive:write",          [401, 403, 403, 201, 401, 401, 403, 201, 403]),
    ("GET", "/api/v1/archive-policies", "archive:write",           [401, 403, 403, 200, 401, 401, 403, 200, 403]),
    ("GET", "/api/v1/archive-policies/{id}", "archive:write",      [401, 403, 403, 200, 401, 401, 403, 200, 403]),
    ("PATCH", "/api/v1/archive-policies/{id}", "archive:write",    [401, 403, 403, 200, 401, 401, 403, 200, 403]),
    ("DELETE", "/api/v1/archive-policies/{id}", "archive:write",   [401, 403, 403, 204, 401, 401, 403, 204, 403]),
    ("POST", "/api/v1/archive-policies/runs", "archive:write",     [401, 403, 403, 202, 401, 401, 403, 202, 403]),
    ("GET", "/api/v1/archive-policies/runs", "archive:write",      [401, 403, 403, 200, 401, 401, 403, 200, 403]),
    ("GET", "/api/v1/archive-policies/runs/{id}", "archive:write", [401, 403, 403, 200, 401, 401, 403, 200, 403]),
];

/// Every scope there is, with a blank between two.
fn all_scopes() -> String {
    Scope::ALL.iter().map(|it| it.name()).collect::<Vec<_>>().join(" ")
}

/// One request: whose token it has, what stands for `{id}`, and its body.
struct Asking {
    token: Option<String>,
    id: String,
    body: Option<Value>,
}

/// Accounts of its own for each request, so that none finds what another left behind.
async fn prepare(accounts: &Accounts, row: &Row, caller: usize) -> Asking {
    let (method, path, scope, _) = *row;
    let all = all_scopes();
    let (path, about) = path.split_once('#').unwrap_or((path, ""));
    let user = accounts.user("user", Kind::default()).await;
    let end = Clock::system().now() + Duration::HOUR;
    if about == "itself" && caller >= 6 {
        let admin = accounts.user("admin", Kind { is_admin: caller < 8, ..Kind::default() }).await;
        let scopes = if caller == 6 { "users:read" } else { &all };
        let (id, token) = accounts.token_until(admin, scopes, end).await;
        return Asking { token: Some(token), id: id.to_string(), body: None };
    }
    let token = match caller {
        0 => None,
        1 => Some(accounts.session(user).await),
        2 => Some(accounts.session(accounts.user("other", Kind::default()).await).await),
        4 => {
            let blocked = accounts.user("blocked", Kind { is_blocked: true, ..Kind::default() }).await;
            Some(accounts.session(blocked).await)
        }
        5 => Some(accounts.session_until(user, Clock::system().now() - Duration::SECOND).await.1),
        8 => Some(accounts.token(user, if scope == "-" { &all } else { scope }).await),
        _ => {
            let admin = accounts.user("admin", Kind { is_admin: true, ..Kind::default() }).await;
            let lacking = || all.replace(scope, "").split_whitespace().collect::<Vec<_>>().join(" ");
            Some(match caller {
                3 => accounts.session(admin).await,
                6 => accounts.token(admin, &lacking()).await,
                _ => accounts.token(admin, if scope == "-" { &all } else { scope }).await,
            })
        }
    };
    let id = if path.contains("/sessions/") {
        accounts.session_until(user, end).await.0
    } else if path.contains("/tokens/") {
        accounts.token_until(user, "users:read", end).await.0
    } else if path.contains("/archive-policies") {
        accounts.archive(path.contains("/runs")).await
    } else if path.ends_with("/unblock") && about == "administrator" {
        accounts.user("locked", Kind { is_admin: true, is_blocked: true, ..Kind::default() }).await
    } else {
        user
    };
    let body = body(method, path, about, user, accounts.id());
    Asking { token, id: id.to_string(), body }
}

/// The body of a request, for routes that have one. `name` is one that nobody has.
fn body(method: &str, path: &str, about: &str, user: Uuid, name: Uuid) -> Option<Value> {
    match (method, path) {
        ("POST", "/api/v1/users") => Some(json!({
            "username": format!("new-{name}"), "user_type": "local", "password": "a new passphrase",
            "is_admin": about == "administrator",
        })),
        ("POST", "/api/v1/archive-policies") => {
            Some(json!({ "metric_type": name, "retention_days": 30, "action": "delete" }))
        }
        ("POST", "/api/v1/archive-policies/runs") => Some(json!({ "dry_run": true })),
        ("PATCH", "/api/v1/archive-policies/{id}") => Some(json!({ "retention_days": 31 })),
        ("PUT", "/api/v1/config/{key}") => Some(json!({ "value": 4 })),
        ("PATCH", _) if about == "administrator" => Some(json!({ "is_admin": true })),
        ("PATCH", _) => Some(json!({ "email": format!("{name}@example.org") })),
        (_, "/api/v1/auth/login") => {
            Some(json!({ "username": format!("user-{user}"), "password": PASSWORD }))
        }
        (_, "/api/v1/auth/password") => {
            Some(json!({ "current_password": PASSWORD, "new_password": "a new passphrase" }))
        }
        ("POST", "/api/v1/metrics/snapshots") => {
            let timestamp = Clock::system().now().format(&Rfc3339).unwrap();
            let item =
                json!({ "timestamp": timestamp, "source": "a", "metric_type": "cpu", "metric_data": {} });
            Some(json!({ "items": [item] }))
        }
        ("POST", "/api/v1/auth/tokens") => {
            Some(json!({ "name": "deploy", "scopes": ["users:read"], "lifetime_seconds": 3600 }))
        }
        _ => None,
    }
}

/// What a route asks for in its query.
fn query(method: &str, path: &str) -> &'static str {
    match (method, path) {
        ("GET", "/api/v1/metrics/snapshots") => "?metric_type=cpu",
        ("GET", "/api/v1/metrics/aggregate") => {
            "?metric_type=cpu&from=2026-01-31T00:00:00Z&to=2026-02-01T00:00:00Z&step=1h"
        }
        _ => "",
    }
}

/// Asks, and says what is wrong with the answer.
async fn ask(service: &TestService, row: &Row, caller: usize, asking: Asking) -> Option<String> {
    let (method, path, _, statuses) = row;
    let path = path.split('#').next().unwrap_or_default();
    let path_of_one = path.replace("{id}", &asking.id).replace("{key}", "archive.run_hour");
    let url = service.url(&(path_of_one + query(method, path)));
    let mut request = service.client.request(method.parse::<Method>().unwrap(), url);
    if let Some(token) = asking.token {
        request = request.bearer_auth(token);
    }
    if path.contains("/config/") {
        request = request.header("if-match", "*");
    }
    request = match (*method, asking.body) {
        ("PATCH", Some(body)) => request
            .header("if-match", "*")
            .header("content-type", "application/merge-patch+json")
            .body(body.to_string()),
        (_, Some(body)) => request.json(&body),
        (_, None) => request,
    };
    let answer = request.send().await.unwrap();
    let (status, expected) = (answer.status().as_u16(), statuses[caller]);
    let challenged = answer.headers().contains_key("www-authenticate");
    let body = answer.text().await.unwrap();
    let (who, path) = (CALLERS[caller], row.1);
    if status != expected {
        return Some(format!("{method} {path} as {who}: {status} instead of {expected}: {body}"));
    }
    (challenged != (status == 401))
        .then(|| format!("{method} {path} as {who}: {status}, WWW-Authenticate: {challenged}"))
}

on_both_databases! {
    async fn everybody_gets_what_they_may(database: TestDatabase) {
        migrate(&database).await;
        let service = TestService::with(&[("DATABASE_URL", &database.address)], |it| it).await;
        service.ready().await;
        let accounts = Accounts::new(database.open());
        let mut wrong = Vec::new();
        for row in ROWS {
            for caller in 0..CALLERS.len() {
                let asking = prepare(&accounts, row, caller).await;
                wrong.extend(ask(&service, row, caller, asking).await);
            }
        }
        assert!(wrong.is_empty(), "{} cells of the matrix:\n{}", wrong.len(), wrong.join("\n"));
    }
}

#[tokio::test]
async fn every_route_has_a_row() {
    let service = TestService::start().await;
    let document: Value = service.get("/openapi.json").await.json().await.unwrap();
    let mut routes = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            routes.insert((method.to_uppercase(), path.clone()));
            let row = ROWS.iter().find(|row| row.0.eq_ignore_ascii_case(method) && row.1 == path);
            let scope = row.map_or("-", |row| row.2);
            assert_eq!(operation["x-required-scope"].as_str().unwrap_or("-"), scope, "{method} {path}");
        }
    }
    let rows = ROWS.iter().filter(|row| !row.1.contains('#'));
    let rows: BTreeSet<_> = rows.map(|row| (row.0.to_owned(), row.1.to_owned())).collect();
    let missing: Vec<_> = routes.difference(&rows).collect();
    let superfluous: Vec<_> = rows.difference(&routes).collect();
    assert!(missing.is_empty(), "routes without a row: write down who may do what: {missing:?}");
    assert!(superfluous.is_empty(), "rows without a route: {superfluous:?}");
}
