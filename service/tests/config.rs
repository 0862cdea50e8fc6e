//! Settings that are changed while the service runs, as administrators read and change them.

use foundation::database::{Statement, Value as Bound};
use foundation::on_both_databases;
use foundation::testing::TestDatabase;
use reqwest::Method;
use serde_json::{Value, json};
use service::domain::config::Key;

use crate::support::TestService;
use crate::support::accounts::{Accounts, Kind, migrate};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

struct Fixture {
    service: TestService,
    accounts: Accounts,
    token: String,
}

async fn fixture(test: &TestDatabase) -> Fixture {
    fixture_with(test, &[]).await
}

async fn fixture_with(test: &TestDatabase, variables: &[(&str, &str)]) -> Fixture {
    migrate(test).await;
    let variables = [&[("DATABASE_URL", &*test.address)], variables].concat();
    let service = TestService::with(&variables, |it| it).await;
    let accounts = Accounts::new(test.open());
    let admin = accounts.user("admin", Kind { is_admin: true, ..Kind::default() }).await;
    let token = accounts.session(admin).await;
    Fixture { service, accounts, token }
}

impl Fixture {
    /// The status, the `ETag` and the body of an answer.
    async fn ask(
        &self,
        method: Method,
        key: &str,
        if_match: Option<&str>,
        body: Option<Value>,
    ) -> (u16, String, Value) {
        let url = self.service.url(&format!("/api/v1/config{key}"));
        let mut request = self.service.client.request(method, url).bearer_auth(&self.token);
        if let Some(tag) = if_match {
            request = request.header("if-match", tag);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let tag = answer.headers().get("etag").map(|it| it.to_str().unwrap().to_owned());
        (answer.status().as_u16(), tag.unwrap_or_default(), answer.json().await.unwrap())
    }

    async fn get(&self, key: &str) -> (String, Value) {
        let (status, tag, body) = self.ask(Method::GET, &format!("/{key}"), None, None).await;
        assert_eq!(status, 200, "{body}");
        (tag, body)
    }

    async fn put(&self, key: &str, value: Value) -> (u16, Value) {
        let body = Some(json!({ "value": value }));
        let (status, _, body) = self.ask(Method::PUT, &format!("/{key}"), Some("*"), body).await;
        (status, body)
    }

    async fn reset(&self, key: &str) -> (u16, Value) {
        let (status, _, body) = self.ask(Method::DELETE, &format!("/{key}"), Some("*"), None).await;
        (status, body)
    }

    /// The events of a setting, oldest first: action, before, after.
    async fn history(&self, key: &str) -> Vec<(Value, Value, Value)> {
        let url = format!("/api/v1/audit-events?target_type=config&target_id={key}");
        let request = self.service.client.get(self.service.url(&url)).bearer_auth(&self.token);
        let page: Value = request.send().await.unwrap().json().await.unwrap();
        let events = page["items"].as_array().unwrap().iter().rev();
        events.map(|it| (it["action"].clone(), it["before"].clone(), it["after"].clone())).collect()
    }

    async fn execute(&self, sql: &str, values: &[Bound]) {
        let statement = Statement::write("config", "").with_sql(sql.to_owned());
        self.accounts.database.execute(&statement, values).await.unwrap();
    }
}

on_both_databases! {
    /// The code is the source of the keys: the migration inserts the same.
    async fn the_rows_are_those_of_the_code(database: TestDatabase) {
        migrate(&database).await;
        let statement = Statement::read("config", "SELECT key, description, value FROM config ORDER BY key");
        let rows = database.open().query(&statement, &[]).await.unwrap();
        let text = |row: &foundation::database::Row, name: &str| row.get::<String>(name).unwrap();
        let rows: Vec<_> = rows
            .iter()
            .map(|it| (text(it, "key"), text(it, "description"), it.get::<Option<String>>("value").unwrap()))
            .collect();
        let code: Vec<_> = Key::ALL
            .iter()
            .map(|it| (it.name().to_owned(), it.description().to_owned(), None))
            .collect();
        assert_eq!(rows, code);
    }

    async fn all_are_listed_with_their_defaults(database: TestDatabase) {
        let fixture = fixture(&database).await;
        let (status, _, body) = fixture.ask(Method::GET, "", None, None).await;
        assert_eq!(status, 200, "{body}");
        let items = body["items"].as_array().unwrap();
        let names: Vec<_> = items.iter().map(|it| it["key"].as_str().unwrap()).collect();
        assert_eq!(names, Key::ALL.iter().map(|it| it.name()).collect::<Vec<_>>());
        let values: Vec<_> = items.iter().map(|it| it["value"].clone()).collect();
        let mut expected = vec![json!(3), Value::Null, json!(5), json!("1s"), json!("15m")];
        expected.push(values[5].clone());
        assert_eq!(values, expected);
        for item in items {
            assert_eq!(item["value"], item["default"], "{item}");
            assert_eq!((&item["is_set"], &item["problem"], &item["version"]), (&json!(false), &Value::Null, &json!(1)));
            assert!(!item["rule"].as_str().unwrap().is_empty() && item["updated_at"].is_string(), "{item}");
            let (tag, one) = fixture.get(item["key"].as_str().unwrap()).await;
            assert_eq!((tag.as_str(), &one), ("\"1\"", item));
        }
        let types: Vec<_> = items.iter().map(|it| it["type"].as_str().unwrap()).collect();
        assert_eq!(types, ["integer", "text", "integer", "duration", "duration", "duration"]);
    }

    async fn a_value_is_put_and_reset(database: TestDatabase) {
        let fixture = fixture(&database).await;
        for (key, value, default) in [
            ("auth.login_attempts", json!(7), json!(5)),
            ("archive.run_hour", json!(0), json!(3)),
            ("auth.login_max_delay", json!("1h 30m"), json!("15m")),
        ] {
            let (status, body) = fixture.put(key, value.clone()).await;
            assert_eq!(status, 200, "{body}");
            assert_eq!((&body["value"], &body["is_set"], &body["version"]), (&value, &json!(true), &json!(2)));
            assert_eq!(fixture.get(key).await, ("\"2\"".to_owned(), body.clone()));
            // What is there already is put without a change.
            assert_eq!(fixture.put(key, value.clone()).await, (200, body.clone()));
            let (status, body) = fixture.reset(key).await;
            assert_eq!(status, 200, "{body}");
            assert_eq!((&body["value"], &body["is_set"], &body["version"]), (&default, &json!(false), &json!(3)));
            assert_eq!(fixture.reset(key).await, (200, body));
            let (set, unset) = (json!({ "is_set": true, "value": value }), json!({ "is_set": false, "value": default }));
            let events = fixture.history(key).await;
            assert_eq!(events, [
                (json!("config.updated"), unset.clone(), set.clone()),
                (json!("config.reset"), set, unset),
            ]);
        }
    }

    async fn each_change_is_meant_for_a_version(database: TestDatabase) {
        let fixture = fixture(&database).await;
        let (key, body) = ("/auth.login_attempts", || Some(json!({ "value": 7 })));
        for (method, body) in [(Method::PUT, body()), (Method::DELETE, None)] {
            for (tag, expected) in [(None, 428), (Some("\"2\""), 412), (Some("W/\"1\""), 412), (Some("1"), 400)] {
                let (status, _, answer) = fixture.ask(method.clone(), key, tag, body.clone()).await;
                assert_eq!(status, expected, "{method} {tag:?}: {answer}");
            }
        }
        assert_eq!(fixture.ask(Method::PUT, key, Some("\"1\""), body()).await.1, "\"2\"");
        assert_eq!(fixture.ask(Method::DELETE, key, Some("\"1\""), None).await.0, 412);
        assert_eq!(fixture.ask(Method::DELETE, key, Some("\"2\""), None).await.1, "\"3\"");
        assert_eq!(fixture.history("auth.login_attempts").await.len(), 2);
        assert_eq!(fixture.ask(Method::GET, "/%ff", None, None).await.0, 400);
        for unknown in ["/auth", "/auth.login_attempts%00", "/AUTH.LOGIN_ATTEMPTS", "/x'y"] {
            for (method, body) in [(Method::GET, None), (Method::PUT, body()), (Method::DELETE, None)] {
                let (status, _, answer) = fixture.ask(method, unknown, Some("*"), body).await;
                assert_eq!((status, &answer["code"]), (404, &json!("not_found")), "{unknown}: {answer}");
            }
        }
    }

    async fn what_breaks_a_rule_is_refused_in_its_words(database: TestDatabase) {
        let fixture = fixture(&database).await;
        for key in Key::ALL.iter().copied() {
            for value in [json!(-1), json!(""), json!("a\u{0}b"), json!(1e300), json!(u64::MAX)] {
                let (status, problem) = fixture.put(key.name(), value.clone()).await;
                assert_eq!(status, 422, "{key} {value}: {problem}");
                let expected = json!([{ "pointer": "/body/value", "detail": format!("expected {}", key.rule()) }]);
                assert_eq!(problem["errors"], expected, "{problem}");
            }
            assert_eq!(fixture.get(key.name()).await.0, "\"1\"");
            assert_eq!(fixture.history(key.name()).await, []);
        }
        let key = "/auth.login_attempts";
        // Of another form than any setting has, whatever the version that it is meant for.
        let bodies = [json!({}), json!({ "value": 1, "more": 2 }), json!([]), json!(7)];
        let values = [Value::Null, json!([7]), json!({ "a": "b" }), json!(true), json!(1.5)];
        for body in bodies.into_iter().chain(values.map(|it| json!({ "value": it }))) {
            let (status, _, problem) = fixture.ask(Method::PUT, key, Some("\"9\""), Some(body.clone())).await;
            assert_eq!(status, 400, "{body}: {problem}");
        }
    }

    async fn a_rule_of_two_settings_holds_for_both(database: TestDatabase) {
        let fixture = fixture(&database).await;
        let (delay, max_delay) = ("auth.login_delay", "auth.login_max_delay");
        let (status, problem) = fixture.put(delay, json!("16m")).await;
        let words = json!([{ "pointer": "/body/value", "detail": "it may not be longer than auth.login_max_delay, 15m" }]);
        assert_eq!((status, &problem["errors"]), (422, &words));
        assert_eq!(fixture.put(max_delay, json!("999ms")).await.0, 422);
        assert_eq!(fixture.put(max_delay, json!("20m")).await.0, 200);
        assert_eq!(fixture.put(delay, json!("16m")).await.0, 200);
        // The default of one does not go with what was put into the other.
        let (status, problem) = fixture.reset(max_delay).await;
        let words = json!([{ "pointer": "/path/key", "detail": "it may not be shorter than auth.login_delay, 16m" }]);
        assert_eq!((status, &problem["errors"]), (422, &words));
        assert_eq!(fixture.reset(delay).await.0, 200);
        assert_eq!(fixture.reset(max_delay).await.0, 200);
    }

    /// Each of the two is allowed before the other, and never both: whoever is second finds out.
    /// The range is that of the environment, which also says how long failures are remembered.
    async fn no_delay_outlasts_the_memory_of_it(database: TestDatabase) {
        let fixture = fixture_with(&database, &[("AUTH_FAILURE_RETENTION", "1h")]).await;
        for (value, words) in [
            ("7d", "expected a duration from 1ms to 1d"),
            ("0s", "expected a duration from 1ms to 1d"),
            ("61m", "it may not be longer than AUTH_FAILURE_RETENTION, 1h"),
        ] {
            let (status, problem) = fixture.put("auth.login_max_delay", json!(value)).await;
            assert_eq!(status, 422, "{value}: {problem}");
            let told = problem["errors"][0]["detail"].as_str().unwrap();
            assert!(told.starts_with(words), "{value}: {problem}");
        }
        assert_eq!(fixture.put("auth.login_max_delay", json!("1h")).await.0, 200);
    }

    async fn a_rule_of_two_settings_holds_at_the_same_time(database: TestDatabase) {
        let fixture = fixture(&database).await;
        for _ in 0..20 {
            assert_eq!(fixture.put("auth.login_max_delay", json!("20m")).await.0, 200);
            let (delay, max_delay) = tokio::join!(
                fixture.put("auth.login_delay", json!("18m")),
                fixture.reset("auth.login_max_delay"),
            );
            let mut statuses = [delay.0, max_delay.0];
            statuses.sort_unstable();
            assert_eq!(statuses, [200, 422], "{delay:?} {max_delay:?}");
            assert_eq!(fixture.reset("auth.login_delay").await.0, 200);
        }
    }

    async fn a_secret_is_told_to_nobody(database: TestDatabase) {
        let fixture = fixture(&database).await;
        let key = "archive.secret_access_key";
        let mut told = Vec::new();
        for value in [json!(SECRET), json!(SECRET), json!(format!("{SECRET} with a blank")), json!([SECRET])] {
            let (status, body) = fixture.put(key, value).await;
            told.push((status, body));
        }
        let statuses: Vec<_> = told.iter().map(|it| it.0).collect();
        assert_eq!(statuses, [200, 200, 422, 400]);
        assert_eq!((&told[1].1["is_set"], &told[1].1["value"]), (&json!(true), &Value::Null));
        // The same again is a change: whether it is the same is nobody's business.
        assert_eq!(told[1].1["version"], 3);
        let all = fixture.ask(Method::GET, "", None, None).await.2;
        let history = fixture.history(key).await;
        let (set, unset) = (json!({ "is_set": true }), json!({ "is_set": false }));
        assert_eq!(history, [
            (json!("config.updated"), unset, set.clone()),
            (json!("config.updated"), set.clone(), set),
        ]);
        let told = format!("{told:?} {all} {history:?} {:?}", fixture.reset(key).await);
        assert!(!told.contains(&SECRET[..8]), "{told}");
        assert_eq!(fixture.get(key).await.1["is_set"], false);
    }

    /// What somebody wrote by hand is shown as a problem, and is in nobody's way.
    async fn rows_written_by_hand_are_told_of(database: TestDatabase) {
        let fixture = fixture(&database).await;
        let by_hand = "UPDATE config SET value = $1 WHERE key = 'auth.login_delay'";
        fixture.execute(by_hand, &[Bound::Json("\"9d\"".to_owned())]).await;
        let setting = fixture.get("auth.login_delay").await.1;
        assert_eq!((&setting["value"], &setting["is_set"]), (&Value::Null, &json!(true)));
        assert!(setting["problem"].as_str().unwrap().starts_with("expected a duration"), "{setting}");
        assert_eq!(fixture.put("auth.login_max_delay", json!("20m")).await.0, 200);
        let (status, setting) = fixture.put("auth.login_delay", json!("2s")).await;
        assert_eq!((status, &setting["problem"]), (200, &Value::Null));
        // A row that is gone is made again.
        fixture.execute("DELETE FROM config", &[]).await;
        let setting = fixture.get("archive.run_hour").await;
        assert_eq!((setting.0.as_str(), &setting.1["value"], &setting.1["updated_at"]), ("\"0\"", &json!(3), &Value::Null));
        let (status, setting) = fixture.put("archive.run_hour", json!(4)).await;
        assert_eq!((status, &setting["version"]), (200, &json!(1)));
    }
}
