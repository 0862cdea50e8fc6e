//! The service with a standby to read from: who wrote finds it, and what guards the door is never read there.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use foundation::clock::Clock;
use foundation::database::{Connection, Statement};
use foundation::entropy::Entropy;
use foundation::settings::{Environment, FoundationSettings};
use foundation::testing::cluster::PrivateCluster;
use foundation::testing::{address_of_database, database_settings, eventually};
use migrator::Migrator;
use migrator::settings::Settings;
use migrator::stop::Stop;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{self, TestService, header, json as body_of};

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
        Self::start_at(|primary, _| primary.to_owned()).await
    }

    /// The same with the `DATABASE_URL` that this makes of the addresses of both.
    async fn start_at(url: impl FnOnce(&str, &str) -> String) -> Self {
        let primary = PrivateCluster::start();
        let address = address_of_database(&primary.address, "bedplate");
        let mut environment =
            Environment::from_pairs([("DATABASE_URL", address.as_str()), ("ADMIN_PASSWORD", PASSWORD)]);
        let settings = Settings::read(&mut environment);
        environment.finish().unwrap();
        let (_nobody_stops_it, stop) = Stop::new();
        Migrator::new(&settings, Clock::system(), Entropy::system(), stop).up(None).await.unwrap();
        // The service begins no run by itself, whatever hour it is.
        let another = (Clock::system().now().hour() + 12) % 24;
        let sql = format!("UPDATE config SET value = to_jsonb({another}) WHERE key = 'archive.run_hour'");
        let mut owner =
            Connection::open(&address.parse().unwrap(), &database_settings([]), "test").await.unwrap();
        owner.batch(&sql).await.unwrap();
        let standby = primary.standby();
        let read_address = address_of_database(&standby.address, "bedplate");
        let url = url(&address, &read_address);
        let variables = [
            ("DATABASE_URL", url.as_str()),
            ("DATABASE_READ_URL", read_address.as_str()),
            ("DATABASE_READ_MAX_LAG", "1h"),
            // No test is slow enough to outlast it.
            ("AUTH_LOGIN_DELAY", "1m"),
        ];
        let service = TestService::with(&variables, |it| it).await;
        service.ready().await;
        let body = json!({ "username": "admin", "password": PASSWORD });
        let login = service.client.post(service.url("/api/v1/auth/login")).json(&body).send().await.unwrap();
        let token = body_of(login).await["token"].as_str().unwrap().to_owned();
        let world = Self { primary, standby, service, token };
        world.standby_answers().await;
        world
    }

    /// Waits until the standby answers reads. It goes on doing so: what it has is fresh enough for an hour.
    async fn standby_answers(&self) {
        const ANSWERED: &str = "SELECT count(*) AS count FROM pg_stat_activity \
             WHERE pid <> pg_backend_pid() AND query LIKE '%FROM users%'";
        eventually(LONG, "the standby answers", || async {
            self.count("/api/v1/users", None).await;
            self.count_on_standby(ANSWERED).await > 0
        })
        .await;
    }

    /// What the standby counts, asked without the service.
    async fn count_on_standby(&self, sql: &'static str) -> i64 {
        let address = address_of_database(&self.standby.address, "bedplate");
        let mut environment = Environment::from_pairs([("DATABASE_URL", address.as_str())]);
        let settings = FoundationSettings::read(&mut environment);
        environment.finish().unwrap();
        let connection = Connection::open(&settings.database_url, &settings.database, "test").await;
        let row = connection.unwrap().query_optional(&Statement::read("nothing", sql), &[]).await.unwrap();
        row.unwrap().get("count").unwrap()
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
    // Also one of which a part is stored, because its end is missing.
    let mut lines = GzEncoder::new(Vec::new(), Compression::fast());
    let line = snapshot().to_string() + "\n";
    (0..10_000).for_each(|_| lines.write_all(line.as_bytes()).unwrap());
    let mut lines = lines.finish().unwrap();
    lines.truncate(lines.len() - 20);
    let request = world.service.client.post(world.service.url("/api/v1/metrics/snapshots"));
    let request = request.bearer_auth(&world.token).header("Content-Type", "application/x-ndjson");
    let broken = request.header("Content-Encoding", "gzip").body(lines).send().await.unwrap();
    assert!(broken.status().is_client_error(), "{broken:?}");
    let position = header(&broken, POSITION).to_owned();
    let detail = body_of(broken).await["detail"].to_string();
    assert!(detail.contains("of the stream are stored"), "{detail}");
    let all = world.get(&format!("{SNAPSHOTS}&limit=200")).header(POSITION, &position).send().await.unwrap();
    assert_eq!(body_of(all).await["items"].as_array().unwrap().len(), 200);
    // Who is refused at the door is told nothing.
    let wrong = json!({ "username": "nobody", "password": "not the password" });
    let refused =
        world.service.client.post(world.service.url("/api/v1/auth/login")).json(&wrong).send().await;
    let refused = refused.unwrap();
    assert!(refused.status() == StatusCode::UNAUTHORIZED && !refused.headers().contains_key(POSITION));

    // And accounts.
    let user = json!({ "username": "somebody", "password": "a password of somebody", "user_type": "local" });
    let made = world.post("/api/v1/users", &user, None).await;
    assert_eq!(world.count("/api/v1/users", None).await, 1);
    assert_eq!(world.count("/api/v1/users", Some(header(&made, POSITION))).await, 2);

    world.replay("resume").await;
    world.wait_for("/api/v1/users", 2).await;
}

