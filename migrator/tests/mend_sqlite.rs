//! SQLite: what means the same stays, however it is written, and its rows with it.

use foundation::database::Backend;
use migrator::structure::{Partitions, difference, dump, mend};

use crate::mend::Workshop;

const PAIRS: &[(&str, &str)] = &[
    // A comment behind the last word ends with its line.
    (
        "CREATE TABLE t (a int); CREATE VIEW v AS SELECT a FROM t WHERE a > 0 -- only positive
        ;",
        "CREATE TABLE t (a int CHECK (a > 0)); CREATE VIEW v AS SELECT a FROM t WHERE a > 1 -- more
        ; CREATE VIEW w AS SELECT a FROM v /* all */;",
    ),
    // An index that another table has now.
    (
        "CREATE TABLE z (a int); CREATE INDEX i ON z (a); CREATE TABLE a (a int);",
        "CREATE TABLE z (a int CHECK (a > 0)); CREATE TABLE a (a int); CREATE INDEX i ON a (a);",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_pair_is_gone_there_and_back() {
    Workshop::new(Backend::Sqlite).await.each_is_gone_there_and_back(PAIRS).await;
}

/// Names, keywords and functions are the same in whatever case; texts are not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_is_no_difference() {
    let workshop = Workshop::new(Backend::Sqlite).await;
    let one = "CREATE TABLE Users (ID integer PRIMARY KEY, name text DEFAULT CURRENT_TIMESTAMP, flag int DEFAULT TRUE CHECK (length(name) > 1));
        CREATE TABLE posts (user_id int REFERENCES users(id), n int AS (abs(user_id)));
        CREATE UNIQUE INDEX I ON Users (Lower(name)) WHERE flag IS TRUE;
        CREATE VIEW V AS SELECT ID FROM Users WHERE name <> 'A';
        CREATE TRIGGER T AFTER INSERT ON Users BEGIN SELECT Coalesce(new.ID, 'A'); END;";
    let other = "CREATE TABLE users (id integer PRIMARY KEY, Name text DEFAULT current_timestamp, flag int DEFAULT true CHECK (LENGTH(Name) > 1));
        CREATE TABLE posts (user_id int REFERENCES Users(ID), n int AS (ABS(USER_ID)));
        CREATE UNIQUE INDEX i ON users (lower(NAME)) WHERE flag IS true;
        CREATE VIEW v AS SELECT id FROM users WHERE name <> 'A';
        CREATE TRIGGER t AFTER INSERT ON users BEGIN SELECT coalesce(NEW.id, 'A'); END;";
    let (found, wanted) = (workshop.structure_of(one).await, workshop.structure_of(other).await);
    for (found, wanted) in [(&found, &wanted), (&wanted, &found)] {
        assert_eq!(difference(found, wanted, Partitions::All), []);
        assert!(mend(found, wanted).statements.is_empty(), "{:?}", mend(found, wanted).statements);
    }
    let third = workshop.structure_of(&other.replace("'A'", "'a'")).await;
    let objects: Vec<String> =
        difference(&found, &third, Partitions::All).into_iter().map(|it| it.object).collect();
    assert_eq!(objects, ["trigger t on users", "view v"].map(str::to_owned), "{}", dump(&third));
}

/// The rows of a table that is made anew, and the number that its next row gets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_and_numbers_stay_where_a_name_is_written_in_another_case() {
    let workshop = Workshop::new(Backend::Sqlite).await;
    let before = "CREATE TABLE Users (id integer PRIMARY KEY AUTOINCREMENT, email text);";
    let after = "CREATE TABLE users (ID integer PRIMARY KEY AUTOINCREMENT, Email text CHECK (Email <> ''));";
    let rows = "INSERT INTO Users (email) VALUES ('a'), ('b'), ('c'); DELETE FROM Users WHERE id > 1;";
    let shown =
        "SELECT id || email || (SELECT group_concat(name || seq) FROM sqlite_sequence) AS it FROM users";
    assert_eq!(workshop.rows_after(before, rows, after, shown).await, ["1ausers3"]);
}
