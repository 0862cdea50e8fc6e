//! Two requests of which the second does not wait for the answer to the first.

use foundation::database::{Backend, Connection, Request, Statement, Value};
use foundation::on_both_databases;
use foundation::testing::{TestDatabase, database_settings};

const INSERT: Statement = Statement::write("item", "INSERT INTO item (id, name, at) VALUES ($1, $2, $3)");
const COUNT: Statement = Statement::write("item", "SELECT CAST(count(*) AS BIGINT) AS it FROM item");

async fn connect(database: &TestDatabase) -> Connection {
    let mut connection = Connection::open(&database.url, &database_settings([]), "test").await.unwrap();
    let at = match connection.backend() {
        Backend::Postgres => "timestamptz",
        Backend::Sqlite => "integer",
    };
    let sql = format!("CREATE TABLE IF NOT EXISTS item (id bigint PRIMARY KEY, name text, at {at})");
    connection.batch(&sql).await.unwrap();
    connection
}

async fn count(connection: &mut Connection) -> i64 {
    connection.query_optional(&COUNT, &[]).await.unwrap().unwrap().get("it").unwrap()
}

fn row(id: i64) -> [Value; 3] {
    [id.into(), Value::Null, time::macros::datetime!(2026-01-02 03:04:05 UTC).into()]
}

on_both_databases! {
    /// The second sees what the first one did.
    async fn they_are_done_in_their_order(database: TestDatabase) {
        let mut connection = connect(&database).await;
        let insert = "INSERT INTO item (id) VALUES (1), (2)";
        let (begun, found) =
            connection.together(Request::Begin(insert), Request::Statement(&COUNT, &[])).await;
        begun.unwrap();
        assert_eq!(found.unwrap().rows[0].get::<i64>("it").unwrap(), 2);
        let (ran, found) =
            connection.together(Request::Batch("DELETE FROM item WHERE id = 1"), Request::Statement(&COUNT, &[])).await;
        assert_eq!((ran.unwrap().count, found.unwrap().rows[0].get::<i64>("it").unwrap()), (1, 1));
        let commit = Request::Commit { before: "INSERT INTO item (id) VALUES (3)", after: "SELECT 1" };
        let (inserted, committed) = connection.together(Request::Statement(&INSERT, &row(4)), commit).await;
        inserted.unwrap();
        committed.unwrap();
        assert_eq!(count(&mut connect(&database).await).await, 3);
    }

    /// Where the first one fails nothing is committed, also what cannot be sent.
    async fn a_commit_behind_a_failure_commits_nothing(database: TestDatabase) {
        let mut connection = connect(&database).await;
        let far = Value::Timestamp(time::macros::datetime!(9999-12-31 23:59:59 -12:00));
        for fails in [row(1), [2.into(), "b\0".into(), Value::Null], [2.into(), Value::Null, far]] {
            if connection.backend() == Backend::Sqlite && fails[0] != Value::from(1) {
                continue;
            }
            connection.begin().await.unwrap();
            connection.batch("INSERT INTO item (id) VALUES (1)").await.unwrap();
            let commit = Request::Commit { before: "", after: "" };
            let (inserted, committed) = connection.together(Request::Statement(&INSERT, &fails), commit).await;
            assert!(inserted.is_err());
            drop(committed);
            // PostgreSQL has rolled back by the commit, where it got one.
            connection.rollback().await.ok();
            assert_eq!(count(&mut connection).await, 0, "{fails:?}");
        }
    }
}

/// What follows a statement that has ended the transaction is answered.
#[tokio::test]
async fn the_second_is_answered_outside_of_the_transaction() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let mut connection = connect(&database).await;
    for (sql, answered) in [("SELECT 1 / 0", false), ("COMMIT; SELECT 1; SELECT 1 / 0", true)] {
        connection.begin().await.unwrap();
        let (ran, found) = connection.together(Request::Batch(sql), Request::Statement(&COUNT, &[])).await;
        let error = ran.unwrap_err();
        assert_eq!(error.sqlstate(), Some("22012"), "{error}");
        assert_eq!(error.statement(), Some(if answered { 2 } else { 0 }));
        assert_eq!(found.is_ok(), answered);
        connection.rollback().await.unwrap();
    }
}
