//! The embedded migrations: whole, paired, and kept by SQLite as they are written.

use migrator::source::{Catalog, Dialect, bookkeeping, embedded};
use rusqlite::Connection;

use crate::support::users_rules::{CASES, STANDING_ROWS, TRUTHS, Verdict};

fn migrated() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    for migration in embedded(Dialect::Sqlite) {
        connection.execute_batch(migration.sql()).unwrap();
    }
    connection
}

fn count(connection: &Connection, sql: &str) -> i64 {
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn the_embedded_migrations_are_whole_and_paired() {
    let postgres = embedded(Dialect::Postgres);
    let sqlite = embedded(Dialect::Sqlite);
    Catalog::check_pair(postgres, sqlite).unwrap();
    for catalog in [postgres, sqlite] {
        assert_eq!(catalog.iter().next().unwrap().display(), "V1__create_users");
        assert_eq!(catalog.get(1).unwrap().undo().unwrap().file_name, "D1__create_users.sql");
        assert_eq!(catalog.after(0).len(), catalog.len());
        assert!(catalog.after(catalog.newest()).is_empty());
    }
}

#[test]
fn users_accepts_and_refuses_on_sqlite() {
    let mut connection = migrated();
    connection.execute_batch(STANDING_ROWS).unwrap();
    for case in CASES {
        let transaction = connection.transaction().unwrap();
        let result = transaction.execute_batch(&case.insert());
        let right = match (case.verdict, &result) {
            (Verdict::Accepted, result) => result.is_ok(),
            (Verdict::Refused, result) => result.is_err(),
            (Verdict::RefusedBy(constraint), Err(error)) => error.to_string().contains(constraint),
            (Verdict::RefusedBy(_), Ok(())) => false,
        };
        assert!(right, "{}: {:?} expected, got {result:?}", case.name, case.verdict);
    }
    for truth in TRUTHS {
        assert_eq!(count(&connection, truth), 1, "{truth}");
    }
}

#[test]
fn sqlite_keeps_what_only_it_could_lose() {
    let connection = migrated();
    let insert = "INSERT INTO users (id, username, user_type, password_hash) VALUES (?1, ?2, 'local', 'h')";
    let id = "01890000-0000-7000-8000-0000000000ff";
    let capitals = id.to_uppercase();
    connection.execute(insert, [id, "a\0b"]).expect_err("a NUL character");
    connection.execute(insert, [capitals.as_str(), "a"]).expect_err("an id in capitals");
    connection.execute(insert, [id, "a"]).unwrap();
    let age = "SELECT abs(created_at - unixepoch('subsec') * 1000000) < 60 * 1000000 FROM users";
    assert_eq!(count(&connection, age), 1);
    assert_eq!(count(&connection, "SELECT created_at % 1000 FROM users"), 0);
}

#[test]
fn listings_and_searches_read_index_ranges_on_sqlite() {
    let connection = migrated();
    let cases = [
        ("SELECT id FROM users WHERE username_key > $1 ORDER BY username_key LIMIT 50", "users_2"),
        (
            "SELECT id FROM users WHERE username_key >= $1 AND username_key < $2 ORDER BY username_key",
            "users_2",
        ),
        ("SELECT id FROM users WHERE email_key >= $1 AND email_key < $2 ORDER BY email_key", "users_3"),
        (
            "SELECT id FROM users WHERE is_blocked AND username_key > $1 ORDER BY username_key",
            "idx_users_is_blocked",
        ),
    ];
    for (sql, index) in cases {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let parameters: Vec<&str> = vec!["a"; statement.parameter_count()];
        let steps: Vec<String> = statement
            .query_map(rusqlite::params_from_iter(parameters), |row| row.get("detail"))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(steps.len(), 1, "{sql}: {steps:?}");
        assert!(steps[0].starts_with("SEARCH") && steps[0].contains(index), "{sql}: {steps:?}");
    }
}

#[test]
fn undoing_leaves_nothing_on_sqlite() {
    let connection = migrated();
    for migration in embedded(Dialect::Sqlite).iter().rev() {
        connection.execute_batch(&migration.undo().unwrap().sql).unwrap();
    }
    // SQLite keeps the list of AUTOINCREMENT counters, empty, for ever.
    assert_eq!(count(&connection, "SELECT count(*) FROM sqlite_schema WHERE name <> 'sqlite_sequence'"), 0);
    assert_eq!(count(&connection, "SELECT count(*) FROM sqlite_sequence"), 0);
}

#[test]
fn the_tables_of_the_migrator_can_be_made_twice_on_sqlite() {
    let connection = Connection::open_in_memory().unwrap();
    for _ in 0..2 {
        connection.execute_batch(bookkeeping::history_table_sql(Dialect::Sqlite)).unwrap();
        connection.execute_batch(bookkeeping::journal_table_sql(Dialect::Sqlite)).unwrap();
    }
    connection
        .execute_batch(
            "INSERT INTO migrator_journal (version, name, action, outcome, started_at, migrator_version)
             VALUES (1, 'create_users', 'up', 'started', 0, '0.1.0');
             INSERT INTO migrator_journal (action, outcome, started_at, finished_at, migrator_version)
             VALUES ('reset', 'reset', 0, 1, '0.1.0')",
        )
        .unwrap();
    let unknown = "INSERT INTO migrator_journal (version, action, outcome, started_at, migrator_version)
                   VALUES (1, 'up', 'perhaps', 0, '0.1.0')";
    connection.execute_batch(unknown).expect_err("an unknown outcome");
}
