//! A setting that is changed is obeyed by every process within a second.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use foundation::database::{Backend, Database, Statement, Value as Bound};
use foundation::on_both_databases;
use foundation::settings::{Environment, Section as _};
use foundation::testing::{TestDatabase, eventually, maintenance};
use reqwest::StatusCode;
use serde_json::{Value, json};
use service::lifecycle::{Lifecycle, Stage};
use service::live_settings::{CHANNEL, Live, LiveSettings, poll_interval};
use service::settings::AuthSettings;

use crate::support::accounts::{Accounts, Kind, migrate};
use crate::support::{Program, client};

/// How soon a change is obeyed.
const SECOND: Duration = Duration::from_secs(1);

/// Longer than any test: what is heard in spite of it was told by the database.
const NEVER: Duration = Duration::from_hours(1);

fn defaults() -> Live {
    Live::defaults(&AuthSettings::read(&mut Environment::from_pairs([])), None)
}

async fn follow(database: &Database, poll: Duration) -> LiveSettings {
    LiveSettings::start(database.clone(), defaults(), poll, Lifecycle::default()).await
}

/// Writes a value as another process does, and tells of it or not.
async fn write(database: &Database, key: &str, value: Option<&str>, tell: bool) {
    const WRITE: Statement =
        Statement::write("config", "UPDATE config SET value = $2, version = version + 1 WHERE key = $1");
    let mut transaction = database.begin().await.unwrap();
    let json = value.map_or(Bound::Null, |it| Bound::Json(it.to_owned()));
    transaction.execute(&WRITE, &[key.into(), json]).await.unwrap();
    if tell {
        transaction.notify(CHANNEL, key).await.unwrap();
    }
    transaction.commit().await.unwrap();
}

async fn obeys(live: &LiveSettings, limit: Duration, attempts: u32) {
    let what = format!("{attempts} attempts");
    eventually(limit, &what, || async { live.current().login_attempts == attempts }).await;
}

/// Three programs on one database, and who asks them.
struct Processes {
    addresses: [SocketAddr; 3],
    programs: [Program; 3],
    client: reqwest::Client,
    token: String,
    visitors: AtomicU32,
}

impl Processes {
    async fn start(test: &TestDatabase) -> Self {
        migrate(test).await;
        let accounts = Accounts::new(test.open());
        let admin = accounts.user("admin", Kind { is_admin: true, ..Kind::default() }).await;
        let token = accounts.session(admin).await;
        let variables = [
            ("DATABASE_URL", test.address.as_str()),
            ("AUTH_ARGON2_MEMORY", "64KiB"),
            ("AUTH_ARGON2_PASSES", "1"),
            ("HTTP_TRUSTED_PROXIES", "127.0.0.0/8"),
            ("HTTP_DRAIN_DELAY", "0s"),
        ];
        let mut programs = [(); 3].map(|()| Program::serve(&variables));
        let addresses = programs.each_mut().map(Program::address);
        Self { addresses, programs, client: client(), token, visitors: AtomicU32::new(1) }
    }

    async fn change(&self, index: usize, key: &str, value: Option<Value>) {
        let url = format!("http://{}/api/v1/config/{key}", self.addresses[index]);
        let request = match &value {
            Some(value) => self.client.put(url).json(&json!({ "value": value })),
            None => self.client.delete(url),
        };
        let request = request.bearer_auth(&self.token).header("if-match", "*");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap());
    }

    /// After how many failures a process locks a name out; each time another name, from another address.
    async fn failures_until_locked(&self, index: usize) -> usize {
        let visitor = self.visitors.fetch_add(1, Ordering::Relaxed);
        let url = format!("http://{}/api/v1/auth/login", self.addresses[index]);
        for failures in 0..12 {
            let request = self.client.post(&url);
            let request =
                request.header("x-forwarded-for", format!("198.51.{}.{}", visitor / 250, visitor % 250));
            let body = json!({ "username": format!("nobody{visitor}"), "password": "a wrong passphrase" });
            match request.json(&body).send().await.unwrap().status() {
                StatusCode::TOO_MANY_REQUESTS => return failures,
                status => assert_eq!(status, StatusCode::UNAUTHORIZED),
            }
        }
        panic!("nobody is locked out");
    }

    /// Each of them obeys from a second after now on.
    async fn obey(&self, failures: usize) {
        let changed = Instant::now();
        for index in 0..self.addresses.len() {
            let mut began = changed.elapsed();
            while self.failures_until_locked(index).await != failures {
                assert!(began < SECOND, "process {index} does not obey");
                began = changed.elapsed();
            }
        }
    }
}

