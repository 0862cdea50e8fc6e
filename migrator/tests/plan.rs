//! `plan`: what `up` and `down` would do, and that the locks it names are those that PostgreSQL takes.

use std::collections::BTreeMap;

use foundation::database::{Backend, Connection, Statement};
use foundation::exit::Exit;
use foundation::on_both_databases;
use foundation::testing::TestDatabase;
use migrator::Down;
use migrator::locks;
use migrator::source::Dialect;

use crate::support::{self, backend, library, migrator, newest, versions};

/// What the statements below are tried on.
const TABLES: &str = "
    CREATE TABLE one (id bigint PRIMARY KEY, a bigint, b text, c varchar(10) DEFAULT 'x', CONSTRAINT positive CHECK (a > 0) NOT VALID);
    CREATE TABLE two (id bigint PRIMARY KEY, one_id bigint);
    CREATE INDEX two_one ON two (one_id);
    CREATE TABLE parts (id bigint) PARTITION BY RANGE (id);
    CREATE TABLE part PARTITION OF parts FOR VALUES FROM (1) TO (9);
    CREATE TABLE alone (id bigint);
    CREATE VIEW seen AS SELECT id FROM one;
    CREATE MATERIALIZED VIEW kept AS SELECT id FROM one;
    CREATE UNIQUE INDEX kept_id ON kept (id);
    CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
    CREATE TRIGGER calm AFTER INSERT ON one FOR EACH ROW EXECUTE FUNCTION quiet();
    CREATE SEQUENCE numbers;
    CREATE PUBLICATION told FOR TABLE alone;";

/// Statements that a transaction allows, each of another kind.
const STATEMENTS: [&str; 58] = [
    "SELECT * FROM one JOIN two ON one.id = two.one_id",
    "SELECT * FROM one FOR UPDATE",
    "INSERT INTO one (id) SELECT id FROM two",
    "UPDATE one SET a = 1 FROM two WHERE two.id = one.id",
    "DELETE FROM one USING two WHERE two.id = one.id",
    "WITH known AS (SELECT id FROM two) UPDATE one SET b = 'q' FROM known WHERE known.id = one.id",
    "WITH gone AS (DELETE FROM two RETURNING id) INSERT INTO one (id) SELECT id FROM gone",
    "LOCK TABLE one, two IN SHARE ROW EXCLUSIVE MODE",
    "LOCK TABLE alone",
    "TRUNCATE alone, part",
    "DROP TABLE alone",
    "DROP VIEW seen",
    "DROP INDEX two_one",
    "CREATE INDEX ON two (id, one_id)",
    "CREATE UNIQUE INDEX two_unique ON two (one_id)",
    "REINDEX TABLE two",
    "REINDEX INDEX two_one",
    "ALTER INDEX two_one RENAME TO two_first",
    "COMMENT ON TABLE one IS 'x'",
    "COMMENT ON COLUMN one.a IS 'x'",
    "COMMENT ON CONSTRAINT positive ON one IS 'x'",
    "COMMENT ON TRIGGER calm ON one IS 'x'",
    "CREATE PUBLICATION more FOR TABLE one, two (id)",
    "ALTER PUBLICATION told ADD TABLE two",
    "ALTER PUBLICATION told DROP TABLE alone",
    "CREATE STATISTICS related ON a, b FROM one",
    "ANALYZE two",
    "CLUSTER two USING two_one",
    "CREATE TRIGGER another AFTER UPDATE ON two FOR EACH ROW EXECUTE FUNCTION quiet()",
    "DROP TRIGGER calm ON one",
    "ALTER TRIGGER calm ON one RENAME TO quieter",
    "CREATE POLICY own ON one USING (a = 1)",
    "CREATE RULE nothing AS ON DELETE TO alone DO INSTEAD NOTHING",
    "CREATE OR REPLACE VIEW seen AS SELECT id FROM one WHERE a = 1",
    "ALTER VIEW seen RENAME TO looked_at",
    "REFRESH MATERIALIZED VIEW kept",
    "REFRESH MATERIALIZED VIEW CONCURRENTLY kept",
    "ALTER SEQUENCE numbers INCREMENT BY 2",
    "CREATE TABLE part_two PARTITION OF parts FOR VALUES FROM (9) TO (20)",
    "CREATE TABLE child (LIKE one)",
    "CREATE TABLE child (id bigint REFERENCES one)",
    "CREATE TABLE child (extra bigint) INHERITS (alone)",
    "ALTER TABLE one ADD COLUMN d bigint NOT NULL DEFAULT 1",
    "ALTER TABLE one DROP COLUMN b, ALTER COLUMN a SET STATISTICS 5",
    "ALTER TABLE one ALTER COLUMN a SET STATISTICS 5, ALTER COLUMN b SET (n_distinct = 5)",
    "ALTER TABLE one ALTER COLUMN a TYPE integer",
    "ALTER TABLE one ALTER COLUMN a SET NOT NULL",
    "ALTER TABLE two ADD CONSTRAINT points FOREIGN KEY (one_id) REFERENCES one",
    "ALTER TABLE two ADD CONSTRAINT points FOREIGN KEY (one_id) REFERENCES one; ALTER TABLE two DROP CONSTRAINT points",
    "ALTER TABLE two ADD FOREIGN KEY (one_id) REFERENCES one; DROP TABLE two",
    "CREATE TABLE child (id bigint REFERENCES one); DROP TABLE child",
    "ALTER TABLE one VALIDATE CONSTRAINT positive",
    "ALTER TABLE one SET (fillfactor = 70)",
    "ALTER TABLE one DISABLE TRIGGER calm",
    "ALTER TABLE one RENAME COLUMN a TO z",
    "ALTER TABLE parts ATTACH PARTITION alone FOR VALUES FROM (20) TO (30)",
    "ALTER TABLE parts DETACH PARTITION part",
    "ALTER TABLE alone SET LOGGED",
];

