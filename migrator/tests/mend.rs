//! Schemas that were hard to get from one to the other and back, each pair for itself.

use foundation::database::{Backend, Connection, DatabaseUrl};
use foundation::testing::{TestDatabase, database_settings};
use migrator::structure::{Mend, Partitions, Structure, difference, dump, mend};

use crate::support::texts;

/// Databases in which one schema after the other is made.
pub(crate) struct Workshop {
    backend: Backend,
    database: TestDatabase,
}

impl Workshop {
    pub(crate) async fn new(backend: Backend) -> Self {
        Self { backend, database: TestDatabase::new(backend).await }
    }

    /// A connection to an empty database.
    pub(crate) async fn empty(&self) -> Connection {
        match self.backend {
            Backend::Sqlite => {
                let url = DatabaseUrl::sqlite(":memory:");
                let mut connection = Connection::open(&url, &database_settings([]), "test").await.unwrap();
                connection.batch("PRAGMA foreign_keys = OFF").await.unwrap();
                connection
            }
            Backend::Postgres => {
                let mut connection = self.database.connect().await;
                let anew =
                    "SET client_min_messages = warning; DROP SCHEMA public CASCADE; CREATE SCHEMA public";
                connection.batch(anew).await.unwrap();
                connection
            }
        }
    }

    pub(crate) async fn structure_of(&self, ddl: &str) -> Structure {
        let mut connection = self.empty().await;
        connection.batch(ddl).await.unwrap_or_else(|error| panic!("{error}\n{ddl}"));
        Structure::read(&mut connection).await.unwrap()
    }

    /// Goes from each of these to the other and back; the dump of each makes it.
    pub(crate) async fn each_is_gone_there_and_back(&self, pairs: &[(&str, &str)]) {
        for (a, b) in pairs {
            self.there_and_back(a, b).await;
            for schema in [a, b] {
                // An aggregate cannot be made anew from what the catalogs say.
                if schema.contains("AGGREGATE") {
                    continue;
                }
                let wanted = self.structure_of(schema).await;
                let printed = dump(&wanted);
                let made = self.structure_of(&printed).await;
                assert_eq!(difference(&made, &wanted, Partitions::OfTheSchema), [], "{printed}");
            }
        }
    }

    /// Goes from one schema with rows in it to the other, and says what this shows there.
    pub(crate) async fn rows_after(&self, a: &str, rows: &str, b: &str, shown: &'static str) -> Vec<String> {
        let (from, to) = (self.structure_of(a).await, self.structure_of(b).await);
        let mut connection = self.empty().await;
        connection.batch(&format!("{a} {rows}")).await.unwrap();
        self.go(&mut connection, &from, &to, b).await;
        texts(&mut connection, shown).await.unwrap()
    }

    /// Goes from one schema to the other and back; says how.
    pub(crate) async fn there_and_back(&self, a: &str, b: &str) -> (Mend, Mend) {
        let (from, to) = (self.structure_of(a).await, self.structure_of(b).await);
        let mut connection = self.empty().await;
        connection.batch(a).await.unwrap();
        let there = self.go(&mut connection, &from, &to, b).await;
        let reached = Structure::read(&mut connection).await.unwrap();
        let back = self.go(&mut connection, &reached, &from, a).await;
        (there, back)
    }

    pub(crate) async fn go(
        &self,
        connection: &mut Connection,
        from: &Structure,
        to: &Structure,
        target: &str,
    ) -> Mend {
        let way = mend(from, to);
        assert!(way.unsaid.is_empty(), "{:?}\nto {target}", way.unsaid);
        connection.begin().await.unwrap();
        connection
            .batch(&way.sql())
            .await
            .unwrap_or_else(|error| panic!("{error}\n{}to {target}", way.sql()));
        connection.commit().await.unwrap();
        let found = Structure::read(connection).await.unwrap();
        assert_eq!(difference(&found, to, Partitions::All), [], "{}to {target}", way.sql());
        way
    }
}

