//! The service on a PostgreSQL that is stopped, frozen, behind, ahead, or not its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use foundation::clock::Clock;
use foundation::database::{Backend, Statement};
use foundation::entropy::Entropy;
use foundation::settings::Environment;
use foundation::testing::cluster::PrivateCluster;
use foundation::testing::{TestDatabase, address_of_database, maintenance, unique_name};
use migrator::Migrator;
use migrator::settings::Settings;
use migrator::stop::Stop;
use reqwest::StatusCode;
use serde_json::Value;

use crate::support::{DEADLINE, Program, client, json, wait_for};

/// How long a probe's answer may take, whatever the state of the database.
const PROMPT: Duration = Duration::from_secs(1);

async fn migrate(address: &str, variables: &[(&str, &str)]) {
    let fixed = [("DATABASE_URL", address), ("ADMIN_PASSWORD", "a password of the test")];
    let mut environment = Environment::from_pairs(fixed.into_iter().chain(variables.iter().copied()));
    let settings = Settings::read(&mut environment);
    environment.finish().unwrap();
    let (_nobody_stops_it, stop) = Stop::new();
    Migrator::new(&settings, Clock::system(), Entropy::system(), stop).up(None).await.unwrap();
}

/// A client that asks a route all the time, and remembers what it got.
struct Watcher {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Vec<(StatusCode, Duration)>>,
}

impl Watcher {
    fn start(url: String, asked: Arc<AtomicUsize>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let (client, mut answers) = (client(), Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                let started = Instant::now();
                let status =
                    client.get(&url).send().await.unwrap_or_else(|it| panic!("{url}: {it}")).status();
                answers.push((status, started.elapsed()));
                asked.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            answers
        });
        Self { stop, task }
    }

    async fn end(self) -> Vec<(StatusCode, Duration)> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

async fn within(limit: Duration, client: &reqwest::Client, url: &str, status: StatusCode) {
    let started = Instant::now();
    wait_for(client, url, status).await;
    assert!(started.elapsed() <= limit, "{url} is {status} after {:?}", started.elapsed());
}

