//! What PostgreSQL has had since some version only, on the servers that have it: dumped, told as drift, mended.

use foundation::database::{Backend, Connection};
use foundation::testing::{TestDatabase, maintenance, unique_name};

use crate::support::{migrator, number};

/// What can be in a schema: since which version, how it is made, and how drift that is it is told.
const NOVELTIES: [(i64, &str, &str); 9] = [
    (14, "CREATE VIEW guarded WITH (security_barrier = true) AS SELECT id FROM novelty", "view guarded: "),
    (
        14,
        "ALTER TABLE novelty ADD COLUMN doubled integer GENERATED ALWAYS AS (id * 2) STORED",
        "column novelty.doubled: ",
    ),
    (
        15,
        "ALTER TABLE novelty ADD CONSTRAINT novelty_part UNIQUE NULLS NOT DISTINCT (part)",
        "constraint novelty_part on novelty: ",
    ),
    (
        15,
        "CREATE UNIQUE INDEX novelty_note ON novelty (note) NULLS NOT DISTINCT",
        "index novelty_note on novelty: ",
    ),
    (15, "CREATE VIEW invoked WITH (security_invoker = true) AS SELECT id FROM novelty", "view invoked: "),
    (17, "GRANT MAINTAIN ON TABLE novelty TO {role}", "grant of MAINTAIN on TABLE novelty to {role}: "),
    // Without a word it is virtual from here on.
    (
        18,
        "ALTER TABLE novelty ADD COLUMN tripled integer GENERATED ALWAYS AS (id * 3)",
        "column novelty.tripled: ",
    ),
    (
        18,
        "ALTER TABLE novelty ADD CONSTRAINT novelty_short CHECK (length(note) < 10) NOT ENFORCED",
        "constraint novelty_short on novelty: ",
    ),
    (
        18,
        "ALTER TABLE novelty ADD CONSTRAINT novelty_has_note NOT NULL note",
        "column novelty.note: NULL is refused",
    ),
];

async fn server_version(connection: &mut Connection) -> i64 {
    number(connection, "SELECT current_setting('server_version_num')::bigint / 10000 AS it").await
}

/// The novelties that this server has.
async fn novelties(connection: &mut Connection, role: &str) -> Vec<(String, String)> {
    let version = server_version(connection).await;
    let here = NOVELTIES.iter().filter(|(since, ..)| *since <= version);
    here.map(|(_, sql, told)| (sql.replace("{role}", role), told.replace("{role}", role))).collect()
}

const TABLE: &str = "CREATE TABLE novelty (id integer PRIMARY KEY, part text, note text)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_new_is_drift_and_is_taken_back() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let role = unique_name("reader");
    maintenance(&format!("CREATE ROLE {role}")).await;
    migrator(&database, &["up"]).await.ends(0);
    let mut connection = database.connect().await;
    connection.batch(TABLE).await.unwrap();
    // The table belongs to what the last run left.
    migrator(&database, &["down"]).await.ends(0);
    migrator(&database, &["up"]).await.ends(0);
    migrator(&database, &["check"]).await.ends(0);
    let novelties = novelties(&mut connection, &role).await;
    for (sql, _) in &novelties {
        connection.batch(sql).await.unwrap();
    }
    let report = migrator(&database, &["check", "--format", "json"]).await.ends(73).json();
    let said: Vec<String> = report["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| format!("{}: {}", it["object"].as_str().unwrap(), it["detail"].as_str().unwrap()))
        .collect();
    for (_, told) in &novelties {
        assert!(said.iter().any(|it| it.starts_with(told.as_str())), "{told}\n{said:#?}");
    }
    assert_eq!(said.len(), novelties.len(), "{said:#?}");
    for sql in report["sql"].as_array().unwrap() {
        connection.batch(sql.as_str().unwrap()).await.unwrap();
    }
    migrator(&database, &["check"]).await.ends(0);
    connection.batch(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_new_is_in_the_dump() {
    let (database, other) =
        (TestDatabase::new(Backend::Postgres).await, TestDatabase::new(Backend::Postgres).await);
    let role = unique_name("reader");
    maintenance(&format!("CREATE ROLE {role}")).await;
    let mut connection = database.connect().await;
    connection.batch(TABLE).await.unwrap();
    for (sql, _) in novelties(&mut connection, &role).await {
        connection.batch(&sql).await.unwrap();
    }
    let dump = migrator(&database, &["dump"]).await.ends(0).stdout;
    let mut second = other.connect().await;
    second.batch(&dump).await.unwrap();
    assert_eq!(migrator(&other, &["dump"]).await.ends(0).stdout, dump);
    if server_version(&mut second).await >= 15 {
        second.batch("INSERT INTO novelty (id, part, note) VALUES (1, NULL, 'a')").await.unwrap();
        let twice = second.batch("INSERT INTO novelty (id, part, note) VALUES (2, NULL, 'b')").await;
        assert!(twice.unwrap_err().to_string().contains("novelty_part"));
    }
    for connection in [&mut connection, &mut second] {
        connection.batch(&format!("DROP OWNED BY {role}")).await.unwrap();
    }
    maintenance(&format!("DROP ROLE {role}")).await;
}
