//! Pages of accounts, on both databases: nobody twice, nobody left out, no cursor made up.

use foundation::on_both_databases;
use serde_json::{Value, json};

use crate::users_support::{Person, World, json as body_of, pointers};

/// The names on all pages of a list.
async fn names(world: &World, admin: &Person, query: &str) -> Vec<String> {
    let (mut names, mut cursor) = (Vec::new(), String::new());
    for _page in 0..200 {
        let path = format!("/api/v1/users?{query}{cursor}");
        let answer = world.get(&path, admin).await;
        assert_eq!(answer.status(), 200, "{path}");
        let page = body_of(answer).await;
        names.extend(
            page["items"].as_array().unwrap().iter().map(|it| it["username"].as_str().unwrap().to_owned()),
        );
        match &page["next_cursor"] {
            Value::Null => return names,
            next => cursor = format!("&cursor={}", next.as_str().unwrap()),
        }
    }
    panic!("{query} has no end");
}

/// Names and mail addresses in an order that is not that of their making.
async fn people(world: &World) {
    for (index, (name, email)) in [
        ("anna", Some("zoe@example.org")),
        ("Bert", Some("anna.b@example.org")),
        ("annabel", Some("Annabel@example.org")),
        ("zed", Some("ANN@example.org")),
        ("ann", None),
        ("Anne", Some("ann.e@example.org")),
        ("a_n%n", Some("percent@example.org")),
        ("anö", Some("o@example.org")),
    ]
    .into_iter()
    .enumerate()
    {
        let person = world.person(name, false).await;
        world
            .execute(
                "UPDATE users SET email = $1, is_blocked = $2 WHERE id = $3",
                &[email.into(), (index % 3 == 0).into(), person.id.into()],
            )
            .await;
    }
}

on_both_databases! {
    async fn every_page_size_shows_everybody_once(test: TestDatabase) {
        let world = World::start(test).await;
        let admin = world.person("root", true).await;
        people(&world).await;
        let made = ["admin", "root", "anna", "Bert", "annabel", "zed", "ann", "Anne", "a_n%n", "anö"];
        let found = ["ann", "Anne", "zed", "anna", "Bert", "annabel"];
        for limit in [1, 2, 3, 9, 10, 200] {
            assert_eq!(names(&world, &admin, &format!("limit={limit}")).await, made);
            assert_eq!(names(&world, &admin, &format!("limit={limit}&search=ANN")).await, found, "{limit}");
            let blocked = names(&world, &admin, &format!("limit={limit}&is_blocked=true")).await;
            assert_eq!(blocked, ["a_n%n", "anna", "zed"], "{limit}");
        }
        assert_eq!(names(&world, &admin, "search=a_n%25").await, ["a_n%n"]);
        assert_eq!(names(&world, &admin, "search=an%C3%B6").await, ["anö"]);
        assert_eq!(names(&world, &admin, "search=nobody").await, Vec::<String>::new());
        assert_eq!(names(&world, &admin, "search=%F4%8F%BF%BF").await, Vec::<String>::new());
        assert_eq!(names(&world, &admin, "is_admin=true&is_active=true").await, ["root"]);
        assert_eq!(names(&world, &admin, "user_type=eve_sso").await, Vec::<String>::new());
        assert_eq!(names(&world, &admin, "search=ann&is_blocked=true&limit=1").await, ["zed", "anna"]);
        assert_eq!(names(&world, &admin, "is_blocked=false&is_admin=false&limit=2").await.len(), 5);
    }

    async fn a_cursor_is_neither_made_up_nor_moved(test: TestDatabase) {
        let world = World::start(test).await;
        let admin = world.person("root", true).await;
        people(&world).await;
        let page = body_of(world.get("/api/v1/users?limit=2&search=ann", &admin).await).await;
        let cursor = page["next_cursor"].as_str().unwrap().to_owned();
        let mut forged = cursor.clone();
        forged.replace_range(0..1, if cursor.starts_with('A') { "B" } else { "A" });
        for query in [
            format!("search=anna&cursor={cursor}"),
            format!("search=ann&is_active=true&cursor={cursor}"),
            format!("cursor={cursor}"),
            format!("search=ann&cursor={forged}"),
            "search=ann&cursor=x".to_owned(),
            "cursor=".to_owned(),
        ] {
            let answer = world.get(&format!("/api/v1/users?{query}"), &admin).await;
            assert_eq!(pointers(answer, 400).await, ["/query/cursor"], "{query}");
        }
        for (query, pointer) in [
            ("limit=0", "/query/limit"),
            ("limit=201", "/query/limit"),
            ("limit=x", "/query/limit"),
            ("search=", "/query/search"),
            ("search=a%00", "/query/search"),
            ("is_admin=perhaps", "/query/is_admin"),
            ("user_type=cat", "/query/user_type"),
        ] {
            let answer = world.get(&format!("/api/v1/users?{query}"), &admin).await;
            assert_eq!(pointers(answer, 400).await, [pointer], "{query}");
        }
        let answer = world.get(&format!("/api/v1/users?limit=3&search=ANN&cursor={cursor}"), &admin).await;
        assert_eq!(answer.status(), 200, "another limit and another case are the same list");
        assert_ne!(body_of(answer).await["items"], json!([]));
    }
}
