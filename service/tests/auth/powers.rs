//! What a token does not do whatever its scopes, so that it never becomes more than it is.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::auth::house::{House, NewUser};
use crate::support::json as body;

const OK: StatusCode = StatusCode::OK;
const OVER: StatusCode = StatusCode::UNAUTHORIZED;

/// The token of a session of the administrator `root`, and the id and the token of a program of theirs.
async fn root(house: &House, scopes: &[&str]) -> (String, String, String) {
    house.user("root").await;
    house.execute("UPDATE users SET is_admin = (1 = 1) WHERE username = 'root'").await;
    let session = house.token("root").await;
    // Events are in order by the millisecond.
    house.wait(time::Duration::MILLISECOND);
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

    /// Of several sessions and tokens of one user, and what names them signs in nowhere.
    async fn an_event_says_which_credential_acted(test: TestDatabase) {
        let house = House::new(test).await;
        let (session, program, token) = root(&house, &["users:write", "audit:read"]).await;
        let other = house.token("root").await;
        let user = house.user("ada").await;
        let id_of = async |session: &str| {
            let listed = house.ask(Method::GET, "/api/v1/auth/sessions", session).send().await.unwrap();
            let listed = body(listed).await;
            let current = listed["items"].as_array().unwrap().iter().find(|it| it["is_current"] == true).cloned();
            current.unwrap()["id"].as_str().unwrap().to_owned()
        };
        let (first, second) = (id_of(&session).await, id_of(&other).await);
        for (mail, credential) in [("a@b", &session), ("c@d", &other), ("e@f", &token)] {
            house.wait(time::Duration::MILLISECOND);
            let asked = house.ask(Method::PATCH, &format!("/api/v1/users/{user}"), credential);
            let asked = asked.header("If-Match", "*").json(&json!({ "email": mail }));
            assert_eq!(asked.send().await.unwrap().status(), OK);
        }
        for (id, kind, actions) in [
            (&first, "session", ["user.updated", "api_token.created", "login.succeeded"].as_slice()),
            (&second, "session", &["user.updated", "login.succeeded"]),
            (&program, "api_token", &["user.updated"]),
        ] {
            let path = format!("/api/v1/audit-events?credential_id={id}");
            let found = body(house.ask(Method::GET, &path, &token).send().await.unwrap()).await;
            let items = found["items"].as_array().unwrap();
            assert!(items.iter().all(|it| it["actor_kind"] == kind && it["credential_id"] == **id), "{found}");
            let told: Vec<_> = items.iter().map(|it| it["action"].as_str().unwrap()).collect();
            assert_eq!(told, actions, "{found}");
            // Not by `whoami` of the house, which takes what it is given for a secret.
            let url = house.service.url("/api/v1/auth/whoami");
            let asked = house.service.client.get(url).bearer_auth(id).send().await.unwrap();
            assert_eq!(asked.status(), OVER);
        }
        assert_eq!(house.login("root", "wrong").await.status(), OVER);
        let failed = "SELECT count(*) AS value FROM audit_event WHERE action = 'login.failed' AND credential_id IS NULL";
        assert_eq!(house.value::<i64>(failed).await, 1);
    }

    /// Whoever finds one that leaked can end it, and nothing else.
    async fn a_token_revokes_itself_alone(test: TestDatabase) {
        let house = House::new(test).await;
        let (session, id, token) = root(&house, &["metrics:write"]).await;
        let wanted = json!({ "name": "other", "scopes": ["users:write"], "lifetime_seconds": 3600 });
        let made = house.ask(Method::POST, "/api/v1/auth/tokens", &session).json(&wanted).send().await.unwrap();
        let other = body(made).await;
        let (other_id, other) = (other["id"].as_str().unwrap(), other["token"].as_str().unwrap());
        let revoke = async |id: &str, token: &str| {
            let asked = house.ask(Method::DELETE, &format!("/api/v1/auth/tokens/{id}"), token);
            asked.send().await.unwrap().status()
        };
        assert_eq!(revoke(&id, other).await, StatusCode::FORBIDDEN);
        assert_eq!(revoke(other_id, &token).await, StatusCode::FORBIDDEN);
        assert_eq!((house.whoami(&token).await, house.whoami(other).await), (OK, OK));
        assert_eq!(revoke(&id, &token).await, StatusCode::NO_CONTENT);
        assert_eq!((house.whoami(&token).await, house.whoami(other).await), (OVER, OK));
        assert_eq!(revoke(&id, &token).await, OVER);
        let events = "SELECT actor_kind || ' ' || target_id AS value FROM audit_event WHERE action = 'api_token.revoked'";
        assert_eq!(house.values(events).await, [format!("api_token {id}")]);
        let acted = "SELECT count(*) AS value FROM audit_event WHERE action = 'api_token.revoked' \
                     AND CAST(credential_id AS TEXT) = target_id";
        assert_eq!(house.value::<i64>(acted).await, 1);
    }
}