on_both_databases! {
    async fn what_is_changed_through_one_process_is_obeyed_by_all(database: TestDatabase) {
        let mut processes = Processes::start(&database).await;
        processes.obey(6).await;
        let (attempts, max_delay) = ("auth.login_attempts", "auth.login_max_delay");
        for (through, value, failures) in [(0, Some(json!(1)), 2), (1, Some(json!(3)), 4), (2, None, 6)] {
            processes.change(through, attempts, value).await;
            processes.obey(failures).await;
        }
        processes.change(0, max_delay, Some(json!("1s"))).await;
        processes.change(1, "archive.secret_access_key", Some(json!("hunter2hunter2"))).await;
        for program in &processes.programs {
            program.signal("TERM");
        }
        for program in &mut processes.programs {
            let log = program.everything();
            assert!(!log.contains("hunter2") && log.contains("the settings in the database were changed"), "{log}");
        }
    }

    async fn what_nobody_tells_of_is_found(database: TestDatabase) {
        migrate(&database).await;
        let pool = database.open();
        let mut live = follow(&pool, poll_interval(pool.backend())).await;
        write(&pool, "auth.login_attempts", Some("7"), false).await;
        tokio::time::timeout(Duration::from_secs(5), live.changed()).await.expect("it is found");
        assert_eq!(live.current().login_attempts, 7);
        // By hand, without another version.
        let by_hand = "UPDATE config SET value = '8' WHERE key = 'auth.login_attempts'";
        pool.execute(&Statement::write("config", by_hand), &[]).await.unwrap();
        obeys(&live, Duration::from_secs(5), 8).await;
    }

    /// Before the first answer of the service, what is in the database holds.
    async fn what_was_put_holds_from_the_start(database: TestDatabase) {
        migrate(&database).await;
        let pool = database.open();
        write(&pool, "auth.login_attempts", Some("7"), false).await;
        write(&pool, "metrics.collect_interval", Some("\"5s\""), false).await;
        let live = follow(&pool, NEVER).await;
        let (current, defaults) = (live.current(), live.defaults());
        assert_eq!((current.login_attempts, current.collect_interval), (7, Some(Duration::from_secs(5))));
        assert_eq!((defaults.login_attempts, defaults.collect_interval), (5, None));
    }

    async fn what_no_rule_allows_keeps_what_held(database: TestDatabase) {
        migrate(&database).await;
        let pool = database.open();
        let live = follow(&pool, Duration::from_millis(50)).await;
        let limit = Duration::from_secs(5);
        write(&pool, "auth.login_attempts", Some("7"), true).await;
        obeys(&live, limit, 7).await;
        write(&pool, "auth.login_attempts", Some("\"many\""), true).await;
        write(&pool, "archive.run_hour", Some("5"), true).await;
        eventually(limit, "the other", || async { live.current().archive_run_hour == 5 }).await;
        assert_eq!(live.current().login_attempts, 7);
        write(&pool, "auth.login_attempts", None, true).await;
        obeys(&live, limit, 5).await;
    }

    /// The table is not there yet, as before the migrator has run: the defaults hold until it is.
    async fn the_defaults_hold_until_the_table_can_be_read(database: TestDatabase) {
        let pool = database.open();
        let live = follow(&pool, Duration::from_millis(50)).await;
        assert_eq!(live.current().login_attempts, 5);
        migrate(&database).await;
        write(&pool, "auth.login_attempts", Some("7"), true).await;
        obeys(&live, Duration::from_secs(5), 7).await;
    }

    async fn nothing_is_asked_once_the_process_closes(database: TestDatabase) {
        migrate(&database).await;
        let pool = database.open();
        let lifecycle = Lifecycle::default();
        let live =
            LiveSettings::start(pool.clone(), defaults(), Duration::from_millis(20), lifecycle.clone()).await;
        write(&pool, "auth.login_attempts", Some("7"), true).await;
        obeys(&live, Duration::from_secs(5), 7).await;
        lifecycle.advance(Stage::Closing);
        let mut attempts = 7;
        while live.current().login_attempts == attempts {
            attempts += 1;
            assert!(attempts < 50, "the table is still followed");
            write(&pool, "auth.login_attempts", Some(&attempts.to_string()), true).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn on_postgres() -> (TestDatabase, Database) {
    let test = TestDatabase::new(Backend::Postgres).await;
    migrate(&test).await;
    let pool = test.open();
    (test, pool)
}

/// Ends the connections of a database that listen.
async fn cut_listeners(test: &TestDatabase) {
    maintenance(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND query LIKE 'LISTEN%'",
        test.url.name()
    ))
    .await;
}

/// How many connections of a database listen.
async fn listeners(pool: &Database) -> i64 {
    const LISTENERS: Statement = Statement::read(
        "pg_stat_activity",
        "SELECT count(*) AS count FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'",
    );
    pool.query(&LISTENERS, &[]).await.unwrap()[0].get("count").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_is_obeyed_at_once() {
    let (_test, pool) = on_postgres().await;
    let live = follow(&pool, NEVER).await;
    eventually(Duration::from_secs(5), "somebody listens", || async { listeners(&pool).await == 1 }).await;
    for attempts in 10..30 {
        write(&pool, "auth.login_attempts", Some(&attempts.to_string()), true).await;
        obeys(&live, SECOND, attempts).await;
    }
}

/// What is changed while nobody listens is found as soon as somebody listens again, without a poll.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_cut_misses_nothing() {
    let (test, pool) = on_postgres().await;
    let live = follow(&pool, NEVER).await;
    let limit = Duration::from_secs(10);
    for attempts in 10..15 {
        eventually(limit, "somebody listens", || async { listeners(&pool).await == 1 }).await;
        cut_listeners(&test).await;
        write(&pool, "auth.login_attempts", Some(&attempts.to_string()), true).await;
        obeys(&live, limit, attempts).await;
    }
}

/// With the poll of a service, a change is obeyed within a second even while the connection is cut again
/// and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_poll_is_the_net() {
    let (test, pool) = on_postgres().await;
    let live = follow(&pool, poll_interval(Backend::Postgres)).await;
    let slowest = Mutex::new(Duration::ZERO);
    for attempts in 10..14 {
        let cutting = async {
            loop {
                cut_listeners(&test).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let obeyed = async {
            write(&pool, "auth.login_attempts", Some(&attempts.to_string()), false).await;
            let written = Instant::now();
            obeys(&live, Duration::from_secs(5), attempts).await;
            let mut slowest = slowest.lock().unwrap();
            *slowest = slowest.max(written.elapsed());
        };
        tokio::select! {
            () = cutting => unreachable!(),
            () = obeyed => {}
        }
    }
    let slowest = *slowest.lock().unwrap();
    assert!(slowest < SECOND + Duration::from_millis(500), "{slowest:?}");
}