/// Every route that writes says where that ended, and with it the lists find what it did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_tells_where_it_ended() {
    let world = World::start().await;
    world.replay("pause").await;
    let mut asked = Asked { world: &world, token: world.token.clone(), routes: BTreeSet::new() };
    let user = json!({ "username": "somebody", "password": PASSWORD, "user_type": "local" });
    let user = asked.id(("POST", "/api/v1/users"), "", Some(user)).await;
    asked.ask(("PATCH", "/api/v1/users/{id}"), &user, Some(json!({ "email": "a@example.org" }))).await;
    asked.ask(("POST", "/api/v1/users/{id}/block"), &user, Some(json!({}))).await;
    asked.ask(("POST", "/api/v1/users/{id}/unblock"), &user, Some(json!({}))).await;
    asked.ask(("PUT", "/api/v1/config/{key}"), "auth.login_attempts", Some(json!({ "value": 4 }))).await;
    asked.ask(("DELETE", "/api/v1/config/{key}"), "auth.login_attempts", None).await;
    asked.ask(("POST", "/api/v1/metrics/snapshots"), "", Some(json!({ "items": [snapshot()] }))).await;
    let policy = json!({ "metric_type": "cpu", "retention_days": 30, "action": "delete" });
    let policy = asked.id(("POST", "/api/v1/archive-policies"), "", Some(policy)).await;
    let changed = json!({ "retention_days": 31 });
    asked.ask(("PATCH", "/api/v1/archive-policies/{id}"), &policy, Some(changed)).await;
    asked.ask(("DELETE", "/api/v1/archive-policies/{id}"), &policy, None).await;
    let begun =
        asked.ask(("POST", "/api/v1/archive-policies/runs"), "", Some(json!({ "dry_run": true }))).await;
    let begun = header(&begun, POSITION);
    assert_eq!(world.count("/api/v1/archive-policies/runs", None).await, 0, "the standby answers");
    assert_eq!(world.count("/api/v1/archive-policies/runs", Some(begun)).await, 1);
    let newest =
        body_of(world.get("/api/v1/audit-events").header(POSITION, begun).send().await.unwrap()).await;
    assert_eq!(newest["items"][0]["action"], "archive_run.started", "{newest}");

    // The door.
    let token = json!({ "name": "program", "scopes": ["users:read"], "lifetime_seconds": 3600 });
    let token = asked.id(("POST", "/api/v1/auth/tokens"), "", Some(token)).await;
    asked.ask(("DELETE", "/api/v1/auth/tokens/{id}"), &token, None).await;
    let credentials = json!({ "username": "somebody", "password": PASSWORD });
    let login = asked.ask(("POST", "/api/v1/auth/login"), "", Some(credentials)).await;
    let admin =
        std::mem::replace(&mut asked.token, body_of(login).await["token"].as_str().unwrap().to_owned());
    let password = json!({ "current_password": PASSWORD, "new_password": "a new password of the test" });
    asked.ask(("POST", "/api/v1/auth/password"), "", Some(password)).await;
    asked.ask(("POST", "/api/v1/auth/logout"), "", None).await;
    asked.token = admin;
    asked.ask(("DELETE", "/api/v1/users/{id}"), &user, None).await;
    let sessions = body_of(world.get("/api/v1/auth/sessions").send().await.unwrap()).await;
    let session = sessions["items"][0]["id"].as_str().unwrap().to_owned();
    asked.ask(("DELETE", "/api/v1/auth/sessions/{id}"), &session, None).await;

    let document = body_of(world.service.get("/openapi.json").await).await;
    let routes = document["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
        methods.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone()))
    });
    let routes: BTreeSet<_> = routes.filter(|(method, _)| method != "GET").collect();
    assert_eq!(asked.routes, routes, "every route that writes is asked here");
}

/// Asks routes that write, and remembers which.
struct Asked<'a> {
    world: &'a World,
    token: String,
    routes: BTreeSet<(String, String)>,
}

