//! Sessions: until when, for whom, and how they end.

use std::time::Duration as StdDuration;

use foundation::testing::eventually;
use reqwest::{Method, StatusCode};
use serde_json::json;
use time::Duration;

use crate::auth::house::{House, NewUser, PASSWORD, ask, hash, login_from};
use crate::support::json as body;

const OK: StatusCode = StatusCode::OK;
const OVER: StatusCode = StatusCode::UNAUTHORIZED;
const DONE: StatusCode = StatusCode::NO_CONTENT;

/// Uses the session, and waits until that is written down.
async fn touch(house: &House, token: &str) {
    assert_eq!(house.whoami(token).await, OK);
    let now = house.now();
    eventually(StdDuration::from_secs(10), "the use is written down", || async {
        let sql = "SELECT max(last_used_at) AS value FROM session";
        house.value::<time::OffsetDateTime>(sql).await == now
    })
    .await;
}

foundation::on_both_databases! {
    /// Something in front may have looked at the other one.
    async fn of_two_tokens_none_counts(test: TestDatabase) {
        let house = House::new(test).await;
        house.user("ada").await;
        let token = house.token("ada").await;
        for other in [format!("Bearer {token}"), "Bearer nobody".to_owned(), "Basic YTpi".to_owned()] {
            let asked = house.ask(Method::GET, "/api/v1/auth/whoami", &token).header("authorization", &other);
            assert_eq!(asked.send().await.unwrap().status(), OVER, "{other}");
        }
        assert_eq!(house.whoami(&token).await, OK);
    }

    async fn a_session_says_who_and_where(test: TestDatabase) {
        let house = House::new(test).await;
        let id = house.user("ada").await;
        house.user("grace").await;
        let (first, second, other) =
            (house.token("ada").await, house.token("ada").await, house.token("grace").await);
        let who = body(house.ask(Method::GET, "/api/v1/auth/whoami", &first).send().await.unwrap()).await;
        assert_eq!(who["user"]["id"], id.to_string());
        assert_eq!((&who["credential"], &who["scopes"]), (&"session".into(), &serde_json::Value::Null));
        let list = || async {
            let asked = house.ask(Method::GET, "/api/v1/auth/sessions", &second).send().await.unwrap();
            body(asked).await
        };
        let listed = list().await;
        assert_eq!(listed["next_cursor"], serde_json::Value::Null);
        assert_eq!(listed["items"].as_array().unwrap().len(), 2);
        let current: Vec<_> = listed["items"].as_array().unwrap().iter().map(|it| &it["is_current"]).collect();
        assert_eq!(current, [true, false]);
        assert_eq!(listed["items"][0]["address"], "127.0.0.1");
        // The other one ends; a stranger's does not, nor one that is over already.
        let path = format!("/api/v1/auth/sessions/{}", listed["items"][1]["id"].as_str().unwrap());
        for (token, expected) in [(&other, StatusCode::NOT_FOUND), (&second, DONE), (&second, StatusCode::NOT_FOUND)] {
            assert_eq!(house.ask(Method::DELETE, &path, token).send().await.unwrap().status(), expected);
        }
        assert_eq!((house.whoami(&first).await, house.whoami(&second).await), (OVER, OK));
        assert_eq!(list().await["items"].as_array().unwrap().len(), 1);
        let logout = house.ask(Method::POST, "/api/v1/auth/logout", &second).send().await.unwrap();
        assert_eq!((logout.status(), house.whoami(&second).await), (DONE, OVER));
        assert_eq!(house.whoami(&other).await, OK);
        let ended = "SELECT action AS value FROM audit_event WHERE action = 'session.ended'";
        assert_eq!(house.values(ended).await.len(), 2);
    }

    async fn a_session_that_is_not_used_is_over(test: TestDatabase) {
        let house = House::new(test).await;
        house.user("ada").await;
        let token = house.token("ada").await;
        for _ in 0..2 {
            house.wait(Duration::days(6));
            touch(&house, &token).await;
        }
        house.wait(Duration::days(7) + Duration::SECOND);
        assert_eq!(house.whoami(&token).await, OVER);
    }

    async fn a_session_is_over_in_the_end(test: TestDatabase) {
        let house = House::new(test).await;
        house.user("ada").await;
        let token = house.token("ada").await;
        for _ in 0..4 {
            house.wait(Duration::days(6));
            touch(&house, &token).await;
        }
        house.wait(Duration::days(6) - Duration::SECOND);
        assert_eq!(house.whoami(&token).await, OK);
        house.wait(Duration::SECOND);
        assert_eq!(house.whoami(&token).await, OVER);
    }

    async fn the_oldest_of_very_many_ends(test: TestDatabase) {
        let house = House::new(test).await;
        house.user("ada").await;
        let first = house.token("ada").await;
        let second = house.token("ada").await;
        for _ in 0..99 {
            house.token("ada").await;
        }
        assert_eq!((house.whoami(&first).await, house.whoami(&second).await), (OVER, OK));
        // The event of the login that ended it tells of it.
        let events = "SELECT after AS value FROM audit_event WHERE action = 'login.succeeded' ORDER BY id";
        let events = house.values(events).await;
        let ended = events.iter().map(|it| serde_json::from_str::<serde_json::Value>(it).unwrap()["sessions_ended"].clone());
        assert_eq!(ended.collect::<Vec<_>>(), [vec![0; 100], vec![1]].concat());
    }

    async fn what_ends_through_one_process_is_refused_by_another(test: TestDatabase) {
        let house = House::new(test).await;
        house.user("ada").await;
        let neighbour = house.neighbour(&[]).await;
        let (token, other) = (house.token("ada").await, house.token("ada").await);
        let whoami = async |token: &str| {
            let asked = ask(&neighbour, Method::GET, "/api/v1/auth/whoami", token);
            asked.send().await.unwrap().status()
        };
        assert_eq!((whoami(&token).await, whoami(&other).await), (OK, OK));
        house.ask(Method::POST, "/api/v1/auth/logout", &token).send().await.unwrap();
        assert_eq!((whoami(&token).await, whoami(&other).await), (OVER, OK));
        house.execute("UPDATE users SET is_blocked = (1 = 1) WHERE username = 'ada'").await;
        assert_eq!(whoami(&other).await, OVER);
    }

    async fn another_password_ends_the_other_sessions(test: TestDatabase) {
        let house = House::new(test).await;
        house.user("ada").await;
        let (token, other) = (house.token("ada").await, house.token("ada").await);
        let change = async |current: &str, new: &str| {
            let wanted = json!({ "current_password": current, "new_password": new });
            foundation::testing::evidence::secrets_in(&wanted);
            let asked = house.ask(Method::POST, "/api/v1/auth/password", &token).json(&wanted);
            let answer = asked.send().await.unwrap();
            let status = answer.status();
            let told: serde_json::Value = answer.json().await.unwrap_or_default();
            (status, told["errors"][0]["pointer"].as_str().unwrap_or_default().to_owned())
        };
        let invalid = StatusCode::UNPROCESSABLE_ENTITY;
        let (current, new) = ("/body/current_password".to_owned(), "/body/new_password".to_owned());
        assert_eq!(change("wrong", "a better one than this").await, (invalid, current));
        house.wait(Duration::SECOND);
        for bad in ["short", "password1", &"x".repeat(129)] {
            assert_eq!(change(PASSWORD, bad).await, (invalid, new.clone()));
        }
        assert_eq!((house.whoami(&other).await, house.whoami(&token).await), (OK, OK));
        assert_eq!(change(PASSWORD, "a better one than this").await.0, DONE);
        assert_eq!((house.whoami(&other).await, house.whoami(&token).await), (OVER, OK));
        assert_eq!(house.login("ada", PASSWORD).await.status(), OVER);
        assert_eq!(house.login("ada", "a better one than this").await.status(), OK);
        assert_eq!(house.value::<i64>("SELECT version AS value FROM users WHERE username = 'ada'").await, 2);
        let events = "SELECT action AS value FROM audit_event WHERE action LIKE 'password.%' ORDER BY id";
        assert_eq!(house.values(events).await, ["password.refused", "password.changed"]);
    }

    async fn a_session_is_no_way_around_the_delays(test: TestDatabase) {
        let house = House::with(test, &[("HTTP_TRUSTED_PROXIES", "127.0.0.1")]).await;
        house.user("ada").await;
        let token = house.token("ada").await;
        let wanted = json!({ "current_password": "wrong", "new_password": "a better one than this" });
        let change = async |address: &str| {
            let request = house.ask(Method::POST, "/api/v1/auth/password", &token).json(&wanted);
            request.header("x-forwarded-for", address).send().await.unwrap().status()
        };
        for _ in 0..6 {
            assert_eq!(change("203.0.113.9").await, StatusCode::UNPROCESSABLE_ENTITY);
        }
        assert_eq!(change("203.0.113.9").await, StatusCode::TOO_MANY_REQUESTS);
        // Where its owner is, it is still their own affair.
        assert_eq!(change("127.0.0.1").await, StatusCode::UNPROCESSABLE_ENTITY);
    }
    /// Guesses that wait for their turn together are refused alike once some of them have failed: the right
    /// password among them is not told from the wrong ones.
    async fn guesses_at_once_by_a_session_are_delayed_too(test: TestDatabase) {
        let slow = [("AUTH_ARGON2_MEMORY", "19MiB"), ("AUTH_ARGON2_PASSES", "4")];
        // One after the other is compared.
        let house = House::with(test, &[
            slow[0], slow[1], ("AUTH_HASHING_MEMORY_LIMIT", "19MiB"), ("AUTH_LOGIN_ATTEMPTS", "1"),
            ("HTTP_TRUSTED_PROXIES", "127.0.0.1"),
        ]).await;
        house.insert(NewUser { hash: Some(hash(&slow).await), ..NewUser::local("ada").await }).await;
        let token = house.token("ada").await;
        let guess = |current: &'static str| {
            let wanted = json!({ "current_password": current, "new_password": "a better one than this" });
            let request = house.ask(Method::POST, "/api/v1/auth/password", &token).json(&wanted);
            request.header("x-forwarded-for", "203.0.113.9").send()
        };
        let guesses = (0..11).map(|_| guess("wrong")).chain([guess(PASSWORD)]);
        let all = futures_util::future::join_all(guesses).await;
        let statuses: Vec<_> = all.iter().map(|it| it.as_ref().unwrap().status()).collect();
        let told = |status| statuses.iter().filter(|it| **it == status).count();
        let (wrong, later) =
            (told(StatusCode::UNPROCESSABLE_ENTITY), told(StatusCode::TOO_MANY_REQUESTS));
        assert!((2..=6).contains(&wrong), "{statuses:?}");
        // The right one may have come first.
        assert!(wrong + later >= 11, "{statuses:?}");
        let events = "SELECT count(*) AS value FROM audit_event WHERE action = 'password.refused'";
        assert_eq!(house.value::<i64>(events).await, i64::try_from(wrong).unwrap());
    }

    /// Whoever has a session may rename its account, and gains no guess by it.
    async fn another_name_is_no_way_around_the_delays(test: TestDatabase) {
        let house = House::with(test, &[("HTTP_TRUSTED_PROXIES", "127.0.0.1")]).await;
        let id = house.user("ada").await;
        let token = house.token("ada").await;
        let wanted = json!({ "current_password": "wrong", "new_password": "a better one than this" });
        let change = async || {
            let request = house.ask(Method::POST, "/api/v1/auth/password", &token).json(&wanted);
            request.header("x-forwarded-for", "203.0.113.9").send().await.unwrap().status()
        };
        for _ in 0..6 {
            assert_eq!(change().await, StatusCode::UNPROCESSABLE_ENTITY);
        }
        for name in ["eva", "Ada", "zoe"] {
            let rename = house.ask(Method::PATCH, &format!("/api/v1/users/{id}"), &token);
            let rename = rename.header("If-Match", "*").json(&json!({ "username": name }));
            assert_eq!(rename.send().await.unwrap().status(), OK);
            assert_eq!(change().await, StatusCode::TOO_MANY_REQUESTS, "{name}");
            let status = login_from(&house, "203.0.113.9", name, PASSWORD).await;
            assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{name}");
        }
        // Nobody is called so any more.
        assert_eq!(login_from(&house, "203.0.113.9", "ada", PASSWORD).await, OVER);
        house.wait(Duration::SECOND);
        assert_eq!(login_from(&house, "203.0.113.9", "zoe", PASSWORD).await, OK);
    }
}
