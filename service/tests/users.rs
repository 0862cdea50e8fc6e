//! Accounts through the API, on both databases.

use foundation::clock::Clock;
use foundation::database::Statement;
use foundation::on_both_databases;
use reqwest::Method;
use serde_json::{Value, json};

use crate::users_support::{Person, World, header, json as body_of, pointers};

const USERS: &str = "/api/v1/users";
const PASSWORD: &str = "correct horse battery";

/// What the audit has of somebody: actions, with what was before and after.
async fn events(world: &World, id: &str) -> Vec<(String, Value, Value)> {
    let sql = "SELECT action, before, after FROM audit_event WHERE target_type = 'user' AND target_id = $1 ORDER BY id";
    let rows = world.database.query(&Statement::read("audit_event", sql), &[id.into()]).await.unwrap();
    let read = |row: &foundation::database::Row, name| {
        let text: Option<String> = row.get(name).unwrap();
        text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
    };
    rows.iter().map(|row| (row.get("action").unwrap(), read(row, "before"), read(row, "after"))).collect()
}

on_both_databases! {
    /// From its making to its end, each step with its version and its event.
    async fn an_account_is_made_changed_and_deleted(test: TestDatabase) {
        let world = World::start(test).await;
        let admin = world.person("root", true).await;
        let new = json!({ "username": "Ada", "email": "Ada@example.org", "password": PASSWORD });
        let made = world.post(USERS, &admin, &new).await;
        assert_eq!(made.status(), 201);
        assert_eq!(header(&made, "etag"), "\"1\"");
        let path = header(&made, "location").to_owned();
        let ada = body_of(made).await;
        let id = ada["id"].as_str().unwrap().to_owned();
        assert_eq!(path, format!("{USERS}/{id}"));
        assert_eq!((&ada["user_type"], &ada["last_login"]), (&json!("local"), &Value::Null));
        assert!(!ada.as_object().unwrap().keys().any(|it| it.contains("password")));

        let shown = world.get(&path, &admin).await;
        assert_eq!((shown.status().as_u16(), header(&shown, "etag")), (200, "\"1\""));
        assert_eq!(body_of(shown).await, ada);

        let patched = world.patch(&path, &admin, "\"1\"", &json!({ "email": null, "is_test_user": true })).await;
        assert_eq!((patched.status().as_u16(), header(&patched, "etag")), (200, "\"2\""));
        let patched = body_of(patched).await;
        assert_eq!((&patched["email"], &patched["is_test_user"]), (&Value::Null, &json!(true)));
        let same = world.patch(&path, &admin, "*", &json!({ "is_test_user": true })).await;
        assert_eq!(header(&same, "etag"), "\"2\"", "what changes nothing is no edit");

        for (word, is_blocked, tag) in [("block", true, "\"3\""), ("unblock", false, "\"4\"")] {
            let answer = world.post(&format!("{path}/{word}"), &admin, &json!({})).await;
            assert_eq!((answer.status().as_u16(), header(&answer, "etag")), (200, tag));
            assert_eq!(body_of(answer).await["is_blocked"], is_blocked);
        }
        assert_eq!(world.delete(&path, &admin).await.status(), 204);
        assert_eq!(world.get(&path, &admin).await.status(), 404);
        assert_eq!(world.delete(&path, &admin).await.status(), 404);

        let events = events(&world, &id).await;
        let actions: Vec<&str> = events.iter().map(|(action, ..)| action.as_str()).collect();
        assert_eq!(actions, ["user.created", "user.updated", "user.blocked", "user.unblocked", "user.deleted"]);
        assert_eq!(events[0].1, Value::Null);
        assert_eq!(events[0].2["username"], "Ada");
        assert_eq!(events[1].1, json!({ "email": "Ada@example.org", "is_test_user": false }));
        assert_eq!(events[1].2, json!({ "email": null, "is_test_user": true }));
        assert_eq!(events[4].2, Value::Null);
        let told = format!("{events:?}");
        assert!(!told.contains(PASSWORD) && !told.contains("argon2"), "{told}");
    }

    /// Each rule of the three types is told with the part of the request that breaks it.
    async fn the_rules_are_explained(test: TestDatabase) {
        let world = World::start(test).await;
        let admin = world.person("root", true).await;
        let long = "x".repeat(256);
        for (new, wrong) in [
            (json!({ "username": "a" }), vec!["/body/password"]),
            (json!({ "username": "a", "password": "short" }), vec!["/body/password"]),
            (json!({ "username": "a", "password": "Password1" }), vec!["/body/password"]),
            (json!({ "username": "Somebody", "password": "sOMEBODY" }), vec!["/body/password"]),
            (json!({ "username": "", "password": PASSWORD }), vec!["/body/username"]),
            (json!({ "username": long, "password": PASSWORD, "email": "no" }), vec!["/body/username", "/body/email"]),
            (json!({ "username": "a\u{0}b", "password": PASSWORD }), vec!["/body/username"]),
            (json!({ "username": r"\d\a", "password": PASSWORD }), vec!["/body/username"]),
            (json!({ "username": "a", "user_type": "domain", "password": PASSWORD }), vec!["/body/username"]),
            (json!({ "username": r"\d\a\b", "user_type": "domain", "password": PASSWORD }), vec!["/body/username"]),
            (json!({ "username": r"\\a", "user_type": "domain" }), vec!["/body/username", "/body/password"]),
            (json!({ "username": "a", "user_type": "eve_sso" }), vec!["/body/eve_character_id"]),
            (
                json!({ "username": "a", "user_type": "eve_sso", "eve_character_id": 0, "password": PASSWORD }),
                vec!["/body/eve_character_id", "/body/password"],
            ),
        ] {
            let answer = world.post(USERS, &admin, &new).await;
            assert_eq!(pointers(answer, 422).await, wrong, "{new}");
        }
        for new in [json!({}), json!([]), json!("x"), json!({ "username": null }), json!({ "username": "a", "x": 1 })] {
            assert_eq!(pointers(world.post(USERS, &admin, &new).await, 400).await, ["/body"], "{new}");
        }
        for new in [
            json!({ "username": r"\d\a", "user_type": "domain", "password": PASSWORD }),
            json!({ "username": "pilot", "user_type": "eve_sso", "eve_character_id": 9_007_199_254_740_993_i64 }),
            json!({ "username": "Grüße 🚀", "password": "пароль и ключ", "email": "g@example.org" }),
        ] {
            let answer = world.post(USERS, &admin, &new).await;
            assert_eq!(answer.status(), 201, "{new}");
            assert_eq!(body_of(answer).await["username"], new["username"]);
        }
        for (new, taken) in [
            (json!({ "username": "ROOT", "password": PASSWORD }), "/body/username"),
            (json!({ "username": "b", "password": PASSWORD, "email": "G@EXAMPLE.org" }), "/body/email"),
            (
                json!({ "username": "b", "user_type": "eve_sso", "eve_character_id": 9_007_199_254_740_993_i64 }),
                "/body/eve_character_id",
            ),
        ] {
            assert_eq!(pointers(world.post(USERS, &admin, &new).await, 409).await, [taken], "{new}");
        }
    }

    /// A plain user reads and changes their own account, not its flags, and hears of no other.
    async fn a_plain_user_knows_of_nobody_else(test: TestDatabase) {
        let world = World::start(test).await;
        let (admin, user) = (world.person("root", true).await, world.person("user", false).await);
        assert_eq!(world.get(&user.path(), &user).await.status(), 200);
        assert_eq!(world.get(&admin.path(), &user).await.status(), 404);
        assert_eq!(world.get(USERS, &user).await.status(), 403);
        assert_eq!(world.post(USERS, &user, &json!({})).await.status(), 403);
        assert_eq!(world.delete(&user.path(), &user).await.status(), 403);
        assert_eq!(world.post(&format!("{}/block", user.path()), &user, &json!({})).await.status(), 403);
        assert_eq!(world.patch(&admin.path(), &user, "*", &json!({})).await.status(), 404);
        for (patch, field) in [
            (json!({ "is_admin": true }), "/body/is_admin"),
            (json!({ "is_blocked": false, "email": "a@b" }), "/body/is_blocked"),
            (json!({ "is_test_user": true }), "/body/is_test_user"),
            (json!({ "user_type": "domain" }), "/body/user_type"),
            (json!({ "eve_character_id": 5 }), "/body/eve_character_id"),
        ] {
            assert_eq!(pointers(world.patch(&user.path(), &user, "*", &patch).await, 403).await, [field]);
        }
        let own = json!({ "username": "me", "email": "me@example.org", "is_active": false });
        assert_eq!(world.patch(&user.path(), &user, "\"1\"", &own).await.status(), 200);
        assert_eq!(world.get(&user.path(), &user).await.status(), 401, "an inactive user is nobody");
    }

    async fn a_change_names_the_version_that_it_is_meant_for(test: TestDatabase) {
        let world = World::start(test).await;
        let admin = world.person("root", true).await;
        let patch = |tag: Option<&'static str>, content_type: &'static str| {
            let request = world.request(Method::PATCH, &admin.path(), &admin).header("content-type", content_type);
            let request = tag.into_iter().fold(request, |request, tag| request.header("if-match", tag));
            request.body(r#"{"email":"root@example.org"}"#).send()
        };
        let merge = "application/merge-patch+json";
        assert_eq!(patch(None, merge).await.unwrap().status(), 428);
        assert_eq!(pointers(patch(Some("1"), merge).await.unwrap(), 400).await, ["/header/if-match"]);
        assert_eq!(patch(Some("\"2\""), merge).await.unwrap().status(), 412);
        assert_eq!(patch(Some("W/\"1\""), merge).await.unwrap().status(), 412);
        assert_eq!(patch(Some("\"1\""), "text/plain").await.unwrap().status(), 415);
        assert_eq!(patch(Some("\"7\", \"1\""), merge).await.unwrap().status(), 200);
        let deleted = world.request(Method::DELETE, &admin.path(), &admin).header("if-match", "\"1\"");
        assert_eq!(deleted.send().await.unwrap().status(), 412);
        for word in ["block", "unblock"] {
            let block = async |person: &Person, tag: &'static str| {
                let path = format!("{}/{word}", person.path());
                let request = world.request(Method::POST, &path, &admin).header("if-match", tag);
                request.send().await.unwrap().status().as_u16()
            };
            let user = world.person(word, false).await;
            assert_eq!((block(&user, "\"2\"").await, block(&user, "1").await), (412, 400));
            assert_eq!((block(&user, "\"1\"").await, block(&user, "*").await), (200, 200));
        }
        assert_eq!(world.get("/api/v1/users/nobody", &admin).await.status(), 400);
    }

    async fn the_last_active_administrator_stays_one(test: TestDatabase) {
        let world = World::start(test).await;
        let admin = world.person("root", true).await;
        for patch in [json!({ "is_admin": false }), json!({ "is_active": false }), json!({ "is_blocked": true })] {
            let answer = world.patch(&admin.path(), &admin, "*", &patch).await;
            assert_eq!(answer.status(), 409);
            assert_eq!(body_of(answer).await["code"], "last_admin");
        }
        assert_eq!(world.delete(&admin.path(), &admin).await.status(), 409);
        assert_eq!(world.post(&format!("{}/block", admin.path()), &admin, &json!({})).await.status(), 409);
        let other = world.person("other", true).await;
        assert_eq!(world.patch(&admin.path(), &admin, "*", &json!({ "is_admin": false })).await.status(), 200);
        assert_eq!(world.delete(&other.path(), &other).await.status(), 409);
    }

    /// Who signs in nowhere is no administrator who could mend anything.
    async fn a_pilot_is_no_last_administrator(test: TestDatabase) {
        let world = World::start(test).await;
        let admin = world.person("root", true).await;
        let pilot = json!({ "username": "pilot", "user_type": "eve_sso", "eve_character_id": 7, "is_admin": true });
        assert_eq!(world.post(USERS, &admin, &pilot).await.status(), 201);
        let path = admin.path();
        let answers = [
            world.delete(&path, &admin).await,
            world.post(&format!("{path}/block"), &admin, &json!({})).await,
            world.patch(&path, &admin, "*", &json!({ "is_admin": false })).await,
            world.patch(&path, &admin, "*", &json!({ "user_type": "eve_sso", "eve_character_id": 8 })).await,
        ];
        for answer in answers {
            assert_eq!(answer.status(), 409);
            assert_eq!(body_of(answer).await["code"], "last_admin");
        }
    }

    /// The domain says who vouches for somebody, so that is not theirs to choose.
    async fn nobody_moves_themself_to_another_domain(test: TestDatabase) {
        let world = World::start(test).await;
        let (admin, user) = (world.person("root", true).await, world.person("user", false).await);
        let domain = json!({ "user_type": "domain", "username": r"\corp\ada" });
        assert_eq!(world.patch(&user.path(), &admin, "*", &domain).await.status(), 200);
        let rename = async |who, name: &str| {
            world.patch(&user.path(), who, "*", &json!({ "username": name })).await
        };
        for name in [r"\other\ada", r"\corp2\ada", r"\cor\ada"] {
            assert_eq!(pointers(rename(&user, name).await, 422).await, ["/body/username"], "{name}");
        }
        assert_eq!(body_of(rename(&user, r"\other\ada").await).await["errors"].as_array().unwrap().len(), 1);
        for name in [r"\corp\grace", r"\CORP\grace"] {
            assert_eq!(rename(&user, name).await.status(), 200, "{name}");
        }
        assert_eq!(rename(&admin, r"\other\grace").await.status(), 200);
    }

    /// Their sessions would outlive the password. What programs were given stays.
    async fn who_becomes_a_pilot_is_signed_out(test: TestDatabase) {
        let world = World::start(test).await;
        let (admin, user) = (world.person("root", true).await, world.person("user", false).await);
        let other = world.sign_in(user.id).await;
        let tomorrow = Clock::system().now() + time::Duration::DAY;
        let expires_at = tomorrow.format(&time::format_description::well_known::Rfc3339).unwrap();
        let new = json!({ "name": "program", "scopes": ["users:read"], "expires_at": expires_at });
        let made = world.post("/api/v1/auth/tokens", &user, &new).await;
        let (status, made) = (made.status(), body_of(made).await);
        assert_eq!(status, 201, "{made}");
        let program = Person { id: user.id, token: made["token"].as_str().unwrap().to_owned() };
        let pilot = json!({ "user_type": "eve_sso", "eve_character_id": 7 });
        assert_eq!(world.patch(&user.path(), &admin, "*", &pilot).await.status(), 200);
        for session in [&user, &other] {
            assert_eq!(world.get(&user.path(), session).await.status(), 401);
        }
        assert_eq!(world.get(&user.path(), &program).await.status(), 200);
        assert_eq!(world.get(&admin.path(), &admin).await.status(), 200);
        let events = events(&world, &user.id.to_string()).await;
        let (.., after) = events.iter().find(|(action, ..)| action == "sessions.ended").unwrap();
        assert_eq!(after, &json!({ "sessions_ended": 2 }));
    }

    /// What another program wrote may break rules of the API that the database does not have.
    async fn an_account_that_breaks_a_rule_can_be_blocked(test: TestDatabase) {
        let world = World::start(test).await;
        let admin = world.person("root", true).await;
        let user = world.person("trailing ", false).await;
        world.execute("UPDATE users SET email = 'nowhere' WHERE id = $1", &[user.id.into()]).await;
        assert_eq!(world.post(&format!("{}/block", user.path()), &admin, &json!({})).await.status(), 200);
        assert_eq!(world.get(&user.path(), &user).await.status(), 401);
        let patch = async |patch: Value| world.patch(&user.path(), &admin, "*", &patch).await;
        assert_eq!(pointers(patch(json!({ "email": "elsewhere" })).await, 422).await, ["/body/email"]);
        assert_eq!(pointers(patch(json!({ "username": " x" })).await, 422).await, ["/body/username"]);
        assert_eq!(patch(json!({ "email": "a@example.org", "is_active": false })).await.status(), 200);
    }

    /// The same request is done once and answered alike; another under its key is refused.
    async fn a_request_with_a_key_is_done_once(test: TestDatabase) {
        let world = World::start(test).await;
        let admin = world.person("root", true).await;
        let send = |key: &str, new: &Value| {
            world.request(Method::POST, USERS, &admin).header("Idempotency-Key", key).json(new).send()
        };
        let new = json!({ "username": "ada", "password": PASSWORD });
        let first = send("k 1", &new).await.unwrap();
        assert_eq!(first.status(), 201);
        assert!(first.headers().get("idempotent-replayed").is_none());
        let (tag, location) = (header(&first, "etag").to_owned(), header(&first, "location").to_owned());
        let made = first.text().await.unwrap();
        let patched = world.patch(&location, &admin, "*", &json!({ "email": "ada@example.org" })).await;
        assert_eq!(patched.status(), 200);
        let again = send("k 1", &new).await.unwrap();
        assert_eq!((again.status().as_u16(), header(&again, "idempotent-replayed")), (201, "true"));
        assert_eq!((header(&again, "etag"), header(&again, "location")), (tag.as_str(), location.as_str()));
        assert_eq!(again.text().await.unwrap(), made);
        let other = json!({ "username": "eve", "password": PASSWORD });
        assert_eq!(pointers(send("k 1", &other).await.unwrap(), 422).await, ["/header/idempotency-key"]);
        assert_eq!(send("k 2", &new).await.unwrap().status(), 409);
        assert_eq!(send("k 2", &other).await.unwrap().status(), 201, "what failed used no key");
        let long = "k".repeat(256);
        assert_eq!(pointers(send(&long, &other).await.unwrap(), 400).await, ["/header/idempotency-key"]);
        // After a day the key is free again.
        let day = Clock::system().now() - time::Duration::days(1);
        world.execute("UPDATE idempotency_key SET created_at = $1", &[day.into()]).await;
        let third = json!({ "username": "bob", "password": PASSWORD });
        assert_eq!(send("k 1", &third).await.unwrap().status(), 201);
    }
}