const SQLITE: &[(&str, &str)] = &[
    // A trigger that names its table in another case stays where the table is made anew.
    (
        "CREATE TABLE Orders (id integer PRIMARY KEY, n int); CREATE TABLE log (x);
         CREATE TRIGGER tr AFTER INSERT ON orders BEGIN INSERT INTO log VALUES (new.id); END;",
        "CREATE TABLE Orders (id integer PRIMARY KEY, n int CHECK (n > 0)); CREATE TABLE log (x);
         CREATE TRIGGER tr AFTER INSERT ON orders BEGIN INSERT INTO log VALUES (new.id); END;",
    ),
    (
        "CREATE TABLE t (a); CREATE VIEW V AS SELECT a FROM t;
         CREATE TRIGGER tv INSTEAD OF INSERT ON v BEGIN INSERT INTO t VALUES (new.a); END;",
        "CREATE TABLE t (a CHECK (a > 0)); CREATE VIEW V AS SELECT a FROM t;",
    ),
    // A table is the same in another case.
    (
        "CREATE TABLE Users (id integer PRIMARY KEY, name text); CREATE INDEX i ON Users (name);",
        "CREATE TABLE users (id integer PRIMARY KEY, name text, note text); CREATE INDEX i ON users (name);",
    ),
    (
        "CREATE TABLE Users (id integer PRIMARY KEY);",
        "CREATE TABLE users (id integer PRIMARY KEY CHECK (id > 0));",
    ),
    ("CREATE TABLE t ('name' text, z int);", "CREATE TABLE t ('name' text, z int NOT NULL DEFAULT 0);"),
    (
        "CREATE TABLE t (id integer PRIMARY KEY, a, b);",
        "CREATE TABLE t (id integer PRIMARY KEY, a, b AS (lower(a)) STORED);",
    ),
];