/// From the weakest to the strongest.
const MODES: [&str; 8] = [
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
];

/// The strongest lock on each relation of the tables above, taken by this session.
async fn taken(connection: &mut Connection) -> BTreeMap<String, usize> {
    let sql = "SELECT b.relname::text AS name, upper(trim(regexp_replace(replace(l.mode, 'Lock', ''), '([A-Z])', ' \\1', 'g'))) AS mode
        FROM pg_locks l JOIN before b ON b.oid = l.relation
        WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation'";
    let mut taken = BTreeMap::new();
    for row in connection.query(&Statement::write("test", "").with_sql(sql.to_owned()), &[]).await.unwrap() {
        let mode: String = row.get("mode").unwrap();
        let mode = MODES.iter().position(|it| *it == mode).unwrap_or_else(|| panic!("{mode}"));
        let strongest = taken.entry(row.get::<String>("name").unwrap()).or_insert(mode);
        *strongest = mode.max(*strongest);
    }
    taken
}

/// What `plan` says, with the words for relations that a statement does not name replaced by their names.
fn planned(sql: &str) -> BTreeMap<String, usize> {
    let mut planned = BTreeMap::new();
    for lock in locks::statements(Dialect::Postgres, sql, true).into_iter().flat_map(|it| it.effects.locks) {
        let relation = match &*lock.relation {
            "the table of two_one" => "two",
            "the indexes of two" => continue,
            relation => relation,
        };
        let mode = MODES.iter().position(|it| *it == lock.mode).unwrap();
        let strongest = planned.entry(relation.to_owned()).or_insert(mode);
        *strongest = mode.max(*strongest);
    }
    planned
}

