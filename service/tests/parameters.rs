//! Parameters of the query that are not there, or not what they should be, are told as the documentation has
//! them.

use foundation::on_both_databases;
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use crate::support::TestService;
use crate::support::accounts::{Accounts, Kind, migrate};

const RANGE: &str = "from=2026-01-31T12:00:00Z&to=2026-01-31T11:00:00Z";

/// Ranges beyond the years that there are times of, and what of them is.
const BEYOND: [(&str, &[&str]); 4] = [
    ("from=0000-01-01T00:00:00Z&to=0000-01-02T00:00:00Z", &["/query/from", "/query/to"]),
    ("from=9999-01-01T00:00:00Z&to=9999-12-31T23:59:59-23:59", &["/query/to"]),
    ("from=0000-01-01T00:00:00%2B23:59&to=0001-01-02T00:00:00Z", &["/query/from"]),
    ("from=0001-01-01T00:00:00%2B00:01&to=0001-01-02T00:00:00Z", &["/query/from"]),
];

/// Ranges at the edge of these years.
const EDGES: [&str; 3] = [
    "from=0001-01-01T00:00:00Z&to=0001-01-02T00:00:00Z",
    "from=0000-12-31T23:59:00-00:01&to=0001-01-02T00:00:00Z",
    "from=9999-12-31T00:00:00Z&to=9999-12-31T23:59:59.999999999Z",
];

/// What is asked, and what is wrong with which part of it.
const WRONG: [(&str, &[(&str, &str)]); 14] = [
    (
        "users?limt=5",
        &[("/query/limt", "there is no such parameter; this operation has limit, cursor, user_type")],
    ),
    ("users?a=1&limit=5&b=2", &[("/query/a", "no such parameter"), ("/query/b", "no such parameter")]),
    ("users?limit=5&limit=6", &[("/query/limit", "it is given twice")]),
    ("users?limit=0", &[("/query/limit", "it is not a whole number from 1 to 200")]),
    ("users?limit=many", &[("/query/limit", "it is not a whole number from 1 to 200")]),
    ("users?user_type=admin", &[("/query/user_type", "it is not one of local, eve_sso, domain")]),
    ("users?is_admin=yes", &[("/query/is_admin", "it is not true or false")]),
    (
        "auth/whoami?verbose=true",
        &[("/query/verbose", "there is no such parameter; this operation has none")],
    ),
    ("audit-events?actor_id=7", &[("/query/actor_id", "it is not a UUID")]),
    ("audit-events?action=login.fails", &[("/query/action", "there are api_token.created,")]),
    (
        "metrics/snapshots",
        &[("/query/metric_type", "it is missing; send a text whose number of characters is from 1 to 50")],
    ),
    // The + of an offset is a blank in a query.
    (
        "metrics/snapshots?metric_type=cpu&from=2026-01-31T12:00:00+02:00",
        &[("/query/from", "such as 2026-01-31T12:00:00Z (a + is written %2B)")],
    ),
    ("metrics/snapshots?metric_type=cpu&order=up", &[("/query/order", "it is not one of desc, asc")]),
    (
        "metrics/aggregate?metric_type=cpu&from=2026-01-31T12:00:00Z&to=2026-02-01T12:00:00Z&step=1x",
        &[("/query/step", "it is not a text of the pattern ^[0-9]{1,8}[smhd]$")],
    ),
];

