//! Tokens for programs.

use std::time::Duration as StdDuration;

use foundation::database::Statement;
use foundation::testing::eventually;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use time::Duration;

use crate::auth::house::{House, PASSWORD, ask};
use crate::support::json as body;

const PATH: &str = "/api/v1/auth/tokens";
const OK: StatusCode = StatusCode::OK;
const OVER: StatusCode = StatusCode::UNAUTHORIZED;

async fn create(house: &House, token: &str, wanted: Value) -> (StatusCode, Value) {
    let answer = house.ask(Method::POST, PATH, token).json(&wanted).send().await.unwrap();
    (answer.status(), body(answer).await)
}

/// A token of ada's with these scopes, for an hour.
async fn made(house: &House, session: &str, name: &str) -> (String, String) {
    house.wait(Duration::MILLISECOND);
    let wanted = json!({ "name": name, "scopes": ["users:read", "audit:read"], "lifetime_seconds": 3600 });
    let (status, told) = create(house, session, wanted).await;
    assert_eq!(status, StatusCode::CREATED);
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    (text("token"), text("id"))
}

foundation::on_both_databases! {
    /// Who was let in before waits behind the transaction that throws them out.
    async fn no_token_is_made_in_a_session_that_was_ended_meanwhile(test: TestDatabase) {
        let house = House::new(test).await;
        house.user("ada").await;
        let session = house.token("ada").await;
        let mut operator = house.database.begin().await.unwrap();
        let hold = Statement::write("users", "UPDATE users SET version = version + 1 WHERE username = 'ada'");
        operator.execute(&hold, &[]).await.unwrap();
        let wanted = json!({ "name": "late", "scopes": ["users:read"], "lifetime_seconds": 60 });
        let asked = house.ask(Method::POST, PATH, &session).json(&wanted).send();
        let mut asked = tokio::spawn(asked);
        let early = tokio::time::timeout(StdDuration::from_millis(500), &mut asked).await;
        assert!(early.is_err(), "it does not wait: {early:?}");
        operator.execute(&Statement::write("session", "DELETE FROM session"), &[]).await.unwrap();
        operator.commit().await.unwrap();
        let answer = asked.await.unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(body(answer).await["code"], "unauthorized");
        assert_eq!(house.values("SELECT name AS value FROM api_token").await, [""; 0]);
    }

    async fn a_token_is_told_once_and_known_again(test: TestDatabase) {
        let house = House::new(test).await;
        house.user("ada").await;
        let session = house.token("ada").await;
        let wanted = json!({
            "name": "report", "scopes": ["users:write", "users:read"], "expires_at": "2026-02-01T12:00:00+01:00",
        });
        let (status, told) = create(&house, &session, wanted).await;
        assert_eq!(status, StatusCode::CREATED);
        assert_eq!((&told["name"], &told["expires_at"]), (&"report".into(), &"2026-02-01T11:00:00Z".into()));
        assert_eq!(told["scopes"], json!(["users:read", "users:write"]));
        let token = told["token"].as_str().unwrap();
        let who = body(house.ask(Method::GET, "/api/v1/auth/whoami", token).send().await.unwrap()).await;
        assert_eq!((&who["credential"], &who["user"]["username"]), (&"api_token".into(), &"ada".into()));
        assert_eq!(who["scopes"], json!(["users:read", "users:write"]));
        let listed = body(house.ask(Method::GET, PATH, &session).send().await.unwrap()).await;
        assert_eq!(listed["items"][0]["id"], told["id"]);
        assert_eq!((listed["items"].as_array().unwrap().len(), &listed["next_cursor"]), (1, &Value::Null));
        assert!(listed["items"][0].get("token").is_none() && !listed.to_string().contains(token));
        let events = house.values("SELECT after AS value FROM audit_event WHERE action = 'api_token.created'").await;
        assert!(events.len() == 1 && events[0].contains("report") && !events[0].contains(token));
    }

    async fn a_token_makes_no_token_and_changes_no_password(test: TestDatabase) {
        let house = House::new(test).await;
        house.user("ada").await;
        let session = house.token("ada").await;
        let (token, id) = made(&house, &session, "report").await;
        let (_, other) = made(&house, &session, "another").await;
        let wanted = json!({ "name": "other", "scopes": ["users:read"], "lifetime_seconds": 60 });
        let password = json!({ "current_password": PASSWORD, "new_password": "a better one than this" });
        for (method, path, wanted) in [
            (Method::POST, PATH, Some(wanted)),
            (Method::GET, PATH, None),
            (Method::DELETE, &*format!("{PATH}/{other}"), None),
            (Method::POST, "/api/v1/auth/password", Some(password)),
            (Method::POST, "/api/v1/auth/logout", None),
            (Method::GET, "/api/v1/auth/sessions", None),
            (Method::DELETE, &*format!("/api/v1/auth/sessions/{id}"), None),
        ] {
            let request = house.ask(method.clone(), path, &token);
            let request = if let Some(wanted) = wanted { request.json(&wanted) } else { request };
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{method} {path}");
            assert_eq!(body(answer).await["code"], "session_only");
        }
    }

    async fn what_is_asked_for_has_to_be_right(test: TestDatabase) {
        let house = House::new(test).await;
        house.user("ada").await;
        let session = house.token("ada").await;
        made(&house, &session, "report").await;
        let scopes = json!(["users:read"]);
        for (wanted, status, pointer) in [
            (json!({ "name": "report", "scopes": scopes, "lifetime_seconds": 60 }), 409, "/body/name"),
            (json!({ "name": "", "scopes": scopes, "lifetime_seconds": 60 }), 422, "/body/name"),
            (json!({ "name": "a\u{0}", "scopes": scopes, "lifetime_seconds": 60 }), 422, "/body/name"),
            (json!({ "name": "a", "scopes": [], "lifetime_seconds": 60 }), 422, "/body/scopes"),
            (json!({ "name": "a", "scopes": ["users:fly"], "lifetime_seconds": 60 }), 400, "/body"),
            (json!({ "name": "a", "scopes": scopes }), 422, "/body/expires_at"),
            (json!({ "name": "a", "scopes": scopes, "lifetime_seconds": 40_000_000 }), 422, "/body/lifetime_seconds"),
            (json!({ "name": "a", "scopes": scopes, "lifetime_seconds": 0 }), 422, "/body/lifetime_seconds"),
            (json!({ "name": "a", "scopes": scopes, "expires_at": "2026-01-31T11:59:59Z" }), 422, "/body/expires_at"),
            (json!({ "name": "a", "scopes": scopes, "expires_at": "2030-01-01T00:00:00Z" }), 422, "/body/expires_at"),
        ] {
            let (found, told) = create(&house, &session, wanted.clone()).await;
            assert_eq!((found.as_u16(), &told["errors"][0]["pointer"]), (status, &pointer.into()), "{wanted}: {told}");
        }
    }

    async fn the_same_request_makes_one_token(test: TestDatabase) {
        let house = House::new(test).await;
        house.user("ada").await;
        let session = house.token("ada").await;
        let send = async |name: &str| {
            let wanted = json!({ "name": name, "scopes": ["users:read"], "lifetime_seconds": 60 });
            let request = house.ask(Method::POST, PATH, &session).json(&wanted);
            let answer = request.header("idempotency-key", "the first").send().await.unwrap();
            let replayed = answer.headers().contains_key("idempotent-replayed");
            (answer.status(), replayed, body(answer).await)
        };
        let (status, replayed, mut first) = send("report").await;
        assert_eq!((status, replayed), (StatusCode::CREATED, false));
        let token = first.as_object_mut().unwrap().remove("token").unwrap();
        assert_eq!(send("report").await, (StatusCode::CREATED, true, first));
        assert_eq!(send("other").await.0, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(house.values("SELECT name AS value FROM api_token").await, ["report"]);
        let kept = house.values("SELECT body AS value FROM idempotency_key").await;
        assert!(kept.len() == 1 && !kept[0].contains(token.as_str().unwrap()));
    }

    async fn a_token_ends(test: TestDatabase) {
        let house = House::new(test).await;
        house.user("ada").await;
        house.user("grace").await;
        let (session, stranger) = (house.token("ada").await, house.token("grace").await);
        let (revoked, id) = made(&house, &session, "revoked").await;
        let (expired, _) = made(&house, &session, "expired").await;
        let path = format!("{PATH}/{id}");
        house.wait(Duration::MILLISECOND);
        for (token, expected) in
            [(&stranger, StatusCode::NOT_FOUND), (&session, StatusCode::NO_CONTENT), (&session, StatusCode::NOT_FOUND)]
        {
            assert_eq!(house.ask(Method::DELETE, &path, token).send().await.unwrap().status(), expected);
        }
        assert_eq!((house.whoami(&revoked).await, house.whoami(&expired).await), (OVER, OK));
        house.wait(Duration::HOUR);
        assert_eq!((house.whoami(&expired).await, house.whoami(&session).await), (OVER, OK));
        let events = "SELECT action AS value FROM audit_event WHERE target_type = 'api_token' ORDER BY id";
        assert_eq!(
            house.values(events).await,
            ["api_token.created", "api_token.created", "api_token.revoked"]
        );
    }

    async fn a_token_is_worth_what_its_owner_is(test: TestDatabase) {
        let house = House::new(test).await;
        house.user("ada").await;
        let session = house.token("ada").await;
        let (token, _) = made(&house, &session, "report").await;
        for (change, expected) in [
            ("is_blocked = (1 = 1)", OVER),
            ("is_blocked = (1 = 0)", OK),
            ("is_active = (1 = 0)", OVER),
            ("is_active = (1 = 1)", OK),
        ] {
            house.execute(&format!("UPDATE users SET {change} WHERE username = 'ada'")).await;
            assert_eq!(house.whoami(&token).await, expected, "{change}");
        }
        house.execute("DELETE FROM users WHERE username = 'ada'").await;
        assert_eq!(house.whoami(&token).await, OVER);
    }

    /// A session and a token have the rights that their user has at this moment, through any process.
    async fn who_is_no_administrator_any_more_may_no_more(test: TestDatabase) {
        let house = House::new(test).await;
        let ada = house.user("ada").await;
        house.user("grace").await;
        house.execute("UPDATE users SET is_admin = (1 = 1)").await;
        let (session, grace) = (house.token("ada").await, house.token("grace").await);
        let (token, _) = made(&house, &session, "report").await;
        let neighbour = house.neighbour(&[]).await;
        let statuses = async || {
            let mut found = Vec::new();
            for service in [&house.service, &neighbour] {
                for credential in [&session, &token] {
                    for path in ["/api/v1/users", "/api/v1/audit-events"] {
                        let answer = ask(service, Method::GET, path, credential).send().await.unwrap();
                        found.push(answer.status());
                    }
                }
            }
            found
        };
        assert_eq!(statuses().await, [OK; 8]);
        for (is_admin, expected) in [(false, StatusCode::FORBIDDEN), (true, OK)] {
            let patch = house.ask(Method::PATCH, &format!("/api/v1/users/{ada}"), &grace);
            let patch = patch.header("if-match", "*").json(&json!({ "is_admin": is_admin }));
            assert_eq!(patch.send().await.unwrap().status(), OK);
            assert_eq!(statuses().await, [expected; 8]);
        }
    }

    async fn nobody_has_more_tokens_than_there_may_be(test: TestDatabase) {
        let house = House::new(test).await;
        house.user("ada").await;
        let session = house.token("ada").await;
        for number in 0..96 {
            made(&house, &session, &number.to_string()).await;
        }
        let more = (0..12).map(|number| {
            let wanted = json!({ "name": format!("more {number}"), "scopes": ["users:read"], "lifetime_seconds": 60 });
            create(&house, &session, wanted)
        });
        let statuses = futures_util::future::join_all(more).await.into_iter().map(|(status, _)| status);
        let (made, refused): (Vec<_>, Vec<_>) = statuses.partition(|it| *it == StatusCode::CREATED);
        assert_eq!((made.len(), refused), (4, vec![StatusCode::CONFLICT; 8]));
    }

    async fn the_last_use_is_written_down_once_a_minute(test: TestDatabase) {
        let house = House::new(test).await;
        house.user("ada").await;
        let session = house.token("ada").await;
        let (token, _) = made(&house, &session, "report").await;
        let last_use = async || {
            house.value::<Option<time::OffsetDateTime>>("SELECT last_used_at AS value FROM api_token").await
        };
        assert_eq!(last_use().await, None);
        let first = house.now();
        for (wait, expected) in [(0, first), (59, first), (1, first + Duration::MINUTE)] {
            house.wait(Duration::seconds(wait));
            assert_eq!(house.whoami(&token).await, OK);
            eventually(StdDuration::from_secs(10), "the use is written down", || async {
                last_use().await == Some(expected)
            }).await;
        }
    }
}
