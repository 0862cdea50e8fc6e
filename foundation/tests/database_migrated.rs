//! Statements that are prepared already when a migration comes, on PostgreSQL.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use foundation::database::{Backend, Database, Statement, Value, ValueType};
use foundation::testing::{TestDatabase, database_settings};
use futures_util::TryStreamExt as _;

/// A migration may change the type of a column while statements that find it are prepared.
#[tokio::test]
async fn statements_are_prepared_anew_after_a_migration() {
    const FIND: Statement = Statement::read("thing", "SELECT id, size FROM thing ORDER BY id");
    const LOOK_UP: Statement = Statement::lookup("thing", "SELECT size FROM thing WHERE id = $1");
    const CHANGE: Statement =
        Statement::write("thing", "UPDATE thing SET size = $1 WHERE id = 1 RETURNING size");
    let test = TestDatabase::new(Backend::Postgres).await;
    let (database, others) = (single(&test), test.open());
    let run = async |sql: &str| {
        let statement = Statement::write("thing", "").with_sql(sql.to_owned());
        others.execute(&statement, &[]).await.unwrap();
    };
    let grow = async |column_type: &str| {
        run(&format!(
            "ALTER TABLE thing ALTER COLUMN size TYPE {column_type} USING size::text::{column_type}"
        ))
        .await;
    };
    let insert = async |id: i64, value: Value| {
        let mut transaction = database.begin().await?;
        let types = [
            ValueType::Integer,
            if matches!(value, Value::Text(_)) { ValueType::Text } else { ValueType::Integer },
        ];
        let mut rows = transaction.insert_rows("thing", &["id", "size"], &types).await?;
        rows.push(&[id.into(), value]).await?;
        rows.finish().await?;
        transaction.commit().await
    };
    run("CREATE TABLE thing (id bigint, size integer)").await;
    insert(1, 1_i64.into()).await.unwrap();

    // The types of rows that are inserted are those of before until that is noticed, by the server or here.
    grow("bigint").await;
    assert!(insert(2, 2_i64.into()).await.is_err());
    insert(2, 2_i64.into()).await.unwrap();
    run("DELETE FROM thing WHERE id = 2").await;
    grow("integer").await;
    let many = async || {
        let mut transaction = database.begin().await?;
        let types = [ValueType::Integer, ValueType::Integer];
        let mut rows = transaction.insert_rows("thing", &["id", "size"], &types).await?;
        for _ in 0..20_000 {
            rows.push(&[2_i64.into(), 2_i64.into()]).await?;
        }
        rows.finish().await?;
        transaction.commit().await
    };
    assert!(many().await.is_err());
    many().await.unwrap();
    run("DELETE FROM thing WHERE id = 2").await;
    insert(2, 2_i64.into()).await.unwrap();
    grow("text").await;
    assert!(insert(3, Value::Text("3".to_owned())).await.is_err());
    insert(3, Value::Text("3".to_owned())).await.unwrap();

    assert_eq!(database.query(&FIND, &[]).await.unwrap()[2].get::<String>("size").unwrap(), "3");
    grow("bigint").await;
    assert_eq!(database.query(&FIND, &[]).await.unwrap()[2].get::<i64>("size").unwrap(), 3);
    assert_eq!(database.query(&CHANGE, &[7_i64.into()]).await.unwrap()[0].get::<i64>("size").unwrap(), 7);
    grow("integer").await;
    assert_eq!(database.query(&CHANGE, &[8_i64.into()]).await.unwrap()[0].get::<i64>("size").unwrap(), 8);
    assert_eq!(database.query(&FIND, &[]).await.unwrap()[0].get::<i64>("size").unwrap(), 8);
    grow("bigint").await;
    let rows: Vec<_> = database.query_stream(&FIND, &[]).await.unwrap().try_collect().await.unwrap();
    assert_eq!(rows[0].get::<i64>("size").unwrap(), 8);
    assert_eq!(database.query(&FIND, &[]).await.unwrap()[0].get::<i64>("size").unwrap(), 8);

    // Each of the connections that look-ups share.
    for column_type in ["integer", "bigint", "integer"] {
        grow(column_type).await;
        for _ in 0..8 {
            let row = database.query_optional(&LOOK_UP, &[1_i64.into()]).await.unwrap().unwrap();
            assert_eq!(row.get::<i64>("size").unwrap(), 8);
        }
    }

    // In a transaction the next one does.
    grow("text").await;
    let mut transaction = database.begin().await.unwrap();
    assert_eq!(transaction.query(&FIND, &[]).await.unwrap_err().sqlstate(), Some("0A000"));
    drop(transaction);
    let mut transaction = database.begin().await.unwrap();
    assert_eq!(transaction.query(&FIND, &[]).await.unwrap()[0].get::<String>("size").unwrap(), "8");
    transaction.commit().await.unwrap();
}

/// A pool of one connection, so that it is the same each time.
fn single(test: &TestDatabase) -> Database {
    let settings = database_settings([("DATABASE_POOL_SIZE", "1"), ("DATABASE_MAX_OVERFLOW", "0")]);
    Database::open(&test.url, &settings, "test").unwrap()
}