on_both_databases! {
    async fn what_is_wrong_with_a_query_is_told(database: TestDatabase) {
        migrate(&database).await;
        let service = TestService::with(&[("DATABASE_URL", &database.address)], |it| it).await;
        let accounts = Accounts::new(database.open());
        let admin = accounts.user("admin", Kind { is_admin: true, ..Kind::default() }).await;
        let token = accounts.session(admin).await;
        let ask = async |query: &str| {
            let url = service.url(&format!("/api/v1/{query}"));
            let answer = service.client.get(url).bearer_auth(&token).send().await.unwrap();
            (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
        };
        for (query, wrong) in WRONG {
            let (status, problem) = ask(query).await;
            assert_eq!((status, &problem["code"]), (400, &json!("invalid_request")), "{query}: {problem}");
            assert_eq!(problem["errors"].as_array().unwrap().len(), wrong.len(), "{query}: {problem}");
            for (error, (pointer, detail)) in problem["errors"].as_array().unwrap().iter().zip(wrong) {
                assert_eq!(error["pointer"], *pointer, "{query}: {problem}");
                assert!(error["detail"].as_str().unwrap().contains(detail), "{query}: {problem}");
                assert!(problem["detail"].as_str().unwrap().contains(detail), "{query}: {problem}");
            }
        }
        let (status, problem) = ask("users/not-a-uuid").await;
        assert_eq!(status, 400);
        assert_eq!(problem["errors"], json!([{ "pointer": "/path/id", "detail": "it is not a UUID" }]));
        let url = service.url("/api/v1/auth/tokens");
        let body = json!({ "name": "a", "scopes": ["users:read"], "expires_at": "tomorrow" });
        let answer = service.client.post(url).bearer_auth(&token).json(&body).send().await.unwrap();
        let problem: Value = answer.json().await.unwrap();
        let detail = "expected a time of RFC 3339, such as 2026-01-31T12:00:00Z";
        assert!(problem["errors"][0]["detail"].as_str().unwrap().starts_with(detail), "{problem}");
        for route in ["metrics/snapshots?metric_type=cpu&", "audit-events?",
            "metrics/aggregate?metric_type=cpu&step=1h&"]
        {
            let (status, problem) = ask(&format!("{route}{RANGE}")).await;
            assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/query/from")), "{problem}");
            assert_eq!(problem["errors"][0]["detail"], "it is later than `to`");
        }
        for route in ["metrics/snapshots?metric_type=cpu&", "audit-events?",
            "metrics/aggregate?metric_type=cpu&step=366d&fill=true&"]
        {
            for (range, wrong) in BEYOND {
                let (status, problem) = ask(&format!("{route}{range}")).await;
                assert_eq!((status, &problem["code"]), (400, &json!("invalid_request")), "{route}{range}: {problem}");
                let errors = problem["errors"].as_array().unwrap();
                let pointers: Vec<_> = errors.iter().map(|it| it["pointer"].as_str().unwrap()).collect();
                assert_eq!(pointers, wrong, "{problem}");
                assert_eq!(errors[0]["detail"], "in UTC it is not of the years 0001 to 9999");
            }
            for range in EDGES {
                let (status, answer) = ask(&format!("{route}{range}")).await;
                assert_eq!(status, 200, "{route}{range}: {answer}");
            }
        }
        // Whoever sends thousands is told of a few.
        let (status, problem) = ask(&format!("users?{}", "a&".repeat(5000))).await;
        assert_eq!((status, problem["errors"].as_array().unwrap().len()), (400, 5));
        assert!(problem.to_string().len() < 2000, "{problem}");
        // What is written with a sign of per cent is the same parameter, and probes take whatever follows.
        assert_eq!(ask("users?%6Cimit=5").await.0, 200);
        assert_eq!(service.get("/livez?x=1").await.status(), 200);
        assert_eq!(service.get("/health/db?x=1").await.status(), 200);
    }

    /// Nobody is told what an operation takes before it is known that they may ask for it.
    async fn a_query_is_looked_at_when_it_is_known_who_asks(database: TestDatabase) {
        migrate(&database).await;
        let service = TestService::with(&[("DATABASE_URL", &database.address)], |it| it).await;
        let accounts = Accounts::new(database.open());
        let token = accounts.session(accounts.user("user", Kind::default()).await).await;
        let document: Value = service.get("/openapi.json").await.json().await.unwrap();
        let mut guarded = 0;
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                if operation.get("security").is_none() {
                    continue;
                }
                guarded += 1;
                let path = path.replace("{id}", &accounts.id().to_string()).replace("{key}", "archive.run_hour");
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                let url = service.url(&format!("{path}?bogus=1"));
                let asked = service.client.request(method.clone(), url);
                let answer = asked.send().await.unwrap();
                assert_eq!(answer.status(), 401, "{method} {path}");
                assert!(!answer.text().await.unwrap().contains("bogus"), "{method} {path}");
            }
        }
        assert!(guarded > 30, "{guarded}");
        let ask = async |path: &str| {
            let url = service.url(&format!("/api/v1/{path}?bogus=1"));
            service.client.get(url).bearer_auth(&token).send().await.unwrap().status().as_u16()
        };
        assert_eq!([ask("users").await, ask("audit-events").await, ask("auth/whoami").await], [403, 403, 400]);
    }

    async fn a_position_is_looked_at_when_it_is_known_who_asks(database: TestDatabase) {
        migrate(&database).await;
        let service = TestService::with(&[("DATABASE_URL", &database.address)], |it| it).await;
        let accounts = Accounts::new(database.open());
        let token = accounts.session(accounts.user("user", Kind::default()).await).await;
        let url = service.url("/api/v1/metrics/series");
        let ask = |method| service.client.request(method, &url).header("Bedplate-Position", "nowhere");
        assert_eq!(ask(Method::GET).send().await.unwrap().status(), 401);
        assert_eq!(ask(Method::TRACE).send().await.unwrap().status(), 405);
        for wrong in ["", "7", "x/y", "0/123456789", "0/1, 0/2"] {
            let asked = service.client.get(&url).header("Bedplate-Position", wrong).bearer_auth(&token);
            let answer = asked.send().await.unwrap();
            assert_eq!(answer.status(), 400, "{wrong:?}");
            let problem: Value = answer.json().await.unwrap();
            assert_eq!(problem["errors"][0]["pointer"], "/header/bedplate-position", "{problem}");
        }
    }

    async fn a_refused_version_says_what_to_do(database: TestDatabase) {
        migrate(&database).await;
        let service = TestService::with(&[("DATABASE_URL", &database.address)], |it| it).await;
        let accounts = Accounts::new(database.open());
        let admin = accounts.user("admin", Kind { is_admin: true, ..Kind::default() }).await;
        let token = accounts.session(admin).await;
        let url = service.url(&format!("/api/v1/users/{admin}"));
        let patch = service.client.patch(url).bearer_auth(&token).header("If-Match", "\"999\"");
        let answer = patch.json(&json!({ "email": "ada@example.org" })).send().await.unwrap();
        assert_eq!(answer.status(), 412);
        let problem: Value = answer.json().await.unwrap();
        assert!(problem["detail"].as_str().unwrap().contains("get it again"), "{problem}");
    }

    async fn no_line_of_a_condition_or_a_key_is_passed_over(database: TestDatabase) {
        migrate(&database).await;
        let service = TestService::with(&[("DATABASE_URL", &database.address)], |it| it).await;
        let accounts = Accounts::new(database.open());
        let admin = accounts.user("admin", Kind { is_admin: true, ..Kind::default() }).await;
        let token = accounts.session(admin).await;
        let ask = async |method: Method, path: &str, header: &str, lines: &[&str], body: Option<&Value>| {
            let request = service.client.request(method, service.url(&format!("/api/v1/{path}")));
            let request = lines.iter().fold(request.bearer_auth(&token), |request, line| {
                request.header(header, HeaderValue::from_bytes(line.as_bytes()).unwrap())
            });
            let request = body.into_iter().fold(request, |request, body| request.json(body));
            let answer = request.send().await.unwrap();
            let (status, told) = (answer.status().as_u16(), answer.text().await.unwrap());
            (status, serde_json::from_str::<Value>(&told).unwrap_or_default()["errors"][0]["pointer"].clone())
        };

        let user = accounts.user("user", Kind::default()).await;
        let path = format!("users/{user}");
        for wrong in [&["\"é\""][..], &["\"é\"", "\"1\""], &["\"1\"", "\"é\""], &["*", "\"1\""]] {
            let refused = ask(Method::DELETE, &path, "If-Match", wrong, None).await;
            assert_eq!(refused, (400, json!("/header/if-match")), "{wrong:?}");
        }
        assert_eq!(ask(Method::DELETE, &path, "If-Match", &["\"8\"", "\"9\""], None).await.0, 412);
        assert_eq!(ask(Method::DELETE, &path, "If-Match", &["\"9\"", "\"1\""], None).await.0, 204);

        let policy = json!({ "metric_type": "cpu", "retention_days": 30, "action": "delete" });
        for wrong in [&["clé-1"][..], &["one", "two"], &["one", "one"], &[""]] {
            let refused = ask(Method::POST, "archive-policies", "Idempotency-Key", wrong, Some(&policy)).await;
            assert_eq!(refused, (400, json!("/header/idempotency-key")), "{wrong:?}");
        }
        for _ in 0..2 {
            let made = ask(Method::POST, "archive-policies", "Idempotency-Key", &["one"], Some(&policy)).await;
            assert_eq!(made.0, 201);
        }
    }
}
