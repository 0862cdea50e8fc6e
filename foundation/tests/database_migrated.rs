//! Statements that are prepared already when a migration changes the type of a column, on PostgreSQL.

use foundation::database::{Backend, Database, DatabaseError, Statement, Value, ValueType};
use foundation::testing::{TestDatabase, database_settings};
use futures_util::TryStreamExt as _;

const FIND: Statement = Statement::read("thing", "SELECT id, size FROM thing ORDER BY id");
const LOOK_UP: Statement = Statement::lookup("thing", "SELECT size FROM thing WHERE id = $1");
const CHANGE: Statement = Statement::write("thing", "UPDATE thing SET size = $1 WHERE id = 1 RETURNING size");

/// A table, a pool of one connection so that it is the same each time, and whoever changes the table.
struct World {
    database: Database,
    others: Database,
    _test: TestDatabase,
}

impl World {
    async fn new() -> Self {
        let test = TestDatabase::new(Backend::Postgres).await;
        let settings = database_settings([("DATABASE_POOL_SIZE", "1"), ("DATABASE_MAX_OVERFLOW", "0")]);
        let database = Database::open(&test.url, &settings, "test").unwrap();
        let world = Self { database, others: test.open(), _test: test };
        world.run("CREATE TABLE thing (id bigint, size integer)").await;
        world
    }

    async fn run(&self, sql: &str) {
        let statement = Statement::write("thing", "").with_sql(sql.to_owned());
        self.others.execute(&statement, &[]).await.unwrap();
    }

    async fn migrate(&self, to: &str) {
        self.run(&format!("ALTER TABLE thing ALTER COLUMN size TYPE {to} USING size::text::{to}")).await;
    }

    async fn insert(&self, count: usize, id: i64, size: impl Into<Value>) -> Result<(), DatabaseError> {
        let values = [id.into(), size.into()];
        let is_text = matches!(values[1], Value::Text(_));
        let types = [ValueType::Integer, if is_text { ValueType::Text } else { ValueType::Integer }];
        let mut transaction = self.database.begin().await?;
        let mut rows = transaction.insert_rows("thing", &["id", "size"], &types).await?;
        for _ in 0..count {
            rows.push(&values).await?;
        }
        rows.finish().await?;
        transaction.commit().await
    }

    async fn find(&self) -> Result<i64, DatabaseError> {
        self.database.query(&FIND, &[]).await?[0].get("size")
    }

    async fn change(&self, to: i64) -> Result<i64, DatabaseError> {
        self.database.query(&CHANGE, &[to.into()]).await?[0].get("size")
    }
}

#[tokio::test]
async fn statements_are_prepared_anew() {
    let world = World::new().await;
    world.insert(1, 1, 1_i64).await.unwrap();
    assert_eq!(world.find().await.unwrap(), 1);
    assert_eq!(world.change(7).await.unwrap(), 7);
    world.migrate("bigint").await;
    assert_eq!(world.find().await.unwrap(), 7);
    world.migrate("integer").await;
    assert_eq!(world.change(8).await.unwrap(), 8);
    assert_eq!(world.find().await.unwrap(), 8);
    world.migrate("bigint").await;
    let rows: Vec<_> = world.database.query_stream(&FIND, &[]).await.unwrap().try_collect().await.unwrap();
    assert_eq!(rows[0].get::<i64>("size").unwrap(), 8);
    assert_eq!(world.find().await.unwrap(), 8);

    // Each of the connections that look-ups share.
    for to in ["integer", "bigint", "integer"] {
        world.migrate(to).await;
        for _ in 0..8 {
            let row = world.database.query_optional(&LOOK_UP, &[1_i64.into()]).await.unwrap().unwrap();
            assert_eq!(row.get::<i64>("size").unwrap(), 8);
        }
    }

    // A transaction fails, and the next one does not.
    assert_eq!(world.find().await.unwrap(), 8);
    world.migrate("bigint").await;
    let mut transaction = world.database.begin().await.unwrap();
    assert_eq!(transaction.query(&FIND, &[]).await.unwrap_err().sqlstate(), Some("0A000"));
    drop(transaction);
    let mut transaction = world.database.begin().await.unwrap();
    assert_eq!(transaction.query(&FIND, &[]).await.unwrap()[0].get::<i64>("size").unwrap(), 8);
    transaction.commit().await.unwrap();
}

/// Rows are written by the types of before until that is noticed, by the server or on this side.
#[tokio::test]
async fn rows_are_described_anew() {
    let world = World::new().await;
    world.insert(1, 1, 1_i64).await.unwrap();
    world.migrate("bigint").await;
    assert!(world.insert(1, 2, 2_i64).await.is_err());
    world.insert(1, 2, 2_i64).await.unwrap();
    // So many that the server says so in between.
    world.migrate("integer").await;
    assert!(world.insert(20_000, 3, 3_i64).await.is_err());
    world.insert(20_000, 3, 3_i64).await.unwrap();
    world.migrate("text").await;
    assert!(world.insert(1, 4, "four").await.is_err());
    world.insert(1, 4, "four").await.unwrap();
    let rows = world.database.query(&FIND, &[]).await.unwrap();
    assert_eq!((rows.len(), rows[20_002].get::<String>("size").unwrap()), (20_003, "four".to_owned()));
}
