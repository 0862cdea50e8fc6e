//! Partitions by list and by hash are the schema's own: they keep their rows and their rights, and those by range
//! come and go.

use foundation::database::Backend;
use migrator::structure::{Partitions, difference, dump, mend};

use crate::mend::Workshop;

const PAIRS: &[(&str, &str)] = &[
    // One value more, one that moves, and a partition of a partition.
    (
        "CREATE TABLE p (a text, b int, UNIQUE (a, b), CHECK (b > 0)) PARTITION BY LIST (a); CREATE INDEX i ON p (b);
         CREATE TABLE p1 PARTITION OF p FOR VALUES IN ('x') PARTITION BY LIST (b);
         CREATE TABLE p11 PARTITION OF p1 FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF p FOR VALUES IN ('y', 'z');
         CREATE TRIGGER t AFTER UPDATE ON p FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();",
        "CREATE TABLE p (a text, b int, UNIQUE (a, b), CHECK (b > 0)) PARTITION BY LIST (a); CREATE INDEX i ON p (b);
         CREATE TABLE p1 PARTITION OF p FOR VALUES IN ('x', 'y') PARTITION BY LIST (b);
         CREATE TABLE p11 PARTITION OF p1 FOR VALUES IN (1, 2); CREATE TABLE p2 PARTITION OF p FOR VALUES IN ('z');
         CREATE TABLE p3 PARTITION OF p DEFAULT;
         CREATE TRIGGER t AFTER UPDATE ON p FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();",
    ),
    // One that is made anew has lost its rights.
    (
        "CREATE TABLE p (a text, b int) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p FOR VALUES IN ('x');
         GRANT SELECT ON p1 TO PUBLIC;",
        "CREATE TABLE p (a text, b int) PARTITION BY LIST (a);
         CREATE TABLE p1 PARTITION OF p FOR VALUES IN ('x') PARTITION BY HASH (b); GRANT SELECT ON p1 TO PUBLIC;",
    ),
    // A column of the whole, and what its partition has of its own over it.
    (
        "CREATE TABLE p (a text, b int) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p FOR VALUES IN ('x');
         CREATE TRIGGER t BEFORE UPDATE OF b ON p1 FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();",
        "CREATE TABLE p (a text, b bigint) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p FOR VALUES IN ('x');
         CREATE TRIGGER t BEFORE UPDATE OF b ON p1 FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();",
    ),
    (
        "CREATE TABLE s (a int); GRANT SELECT ON s TO PUBLIC;",
        "CREATE TABLE t (a int); CREATE VIEW s AS SELECT a FROM t; GRANT SELECT ON s TO PUBLIC;",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_pair_is_gone_there_and_back() {
    Workshop::new(Backend::Postgres).await.each_is_gone_there_and_back(PAIRS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_with_another_bound_keeps_its_rows_and_its_rights() {
    let workshop = Workshop::new(Backend::Postgres).await;
    let (a, b) = PAIRS[0];
    let shown = "SELECT a || b || tableoid::regclass AS it FROM p ORDER BY a";
    let rows = "INSERT INTO p VALUES ('x', 1), ('z', 7)";
    assert_eq!(workshop.rows_after(a, rows, b, shown).await, ["x1p11", "z7p2"]);
    let [wider, narrower]: [_; 2] = workshop
        .there_and_back(
            "CREATE TABLE p (a text) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p FOR VALUES IN ('x');",
            "CREATE TABLE p (a text) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p FOR VALUES IN ('x', 'y');",
        )
        .await
        .into();
    assert_eq!((wider.breaking, narrower.breaking), (false, true));
    assert!(
        wider.warnings[0].starts_with("the partition p1 of p takes other values"),
        "{:?}",
        wider.warnings
    );
}

/// A foreign key holds on to the rows of a partition that takes other values or goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_key_lets_go_of_partitions_that_move() {
    let workshop = Workshop::new(Backend::Postgres).await;
    let schema = |partitions: &str| {
        format!(
            "CREATE TABLE p (a text PRIMARY KEY) PARTITION BY LIST (a); {partitions}
             CREATE TABLE c (a text REFERENCES p);"
        )
    };
    let a = schema(
        "CREATE TABLE p1 PARTITION OF p FOR VALUES IN ('x'); CREATE TABLE p2 PARTITION OF p FOR VALUES IN ('y');",
    );
    let b = schema("CREATE TABLE p1 PARTITION OF p FOR VALUES IN ('x', 'z');");
    let rows = "INSERT INTO p VALUES ('x'), ('y'); INSERT INTO c VALUES ('x');";
    assert_eq!(workshop.rows_after(&a, rows, &b, "SELECT a AS it FROM c").await, ["x"]);
    workshop.there_and_back(&a, &b).await;
}

/// What is by range is nobody's drift, whatever it is a part of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_by_range_below_a_list_comes_and_goes() {
    let workshop = Workshop::new(Backend::Postgres).await;
    let made = "CREATE TABLE p (a text, b int, c int) PARTITION BY LIST (a);
        CREATE TABLE p1 PARTITION OF p FOR VALUES IN ('x') PARTITION BY RANGE (b);";
    let later = format!(
        "{made} CREATE TABLE p11 PARTITION OF p1 FOR VALUES FROM (1) TO (2) PARTITION BY LIST (c);
        CREATE TABLE p111 PARTITION OF p11 FOR VALUES IN (1); ALTER TABLE p111 ENABLE ROW LEVEL SECURITY;
        CREATE INDEX i ON p111 (c); GRANT SELECT ON p111 TO PUBLIC;"
    );
    let (made, later) = (workshop.structure_of(made).await, workshop.structure_of(&later).await);
    assert_eq!(difference(&later, &made, Partitions::OfTheSchema), []);
    assert_eq!(difference(&later, &made, Partitions::All).len(), 2);
    for (from, to) in [(&later, &made), (&made, &later)] {
        assert!(mend(from, to).statements.is_empty(), "{:?}", mend(from, to).statements);
    }
    assert_eq!(dump(&later), dump(&made));
}
