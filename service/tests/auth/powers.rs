//! What a token does not do whatever its scopes, so that it never becomes more than it is.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::house::{House, NewUser};
use crate::support::json as body;

const OK: StatusCode = StatusCode::OK;
const OVER: StatusCode = StatusCode::UNAUTHORIZED;

/// The token of a session of the administrator `root`, and the id and the token of a program of theirs.
async fn root(house: &House, scopes: &[&str]) -> (String, String, String) {
    house.user("root").await;
    house.execute("UPDATE users SET is_admin = (1 = 1) WHERE username = 'root'").await;
    let session = house.token("root").await;
    let wanted = json!({ "name": "program", "scopes": scopes, "lifetime_seconds": 3600 });
    let made = house.ask(Method::POST, "/api/v1/auth/tokens", &session).json(&wanted).send().await.unwrap();
    assert_eq!(made.status(), StatusCode::CREATED);
    let made = body(made).await;
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (session, text("id"), text("token"))
}

foundation::on_both_databases! {
    /// With a password of its own choice it would sign in and do everything.
    async fn a_token_makes_no_administrator(test: TestDatabase) {
        let house = House::new(test).await;
        let (session, _, token) = root(&house, &["users:read", "users:write"]).await;
        let user = house.user("ada").await;
        house.insert(NewUser { is_blocked: true, ..NewUser::local("blocked").await }).await;
        house.insert(NewUser { is_active: false, ..NewUser::local("asleep").await }).await;
        house.execute("UPDATE users SET is_admin = (1 = 1) WHERE username IN ('blocked', 'asleep')").await;
        let id_of = async |name: &str| {
            house.values(&format!("SELECT CAST(id AS TEXT) AS value FROM users WHERE username = '{name}'")).await
        };
        let (blocked, asleep) = (id_of("blocked").await.remove(0), id_of("asleep").await.remove(0));
        let create = ("POST", "/api/v1/users".to_owned());
        let patch = |id: &str| ("PATCH", format!("/api/v1/users/{id}"));
        let new = json!({ "username": "mine", "password": "a password of its own", "is_admin": true });
        let user = user.to_string();
        let cases: [((&str, String), Value); 7] = [
            (create.clone(), new),
            (patch(&user), json!({ "is_admin": true })),
            (patch(&blocked), json!({ "is_blocked": false })),
            (patch(&asleep), json!({ "is_active": true })),
            (("POST", format!("/api/v1/users/{blocked}/unblock")), json!({})),
            (patch(&user), json!({ "is_admin": true, "is_active": false })),
            (patch(&blocked), json!({ "is_blocked": false, "username": "unblocked" })),
        ];
        let send = async |token: &str, (method, path): &(&str, String), wanted: &Value| {
            let asked = house.ask(method.parse().unwrap(), path, token).header("If-Match", "*").json(wanted);
            let answer = asked.send().await.unwrap();
            (answer.status(), body(answer).await)
        };
        let admins = "SELECT username AS value FROM users WHERE is_admin AND is_active AND NOT is_blocked ORDER BY username";
        let before = house.values(admins).await;
        for (operation, wanted) in &cases {
            let (status, told) = send(&token, operation, wanted).await;
            assert_eq!((status, &told["code"]), (StatusCode::FORBIDDEN, &json!("session_only")), "{wanted}");
        }
        assert_eq!(house.values(admins).await, before);
        // What makes nobody an administrator it does, also to one who is.
        for (operation, wanted) in [
            (create, json!({ "username": "plain", "password": "a password of its own" })),
            (patch(&user), json!({ "is_admin": false, "email": "ada@example.org" })),
            (patch(&blocked), json!({ "is_admin": true, "email": "blocked@example.org" })),
            (patch(&blocked), json!({ "is_admin": false, "is_blocked": false })),
        ] {
            let (status, told) = send(&token, &operation, &wanted).await;
            assert!(status.is_success(), "{wanted}: {told}");
        }
        let (status, told) = send(&session, &cases[3].0, &cases[3].1).await;
        assert_eq!(status, OK, "{told}");
        let (status, told) = send(&session, &cases[1].0, &cases[1].1).await;
        assert_eq!(status, OK, "{told}");
    }

    /// What was stolen with it does not come back. Programs go on: nobody makes their tokens by signing in.
    async fn who_is_let_in_again_signs_in_again(test: TestDatabase) {
        let house = House::new(test).await;
        let (root, _, _) = root(&house, &["users:read"]).await;
        let user = house.user("ada").await;
        for (out, back) in [
            (("POST", "/block", json!({})), ("POST", "/unblock", json!({}))),
            (("PATCH", "", json!({ "is_blocked": true })), ("PATCH", "", json!({ "is_blocked": false }))),
            (("PATCH", "", json!({ "is_active": false })), ("PATCH", "", json!({ "is_active": true }))),
        ] {
            let session = house.token("ada").await;
            let wanted = json!({ "name": out.2.to_string() + out.1, "scopes": ["users:read"], "lifetime_seconds": 3600 });
            let made = house.ask(Method::POST, "/api/v1/auth/tokens", &session).json(&wanted).send().await.unwrap();
            let program = body(made).await["token"].as_str().unwrap().to_owned();
            assert_eq!((house.whoami(&session).await, house.whoami(&program).await), (OK, OK));
            let send = async |(method, path, wanted): (&str, &str, Value)| {
                let path = format!("/api/v1/users/{user}{path}");
                let asked = house.ask(method.parse().unwrap(), &path, &root).header("If-Match", "*");
                assert_eq!(asked.json(&wanted).send().await.unwrap().status(), OK);
            };
            send(out).await;
            assert_eq!((house.whoami(&session).await, house.whoami(&program).await), (OVER, OVER));
            send(back).await;
            assert_eq!((house.whoami(&session).await, house.whoami(&program).await), (OVER, OK));
        }
        let ended = "SELECT after AS value FROM audit_event WHERE action = 'sessions.ended'";
        let ended = house.values(ended).await;
        assert_eq!(ended.iter().map(|it| it.replace(' ', "")).collect::<Vec<_>>(), ["{\"sessions_ended\":1}"; 3]);
    }
}
