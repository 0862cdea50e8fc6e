//! `check`: what somebody changed by hand is told in words, with the SQL that mends it.

use foundation::database::Backend;
use foundation::on_both_databases;
use foundation::testing::{TestDatabase, unique_name};

use crate::support::{self, backend, migrator, migrator_with};

/// Takes a mended schema to be clean, whichever way it is looked at.
async fn is_clean(database: &TestDatabase) {
    for arguments in [&["check"][..], &["check", "--against-scratch"]] {
        migrator(database, arguments).await.ends(0);
    }
}

on_both_databases! {
    /// A table, a column, an index and a default by hand; the SQL that is printed takes all of it back.
    async fn drift_is_told_and_mended(database: TestDatabase) {
        migrator(&database, &["up"]).await.ends(0);
        let mut connection = database.connect().await;
        let by_hand = "CREATE TABLE by_hand (id integer);
            ALTER TABLE config ADD COLUMN colour text;
            DROP INDEX idx_users_user_type;
            CREATE INDEX by_hand_index ON users (password_hash);
            CREATE VIEW by_hand_view AS SELECT id FROM users;";
        connection.batch(by_hand).await.unwrap();
        if backend(&database) == Backend::Postgres {
            let more = "ALTER TABLE archive_run ALTER COLUMN error TYPE varchar(100);
                ALTER TABLE users ALTER COLUMN user_type DROP NOT NULL,
                ALTER COLUMN is_admin SET DEFAULT true, DROP CONSTRAINT users_version_positive;
                CREATE FUNCTION by_hand() RETURNS integer LANGUAGE sql AS 'SELECT 1';
                CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE SEQUENCE by_hand_sequence;
                GRANT SELECT ON users TO PUBLIC;
                CREATE TRIGGER by_hand BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()";
            connection.batch(more).await.unwrap();
        }
        for arguments in [&["check", "--format", "json"][..], &["check", "--against-scratch", "--format", "json"]] {
            let report = migrator(&database, arguments).await.ends(73).json();
            let said: Vec<String> = report["differences"].as_array().unwrap().iter()
                .map(|it| format!("{}: {}", it["object"].as_str().unwrap(), it["detail"].as_str().unwrap())).collect();
            let mut expected = vec![
                "index idx_users_user_type on users: is missing", "table by_hand: is not expected",
                "column config.colour: is not expected", "index by_hand_index on users: is not expected",
                "view by_hand_view: is not expected",
            ];
            if backend(&database) == Backend::Postgres {
                expected.extend([
                    "column archive_run.error: type is character varying(100), expected text",
                    "column users.user_type: NULL is allowed, expected refused",
                    "column users.is_admin: default is true, expected false",
                    "constraint users_version_positive on users: is missing",
                    "function by_hand(): is not expected", "enum mood: is not expected",
                    "sequence by_hand_sequence: is not expected", "trigger by_hand on users: is not expected",
                    "grant of SELECT on TABLE users to PUBLIC: is not expected",
                ]);
            }
            for words in &expected {
                assert!(said.iter().any(|it| it == words), "{words}\n{said:#?}");
            }
            assert_eq!(said.len(), expected.len(), "{said:#?}");
        }
        let report = migrator(&database, &["check"]).await.ends(73);
        assert!(report.stdout.contains("what would mend it:"), "{report}");
        let json = migrator(&database, &["check", "--format", "json"]).await.ends(73).json();
        let sql: Vec<&str> = json["sql"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        connection.batch("BEGIN").await.unwrap();
        connection.batch(&sql.join(";\n")).await.unwrap_or_else(|error| panic!("{error}\n{sql:#?}"));
        connection.batch("COMMIT").await.unwrap();
        is_clean(&database).await;
    }

    /// Without a snapshot that fits the history, the schema is built anew.
    async fn a_snapshot_of_another_history_is_not_used(database: TestDatabase) {
        migrator(&database, &["up"]).await.ends(0);
        migrator(&database, &["down"]).await.ends(0);
        let pending = migrator(&database, &["check"]).await.ends(73);
        assert!(pending.stdout.contains("what the last run left on "), "{pending}");
        assert!(pending.stdout.contains("pending: "), "{pending}");
        migrator(&database, &["up"]).await.ends(0);
        let mut connection = database.connect().await;
        connection.batch("UPDATE migrator_structure SET version = 1").await.unwrap();
        let clean = migrator(&database, &["check"]).await.ends(0);
        assert!(clean.stdout.contains("a scratch database"), "{clean}");
        connection.batch("DROP TABLE migrator_structure").await.unwrap();
        migrator(&database, &["check"]).await.ends(0);
    }

    /// A run that has nothing to do writes no snapshot.
    async fn nothing_to_do_keeps_the_snapshot(database: TestDatabase) {
        migrator(&database, &["up"]).await.ends(0);
        let mut connection = database.connect().await;
        connection.batch("DELETE FROM migrator_structure").await.unwrap();
        migrator(&database, &["up"]).await.ends(0);
        assert_eq!(support::count(&mut connection, "migrator_structure").await, 0);
    }
}

/// Another major version of PostgreSQL words what it kept otherwise, so after an upgrade of the server the
/// recorded words tell nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_another_postgresql_is_not_used() {
    let database = TestDatabase::new(Backend::Postgres).await;
    migrator(&database, &["up"]).await.ends(0);
    let mut connection = database.connect().await;
    let words = "UPDATE migrator_structure SET structure =
        jsonb_set(structure, '{views,metrics_snapshot_partition,definition}', '\"SELECT of another wording\"')";
    connection.batch(words).await.unwrap();
    let drift = migrator(&database, &["check"]).await.ends(73);
    assert!(drift.stdout.contains("view metrics_snapshot_partition"), "{drift}");
    let upgraded = "UPDATE migrator_structure SET structure = jsonb_set(structure, '{server}',
        to_jsonb((structure ->> 'server')::integer - 1))";
    connection.batch(upgraded).await.unwrap();
    let clean = migrator(&database, &["check"]).await.ends(0);
    assert!(clean.stdout.contains("a scratch database"), "{clean}");
}