/// Takes the database away under running requests and gives it back.
async fn survives(away: impl FnOnce(&PrivateCluster), back: impl FnOnce(&PrivateCluster)) {
    let cluster = PrivateCluster::start();
    let address = address_of_database(&cluster.address, "bedplate");
    migrate(&address, &[]).await;
    let mut program = Program::serve(&[("DATABASE_URL", &address)]);
    let base = format!("http://{}", program.address());
    let [live, ready, health, database] =
        ["/livez", "/readyz", "/health", "/health/db"].map(|path| format!("{base}{path}"));
    let client = client();
    wait_for(&client, &ready, StatusCode::OK).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let watchers = [&live, &ready, &health, &database].map(|url| Watcher::start(url.clone(), asked.clone()));

    away(&cluster);
    tokio::join!(
        within(Duration::from_secs(2), &client, &ready, StatusCode::SERVICE_UNAVAILABLE),
        within(Duration::from_secs(2), &client, &health, StatusCode::SERVICE_UNAVAILABLE),
    );
    let answer = json(wait_for(&client, &health, StatusCode::SERVICE_UNAVAILABLE).await).await;
    assert_eq!((&answer["status"], &answer["database"]), (&"unhealthy".into(), &"disconnected".into()));
    assert!(answer["error"].as_str().is_some_and(|it| !it.contains("postgres:postgres")), "{answer}");
    wait_for(&client, &database, StatusCode::SERVICE_UNAVAILABLE).await;

    back(&cluster);
    tokio::join!(
        within(Duration::from_secs(5), &client, &ready, StatusCode::OK),
        within(Duration::from_secs(5), &client, &health, StatusCode::OK),
        within(Duration::from_secs(5), &client, &database, StatusCode::OK),
    );

    let [live, ready, health, database] = watchers;
    let live = live.end().await;
    assert!(live.iter().all(|(status, _)| *status == StatusCode::OK), "liveness looks at nothing else");
    let probes = [live, ready.end().await, health.end().await, database.end().await].concat();
    let slowest = probes.iter().map(|(_, duration)| *duration).max().unwrap();
    assert!(slowest <= PROMPT, "an answer took {slowest:?}");
    program.signal("TERM");
    assert!(program.ended().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_stopped_is_told_and_found_again() {
    survives(PrivateCluster::stop, PrivateCluster::start_again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_frozen_is_told_and_found_again() {
    survives(PrivateCluster::freeze, PrivateCluster::thaw).await;
}

/// Of several hosts the first one accepts and then says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_host_does_not_keep_the_others_away() {
    let test = TestDatabase::new(Backend::Postgres).await;
    migrate(&test.address, &[]).await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = test.address.replace("@", &format!("@{},", silent.local_addr().unwrap()));
    let mut program = Program::serve(&[("DATABASE_URL", &address), ("DATABASE_CONNECT_TIMEOUT", "2s")]);
    let (client, base) = (client(), format!("http://{}", program.address()));
    for path in ["/readyz", "/health", "/health/db"] {
        wait_for(&client, &format!("{base}{path}"), StatusCode::OK).await;
    }
}

/// The reasons of `/readyz` once one of them says `words`.
async fn reasons(client: &reqwest::Client, base: &str, words: &str) -> Value {
    let started = Instant::now();
    loop {
        let answer = json(client.get(format!("{base}/readyz")).send().await.unwrap()).await;
        if answer["reasons"].to_string().contains(words) {
            return answer;
        }
        assert!(started.elapsed() < DEADLINE, "no reason says {words:?}: {answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The service does not migrate PostgreSQL. It waits for whoever does, and notices what they do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_follows_the_schema() {
    let test = TestDatabase::new(Backend::Postgres).await;
    let mut program = Program::serve(&[("DATABASE_URL", &test.address)]);
    let (client, base) = (client(), format!("http://{}", program.address()));
    reasons(&client, &base, "no migration is applied yet").await;
    migrate(&test.address, &[]).await;
    wait_for(&client, &format!("{base}/readyz"), StatusCode::OK).await;

    let mut connection = test.connect().await;
    let history = "refinery_schema_history";
    connection.batch(&format!("UPDATE {history} SET checksum = '1' WHERE version = 1")).await.unwrap();
    reasons(&client, &base, "was changed after it was applied").await;
    connection.batch(&format!("DELETE FROM {history}")).await.unwrap();
    reasons(&client, &base, "no migration is applied yet").await;
    migrate_again_after_undo(&mut connection, &test.address).await;
    wait_for(&client, &format!("{base}/readyz"), StatusCode::OK).await;

    // A newer release was here: this one goes on, until the journal says that it cannot.
    let newer = "INSERT INTO refinery_schema_history VALUES (99999, 'newer', '2026-01-01T00:00:00Z', '1')";
    connection.batch(newer).await.unwrap();
    let database = wait_for(&client, &format!("{base}/health/db"), StatusCode::OK).await;
    assert_eq!(json(database).await["status"], "healthy");
    let journal = "INSERT INTO migrator_journal (version, name, action, outcome, started_at, compatible_from, migrator_version)
        VALUES (99999, 'newer', 'up', 'applied', now(), 99999, '9.0.0')";
    connection.batch(journal).await.unwrap();
    reasons(&client, &base, "too new").await;
    assert!(reasons(&client, &base, "V99999__newer").await["status"] == "not_ready");
}

async fn migrate_again_after_undo(connection: &mut foundation::database::Connection, address: &str) {
    connection.batch("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await.unwrap();
    migrate(address, &[]).await;
}

/// The role of the service needs what the migrator grants, and is told so when it lacks it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_without_rights_is_told_so() {
    let test = TestDatabase::new(Backend::Postgres).await;
    let role = unique_name("service");
    maintenance(&format!("CREATE ROLE {role} LOGIN PASSWORD 'of the service'")).await;
    migrate(&test.address, &[]).await;
    let address = test.address.replace("postgres:postgres@", &format!("{role}:of%20the%20service@"));
    let mut program = Program::serve(&[("DATABASE_URL", &address)]);
    let (client, base) = (client(), format!("http://{}", program.address()));
    reasons(&client, &base, "MIGRATOR_GRANT_TO").await;
    migrate(&test.address, &[("MIGRATOR_GRANT_TO", &role)]).await;
    wait_for(&client, &format!("{base}/readyz"), StatusCode::OK).await;
    drop(program);
    test.connect().await.batch(&format!("DROP OWNED BY {role}")).await.unwrap();
    maintenance(&format!("DROP ROLE {role}")).await;
}

/// A standby answers, and takes no changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_takes_no_changes_is_not_ready() {
    let test = TestDatabase::new(Backend::Postgres).await;
    migrate(&test.address, &[]).await;
    maintenance(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", test.url.name())).await;
    let mut program = Program::serve(&[("DATABASE_URL", &test.address)]);
    let (client, base) = (client(), format!("http://{}", program.address()));
    reasons(&client, &base, "takes no changes").await;
    wait_for(&client, &format!("{base}/health"), StatusCode::OK).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_without_showing_it() {
    let test = TestDatabase::new(Backend::Postgres).await;
    let address = test.address.replace("postgres:postgres@", "postgres:not-the-password@");
    let mut program = Program::serve(&[("DATABASE_URL", &address)]);
    let (client, base) = (client(), format!("http://{}", program.address()));
    let answer = reasons(&client, &base, "refuses the role postgres").await;
    assert!(!answer.to_string().contains("not-the-password"), "{answer}");
    wait_for(&client, &format!("{base}/livez"), StatusCode::OK).await;
}

/// Rounds that are given up leave nothing behind on the server: each would take a connection for as long as the lock
/// is held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_that_is_locked_does_not_use_the_connections_up() {
    const OF_PROBE: &str = "SELECT CAST(COUNT(*) AS BIGINT) AS count FROM pg_stat_activity \
        WHERE datname = current_database() AND application_name = 'bedplate-service-probe'";
    let test = TestDatabase::new(Backend::Postgres).await;
    migrate(&test.address, &[]).await;
    let mut program = Program::serve(&[("DATABASE_URL", &test.address)]);
    let (client, base) = (client(), format!("http://{}", program.address()));
    wait_for(&client, &format!("{base}/readyz"), StatusCode::OK).await;
    let mut migrating = test.connect().await;
    migrating.batch("BEGIN; LOCK TABLE refinery_schema_history").await.unwrap();
    reasons(&client, &base, "did not answer within").await;
    let (mut observer, mut most) = (test.connect().await, 0);
    let count = Statement::read("pg_stat_activity", OF_PROBE);
    // That of the round, and one that is being cancelled.
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let row = observer.query_optional(&count, &[]).await.unwrap().unwrap();
        most = most.max(row.get::<i64>("count").unwrap());
    }
    assert!(most <= 2, "{most} sessions of the probe");
    migrating.batch("ROLLBACK").await.unwrap();
    wait_for(&client, &format!("{base}/readyz"), StatusCode::OK).await;
}
