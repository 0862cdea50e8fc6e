//! What the tests of accounts share: a service on a database, and people with sessions.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses a part of it")]

pub use crate::support::{header, json};
use foundation::clock::Clock;
use foundation::database::{Database, Statement, Value};
use foundation::entropy::Entropy;
use foundation::settings::Environment;
use foundation::testing::{TestDatabase, evidence};
use migrator::Migrator;
use migrator::settings::Settings;
use migrator::stop::Stop;
use reqwest::{Method, RequestBuilder, Response};
use service::access::token_hash;
use uuid::Uuid;

use crate::support::{TestService, client};

/// Brings a database up to date.
pub async fn migrate(address: &str) {
    let variables = [("DATABASE_URL", address), ("ADMIN_PASSWORD", "a password of the test")];
    evidence::variables(variables);
    let mut environment = Environment::from_pairs(variables);
    let settings = Settings::read(&mut environment);
    environment.finish().unwrap();
    let (_nobody_stops_it, stop) = Stop::new();
    Migrator::new(&settings, Clock::system(), Entropy::system(), stop).up(None).await.unwrap();
}

/// A service on a database of its own. The administrator that the migrator made is there, and inactive.
pub struct World {
    service: TestService,
    pub database: Database,
    _test: TestDatabase,
}

/// Somebody with a session.
#[derive(Clone, Debug)]
pub struct Person {
    pub id: Uuid,
    pub token: String,
}

impl Person {
    pub fn path(&self) -> String {
        format!("/api/v1/users/{}", self.id)
    }
}

impl World {
    pub async fn start(test: TestDatabase) -> Self {
        migrate(&test.address).await;
        // What is tested here is not how much a hash costs.
        let variables = [
            ("DATABASE_URL", test.address.as_str()),
            ("AUTH_ARGON2_MEMORY", "64KiB"),
            ("AUTH_ARGON2_PASSES", "1"),
        ];
        let service = TestService::with(&variables, |it| it).await;
        let world = Self { service, database: test.open(), _test: test };
        world.execute("UPDATE users SET is_active = $1", &[false.into()]).await;
        world
    }

    pub async fn execute(&self, sql: &'static str, values: &[Value]) -> u64 {
        self.database.execute(&Statement::write("users", sql), values).await.unwrap()
    }

    /// A number that the statement finds as `count`.
    pub async fn count(&self, sql: &'static str, values: &[Value]) -> i64 {
        let row = self.database.query_optional(&Statement::read("users", sql), values).await.unwrap();
        row.unwrap().get("count").unwrap()
    }

    /// Somebody of this name, signed in.
    pub async fn person(&self, name: &str, is_admin: bool) -> Person {
        // The order of ids is that of milliseconds.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        let entropy = Entropy::system();
        let id = entropy.uuid_v7(Clock::system().now());
        self.execute(
            "INSERT INTO users (id, username, password_hash, user_type, is_admin) VALUES ($1, $2, 'none', 'local', $3)",
            &[id.into(), name.into(), is_admin.into()],
        )
        .await;
        self.sign_in(id).await
    }

    /// A session of somebody.
    pub async fn sign_in(&self, id: Uuid) -> Person {
        let session = Entropy::system().uuid_v7(Clock::system().now());
        let token = format!("token-{session}");
        evidence::secret(&token);
        let expires_at = Clock::system().now() + time::Duration::hours(1);
        self.execute(
            "INSERT INTO session (id, user_id, token_hash, expires_at) VALUES ($1, $2, $3, $4)",
            &[session.into(), id.into(), token_hash(&token).to_vec().into(), expires_at.into()],
        )
        .await;
        Person { id, token }
    }

    pub fn request(&self, method: Method, path: &str, person: &Person) -> RequestBuilder {
        client().request(method, self.service.url(path)).bearer_auth(&person.token)
    }

    pub async fn get(&self, path: &str, person: &Person) -> Response {
        self.request(Method::GET, path, person).send().await.unwrap()
    }

    pub async fn post(&self, path: &str, person: &Person, body: &serde_json::Value) -> Response {
        evidence::secrets_in(body);
        self.request(Method::POST, path, person).json(body).send().await.unwrap()
    }

    pub async fn patch(
        &self,
        path: &str,
        person: &Person,
        if_match: &str,
        body: &serde_json::Value,
    ) -> Response {
        let request = self.request(Method::PATCH, path, person).header("If-Match", if_match);
        request.json(body).send().await.unwrap()
    }

    pub async fn delete(&self, path: &str, person: &Person) -> Response {
        self.request(Method::DELETE, path, person).send().await.unwrap()
    }
}

/// The pointers of a problem, after a look at its status.
pub async fn pointers(answer: Response, status: u16) -> Vec<String> {
    let found = answer.status().as_u16();
    let problem = json(answer).await;
    assert_eq!(found, status, "{problem}");
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().map(|it| it["pointer"].as_str().unwrap().to_owned()).collect()
}
