//! The service with a standby to read from: who wrote finds it, and what guards the door is never read there.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests do what programs may not"
)]

mod support;

use std::time::Duration;

use foundation::clock::Clock;
use foundation::entropy::Entropy;
use foundation::settings::Environment;
use foundation::testing::cluster::PrivateCluster;
use foundation::testing::{address_of_database, eventually};
use migrator::Migrator;
use migrator::settings::Settings;
use migrator::stop::Stop;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use support::{TestService, header, json as body_of};

const POSITION: &str = "bedplate-position";
const PASSWORD: &str = "a password of the test";
const LONG: Duration = Duration::from_secs(15);

/// A snapshot of now.
fn snapshot() -> Value {
    let now = Clock::system().now().format(&time::format_description::well_known::Rfc3339).unwrap();
    json!({ "timestamp": now, "source": "a", "metric_type": "cpu", "metric_data": { "value": 1 } })
}

struct World {
    primary: PrivateCluster,
    standby: PrivateCluster,
    service: TestService,
    token: String,
}

impl World {
    /// A service on a new database and its standby, which it may be read from for an hour after it stopped.
    async fn start() -> Self {
        let primary = PrivateCluster::start();
        let address = address_of_database(&primary.address, "bedplate");
        let mut environment =
            Environment::from_pairs([("DATABASE_URL", address.as_str()), ("ADMIN_PASSWORD", PASSWORD)]);
        let settings = Settings::read(&mut environment);
        environment.finish().unwrap();
        let (_nobody_stops_it, stop) = Stop::new();
        Migrator::new(&settings, Clock::system(), Entropy::system(), stop).up(None).await.unwrap();
        let standby = primary.standby();
        let read_address = address_of_database(&standby.address, "bedplate");
        let variables = [
            ("DATABASE_URL", address.as_str()),
            ("DATABASE_READ_URL", read_address.as_str()),
            ("DATABASE_READ_MAX_LAG", "1h"),
        ];
        let service = TestService::with(&variables, |it| it).await;
        service.ready().await;
        let body = json!({ "username": "admin", "password": PASSWORD });
        let login = service.client.post(service.url("/api/v1/auth/login")).json(&body).send().await.unwrap();
        let token = body_of(login).await["token"].as_str().unwrap().to_owned();
        Self { primary, standby, service, token }
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.service.client.get(self.service.url(path)).bearer_auth(&self.token)
    }

    async fn post(&self, path: &str, body: &Value, key: Option<&str>) -> Response {
        let mut request =
            self.service.client.post(self.service.url(path)).bearer_auth(&self.token).json(body);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {answer:?}");
        answer
    }

    async fn snapshot(&self) -> Response {
        self.post("/api/v1/metrics/snapshots", &json!({ "items": [snapshot()] }), None).await
    }

    /// How many things a list has, found after a position.
    async fn count(&self, path: &str, after: Option<&str>) -> usize {
        let mut request = self.get(path);
        if let Some(after) = after {
            request = request.header(POSITION, after);
        }
        body_of(request.send().await.unwrap()).await["items"].as_array().unwrap().len()
    }

    async fn replay(&self, what: &str) {
        self.standby.batch(&[&format!("SELECT pg_wal_replay_{what}()")]).await;
    }

    /// Waits until reads find so many snapshots without saying after what.
    async fn wait_for(&self, path: &str, count: usize) {
        eventually(LONG, "it is replayed", || async { self.count(path, None).await == count }).await;
    }
}

