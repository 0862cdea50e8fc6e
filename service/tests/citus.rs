//! The snapshots distributed over several machines by `deploy/citus`, and taken back, with the two roles of
//! production. `make test-citus` runs these; without Citus they are left out.

use std::collections::BTreeSet;
use std::time::Duration;

use foundation::clock::Clock;
use foundation::database::{Backend, Connection, DatabaseUrl, Statement};
use foundation::entropy::Entropy;
use foundation::settings::Environment;
use foundation::testing::{TestDatabase, database_settings, maintenance, program, unique_name};
use migrator::Migrator;
use migrator::settings::Settings;
use migrator::stop::Stop;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use crate::support::{TestService, json as body_of};

const PASSWORD: &str = "a password of the test";
const SNAPSHOTS: &str = "/api/v1/metrics/snapshots";

/// A database with its two roles and a service on it, not distributed yet.
struct World {
    test: TestDatabase,
    owner: String,
    roles: [String; 2],
    service: TestService,
    token: String,
}

fn as_role(address: &str, role: &str) -> String {
    let (_, rest) = address.rsplit_once('@').unwrap();
    format!("postgresql://{role}:secret@{rest}")
}

impl World {
    async fn start() -> Self {
        let test = TestDatabase::new(Backend::Postgres).await;
        let roles = [unique_name("owner"), unique_name("service")];
        for role in &roles {
            maintenance(&format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'")).await;
        }
        maintenance(&format!("ALTER DATABASE {} OWNER TO {}", test.url.name(), roles[0])).await;
        // This one is distributed by the command that is shipped, and again, as the owner that it has now.
        test.connect().await.batch("DROP EVENT TRIGGER bedplate_test_distribute").await.unwrap();
        let owner = as_role(&test.address, &roles[0]);
        let mut connection = Self::connect(&test.address).await;
        // The coordinator asks for the size of a table on every machine, itself among them.
        let signs_in = |role: &str| {
            format!(
                "INSERT INTO pg_dist_authinfo (nodeid, rolename, authinfo) VALUES (0, '{role}', 'password=secret')"
            )
        };
        connection.batch(&roles.each_ref().map(|role| signs_in(role)).join(";")).await.unwrap();
        let nodes = "SELECT nodename || ':' || nodeport AS node FROM pg_dist_node WHERE groupid <> 0";
        let nodes = connection.query(&Statement::read("pg_dist_node", nodes), &[]).await.unwrap();
        let nodes: Vec<String> = nodes.iter().map(|it| it.get("node").unwrap()).collect();
        let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
        citus(&test.address, &[&["prepare"], nodes.as_slice()].concat()).await;

        let pairs = [
            ("DATABASE_URL", owner.as_str()),
            ("ADMIN_PASSWORD", PASSWORD),
            ("MIGRATOR_GRANT_TO", roles[1].as_str()),
        ];
        migrator(&pairs).up(None).await.unwrap();
        let serving = as_role(&test.address, &roles[1]);
        let folder = format!("file://{}", test.folder.path().join("archive").display());
        std::fs::create_dir(test.folder.path().join("archive")).unwrap();
        let variables = [
            ("DATABASE_URL", serving.as_str()),
            ("METRICS_WRITE_PAST", "30d"),
            ("ARCHIVE_URL", folder.as_str()),
            ("ARCHIVE_LOCK_TIMEOUT", "5s"),
        ];
        let service = TestService::with(&variables, |it| it).await;
        service.ready().await;
        let body = json!({ "username": "admin", "password": PASSWORD });
        let login = service.client.post(service.url("/api/v1/auth/login")).json(&body).send().await.unwrap();
        let token = body_of(login).await["token"].as_str().unwrap().to_owned();
        Self { test, owner, roles, service, token }
    }

    async fn connect(address: &str) -> Connection {
        let url: DatabaseUrl = address.parse().unwrap();
        Connection::open(&url, &database_settings([]), "test").await.unwrap()
    }

    /// The number that a statement finds, asked by the superuser.
    async fn number(&self, sql: &str) -> i64 {
        let statement =
            Statement::read("test", "").with_sql(format!("SELECT CAST(({sql}) AS bigint) AS number"));
        let row = self.test.connect().await.query_optional(&statement, &[]).await.unwrap();
        row.unwrap().get("number").unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.service.client.post(self.service.url(path)).bearer_auth(&self.token).json(body);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let body = body_of(answer).await;
        assert!(status.is_success(), "{path}: {body}");
        body
    }

    async fn get(&self, path: &str) -> Value {
        let request = self.service.client.get(self.service.url(path)).bearer_auth(&self.token);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let body = body_of(answer).await;
        assert!(status.is_success(), "{path}: {body}");
        body
    }

    /// Writes a snapshot of each of so many sources, so many days ago.
    async fn write(&self, metric_type: &str, days: i64, sources: i64) {
        let time = (Clock::system().now() - time::Duration::days(days)).format(&Rfc3339).unwrap();
        let item = |source: i64| json!({ "timestamp": time, "source": format!("host-{source}"), "metric_type": metric_type, "metric_data": { "value": source } });
        let items: Vec<Value> = (0..sources).map(item).collect();
        let written = self.post(SNAPSHOTS, &json!({ "items": items })).await;
        assert_eq!(written["accepted"], sources, "{written}");
    }

    /// Everything that the API tells of a type, the same however it lies.
    async fn told(&self, metric_type: &str) -> Vec<Value> {
        let now = Clock::system().now().replace_time(time::Time::MIDNIGHT);
        let text = |days: i64| (now + time::Duration::days(days)).format(&Rfc3339).unwrap();
        let range = format!("from={}&to={}&step=1d&path=value", text(-29), text(1));
        let mut told = Vec::new();
        for path in [
            format!("snapshots?metric_type={metric_type}&limit=1000"),
            format!("snapshots?metric_type={metric_type}&source=host-3&order=asc"),
            format!("latest?metric_type={metric_type}"),
            "latest?source=host-2&limit=1".to_owned(),
            format!("series?metric_type={metric_type}&limit=7"),
            format!("aggregate?metric_type={metric_type}&{range}&fn=avg,sum,min,max,count,p50,p95"),
            format!("aggregate?metric_type={metric_type}&source=host-3&{range}&fn=first,last,rate"),
        ] {
            told.push(self.get(&format!("/api/v1/metrics/{path}")).await);
        }
        told
    }

    async fn check(&self) {
        let pairs = [("DATABASE_URL", self.owner.as_str())];
        let found = migrator(&pairs).check(false).await.unwrap();
        assert!(found.clean(), "{found:?}");
    }

    /// Waits until the service has noticed how the snapshots lie.
    async fn noticed(&self) {
        tokio::time::sleep(Duration::from_secs(10)).await;
    }

    async fn end(self) {
        let Self { test, roles, service, .. } = self;
        drop(service);
        drop(test);
        for role in roles {
            maintenance(&format!("DROP ROLE {role}")).await;
        }
    }
}

fn migrator(pairs: &[(&str, &str)]) -> Migrator {
    let mut environment = Environment::from_pairs(pairs.iter().copied());
    let settings = Settings::read(&mut environment);
    environment.finish().unwrap();
    let (_nobody_stops_it, stop) = Stop::new();
    Migrator::new(&settings, Clock::system(), Entropy::system(), stop)
}

/// The command that is shipped.
async fn citus(address: &str, arguments: &[&str]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/citus/citus.sh");
    let folder = tempfile::tempdir().unwrap();
    let mut command = program(script, folder.path());
    let output =
        command.args(arguments).env("DATABASE_URL", address).env("SHARDS", "8").output().await.unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {said}{errors}");
    assert_eq!(errors, "", "{arguments:?}");
    said.into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it needs Citus: make test-citus"]
async fn snapshots_are_distributed_and_taken_back_under_a_service_that_runs() {
    let world = World::start().await;
    for days in [0, 1, 20] {
        world.write("cpu", days, 40).await;
    }
    let before = world.told("cpu").await;
    assert_eq!(before[0]["items"].as_array().unwrap().len(), 120);

    for _ in 0..2 {
        citus(&world.owner, &["distribute"]).await;
    }
    let shards =
        "SELECT count(DISTINCT nodeport) FROM citus_shards WHERE table_name = 'metrics_snapshot'::regclass";
    assert!(world.number(shards).await >= 2, "on several machines");
    let left =
        "SELECT sum(pg_table_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'metrics_snapshot'::regclass";
    assert!(world.number(left).await < 100_000, "nothing is left on the coordinator");
    assert!(citus(&world.owner, &["status"]).await.contains("worker"));
    world.noticed().await;
    assert_eq!(world.told("cpu").await, before);
    world.check().await;
    world.write("cpu", 3, 40).await;
    world.write("disk", 25, 40).await;

    // An archive run takes out what is old, wherever it lies, and it can be brought back.
    let policy =
        json!({ "metric_type": "disk", "retention_days": 5, "action": "archive", "is_enabled": true });
    world.post("/api/v1/archive-policies", &policy).await;
    let policy =
        json!({ "metric_type": "cpu", "retention_days": 10, "action": "delete", "is_enabled": true });
    world.post("/api/v1/archive-policies", &policy).await;
    world.post("/api/v1/archive-policies/runs", &json!({ "dry_run": false })).await;
    let mut run = Value::Null;
    for _ in 0..200 {
        run = world.get("/api/v1/archive-policies/runs").await["items"][0].clone();
        if run["state"] != "running" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(run["state"], "succeeded", "{run}");
    assert_eq!((&run["rows_deleted"], &run["rows_archived"]), (&json!(40), &json!(40)), "{run}");
    assert_eq!(run["partitions_dropped"], 2, "{run}");
    assert!(run["bytes_freed"].as_u64().unwrap() > 0, "{run}");
    assert_eq!(world.number("SELECT count(*) FROM metrics_snapshot").await, 120);

    let before = world.told("cpu").await;
    for _ in 0..2 {
        citus(&world.owner, &["undistribute"]).await;
    }
    assert_eq!(world.number("SELECT count(*) FROM pg_dist_partition").await, 0);
    assert_eq!(world.told("cpu").await, before);
    world.check().await;
    let highest = world.number("SELECT max(id) FROM metrics_snapshot").await;
    world.write("cpu", 2, 5).await;
    assert_eq!(world.number(&format!("SELECT count(*) FROM metrics_snapshot WHERE id > {highest}")).await, 5);
    let ids = world.get(&format!("{SNAPSHOTS}?metric_type=cpu&limit=1000")).await;
    let ids: BTreeSet<i64> =
        ids["items"].as_array().unwrap().iter().map(|it| it["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), 125, "no number was given twice");
    world.noticed().await;
    assert_eq!(world.told("cpu").await[0]["items"].as_array().unwrap().len(), 125);
    // And once more.
    citus(&world.owner, &["distribute"]).await;
    world.noticed().await;
    assert_eq!(world.told("cpu").await[0]["items"].as_array().unwrap().len(), 125);
    world.end().await;
}
