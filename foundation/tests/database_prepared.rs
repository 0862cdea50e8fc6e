//! What a connection to PostgreSQL keeps prepared, however many statements are put together at run time.

use foundation::database::{Backend, Database, Statement};
use foundation::testing::{TestDatabase, database_settings};
use futures_util::TryStreamExt as _;

const PREPARED: Statement = Statement::read(
    "pg_prepared_statements",
    "SELECT count(*) AS found, count(*) FILTER (WHERE statement LIKE 'SELECT 1 AS latest%') AS latest,
       CAST(extract(epoch FROM min(prepare_time) FILTER (WHERE statement LIKE 'SELECT 1 AS latest%')) * 1000000 AS bigint) AS since
     FROM pg_prepared_statements",
);

fn composed(name: &str) -> Statement {
    Statement::read("nothing", "").with_sql(format!("SELECT 1 AS {name}"))
}

#[tokio::test]
async fn the_latest_statements_stay_prepared() {
    let test = TestDatabase::new(Backend::Postgres).await;
    let settings = database_settings([("DATABASE_POOL_SIZE", "1"), ("DATABASE_MAX_OVERFLOW", "0")]);
    let database = Database::open(&test.url, &settings, "test").unwrap();
    let prepared = async || {
        let rows = database.query(&PREPARED, &[]).await.unwrap();
        let [found, latest] = ["found", "latest"].map(|name| rows[0].get::<i64>(name).unwrap());
        (found, latest, rows[0].get::<Option<i64>>("since").unwrap())
    };
    for number in 0..100 {
        database.query(&composed(&format!("each_{number}")), &[]).await.unwrap();
        database.query(&composed("latest"), &[]).await.unwrap();
        if number % 7 == 0 {
            database.execute(&composed(&format!("changed_{number}")), &[]).await.unwrap();
            let streamed = composed(&format!("streamed_{number}"));
            let rows = database.query_stream(&streamed, &[]).await.unwrap();
            assert_eq!(rows.try_collect::<Vec<_>>().await.unwrap().len(), 1);
        }
    }
    let (found, latest, since) = prepared().await;
    // Sixteen, the question itself, and what is given up by the next statement at the latest.
    assert!(found <= 18 && latest == 1, "{found} statements are prepared, {latest} of them the latest");
    // What is asked again and again is prepared once.
    for number in 0..15 {
        database.query(&composed(&format!("other_{number}")), &[]).await.unwrap();
    }
    assert_eq!(prepared().await.2, since);
    // And one that was given up is prepared again.
    database.query(&composed("each_0"), &[]).await.unwrap();
    assert!(prepared().await.0 <= 18);
}