const SNAPSHOTS: &str = "/api/v1/metrics/snapshots?metric_type=cpu";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_wrote_finds_it_with_the_position_of_the_answer() {
    let world = World::start().await;
    world.snapshot().await;
    world.wait_for(SNAPSHOTS, 1).await;
    world.replay("pause").await;

    let body = json!({ "items": [snapshot()] });
    let written = world.post("/api/v1/metrics/snapshots", &body, Some("a key")).await;
    let position = header(&written, POSITION).to_owned();
    assert_eq!(world.count(SNAPSHOTS, None).await, 1, "the standby is as old as it may be");
    assert_eq!(world.count(SNAPSHOTS, Some(&position)).await, 2);
    for path in ["latest?source=a", "series?source=a"] {
        let answer = world.get(&format!("/api/v1/metrics/{path}")).header(POSITION, &position).send().await;
        assert_eq!(body_of(answer.unwrap()).await["items"].as_array().unwrap().len(), 1, "{path}");
    }
    let lines = world.get(SNAPSHOTS).header("Accept", "application/x-ndjson").header(POSITION, &position);
    assert_eq!(lines.send().await.unwrap().text().await.unwrap().lines().count(), 2);
    // Who did not get the answer and asks again is told a position that has it.
    let again = world.post("/api/v1/metrics/snapshots", &body, Some("a key")).await;
    assert_eq!(header(&again, "idempotent-replayed"), "true");
    assert_eq!(world.count(SNAPSHOTS, Some(header(&again, POSITION))).await, 2);

    // A stream, too.
    let request = world.service.client.post(world.service.url("/api/v1/metrics/snapshots"));
    let request = request.bearer_auth(&world.token).header("Content-Type", "application/x-ndjson");
    let request = request.body(snapshot().to_string());
    let streamed = request.send().await.unwrap();
    assert_eq!(world.count(SNAPSHOTS, Some(header(&streamed, POSITION))).await, 3);

    // And accounts.
    let user = json!({ "username": "somebody", "password": "a password of somebody", "user_type": "local" });
    let made = world.post("/api/v1/users", &user, None).await;
    assert_eq!(world.count("/api/v1/users", None).await, 1);
    assert_eq!(world.count("/api/v1/users", Some(header(&made, POSITION))).await, 2);

    world.replay("resume").await;
    world.wait_for(SNAPSHOTS, 3).await;
    world.wait_for("/api/v1/users", 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_and_tokens_are_never_read_from_a_standby() {
    let world = World::start().await;
    world.wait_for("/api/v1/users", 1).await;
    world.replay("pause").await;
    let before = world.count("/api/v1/auth/sessions", None).await;
    let body = json!({ "username": "admin", "password": PASSWORD });
    let second = world.post("/api/v1/auth/login", &body, None).await;
    let second = body_of(second).await["token"].as_str().unwrap().to_owned();
    assert_eq!(world.count("/api/v1/auth/sessions", None).await, before + 1);
    let token = json!({ "name": "program", "scopes": ["users:read"], "lifetime_seconds": 3600 });
    let made = body_of(world.post("/api/v1/auth/tokens", &token, None).await).await;
    assert_eq!(world.count("/api/v1/auth/tokens", None).await, 1);

    let whoami = |token: String| {
        let request = world.service.client.get(world.service.url("/api/v1/auth/whoami")).bearer_auth(token);
        async move { request.send().await.unwrap().status() }
    };
    assert_eq!(whoami(second.clone()).await, StatusCode::OK);
    let logout = world.service.client.post(world.service.url("/api/v1/auth/logout")).bearer_auth(&second);
    assert!(logout.send().await.unwrap().status().is_success());
    assert_eq!(whoami(second).await, StatusCode::UNAUTHORIZED);
    assert_eq!(whoami(made["token"].as_str().unwrap().to_owned()).await, StatusCode::OK);

    // Failures lock at once.
    let wrong = json!({ "username": "admin", "password": "not the password" });
    let mut statuses = Vec::new();
    for _ in 0..8 {
        let request = world.service.client.post(world.service.url("/api/v1/auth/login")).json(&wrong);
        statuses.push(request.send().await.unwrap().status());
    }
    assert!(statuses.contains(&StatusCode::UNAUTHORIZED), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_outlive_the_standby() {
    let world = World::start().await;
    let written = world.snapshot().await;
    let position = header(&written, POSITION).to_owned();
    world.wait_for(SNAPSHOTS, 1).await;
    world.standby.stop();
    for _ in 0..20 {
        assert_eq!(world.count(SNAPSHOTS, Some(&position)).await, 1);
        assert_eq!(world.count(SNAPSHOTS, None).await, 1);
    }
    world.standby.start_again();
    world.standby.batch(&["SELECT pg_promote()"]).await;
    let later = world.snapshot().await;
    assert_eq!(world.count(SNAPSHOTS, Some(header(&later, POSITION))).await, 2);
    world.primary.batch(&["CHECKPOINT"]).await;
    assert_eq!(world.count(SNAPSHOTS, None).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_that_is_none_is_refused_and_without_a_standby_one_changes_nothing() {
    let service = TestService::start().await;
    service.ready().await;
    for wrong in ["", "7", "x/y", "0/123456789", "0/1, 0/2"] {
        let answer =
            service.client.get(service.url("/api/v1/users")).header(POSITION, wrong).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{wrong:?}");
        let problem = body_of(answer).await;
        assert_eq!(problem["errors"][0]["pointer"], "/header/bedplate-position", "{problem}");
    }
    let answer =
        service.client.get(service.url("/api/v1/users")).header(POSITION, "16/B374D848").send().await;
    assert_eq!(answer.unwrap().status(), StatusCode::UNAUTHORIZED);
    let livez = service.client.get(service.url("/livez")).header(POSITION, "0/1").send().await.unwrap();
    assert!(livez.status().is_success() && !livez.headers().contains_key(POSITION));
}
