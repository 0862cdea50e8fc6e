//! Behind a transaction pooler. `make test-pgbouncer` starts one.

use foundation::database::Backend;
use foundation::testing::{TestDatabase, pooled};

use crate::support::{has_table, migrator};

/// The lock would be that of a session that others use as well, also where nobody else is there to use it.
/// What is refused leaves no lock behind, and what only reads is answered.
#[tokio::test]
#[ignore = "needs a pooler before the throwaway cluster: make test-pgbouncer"]
async fn a_transaction_pooler_is_refused() {
    let mut database = TestDatabase::new(Backend::Postgres).await;
    let (direct, behind) = (database.address.clone(), pooled(&database.address));
    assert_ne!(direct, behind, "there is no pooler");
    database.address.clone_from(&behind);
    let reason = ["pgbouncer", "DATABASE_URL", "name the server itself"];

    migrator(&database, &["up"]).await.ends(78).says(&reason);
    assert!(!has_table(&mut database.connect().await, "users").await);
    database.address.clone_from(&direct);
    migrator(&database, &["up", "--deadline", "2s"]).await.ends(0);

    database.address.clone_from(&behind);
    migrator(&database, &["status"]).await.ends(0);
    migrator(&database, &["wait", "--for", "schema", "--timeout", "2s"]).await.ends(0);
    migrator(&database, &["up"]).await.ends(0);
    migrator(&database, &["down"]).await.ends(78).says(&reason);

    database.address = direct;
    migrator(&database, &["down", "--deadline", "2s"]).await.ends(0);
}