#[tokio::test]
async fn postgresql_takes_the_locks_that_are_planned() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let mut connection = database.connect().await;
    connection.batch(TABLES).await.unwrap();
    connection
        .batch("CREATE TABLE before AS SELECT oid, relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        .await
        .unwrap();
    let mut wrong = Vec::new();
    for sql in STATEMENTS {
        connection.begin().await.unwrap();
        connection.batch(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let (taken, planned) = (taken(&mut connection).await, planned(sql));
        connection.rollback().await.unwrap();
        for (relation, mode) in &planned {
            if taken.get(relation) != Some(mode) {
                let really = taken.get(relation).map_or("nothing", |mode| MODES[*mode]);
                wrong.push(format!("{sql}: {relation} is planned as {} and is {really}", MODES[*mode]));
            }
        }
        // Indexes, and what a view reads, are locked along with what the statement names.
        let tables = ["one", "two", "parts", "part", "alone", "seen", "kept"];
        let weak = |mode: &usize| *mode <= 2;
        for (relation, mode) in
            taken.iter().filter(|(name, mode)| tables.contains(&name.as_str()) && !weak(mode))
        {
            if !planned.contains_key(relation) {
                wrong.push(format!("{sql}: takes {} on {relation}, which is not planned", MODES[*mode]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A file's number changes when it is written anew.
#[tokio::test]
async fn postgresql_rewrites_what_is_planned() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let mut connection = database.connect().await;
    connection.batch(TABLES).await.unwrap();
    connection.batch("INSERT INTO one VALUES (1, 1, 'x')").await.unwrap();
    let file = "SELECT pg_relation_filenode('one')::bigint AS it";
    for (action, rewrites) in [
        ("ADD COLUMN d bigint", false),
        ("ADD COLUMN d timestamptz NOT NULL DEFAULT now()", false),
        ("ADD COLUMN d uuid DEFAULT gen_random_uuid()", true),
        ("ADD COLUMN d bigserial", true),
        ("ADD COLUMN d bigint GENERATED ALWAYS AS IDENTITY", true),
        ("ADD COLUMN d bigint GENERATED ALWAYS AS (a + 1) STORED", true),
        ("ALTER COLUMN a TYPE integer", true),
        ("ALTER COLUMN a SET NOT NULL", false),
        ("SET UNLOGGED", true),
        ("DROP COLUMN b", false),
    ] {
        let sql = format!("ALTER TABLE one {action}");
        let before = support::number(&mut connection, file).await;
        connection.begin().await.unwrap();
        connection.batch(&sql).await.unwrap();
        let rewritten = support::number(&mut connection, file).await != before;
        connection.rollback().await.unwrap();
        assert_eq!(rewritten, rewrites, "{sql}");
        let planned = locks::statements(Dialect::Postgres, &sql, true);
        assert_eq!(!planned[0].effects.rewrites.is_empty(), rewrites, "{sql}");
    }
}

const ONE: (&str, &str) = ("V1__one", "CREATE TABLE one (id bigint);");
const TWO: (&str, &str) =
    ("V2__two", "-- Why.\nALTER TABLE one ADD COLUMN a text;\n\nCREATE INDEX one_a ON one (a);");
const UNDO_TWO: (&str, &str) = ("D2__two", "DROP INDEX one_a;\nALTER TABLE one DROP COLUMN a;");

on_both_databases! {
    async fn up_and_down_are_planned_and_not_done(database: TestDatabase) {
        let release = library(&database, &[ONE, TWO, UNDO_TWO]);
        release.up(Some(1)).await.unwrap();
        let plan = release.plan_up(None).await.unwrap();
        assert_eq!((plan.direction, plan.current_version, plan.target_version), ("up", Some(1), Some(2)));
        let [two] = plan.migrations.as_slice() else { panic!("{plan:?}") };
        assert_eq!((two.name.as_str(), two.sql.as_str(), two.in_transaction), ("two", TWO.1, true));
        let lines: Vec<usize> = two.statements.iter().map(|it| it.line).collect();
        assert_eq!(lines, [2, 4]);
        let locks: Vec<&str> = two.statements.iter().flat_map(|it| &it.effects.locks).map(|it| it.mode).collect();
        let (expected, rules): (&[&str], &[&str]) = match backend(&database) {
            Backend::Postgres => (&["ACCESS EXCLUSIVE", "SHARE"], &["require-concurrent-index-creation"]),
            Backend::Sqlite => (&["RESERVED", "RESERVED"], &[]),
        };
        assert_eq!(locks, expected);
        assert!(two.statements[1].effects.scans[0].contains("one: the index is built"));
        assert_eq!(two.findings.iter().map(|it| it.rule.as_str()).collect::<Vec<_>>(), rules);
        assert_eq!(versions(&mut database.connect().await).await, ["1"], "nothing was done");

        release.up(None).await.unwrap();
        assert!(release.plan_up(None).await.unwrap().migrations.is_empty());
        let plan = release.plan_down(Down::Steps(1)).await.unwrap();
        assert_eq!((plan.direction, plan.current_version, plan.target_version), ("down", Some(2), Some(1)));
        assert_eq!(plan.migrations[0].sql, UNDO_TWO.1);
        assert!(plan.migrations[0].findings.is_empty(), "dropping is what an undo is for");
        assert_eq!(release.plan_down(Down::To(0)).await.unwrap().migrations.len(), 2);
        assert_eq!(versions(&mut database.connect().await).await, ["1", "2"]);
        // An older release plans with what the journal kept.
        let older = library(&database, &[ONE]);
        assert_eq!(older.plan_down(Down::To(1)).await.unwrap().migrations[0].sql, UNDO_TWO.1);

        let changed = ("V2__two", "SELECT 1;");
        let error = library(&database, &[ONE, changed]).plan_up(None).await.expect_err("as up");
        assert_eq!(error.exit(), Exit::Schema);
    }

    async fn the_program_says_whether_there_is_something_to_do(database: TestDatabase) {
        let plan = migrator(&database, &["plan"]).await.ends(0);
        assert!(plan.stdout.contains("up V1__create_users, in one transaction"), "{plan}");
        assert!(plan.stdout.contains("nothing was done"), "{plan}");
        let check = migrator(&database, &["plan", "--check", "--format", "json"]).await.ends(73).json();
        assert_eq!(check["target_version"], newest());
        assert!(check["migrations"][0]["statements"][0]["line"].is_u64());
        migrator(&database, &["up"]).await.ends(0);
        let plan = migrator(&database, &["plan", "--check"]).await.ends(0);
        assert!(plan.stdout.contains("nothing to do"), "{plan}");
        migrator(&database, &["plan", "down", "--check"]).await.ends(73);
        migrator(&database, &["plan", "up", "--to", "999"]).await.ends(2);
        migrator(&database, &["plan", "up", "--steps", "1"]).await.ends(2);
    }

    /// A file that was never there is not made by asking.
    async fn a_database_that_is_missing_has_everything_pending(database: TestDatabase) {
        let address = match backend(&database) {
            Backend::Sqlite => format!("{}.missing", database.address),
            Backend::Postgres => format!("{}_missing", database.address),
        };
        let release = support::library_at(&address, backend(&database), &[ONE, TWO], &[]);
        for _ in 0..2 {
            let plan = release.plan_up(None).await.unwrap();
            assert_eq!((plan.migrations.len(), plan.current_version), (2, None));
        }
    }
}
