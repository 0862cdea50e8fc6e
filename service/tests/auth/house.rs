//! A service with accounts, and a clock that the test turns.

use std::sync::{Arc, Mutex};

use foundation::clock::Clock;
use foundation::database::{Database, Statement, Value};
use foundation::entropy::Entropy;
use foundation::settings::{Environment, Secret, Section as _};
use foundation::testing::{TestDatabase, evidence};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::json;
use service::passwords::Passwords;
use service::settings::AuthSettings;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::{TestService, json as body};

pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// Hashes that cost next to nothing.
const CHEAP: [(&str, &str); 2] = [("AUTH_ARGON2_MEMORY", "64KiB"), ("AUTH_ARGON2_PASSES", "1")];

const INSERT: Statement = Statement::write(
    "users",
    "INSERT INTO users (id, username, user_type, password_hash, eve_character_id, is_active, is_blocked) \
     VALUES ($1, $2, $3, $4, $5, $6, $7)",
);

pub(crate) struct House {
    pub(crate) service: TestService,
    pub(crate) database: Database,
    time: Arc<Mutex<OffsetDateTime>>,
    test: TestDatabase,
}

/// An account that is made.
pub(crate) struct NewUser<'a> {
    pub(crate) username: &'a str,
    pub(crate) user_type: &'a str,
    pub(crate) hash: Option<String>,
    pub(crate) is_active: bool,
    pub(crate) is_blocked: bool,
}

impl House {
    pub(crate) async fn new(test: TestDatabase) -> Self {
        Self::with(test, &[]).await
    }

    pub(crate) async fn with(test: TestDatabase, variables: &[(&str, &str)]) -> Self {
        migrate(&test).await;
        let time = Arc::new(Mutex::new(time::macros::datetime!(2026-01-31 12:00:00 UTC)));
        let service = serve(&test, variables, &time).await;
        let database = test.open();
        Self { service, database, time, test }
    }

    /// Another service on the same database.
    pub(crate) async fn neighbour(&self, variables: &[(&str, &str)]) -> TestService {
        serve(&self.test, variables, &self.time).await
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        *self.time.lock().unwrap()
    }

    pub(crate) fn wait(&self, duration: Duration) {
        *self.time.lock().unwrap() += duration;
    }

    pub(crate) async fn insert(&self, user: NewUser<'_>) -> Uuid {
        let id = Entropy::system().uuid_v7(self.now());
        let character = (user.user_type == "eve_sso").then_some(90_000_001_i64);
        let values: [Value; 7] = [
            id.into(),
            user.username.into(),
            user.user_type.into(),
            user.hash.into(),
            character.into(),
            user.is_active.into(),
            user.is_blocked.into(),
        ];
        self.database.execute(&INSERT, &values).await.unwrap();
        id
    }

    /// A local user with [`PASSWORD`].
    pub(crate) async fn user(&self, username: &str) -> Uuid {
        self.insert(NewUser::local(username).await).await
    }

    pub(crate) fn ask(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        ask(&self.service, method, path, token)
    }

    pub(crate) async fn login(&self, username: &str, password: &str) -> Response {
        login(&self.service, username, password).await
    }

    /// The token of a new session. A little later than whatever was before: ids are in order by time.
    pub(crate) async fn token(&self, username: &str) -> String {
        self.wait(Duration::MILLISECOND);
        let answer = self.login(username, PASSWORD).await;
        assert_eq!(answer.status(), StatusCode::OK);
        body(answer).await["token"].as_str().unwrap().to_owned()
    }

    /// The status of `whoami` with this token.
    pub(crate) async fn whoami(&self, token: &str) -> StatusCode {
        let asked = self.ask(Method::GET, "/api/v1/auth/whoami", token);
        asked.send().await.unwrap().status()
    }

    /// One value of the only row.
    pub(crate) async fn value<T: foundation::database::FromValue>(&self, sql: &str) -> T {
        let statement = Statement::read("test", "").with_sql(sql.to_owned());
        self.database.query_optional(&statement, &[]).await.unwrap().unwrap().get("value").unwrap()
    }

    /// The values of all rows.
    pub(crate) async fn values(&self, sql: &str) -> Vec<String> {
        let statement = Statement::read("test", "").with_sql(sql.to_owned());
        let rows = self.database.query(&statement, &[]).await.unwrap();
        rows.iter().map(|row| row.get("value").unwrap()).collect()
    }

    pub(crate) async fn execute(&self, sql: &str) {
        let statement = Statement::write("test", "").with_sql(sql.to_owned());
        self.database.execute(&statement, &[]).await.unwrap();
    }
}

impl<'a> NewUser<'a> {
    pub(crate) async fn local(username: &'a str) -> Self {
        let hash = Some(hash(&CHEAP).await);
        Self { username, user_type: "local", hash, is_active: true, is_blocked: false }
    }
}

/// The hash of [`PASSWORD`] by these settings.
pub(crate) async fn hash(variables: &[(&str, &str)]) -> String {
    let settings = AuthSettings::read(&mut Environment::from_pairs(variables.iter().copied()));
    let passwords = Passwords::new(&settings, Entropy::system()).unwrap();
    passwords.hash(Secret::from(PASSWORD.to_owned())).await.unwrap()
}

pub(crate) fn ask(service: &TestService, method: Method, path: &str, token: &str) -> RequestBuilder {
    evidence::secret(token);
    service.client.request(method, service.url(path)).bearer_auth(token)
}

pub(crate) async fn login(service: &TestService, username: &str, password: &str) -> Response {
    let credentials = json!({ "username": username, "password": password });
    evidence::secrets_in(&credentials);
    service.client.post(service.url("/api/v1/auth/login")).json(&credentials).send().await.unwrap()
}

/// Signs in through a proxy that says that the client has this address.
pub(crate) async fn answer_from(house: &House, address: &str, username: &str, password: &str) -> Response {
    let credentials = json!({ "username": username, "password": password });
    evidence::secrets_in(&credentials);
    let url = house.service.url("/api/v1/auth/login");
    let request = house.service.client.post(url).header("x-forwarded-for", address).json(&credentials);
    request.send().await.unwrap()
}

/// The status of [`answer_from`].
pub(crate) async fn login_from(house: &House, address: &str, username: &str, password: &str) -> StatusCode {
    answer_from(house, address, username, password).await.status()
}

async fn serve(
    test: &TestDatabase,
    variables: &[(&str, &str)],
    time: &Arc<Mutex<OffsetDateTime>>,
) -> TestService {
    let time = Arc::clone(time);
    let clock = Clock::told_by(move || *time.lock().unwrap());
    let defaults = CHEAP.into_iter().chain([("DATABASE_URL", &*test.address)]);
    let defaults = defaults.filter(|(name, _)| variables.iter().all(|(it, _)| it != name));
    let variables: Vec<_> = defaults.chain(variables.iter().copied()).collect();
    TestService::with_clock(&variables, clock, |it| it).await
}

pub(crate) async fn migrate(test: &TestDatabase) {
    let pairs = [("DATABASE_URL", &*test.address), ("ADMIN_PASSWORD", PASSWORD)];
    evidence::variables(pairs);
    let mut environment = Environment::from_pairs(pairs);
    let settings = migrator::settings::Settings::read(&mut environment);
    environment.finish().unwrap();
    let (_nobody_stops_it, stop) = migrator::stop::Stop::new();
    let migrator = migrator::Migrator::new(&settings, Clock::system(), Entropy::system(), stop);
    migrator.up(None).await.unwrap();
}
