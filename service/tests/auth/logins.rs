//! Who is let in, and what the others are told.

use std::time::Duration as StdDuration;

use foundation::database::{Backend, Statement};
use foundation::testing::eventually;
use reqwest::{Response, StatusCode};
use serde_json::Value;
use time::Duration;

use crate::auth::house::{House, NewUser, PASSWORD, hash, login_from};
use crate::support::{header, json};

/// What a refused login tells, but for the id of its request.
async fn told(answer: Response) -> (StatusCode, String, Value) {
    let (status, challenge) = (answer.status(), header(&answer, "www-authenticate").to_owned());
    let mut body = json(answer).await;
    assert!(body.as_object_mut().unwrap().remove("request_id").is_some());
    (status, challenge, body)
}

foundation::on_both_databases! {
    async fn whoever_may_is_let_in(test: TestDatabase) {
        let house = House::new(test).await;
        let id = house.user("Ada").await;
        house.insert(NewUser { username: r"\corp\grace", user_type: "domain", ..NewUser::local("").await }).await;
        let answer = house.login("aDA", PASSWORD).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(header(&answer, "cache-control"), "no-store");
        let body = json(answer).await;
        assert_eq!(body["token"].as_str().unwrap().len(), 43);
        assert_eq!(body["expires_at"], "2026-03-02T12:00:00Z");
        assert_eq!((&body["user"]["id"], &body["user"]["username"]), (&id.to_string().into(), &"Ada".into()));
        assert_eq!(body["user"]["last_login"], "2026-01-31T12:00:00Z");
        assert_eq!(body["user"]["version"], 1);
        assert!(!body.to_string().contains("argon2"));
        assert_eq!(house.value::<i64>("SELECT version AS value FROM users WHERE username = 'Ada'").await, 1);
        assert_eq!(house.login(r"\CORP\grace", PASSWORD).await.status(), StatusCode::OK);
    }

    async fn the_others_are_told_one_thing(test: TestDatabase) {
        let house = House::new(test).await;
        house.user("ada").await;
        house.insert(NewUser { is_active: false, ..NewUser::local("inactive").await }).await;
        house.insert(NewUser { is_blocked: true, ..NewUser::local("blocked").await }).await;
        house.insert(NewUser { is_blocked: true, is_active: false, ..NewUser::local("gone").await }).await;
        house.insert(NewUser { user_type: "eve_sso", hash: None, ..NewUser::local("pilot").await }).await;
        house.insert(NewUser { hash: Some("!".to_owned()), ..NewUser::local("locked").await }).await;
        let first = told(house.login("ada", "wrong").await).await;
        assert_eq!((first.0, &*first.1), (StatusCode::UNAUTHORIZED, "Bearer"));
        assert_eq!(first.2["code"], "invalid_credentials");
        let (long, with_null) = ("n".repeat(300), "a\0da".to_owned());
        for (username, password) in [
            ("nobody", PASSWORD), ("inactive", PASSWORD), ("inactive", "wrong"), ("gone", PASSWORD),
            ("blocked", "wrong"), ("pilot", ""), ("pilot", PASSWORD), ("locked", "!"), ("", ""),
            (&*long, PASSWORD), (&*with_null, PASSWORD),
        ] {
            assert_eq!(told(house.login(username, password).await).await, first, "{username}");
        }
        let answer = house.login("blocked", PASSWORD).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert_eq!(json(answer).await["code"], "blocked");
        let sessions = "SELECT CAST(count(*) AS BIGINT) AS value FROM session";
        assert_eq!(house.value::<i64>(sessions).await, 0);
    }

    async fn every_attempt_is_an_event(test: TestDatabase) {
        let house = House::new(test).await;
        house.user("ada").await;
        house.insert(NewUser { is_blocked: true, ..NewUser::local("blocked").await }).await;
        for (username, password) in
            [("ada", PASSWORD), ("ada", "a wrong one"), ("no\0body", "a wrong one"), ("blocked", PASSWORD)]
        {
            house.wait(Duration::MILLISECOND);
            house.login(username, password).await;
        }
        let actions = house.values("SELECT action AS value FROM audit_event ORDER BY id").await;
        assert_eq!(actions, ["login.succeeded", "login.failed", "login.failed", "login.failed"]);
        let told = house.values("SELECT after AS value FROM audit_event ORDER BY id").await;
        let told: Vec<Value> = told.iter().map(|it| serde_json::from_str(it).unwrap()).collect();
        assert_eq!(told[0]["username"], "ada");
        assert_eq!(
            told[1..].iter().map(|it| it["reason"].as_str().unwrap()).collect::<Vec<_>>(),
            ["wrong_password", "unknown_user", "blocked"]
        );
        assert_eq!(told[2]["username"], "no\u{fffd}body");
        let origin = "SELECT address || ' ' || actor_kind AS value FROM audit_event ORDER BY id";
        assert_eq!(house.values(origin).await[..2], ["127.0.0.1 session", "127.0.0.1 anonymous"]);
    }

    async fn an_old_hash_becomes_one_of_today(test: TestDatabase) {
        let house = House::new(test).await;
        let bcrypt = bcrypt::hash_with_salt(PASSWORD, 4, *b"sixteen bytes ok").unwrap();
        let bcrypt = Some(bcrypt.format_for_version(bcrypt::Version::TwoY));
        house.insert(NewUser { hash: bcrypt, ..NewUser::local("passlib").await }).await;
        let other = Some(hash(&[("AUTH_ARGON2_MEMORY", "128KiB")]).await);
        house.insert(NewUser { hash: other, ..NewUser::local("former").await }).await;
        for name in ["passlib", "former"] {
            let sql = format!("SELECT password_hash AS value FROM users WHERE username = '{name}'");
            let before: String = house.value(&sql).await;
            assert_eq!(house.login(name, "wrong").await.status(), StatusCode::UNAUTHORIZED);
            assert_eq!(house.value::<String>(&sql).await, before);
            for _ in 0..2 {
                assert_eq!(house.login(name, PASSWORD).await.status(), StatusCode::OK);
                let after: String = house.value(&sql).await;
                assert!(after.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{after}");
            }
        }
    }

    /// Nobody is known yet, and nobody's name and password are longer.
    async fn a_login_is_short(test: TestDatabase) {
        let house = House::new(test).await;
        let longest = "\u{1}".repeat(1024);
        assert_eq!(house.login(&"u".repeat(255), &longest).await.status(), StatusCode::UNAUTHORIZED);
        let answer = house.login("ada", &"x".repeat(17 * 1024)).await;
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(json(answer).await["code"], "body_too_large");
    }

    /// Each of them compares with the old hash, which the first replaces.
    async fn logins_at_once_renew_a_hash_once(test: TestDatabase) {
        let house = House::new(test).await;
        let bcrypt = bcrypt::hash_with_salt(PASSWORD, 6, *b"sixteen bytes ok").unwrap();
        let bcrypt = Some(bcrypt.format_for_version(bcrypt::Version::TwoB));
        house.insert(NewUser { hash: bcrypt, ..NewUser::local("passlib").await }).await;
        let all = futures_util::future::join_all((0..12).map(|_| house.login("passlib", PASSWORD))).await;
        let statuses: Vec<_> = all.iter().map(Response::status).collect();
        assert_eq!(statuses, [StatusCode::OK; 12]);
        let renewed = "SELECT after AS value FROM audit_event WHERE action = 'login.succeeded'";
        let events = house.values(renewed).await;
        let is_renewed = |it: &&String| serde_json::from_str::<Value>(it).unwrap()["password_rehashed"] == true;
        assert_eq!((events.len(), events.iter().filter(is_renewed).count()), (12, 1));
    }

    /// Their clients hang up, and the database has no answer.
    async fn logins_that_nobody_waits_for_do_not_pile_up(test: TestDatabase) {
        let house = House::with(test, &[
            ("DATABASE_WAIT_TIMEOUT", "60s"), ("DATABASE_STATEMENT_TIMEOUT", "60s"), ("HTTP_TRUSTED_PROXIES", "127.0.0.1"),
        ]).await;
        house.user("ada").await;
        let mut other = house.database.begin().await.unwrap();
        let hold = match house.database.backend() {
            Backend::Postgres => "LOCK TABLE login_failure, audit_event IN EXCLUSIVE MODE",
            Backend::Sqlite => "UPDATE users SET version = version",
        };
        other.execute(&Statement::write("users", hold), &[]).await.unwrap();
        let attempt = async |number: i32, patience: StdDuration| {
            let credentials = serde_json::json!({ "username": format!("nobody{number}"), "password": PASSWORD });
            let request = house.service.client.post(house.service.url("/api/v1/auth/login")).json(&credentials);
            request.timeout(patience).send().await.ok()
        };
        let mut busy = None;
        for batch in 0..30 {
            let (first, moment) = (10 * batch, StdDuration::from_millis(300));
            futures_util::future::join_all((first..first + 10).map(|it| attempt(it, moment))).await;
            // There are eighty places, and whoever finds none is told so after a second.
            if batch >= 7 {
                busy = attempt(first + 10, StdDuration::from_secs(3)).await;
            }
            if busy.is_some() {
                break;
            }
        }
        let busy = busy.expect("as many begin as there are");
        assert_eq!((busy.status(), header(&busy, "retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
        assert_eq!(json(busy).await["code"], "busy");
        other.commit().await.unwrap();
        eventually(StdDuration::from_secs(20), "their places are free again", || async {
            login_from(&house, "203.0.113.9", "ada", PASSWORD).await == StatusCode::OK
        }).await;
    }

    async fn past_the_queue_it_is_busy(test: TestDatabase) {
        let house = House::with(test, &[
            ("AUTH_ARGON2_MEMORY", "19MiB"), ("AUTH_ARGON2_PASSES", "4"), ("AUTH_HASHING_QUEUE", "2"),
            ("AUTH_HASHING_MEMORY_LIMIT", "19MiB"),
        ]).await;
        house.insert(NewUser { hash: Some(hash(&[("AUTH_ARGON2_PASSES", "4")]).await), ..NewUser::local("ada").await }).await;
        let all = futures_util::future::join_all((0..30).map(|_| house.login("ada", PASSWORD))).await;
        let busy: Vec<_> = all.iter().filter(|it| it.status() == StatusCode::SERVICE_UNAVAILABLE).collect();
        assert!(!busy.is_empty() && busy.iter().all(|it| header(it, "retry-after") == "1"));
        let count = all.iter().filter(|it| it.status() == StatusCode::OK).count();
        assert!(count > 0 && count + busy.len() == 30, "{count} of 30, {} were refused", busy.len());
    }
}
