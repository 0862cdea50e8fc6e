//! What the tests of metrics share: a service with settings of theirs, and somebody who may write.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses a part of it")]

pub use crate::support::accounts::migrate;
pub use crate::support::json;
use foundation::clock::Clock;
use foundation::database::{Database, Statement};
use foundation::testing::TestDatabase;
use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use crate::support::TestService;
use crate::support::accounts::{Accounts, Kind};

pub const PATH: &str = "/api/v1/metrics/snapshots";
pub const NDJSON: &str = "application/x-ndjson";

pub struct World {
    pub service: TestService,
    pub database: Database,
    pub token: String,
    _test: TestDatabase,
}

impl World {
    pub async fn start(test: TestDatabase, variables: &[(&str, &str)]) -> Self {
        Self::start_by(test, variables, Clock::system()).await
    }

    /// The same, by this clock.
    pub async fn start_by(test: TestDatabase, variables: &[(&str, &str)], clock: Clock) -> Self {
        migrate(&test).await;
        let mut all = vec![("DATABASE_URL", test.address.as_str())];
        all.extend_from_slice(variables);
        let service = TestService::with_clock(&all, clock, |it| it).await;
        let accounts = Accounts::new(test.open());
        let token = accounts.session(accounts.user("agent", Kind::default()).await).await;
        Self { service, database: accounts.database.clone(), token, _test: test }
    }

    pub fn post(&self, query: &str) -> RequestBuilder {
        let request = self.service.client.post(self.service.url(&format!("{PATH}{query}")));
        request.bearer_auth(&self.token).header("content-type", NDJSON)
    }

    pub async fn send(&self, query: &str, encoding: &str, body: Vec<u8>) -> Response {
        self.post(query).header("content-encoding", encoding).body(body).send().await.unwrap()
    }

    pub async fn stored(&self) -> i64 {
        let statement = Statement::read("metrics_snapshot", "SELECT count(*) AS count FROM metrics_snapshot");
        self.database.query(&statement, &[]).await.unwrap()[0].get("count").unwrap()
    }

    /// Asks for the snapshots of a type as lines.
    pub async fn read(&self, query: &str) -> Response {
        let url = self.service.url(&format!("{PATH}?metric_type=cpu{query}"));
        let request = self.service.client.get(url).bearer_auth(&self.token).header("accept", NDJSON);
        request.send().await.unwrap()
    }

    /// The snapshots of a type, as lines.
    pub async fn lines(&self, query: &str) -> Vec<Value> {
        let answer = self.read(query).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], NDJSON);
        let text = answer.text().await.unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The JSON of a good answer.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.try_get(path).await;
        assert_eq!(answer.status(), 200, "{path}: {}", answer.text().await.unwrap());
        json(answer).await
    }

    pub async fn try_get(&self, path: &str) -> Response {
        self.service.client.get(self.service.url(path)).bearer_auth(&self.token).send().await.unwrap()
    }

    /// Writes snapshots and says what became of them.
    pub async fn write(&self, items: &[Value]) -> Value {
        let request = self.service.client.post(self.service.url(PATH)).bearer_auth(&self.token);
        let answer = request.json(&serde_json::json!({ "items": items })).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        json(answer).await
    }

    /// Takes all snapshots out again.
    pub async fn empty(&self) {
        let statement = Statement::write("metrics_snapshot", "DELETE FROM metrics_snapshot");
        self.database.execute(&statement, &[]).await.unwrap();
    }
}
