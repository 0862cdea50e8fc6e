//! Pages, searches and single accounts are read by an index, whatever the number of accounts: the plans of
//! both databases say so. 20,000 accounts; a million with `BEDPLATE_TEST_LONG`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests do what programs may not"
)]

mod users_support;

use std::time::{Duration, Instant};

use foundation::database::{Backend, Database, Statement};
use foundation::on_both_databases;
use foundation::testing::TestDatabase;
use service::domain::users_list::{Position, UserFilter};
use service::store::users_list::{Query, page};
use users_support::migrate;
use uuid::Uuid;

fn accounts() -> u32 {
    if std::env::var_os("BEDPLATE_TEST_LONG").is_some() { 1_000_000 } else { 20_000 }
}

/// Accounts whose names and mail addresses mostly begin alike, one in a thousand blocked.
async fn fill(test: &TestDatabase, backend: Backend) {
    let count = accounts();
    let columns = "INSERT INTO users (id, username, email, password_hash, user_type, is_blocked)";
    let sql = match backend {
        Backend::Postgres => format!(
            "{columns} SELECT CAST('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0') AS uuid), \
               'user' || lpad(CAST(n AS text), 8, '0'), 'mail' || n || '@example.org', 'none', 'local', n % 1000 = 0 \
             FROM generate_series(1, {count}) n; ANALYZE users"
        ),
        Backend::Sqlite => format!(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) \
             {columns} SELECT printf('01900000-0000-7000-8000-%012x', n), \
               printf('user%08d', n), 'mail' || n || '@example.org', 'none', 'local', n % 1000 = 0 FROM numbers"
        ),
    };
    test.connect().await.batch(&sql).await.unwrap();
}

async fn plan(database: &Database, query: &Query) -> String {
    let (words, column) = match database.backend() {
        Backend::Postgres => ("EXPLAIN", "QUERY PLAN"),
        Backend::Sqlite => ("EXPLAIN QUERY PLAN", "detail"),
    };
    let statement = Statement::read("users", "").with_sql(format!("{words} {}", query.statement.sql()));
    let rows = database.query(&statement, &query.values).await.unwrap();
    rows.iter().map(|row| row.get::<String>(column).unwrap() + "\n").collect()
}

/// The indexes of a key, by the name that each database has for them, and for SQLite how they are used.
fn indexes(backend: Backend, key: &str) -> [String; 1] {
    match (backend, key) {
        (Backend::Postgres, "id") => ["users_pkey".to_owned()],
        (Backend::Postgres, "blocked") => ["idx_users_is_blocked".to_owned()],
        (Backend::Postgres, key) => [format!("users_{}_unique", key.trim_end_matches("_key"))],
        (Backend::Sqlite, "id") => ["sqlite_autoindex_users_1".to_owned()],
        (Backend::Sqlite, "blocked") => ["idx_users_is_blocked".to_owned()],
        (Backend::Sqlite, key) => [format!("({key}>")],
    }
}

on_both_databases! {
    async fn every_list_is_read_by_an_index(test: TestDatabase) {
        migrate(&test.address).await;
        let database = test.open();
        let backend = database.backend();
        fill(&test, backend).await;
        let id = Position::Id(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_2000));
        let name = Position::Name("user00010000".to_owned());
        let email = Position::Email("mail15000@example.org".to_owned());
        let blocked = UserFilter { is_blocked: Some(true), ..UserFilter::default() };
        let search = |prefix: &str| UserFilter { prefix: Some(prefix.to_owned()), ..UserFilter::default() };
        let both = ["username_key", "email_key"];
        for (filter, after, keys) in [
            (UserFilter::default(), None, &["id"][..]),
            (UserFilter::default(), Some(id), &["id"]),
            (blocked.clone(), None, &["blocked"]),
            (blocked, Some(name.clone()), &["blocked"]),
            (search("user000100"), None, &both),
            (search("user"), None, &both),
            (search("user"), Some(name), &both),
            (search("m"), Some(email), &both),
            (search("nobody"), None, &both),
        ] {
            let plan = plan(&database, &Query::new(&filter, after.as_ref(), 50)).await;
            for key in keys.iter().flat_map(|key| indexes(backend, key)) {
                assert!(plan.contains(&key), "{key} is not used for {filter:?} after {after:?}:\n{plan}");
            }
            assert!(!plan.contains("Seq Scan"), "{filter:?} after {after:?}:\n{plan}");
            if backend == Backend::Sqlite && filter.prefix.is_none() {
                assert!(!plan.contains("TEMP B-TREE"), "{filter:?} after {after:?}:\n{plan}");
            }
            let started = Instant::now();
            page(&database, &filter, after.as_ref(), 50).await.unwrap();
            assert!(started.elapsed() < Duration::from_secs(1), "{filter:?}: {:?}", started.elapsed());
        }
    }
}