/// A release that words a schema otherwise says nothing of what this one finds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_another_release_is_not_used() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let sql = "CREATE FUNCTION f(a integer) RETURNS integer LANGUAGE sql AS 'SELECT 1';";
    let migrator = support::library(&database, &[("V1__f", sql), ("D1__f", "SELECT 1;")]);
    migrator.up(None).await.unwrap();
    let mut connection = database.connect().await;
    let otherwise = "UPDATE migrator_structure SET structure = jsonb_set(structure, '{routines}',
        jsonb_build_object('f(a integer)', structure #> '{routines,f(integer)}'))";
    connection.batch(otherwise).await.unwrap();
    assert!(!migrator.check(false).await.unwrap().clean());
    for format in ["structure - 'format'", "jsonb_set(structure, '{format}', '0')"] {
        connection.batch(&format!("UPDATE migrator_structure SET structure = {format}")).await.unwrap();
        let report = migrator.check(false).await.unwrap();
        assert!(report.clean() && report.compared_with == "a scratch database", "{}", report.text());
    }
}

/// Triggers that do not fire, rules and rights on columns are looked at as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_beside_the_tables_is_looked_at() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let silent = "CREATE TABLE log (name text); CREATE TABLE a (id integer PRIMARY KEY, name text, note text);
        CREATE VIEW v AS SELECT id FROM a; GRANT SELECT (name, note) ON a TO PUBLIC; GRANT UPDATE ON a TO PUBLIC;
        CREATE TYPE span AS RANGE (subtype = float8);
        CREATE TRIGGER one BEFORE UPDATE ON a FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
        CREATE TRIGGER two BEFORE UPDATE ON a FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
        ALTER TABLE a DISABLE TRIGGER two;
        CREATE RULE kept AS ON DELETE TO a DO ALSO (INSERT INTO log VALUES ('x'); INSERT INTO log VALUES (old.name));";
    let migrator = support::library(&database, &[("V1__a", silent), ("D1__a", "SELECT 1;")]);
    migrator.up(None).await.unwrap();
    assert!(migrator.check(false).await.unwrap().clean());
    let mut connection = database.connect().await;
    let by_hand = "ALTER TABLE a DISABLE TRIGGER one; ALTER TABLE a ENABLE ALWAYS TRIGGER two;
        DROP RULE kept ON a; CREATE RULE no_delete AS ON DELETE TO v DO INSTEAD NOTHING;
        GRANT SELECT ON a TO PUBLIC; GRANT UPDATE (id) ON a TO PUBLIC; REVOKE SELECT (note) ON a FROM PUBLIC";
    connection.batch(by_hand).await.unwrap();
    let report = migrator.check(false).await.unwrap();
    let mut objects: Vec<&str> = report.differences.iter().map(|it| it.object.as_str()).collect();
    objects.sort_unstable();
    assert_eq!(
        objects,
        [
            "grant of SELECT (note) on TABLE a to PUBLIC",
            "grant of SELECT on TABLE a to PUBLIC",
            "grant of UPDATE (id) on TABLE a to PUBLIC",
            "rule kept on a",
            "rule no_delete on v",
            "trigger one on a",
            "trigger two on a",
        ]
    );
    assert!(report.remarks.is_empty(), "{:#?}", report.remarks);
    let sql = format!("BEGIN; {}; COMMIT", report.sql.join(";\n"));
    connection.batch(&sql).await.unwrap_or_else(|error| panic!("{error}\n{sql}"));
    for against_scratch in [false, true] {
        let report = migrator.check(against_scratch).await.unwrap();
        assert!(report.clean(), "{}", report.text());
    }
    // The dump makes all of it.
    let dump = migrator.dump().await.unwrap();
    assert!(dump.contains("DISABLE TRIGGER two") && dump.contains("CREATE RULE kept"), "{dump}");
}

/// Partitions that are made and taken out by the service are no drift, nor are the rights of its role.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_service_does_is_no_drift() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let role = unique_name("service");
    foundation::testing::maintenance(&format!("CREATE ROLE {role}")).await;
    let variables = [("MIGRATOR_GRANT_TO", role.as_str())];
    migrator_with(&database, &variables, &["up"]).await.ends(0);
    let mut connection = database.connect().await;
    // Each in a transaction of its own, as the service does it.
    for done in [
        "SELECT metrics_snapshot_ensure_partition('2026-01-01Z', '2026-01-02Z')",
        "SELECT metrics_snapshot_ensure_partition('2026-01-02Z', '2026-01-03Z')",
        "SELECT metrics_snapshot_detach_partition('2026-01-01Z', '2026-01-02Z', 1000)",
    ] {
        connection.batch(done).await.unwrap();
    }
    for arguments in [&["check"][..], &["check", "--against-scratch"]] {
        migrator_with(&database, &variables, arguments).await.ends(0);
    }
    // Somebody else's rights are.
    connection.batch(&format!("REVOKE INSERT ON users FROM {role}")).await.unwrap();
    let drift = migrator_with(&database, &variables, &["check"]).await.ends(73);
    assert!(
        drift.stdout.contains(&format!("grant of INSERT on TABLE users to {role}: is missing")),
        "{drift}"
    );
    connection.batch(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}
