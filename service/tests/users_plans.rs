//! Pages, searches and single accounts are read by an index, whatever the number of accounts: the plans of
//! both databases say so. 20,000 accounts; a million with `BEDPLATE_TEST_LONG`.

use std::time::{Duration, Instant};

use foundation::database::{Backend, Database, Statement, Value};
use foundation::on_both_databases;
use foundation::testing::TestDatabase;
use service::domain::users::UserType;
use service::domain::users_list::{Position, UserFilter};
use service::store::together::AT_ONCE;
use service::store::users_list::{Query, page};
use service::store::{credentials, users};
use uuid::Uuid;

use crate::users_support::migrate;

fn accounts() -> u32 {
    if std::env::var_os("BEDPLATE_TEST_LONG").is_some() { 1_000_000 } else { 20_000 }
}

/// Accounts whose names and mail addresses mostly begin alike. The last twenty of them are what is rare: an
/// administrator, inactive, of a domain; one in a thousand is blocked.
async fn fill(test: &TestDatabase, backend: Backend) {
    let count = accounts();
    let columns =
        "INSERT INTO users (id, username, email, password_hash, user_type, is_blocked, is_admin, is_active)";
    let last = count - 20;
    let sql = match backend {
        Backend::Postgres => format!(
            "{columns} SELECT CAST('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0') AS uuid), \
               CASE WHEN n > {last} THEN '\\d\\' ELSE '' END || 'user' || lpad(CAST(n AS text), 8, '0'), \
               'mail' || n || '@example.org', 'none', CASE WHEN n > {last} THEN 'domain' ELSE 'local' END, \
               n % 1000 = 0, n > {last}, n <= {last} \
             FROM generate_series(1, {count}) n; ANALYZE users"
        ),
        Backend::Sqlite => format!(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) \
             {columns} SELECT printf('01900000-0000-7000-8000-%012x', n), \
               CASE WHEN n > {last} THEN '\\d\\' ELSE '' END || printf('user%08d', n), \
               'mail' || n || '@example.org', 'none', CASE WHEN n > {last} THEN 'domain' ELSE 'local' END, \
               n % 1000 = 0, n > {last}, n <= {last} FROM numbers"
        ),
    };
    test.connect().await.batch(&sql).await.unwrap();
}

/// Every account has a session and a token.
async fn sign_in(test: &TestDatabase, backend: Backend) {
    let (hash, scopes) = match backend {
        Backend::Postgres => ("sha256(convert_to($ || id, 'UTF8'))", "'users:read'"),
        Backend::Sqlite => ("CAST($ || substr(replace(id, '-', ''), 2) AS BLOB)", "'users:read'"),
    };
    let (session, token) = (hash.replace('$', "'s'"), hash.replace('$', "'t'"));
    let (of_users, end) = ("FROM users", "created_at");
    let analyze = if backend == Backend::Postgres { "; ANALYZE session; ANALYZE api_token" } else { "" };
    let sql = format!(
        "INSERT INTO session (id, user_id, token_hash, expires_at) SELECT id, id, {session}, {end} {of_users}; \
         INSERT INTO api_token (id, user_id, name, token_hash, scopes, expires_at) \
         SELECT id, id, 'x', {token}, {scopes}, {end} {of_users}{analyze}"
    );
    test.connect().await.batch(&sql).await.unwrap();
}

async fn plan(database: &Database, query: &Query) -> String {
    explain(database, &query.statement, &query.values).await
}

async fn explain(database: &Database, statement: &Statement, values: &[Value]) -> String {
    let (words, column) = match database.backend() {
        Backend::Postgres => ("EXPLAIN", "QUERY PLAN"),
        Backend::Sqlite => ("EXPLAIN QUERY PLAN", "detail"),
    };
    let statement = Statement::read("users", "").with_sql(format!("{words} {}", statement.sql()));
    let rows = database.query(&statement, values).await.unwrap();
    rows.iter().map(|row| row.get::<String>(column).unwrap() + "\n").collect()
}

/// The indexes of a key, by the name that each database has for them, and for SQLite how they are used.
fn indexes(backend: Backend, key: &str) -> [String; 1] {
    match (backend, key) {
        (Backend::Postgres, "id") => ["users_pkey".to_owned()],
        (_, "blocked") => ["idx_users_is_blocked".to_owned()],
        (_, "admin") => ["idx_users_is_admin".to_owned()],
        (_, "inactive") => ["idx_users_is_inactive".to_owned()],
        (_, "type") => ["idx_users_user_type".to_owned()],
        (Backend::Postgres, key) => [format!("users_{}_unique", key.trim_end_matches("_key"))],
        (Backend::Sqlite, "id") => ["sqlite_autoindex_users_1".to_owned()],
        (Backend::Sqlite, key) => [format!("({key}>")],
    }
}

/// Whether the plan reads a whole table.
fn is_walk(plan: &str) -> bool {
    plan.contains("Seq Scan") || plan.contains("SCAN users") || plan.contains("SCAN credential")
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
            (UserFilter::default(), Some(id.clone()), &["id"]),
            (UserFilter { is_admin: Some(true), ..UserFilter::default() }, None, &["admin"]),
            (UserFilter { is_admin: Some(true), ..UserFilter::default() }, Some(id.clone()), &["admin"]),
            (UserFilter { is_active: Some(false), ..UserFilter::default() }, Some(id.clone()), &["inactive"]),
            (UserFilter { user_type: Some(UserType::Domain), ..UserFilter::default() }, Some(id), &["type"]),
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

    async fn single_accounts_and_tokens_are_read_by_an_index(test: TestDatabase) {
        migrate(&test.address).await;
        let database = test.open();
        let backend = database.backend();
        fill(&test, backend).await;
        sign_in(&test, backend).await;
        let id = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_2000);
        let plan = explain(&database, users::find_statement(1).0, &[id.into()]).await;
        let [key] = indexes(backend, "id");
        assert!(plan.contains(&key) && !is_walk(&plan), "{plan}");
        for count in [1, AT_ONCE] {
            let (statement, places) = credentials::find_statement(count);
            let values: Vec<Value> = (0..places).map(|it| vec![u8::try_from(it).unwrap(); 32].into()).collect();
            let plan = explain(&database, statement, &values).await;
            let found_by = match backend {
                Backend::Postgres => ["session_token_hash_unique", "api_token_token_hash_unique", "users_pkey"],
                Backend::Sqlite => [
                    "SEARCH credential USING INDEX sqlite_autoindex_session_2 (token_hash=?)",
                    "SEARCH credential USING INDEX sqlite_autoindex_api_token_2 (token_hash=?)",
                    "SEARCH users USING INDEX sqlite_autoindex_users_1 (id=?)",
                ],
            };
            for index in found_by {
                assert!(plan.contains(index), "{index} is not used for {count} tokens:\n{plan}");
            }
            assert!(!is_walk(&plan), "{count} tokens:\n{plan}");
        }
    }
}
