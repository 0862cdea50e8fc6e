//! The routes of archive policies and of their runs.

use std::time::{Duration, Instant};

use foundation::database::Backend;
use foundation::on_both_databases;
use foundation::testing::{TestDatabase, eventually};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::world::World;

use crate::support::TestService;
use crate::support::accounts::{Accounts, Kind};

const POLICIES: &str = "/api/v1/archive-policies";
const RUNS: &str = "/api/v1/archive-policies/runs";

struct Api {
    world: World,
    service: TestService,
    token: String,
}

impl Api {
    async fn start(test: TestDatabase, variables: &[(&str, &str)]) -> Self {
        let world = World::start(test).await;
        world.is_not_the_hour().await;
        let place = format!("file://{}", world.test.folder.path().join("archive").display());
        let fixed = [("DATABASE_URL", world.test.address.as_str()), ("ARCHIVE_URL", place.as_str())];
        let fixed = fixed.into_iter().filter(|(name, _)| variables.iter().all(|(it, _)| it != name));
        let variables: Vec<_> =
            fixed.chain(variables.iter().copied().filter(|it| !it.1.is_empty())).collect();
        let service = TestService::with(&variables, |it| it).await;
        let accounts = Accounts::new(world.database.clone());
        let admin = accounts.user("admin", Kind { is_admin: true, ..Kind::default() }).await;
        let token = accounts.session(admin).await;
        Self { world, service, token }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Response {
        let mut request =
            self.service.client.request(method, self.service.url(path)).bearer_auth(&self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.send(Method::GET, path, &[], None).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }

    /// The status, the `ETag` and the body.
    async fn asked(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> (u16, String, Value) {
        let answer = self.send(method, path, headers, body).await;
        let etag = answer.headers().get("etag").map(|it| it.to_str().unwrap().to_owned());
        let status = answer.status().as_u16();
        (status, etag.unwrap_or_default(), answer.json().await.unwrap_or(Value::Null))
    }

    /// Begins a run: one that has ended may have the duty for another moment.
    async fn begin(&self, is_dry_run: bool) -> Response {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let answer = self.send(Method::POST, RUNS, &[], Some(json!({ "dry_run": is_dry_run }))).await;
            if answer.status() == 202 {
                return answer;
            }
            assert!(answer.status() == 409 && Instant::now() < deadline, "{answer:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The end of a run.
    async fn ended(&self, id: &str) -> Value {
        let path = format!("{RUNS}/{id}");
        eventually(Duration::from_secs(20), "the end of the run", async || {
            self.get(&path).await["state"] != "running"
        })
        .await;
        self.get(&path).await
    }
}

fn pointer(problem: &Value) -> &str {
    problem["errors"][0]["pointer"].as_str().unwrap_or_default()
}

on_both_databases! {
    async fn policies_are_made_changed_and_deleted(test: TestDatabase) {
        let api = Api::start(test, &[]).await;
        let new = json!({ "metric_type": "cpu", "retention_days": 30, "action": "archive" });
        let key = [("idempotency-key", "one")];
        let (status, etag, made) = api.asked(Method::POST, POLICIES, &key, Some(new.clone())).await;
        assert_eq!((status, etag.as_str(), &made["is_enabled"]), (201, "\"1\"", &json!(false)), "{made}");
        let (status, _, again) = api.asked(Method::POST, POLICIES, &key, Some(new.clone())).await;
        assert_eq!((status, &again), (201, &made), "the same request is done once");
        let (status, _, problem) = api.asked(Method::POST, POLICIES, &[], Some(new)).await;
        assert_eq!((status, pointer(&problem)), (409, "/body/metric_type"), "{problem}");
        for (field, value) in [
            ("metric_type", json!("")),
            ("metric_type", json!("x".repeat(51))),
            ("metric_type", json!("a\u{0}b")),
            ("retention_days", json!(0)),
            ("retention_days", json!(36_501)),
        ] {
            let mut wrong = json!({ "metric_type": "disk", "retention_days": 30, "action": "delete" });
            wrong[field] = value;
            let (status, _, problem) = api.asked(Method::POST, POLICIES, &[], Some(wrong)).await;
            assert_eq!((status, pointer(&problem)), (422, format!("/body/{field}").as_str()), "{problem}");
        }
        let path = format!("{POLICIES}/{}", made["id"].as_str().unwrap());
        assert_eq!(api.get(&path).await, made);
        let patch = Some(json!({ "is_enabled": true, "retention_days": 7 }));
        assert_eq!(api.asked(Method::PATCH, &path, &[], patch.clone()).await.0, 428);
        let (status, etag, changed) = api.asked(Method::PATCH, &path, &[("if-match", "\"1\"")], patch.clone()).await;
        assert_eq!((status, etag.as_str(), &changed["retention_days"]), (200, "\"2\"", &json!(7)), "{changed}");
        assert_eq!(api.asked(Method::PATCH, &path, &[("if-match", "\"1\"")], patch).await.0, 412);
        api.world.policy("*", 3, "delete", false).await;
        let first = api.get(&format!("{POLICIES}?limit=1")).await;
        let cursor = first["next_cursor"].as_str().expect("a second page").to_owned();
        let second = api.get(&format!("{POLICIES}?limit=1&cursor={cursor}")).await;
        let items = [&first["items"][0]["metric_type"], &second["items"][0]["metric_type"]];
        let mut types = items.map(|it| it.as_str().unwrap().to_owned());
        types.sort();
        assert_eq!((types, &second["next_cursor"]), (["*".to_owned(), "cpu".to_owned()], &Value::Null));
        assert_eq!(api.asked(Method::DELETE, &path, &[("if-match", "\"1\"")], None).await.0, 412);
        assert_eq!(api.asked(Method::DELETE, &path, &[], None).await.0, 204);
        assert_eq!(api.send(Method::GET, &path, &[], None).await.status(), 404);
        let events = api.get("/api/v1/audit-events?target_type=archive_policy").await;
        let actions: Vec<_> = events["items"].as_array().unwrap().iter().map(|it| it["action"].clone()).collect();
        assert_eq!(actions, ["archive_policy.deleted", "archive_policy.updated", "archive_policy.created"]);
        assert_eq!(events["items"][1]["before"], json!({ "retention_days": 30, "is_enabled": false }));
    }

    async fn runs_are_begun_and_listed(test: TestDatabase) {
        let api = Api::start(test, &[]).await;
        api.world.fill("cpu", [20, 21], 50).await;
        api.world.policy("cpu", 5, "archive", true).await;
        for is_dry_run in [true, false] {
            let answer = api.begin(is_dry_run).await;
            let location = answer.headers()["location"].to_str().unwrap().to_owned();
            let begun: Value = answer.json().await.unwrap();
            let id = begun["id"].as_str().unwrap();
            assert_eq!((location, &begun["state"]), (format!("{RUNS}/{id}"), &json!("running")));
            let ended = api.ended(id).await;
            assert_eq!((&ended["state"], &ended["error"]), (&json!("succeeded"), &Value::Null), "{ended}");
            assert_eq!((&ended["rows_archived"], &ended["is_dry_run"]), (&json!(100), &json!(is_dry_run)));
            assert!(ended["details"].as_array().is_some_and(|it| !it.is_empty()), "{ended}");
            assert_eq!(api.world.table().await.len(), if is_dry_run { 100 } else { 0 });
        }
        assert!(!api.get(POLICIES).await["items"][0]["last_run_at"].is_null());
        let first = api.get(&format!("{RUNS}?limit=1")).await;
        let cursor = first["next_cursor"].as_str().expect("a second page").to_owned();
        let second = api.get(&format!("{RUNS}?limit=1&cursor={cursor}")).await;
        assert_eq!((&first["items"][0]["is_dry_run"], &second["items"][0]["is_dry_run"]), (&json!(false), &json!(true)));
        let events = api.get("/api/v1/audit-events?action=archive_run.started").await;
        assert_eq!(events["items"].as_array().unwrap().len(), 2);
    }

    async fn a_second_run_is_refused(test: TestDatabase) {
        let api = Api::start(test, &[]).await;
        let guard = api.world.archiving.leases.acquire(service::archive::LEASE).await.unwrap().unwrap();
        let body = Some(json!({ "dry_run": false }));
        let (status, _, problem) = api.asked(Method::POST, RUNS, &[], body).await;
        assert_eq!((status, &problem["code"]), (409, &json!("conflict")), "{problem}");
        guard.release().await;
        api.begin(false).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_production_nothing_is_archived_without_a_place() {
    let variables = [
        ("BEDPLATE_ENV", "production"),
        ("AUTH_SECRET", "a secret of the test, long enough for it"),
        ("ADMIN_PASSWORD", "a password of the test"),
        ("ARCHIVE_URL", ""),
    ];
    let api = Api::start(TestDatabase::new(Backend::Postgres).await, &variables).await;
    let new = json!({ "metric_type": "cpu", "retention_days": 30, "action": "archive", "is_enabled": true });
    let (status, _, problem) = api.asked(Method::POST, POLICIES, &[], Some(new.clone())).await;
    assert_eq!((status, pointer(&problem)), (422, "/body/is_enabled"), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("ARCHIVE_URL"), "{problem}");
    let mut disabled = new;
    disabled["is_enabled"] = json!(false);
    let (status, _, made) = api.asked(Method::POST, POLICIES, &[], Some(disabled)).await;
    assert_eq!(status, 201, "{made}");
    let path = format!("{POLICIES}/{}", made["id"].as_str().unwrap());
    let enable = |body| api.asked(Method::PATCH, &path, &[("if-match", "*")], Some(body));
    assert_eq!(enable(json!({ "is_enabled": true })).await.0, 422);
    assert_eq!(enable(json!({ "is_enabled": true, "action": "delete" })).await.0, 200);
}
