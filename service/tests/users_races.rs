//! Two requests at the same time: an administrator stays, a name is given once, a key is used once. Each is
//! tried 200 times on PostgreSQL; on SQLite, where one transaction comes after the other, fewer.

use foundation::database::Backend;
use foundation::on_both_databases;
use reqwest::{Method, Response};
use serde_json::json;

use crate::users_support::{Person, World};

const USERS: &str = "/api/v1/users";
const PASSWORD: &str = "correct horse battery";

fn tries(world: &World) -> u32 {
    match world.database.backend() {
        Backend::Postgres => 200,
        Backend::Sqlite => 30,
    }
}

/// One of the ways in which an administrator ends.
async fn end(world: &World, by: &Person, whom: &Person, way: u32) -> Response {
    let path = whom.path();
    match way % 6 {
        0 => world.patch(&path, by, "*", &json!({ "is_admin": false })).await,
        1 => world.delete(&path, by).await,
        2 => world.post(&format!("{path}/block"), by, &json!({})).await,
        3 => world.patch(&path, by, "*", &json!({ "is_active": false })).await,
        4 => world.patch(&path, by, "*", &json!({ "is_blocked": true, "is_test_user": true })).await,
        _ => {
            let character = whom.id.as_u128() as u32;
            let pilot = json!({ "user_type": "eve_sso", "eve_character_id": u64::from(character) + 1 });
            world.patch(&path, by, "*", &pilot).await
        }
    }
}

async fn admins(world: &World) -> i64 {
    const SQL: &str = "SELECT CAST(count(*) AS BIGINT) AS count FROM users \
         WHERE is_admin AND is_active AND NOT is_blocked AND user_type <> 'eve_sso'";
    world.count(SQL, &[]).await
}

on_both_databases! {
    async fn two_administrators_never_end_each_other(test: TestDatabase) {
        let world = World::start(test).await;
        let mut lost = 0;
        for number in 0..tries(&world) {
            world.execute("UPDATE users SET is_admin = $1", &[false.into()]).await;
            let first = world.person(&format!("first{number}"), true).await;
            let second = world.person(&format!("second{number}"), true).await;
            let (one, other) =
                tokio::join!(end(&world, &first, &second, number), end(&world, &second, &first, number / 6));
            let statuses = [one.status().as_u16(), other.status().as_u16()];
            assert_eq!(admins(&world).await, 1, "try {number}: {statuses:?}");
            // The loser hears that the other is the last one, or is nobody or no administrator any more.
            assert!(statuses.iter().any(|it| [200, 204].contains(it)), "{statuses:?}");
            assert!(statuses.iter().any(|it| [409, 401, 403, 404].contains(it)), "{statuses:?}");
            lost += usize::from(statuses.contains(&409));
        }
        let is_alone = world.database.backend() == Backend::Sqlite;
        assert!(is_alone || lost > 0, "no two requests ever met");
    }

    async fn one_name_is_never_given_twice(test: TestDatabase) {
        let world = World::start(test).await;
        let admin = world.person("root", true).await;
        for number in 0..tries(&world) {
            let (lower, upper) = (format!("twin{number}"), format!("TWIN{number}"));
            let bodies = [&lower, &upper].map(|name| json!({ "username": name, "password": PASSWORD }));
            let (one, other) =
                tokio::join!(world.post(USERS, &admin, &bodies[0]), world.post(USERS, &admin, &bodies[1]));
            let mut statuses = [one.status().as_u16(), other.status().as_u16()];
            statuses.sort_unstable();
            assert_eq!(statuses, [201, 409], "try {number}");
            let sql = "SELECT CAST(count(*) AS BIGINT) AS count FROM users WHERE username_key = $1";
            assert_eq!(world.count(sql, &[lower.into()]).await, 1);
        }
    }

    async fn one_key_is_never_used_twice(test: TestDatabase) {
        let world = World::start(test).await;
        let admin = world.person("root", true).await;
        for number in 0..tries(&world) {
            let name = format!("keyed{number}");
            let body = json!({ "username": name, "password": PASSWORD });
            let send = || {
                let request = world.request(Method::POST, USERS, &admin);
                request.header("Idempotency-Key", &name).json(&body).send()
            };
            let (one, other) = tokio::join!(send(), send());
            let (one, other) = (one.unwrap(), other.unwrap());
            assert_eq!([one.status(), other.status()], [201, 201], "try {number}");
            let replayed =
                [&one, &other].map(|it| it.headers().contains_key("idempotent-replayed"));
            assert_ne!(replayed[0], replayed[1], "try {number}");
            for header in ["etag", "location"] {
                assert_eq!(one.headers().get(header), other.headers().get(header));
            }
            assert_eq!(one.text().await.unwrap(), other.text().await.unwrap());
        }
        let events = "SELECT CAST(count(*) AS BIGINT) AS count FROM audit_event WHERE action = 'user.created'";
        assert_eq!(world.count(events, &[]).await, i64::from(tries(&world)));
    }
}