const POSTGRES: &[(&str, &str)] = &[
    // Words that PostgreSQL takes without quotes and others do not.
    (
        "CREATE TABLE \"transaction\" (view int); GRANT SELECT ON \"transaction\" TO PUBLIC;",
        "CREATE TABLE \"transaction\" (view int); GRANT SELECT (view) ON \"transaction\" TO PUBLIC;",
    ),
    (
        "CREATE TYPE plan AS ENUM ('a', 'b'); CREATE TABLE t (m plan DEFAULT 'a', x plan[]);",
        "CREATE TYPE plan AS ENUM ('a', 'c', 'b'); CREATE TABLE t (m plan DEFAULT 'a', x plan[]);",
    ),
    ("CREATE TABLE a (x int);", "CREATE TABLE a (x int); CREATE TABLE release (y int); CREATE TABLE query (z int) INHERITS (release);"),
    // The right to use a sequence goes with its column.
    (
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, n text); CREATE TABLE s (id serial);
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO PUBLIC;",
        "CREATE TABLE x (id int);",
    ),
    (
        "CREATE TABLE t (a int GENERATED ALWAYS AS IDENTITY, n int); GRANT USAGE ON SEQUENCE t_a_seq TO PUBLIC;",
        "CREATE TABLE t (a bigint, n int GENERATED BY DEFAULT AS IDENTITY); GRANT USAGE ON SEQUENCE t_n_seq TO PUBLIC;",
    ),
    (
        "CREATE TYPE mood AS ENUM ('a'); REVOKE USAGE ON TYPE mood FROM PUBLIC; CREATE TABLE t (m mood);",
        "CREATE TYPE mood AS ENUM ('b'); CREATE TABLE t (m mood); CREATE DOMAIN d AS int; REVOKE USAGE ON TYPE d FROM PUBLIC;",
    ),
    // What is computed and is not any more keeps its values, whatever else changes.
    (
        "CREATE TABLE t (a text, b text GENERATED ALWAYS AS (lower(a)) STORED, c text GENERATED ALWAYS AS (a) STORED);
         CREATE INDEX i ON t (b); CREATE VIEW v AS SELECT b FROM t;",
        "CREATE TABLE t (a varchar(9), b varchar(9) DEFAULT 'x', c text); CREATE INDEX i ON t (b); CREATE VIEW v AS SELECT b FROM t;",
    ),
    ("CREATE TABLE t (a text, b text GENERATED ALWAYS AS (lower(a)) STORED);", "CREATE TABLE t (b text);"),
    // Types of types.
    (
        "CREATE TABLE x (a int);",
        "CREATE TABLE x (a int); CREATE DOMAIN d1 AS text; CREATE DOMAIN d2 AS d1 CHECK (VALUE <> '');
         CREATE DOMAIN amount AS numeric CHECK (VALUE >= 0); CREATE TYPE cost AS (a amount, c text);",
    ),
    // Functions over rows.
    (
        "CREATE TABLE x (a int);",
        "CREATE TABLE x (a int); CREATE TABLE u (id int, n text);
         CREATE FUNCTION title(u) RETURNS text LANGUAGE sql STABLE AS 'SELECT upper($1.n)';
         CREATE FUNCTION active() RETURNS SETOF u LANGUAGE sql STABLE AS 'SELECT * FROM u';",
    ),
    (
        "CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TABLE t (m mood);
         CREATE FUNCTION f(m mood) RETURNS int LANGUAGE sql AS 'SELECT 1';",
        "CREATE TYPE mood AS ENUM ('a', 'b', 'c'); CREATE TABLE t (m mood);
         CREATE FUNCTION f(m mood) RETURNS int LANGUAGE sql AS 'SELECT 1';",
    ),
    // What another table's policies and rules read.
    (
        "CREATE TABLE m (u int, d int); CREATE TABLE docs (id int);
         CREATE POLICY p ON docs USING (EXISTS (SELECT 1 FROM m WHERE m.d = docs.id));
         CREATE RULE r AS ON DELETE TO docs DO ALSO DELETE FROM m WHERE m.d = old.id;",
        "CREATE TABLE m (u int, d bigint); CREATE TABLE docs (id int);
         CREATE POLICY p ON docs USING (EXISTS (SELECT 1 FROM m WHERE m.d = docs.id));
         CREATE RULE r AS ON DELETE TO docs DO ALSO DELETE FROM m WHERE m.d = old.id;",
    ),
    // GROUP BY of a primary key holds on to it.
    (
        "CREATE TABLE p (id int PRIMARY KEY, n text, k int); CREATE VIEW v AS SELECT id, n, count(*) FROM p GROUP BY id;",
        "CREATE TABLE p (id int, n text, k int, CONSTRAINT p_pkey PRIMARY KEY (id) INCLUDE (k));
         CREATE VIEW v AS SELECT id, n, count(*) FROM p GROUP BY id;",
    ),
    // What calls a function whose head changes.
    (
        "CREATE FUNCTION f(a int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';
         CREATE TABLE z (a int DEFAULT f(1), b int GENERATED ALWAYS AS (f(a)) STORED, CHECK (f(a) > 0));
         CREATE INDEX i ON z (f(a)); CREATE VIEW v AS SELECT f(a) FROM z; CREATE POLICY p ON z USING (f(a) = 1);",
        "CREATE FUNCTION f(a int) RETURNS bigint IMMUTABLE LANGUAGE sql AS 'SELECT 1::bigint';
         CREATE TABLE z (a int DEFAULT f(1), b int GENERATED ALWAYS AS (f(a)) STORED, CHECK (f(a) > 0));
         CREATE INDEX i ON z (f(a)); CREATE VIEW v AS SELECT f(a) FROM z; CREATE POLICY p ON z USING (f(a) = 1);",
    ),
    // What is set by a statement of its own stays where what it is of is made anew.
    (
        "CREATE TABLE t (a int NOT NULL, b text, c text); CREATE UNIQUE INDEX ub ON t (a);
         ALTER TABLE t REPLICA IDENTITY USING INDEX ub; CREATE VIEW v AS SELECT a, b FROM t;
         COMMENT ON VIEW v IS 'it''s'; COMMENT ON COLUMN v.a IS 'x'; ALTER VIEW v ALTER COLUMN b SET DEFAULT 'y';
         COMMENT ON INDEX ub IS 'z'; CREATE STATISTICS st ON a, b FROM t;
         CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'; COMMENT ON FUNCTION f(int) IS 'f';",
        "CREATE TABLE t (a bigint NOT NULL, b text, c text); CREATE UNIQUE INDEX ub ON t (a);
         ALTER TABLE t REPLICA IDENTITY USING INDEX ub; CREATE VIEW v AS SELECT a, b FROM t;
         COMMENT ON VIEW v IS 'it''s'; COMMENT ON COLUMN v.a IS 'x'; ALTER VIEW v ALTER COLUMN b SET DEFAULT 'y';
         COMMENT ON INDEX ub IS 'z'; CREATE STATISTICS st ON a, c FROM t;
         CREATE FUNCTION f(b int) RETURNS int LANGUAGE sql AS 'SELECT 1'; COMMENT ON FUNCTION f(int) IS 'f';",
    ),
    (
        "CREATE TABLE t (a int PRIMARY KEY, b text); CREATE TYPE mood AS ENUM ('a'); CREATE SEQUENCE s; CREATE DOMAIN d AS int;",
        "CREATE TABLE t (a int PRIMARY KEY, b text, CHECK (b <> '')); CREATE TYPE mood AS ENUM ('b'); CREATE SEQUENCE s;
         CREATE DOMAIN d AS int; COMMENT ON TABLE t IS 't'; COMMENT ON COLUMN t.b IS 'b'; COMMENT ON TYPE mood IS 'm';
         COMMENT ON SEQUENCE s IS 's'; COMMENT ON DOMAIN d IS 'd'; COMMENT ON CONSTRAINT t_b_check ON t IS 'c';
         COMMENT ON CONSTRAINT t_pkey ON t IS 'p'; ALTER TABLE t REPLICA IDENTITY FULL; ALTER TABLE t ALTER b SET STORAGE EXTERNAL;
         ALTER TABLE t ALTER b SET STATISTICS 5; CREATE POLICY p ON t; COMMENT ON POLICY p ON t IS 'p';
         CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING; COMMENT ON RULE r ON t IS 'r';
         CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1'; COMMENT ON PROCEDURE p() IS 'p';
         CREATE TRIGGER tr BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
         COMMENT ON TRIGGER tr ON t IS 't'; CREATE MATERIALIZED VIEW m AS SELECT a FROM t; COMMENT ON MATERIALIZED VIEW m IS 'm';",
    ),
    // Names of arguments.
    (
        "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE EXECUTE ON FUNCTION f(int) FROM PUBLIC;
         CREATE FUNCTION g(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE AGGREGATE s (int) (SFUNC = int4pl, STYPE = int);
         CREATE PROCEDURE p(INOUT n int, VARIADIC m int[]) LANGUAGE sql AS 'SELECT 1';",
        "CREATE FUNCTION f(b int) RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE EXECUTE ON FUNCTION f(int) FROM PUBLIC;
         CREATE FUNCTION g(b int) RETURNS int LANGUAGE sql AS 'SELECT 2'; CREATE AGGREGATE s (int) (SFUNC = int4pl, STYPE = int);",
    ),
    // Partitions of partitions.
    (
        "CREATE TABLE t (a int, b int) PARTITION BY LIST (a); CREATE TABLE ta PARTITION OF t FOR VALUES IN (1) PARTITION BY LIST (b);
         CREATE TABLE tb PARTITION OF ta FOR VALUES IN (1);",
        "CREATE TABLE t (a int, b int) PARTITION BY LIST (a);",
    ),
    (
        "CREATE TABLE t (a int, b int, c int) PARTITION BY LIST (a);
         CREATE TABLE b PARTITION OF t FOR VALUES IN (1) PARTITION BY LIST (b);
         CREATE TABLE z PARTITION OF b FOR VALUES IN (1) PARTITION BY LIST (c); CREATE TABLE a PARTITION OF z FOR VALUES IN (1);",
        "CREATE TABLE t (a int, b int, c int) PARTITION BY LIST (a);
         CREATE TABLE b PARTITION OF t FOR VALUES IN (2) PARTITION BY LIST (b);
         CREATE TABLE z PARTITION OF b FOR VALUES IN (1) PARTITION BY LIST (c); CREATE TABLE a PARTITION OF z FOR VALUES IN (1);",
    ),
    // What a partition has of its own, and what it has from its table.
    (
        "CREATE TABLE t (a int, b int CHECK (b > 0), UNIQUE (a, b)) PARTITION BY LIST (a); CREATE INDEX i ON t (b);
         CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2);
         CREATE TRIGGER tr AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();",
        "CREATE TABLE t (a int, b int CHECK (b > 0), UNIQUE (a, b)) PARTITION BY LIST (a); CREATE INDEX i ON t (b);
         CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2, 3);
         CREATE TRIGGER tr AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
         CREATE TRIGGER own BEFORE INSERT ON t1 FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
         ALTER TABLE t1 ADD CONSTRAINT c CHECK (b > 5); CREATE INDEX j ON t1 (b, a); GRANT SELECT ON t1 TO PUBLIC;
         ALTER TABLE t1 ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t1 USING (false); CREATE INDEX k ON t2 (b DESC);
         CREATE RULE r AS ON DELETE TO t2 DO INSTEAD NOTHING; ALTER TABLE t2 ADD CONSTRAINT u UNIQUE (b);",
    ),
    // A right on a column that is made anew.
    (
        "CREATE TABLE t (a text, b text); GRANT SELECT (b) ON t TO PUBLIC;",
        "CREATE TABLE t (a text, b text GENERATED ALWAYS AS (a) STORED); GRANT SELECT (b) ON t TO PUBLIC;",
    ),
    // CREATE TABLE takes a constraint for valid.
    (
        "CREATE TABLE x (a int);",
        "CREATE TABLE x (a int); CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE t (a int);
         ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID; ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES p NOT VALID;",
    ),
    // A list with a NULL in it.
    ("CREATE TABLE u (a int);", "CREATE TABLE u (a int); CREATE TABLE t (b varchar(5) CHECK (b IN ('a', 'b', NULL)));"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_pair_is_gone_there_and_back() {
    for (backend, pairs) in [(Backend::Sqlite, SQLITE), (Backend::Postgres, POSTGRES)] {
        let workshop = Workshop::new(backend).await;
        workshop.each_is_gone_there_and_back(pairs).await;
    }
}

/// The columns of a table before and after, and what has to be said of the way there and of the way back.
const LOSSES: &[(Backend, &str, &str, &str, &str)] = &[
    (
        Backend::Sqlite,
        "a text, b text",
        "a text, b text AS (lower(a)) STORED",
        "t.b is computed now, and loses",
        "",
    ),
    (
        Backend::Sqlite,
        "a int",
        "a int NOT NULL DEFAULT 0",
        "t.a refuses NULL now: each NULL in it becomes 0",
        "",
    ),
    (
        Backend::Sqlite,
        "a int",
        "a int UNIQUE",
        "UNIQUE (a) on t is demanded now: this fails where two rows",
        "",
    ),
    (Backend::Sqlite, "a int", "a int CHECK (a > 0)", "CHECK (a > 0) on t is demanded now", ""),
    (
        Backend::Sqlite,
        "a int); SELECT (1",
        "a int); CREATE UNIQUE INDEX i ON t (a",
        "i on t is demanded now",
        "",
    ),
    (
        Backend::Postgres,
        "b text GENERATED ALWAYS AS ('') STORED",
        "b text",
        "",
        "t.b is computed now, and loses",
    ),
    (
        Backend::Postgres,
        "a int",
        "a int UNIQUE",
        "t_a_key on t is demanded now: this fails where two rows",
        "",
    ),
    (
        Backend::Postgres,
        "a int",
        "a int REFERENCES t",
        "t_a_fkey on t is demanded now: this fails where a row",
        "",
    ),
    (
        Backend::Postgres,
        "a int); SELECT (1",
        "a int); CREATE UNIQUE INDEX i ON t (a",
        "i on t is demanded now",
        "",
    ),
    (
        Backend::Postgres,
        "a int); CREATE DOMAIN d AS int; SELECT (1",
        "a int); CREATE DOMAIN d AS int CHECK (VALUE > 0); SELECT (1",
        "d_check on the domain d is demanded now",
        "",
    ),
    (Backend::Postgres, "a timestamptz", "a timestamp", "t.a: values are rounded or cut", ""),
    (Backend::Postgres, "a json", "a jsonb", "t.a: values are rounded or cut", ""),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_without_a_word() {
    let table = |columns: &str| format!("CREATE TABLE t (id integer PRIMARY KEY, {columns});");
    for (backend, a, b, there, back) in LOSSES {
        let workshop = Workshop::new(*backend).await;
        let (a, b) = (table(a), table(b));
        let ways: [Mend; 2] = workshop.there_and_back(&a, &b).await.into();
        for (way, words) in ways.into_iter().zip([*there, *back]).filter(|(_, words)| !words.is_empty()) {
            assert!(way.breaking, "{a} to {b}");
            assert!(way.warnings.iter().any(|it| it.contains(words)), "{words}: {:?}", way.warnings);
        }
    }
}

/// What is not known any further is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_said_is_told() {
    let workshop = Workshop::new(Backend::Postgres).await;
    let from = workshop.structure_of("CREATE TYPE span AS RANGE (subtype = float8)").await;
    assert!(dump(&from).contains("-- the range type span is to be made by hand"), "{}", dump(&from));
    let other = "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE f (a int) SERVER s";
    let to = workshop.structure_of(other).await;
    let way = mend(&from, &to);
    assert_eq!(
        way.unsaid,
        ["the foreign table f is to be made by hand", "the range type span is to be dropped by hand"]
    );
    assert!(way.statements.is_empty(), "{:?}", way.statements);
    workshop.empty().await.batch("DROP FOREIGN DATA WRAPPER w CASCADE").await.unwrap();
}

/// The values of a column are those of the column, however its name was written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_stay_where_they_are() {
    for (backend, a, rows, b, expected) in [
        (
            Backend::Sqlite,
            "CREATE TABLE t ('name' text, z int);",
            "INSERT INTO t VALUES ('real', NULL)",
            "CREATE TABLE t ('name' text, z int NOT NULL DEFAULT 0);",
            "real",
        ),
        (
            Backend::Postgres,
            "CREATE TABLE t (a text, name text GENERATED ALWAYS AS (lower(a)) STORED);",
            "INSERT INTO t VALUES ('REAL')",
            "CREATE TABLE t (a text, name text);",
            "real",
        ),
    ] {
        let workshop = Workshop::new(backend).await;
        let shown = workshop.rows_after(a, rows, b, "SELECT name AS it FROM t").await;
        assert_eq!(shown, [expected]);
    }
}