impl Asked<'_> {
    async fn ask(&mut self, (method, path): (&str, &str), id: &str, body: Option<Value>) -> Response {
        self.routes.insert((method.to_owned(), path.to_owned()));
        let url = self.world.service.url(&path.replace("{id}", id).replace("{key}", id));
        let request = self.world.service.client.request(method.parse::<Method>().unwrap(), url);
        let mut request = request.bearer_auth(&self.token);
        if path.contains('{') {
            request = request.header("If-Match", "*");
        }
        request = match (method, body) {
            ("PATCH", Some(body)) => {
                request.header("Content-Type", "application/merge-patch+json").body(body.to_string())
            }
            (_, Some(body)) => request.json(&body),
            (_, None) => request,
        };
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{method} {path}: {answer:?}");
        assert!(answer.headers().contains_key(POSITION), "{method} {path} does not say where it ended");
        answer
    }

    /// The id of what was made.
    async fn id(&mut self, route: (&str, &str), id: &str, body: Option<Value>) -> String {
        body_of(self.ask(route, id, body).await).await["id"].as_str().unwrap().to_owned()
    }
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

    // Failures lock at once. Where somebody has a session their account is not locked, so it is another name.
    let wrong = json!({ "username": "nobody", "password": "not the password" });
    for attempt in 1..=8 {
        let request = world.service.client.post(world.service.url("/api/v1/auth/login")).json(&wrong);
        let expected = if attempt <= 6 { StatusCode::UNAUTHORIZED } else { StatusCode::TOO_MANY_REQUESTS };
        assert_eq!(request.send().await.unwrap().status(), expected, "attempt {attempt}");
    }
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

/// A page of documents that may be large comes as a stream, which is broken off in the middle as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_standby_breaks_off_is_read_from_the_primary() {
    let world = World::start().await;
    let mut large = snapshot();
    large["metric_data"]["text"] = "x".repeat(1_500).into();
    let body = json!({ "items": vec![large; 500] });
    for _ in 0..2 {
        world.post("/api/v1/metrics/snapshots", &body, None).await;
    }
    let page = format!("{SNAPSHOTS}&limit=1000");
    world.wait_for(&page, 1_000).await;
    world
        .standby
        .batch(&["ALTER SYSTEM SET max_standby_streaming_delay = 0", "SELECT pg_reload_conf()"])
        .await;
    let address = address_of_database(&world.primary.address, "bedplate").parse().unwrap();
    let mut user = Connection::open(&address, &database_settings([]), "test").await.unwrap();
    let using = tokio::spawn(async move {
        loop {
            user.batch("BEGIN; LOCK TABLE metrics_snapshot; COMMIT").await.unwrap();
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
    for _ in 0..60 {
        assert_eq!(world.count(&page, None).await, 1_000);
    }
    using.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_standby_a_position_changes_nothing() {
    let service = TestService::start().await;
    service.ready().await;
    for position in ["16/B374D848", "nowhere"] {
        let asked = service.client.get(service.url("/api/v1/users")).header(POSITION, position).send().await;
        assert_eq!(asked.unwrap().status(), StatusCode::UNAUTHORIZED, "{position}");
    }
    let livez = service.client.get(service.url("/livez")).header(POSITION, "0/1").send().await.unwrap();
    assert!(livez.status().is_success() && !livez.headers().contains_key(POSITION));
}

/// What is found out about the new primary is done about the connections to the former one, which is silent: of those
/// that lie in the pool nobody would notice that for as long as a statement may take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_move_to_the_new_primary() {
    let both = |primary: &str, standby: &str| {
        let (_, host) = standby.rsplit_once('@').unwrap();
        let (host, _) = host.split_once('/').unwrap();
        let (server, database) = primary.rsplit_once('/').unwrap();
        format!("{server},{host}/{database}?target_session_attrs=read-write")
    };
    let world = World::start_at(both).await;
    futures_util::future::join_all((0..8).map(|_| world.snapshot())).await;
    eventually(LONG, "the standby has all of it", || async {
        world.count_on_standby("SELECT count(*) AS count FROM metrics_snapshot").await == 8
            && world.count_on_standby("SELECT count(*) AS count FROM session").await == 1
    })
    .await;
    world.primary.freeze();
    support::wait_for(&world.service.client, &world.service.url("/readyz"), StatusCode::SERVICE_UNAVAILABLE)
        .await;
    world.standby.batch(&["SELECT pg_promote()"]).await;
    world.service.ready().await;
    let written = futures_util::future::join_all((0..8).map(|_| world.snapshot()));
    tokio::time::timeout(Duration::from_secs(10), written)
        .await
        .expect("nobody waits for the former primary");
    assert_eq!(world.count_on_standby("SELECT count(*) AS count FROM metrics_snapshot").await, 16);
}
