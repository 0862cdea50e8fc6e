//! How long a run waits for others where it cannot simply roll back and try again.

use std::time::Duration;

use foundation::database::Backend;
use foundation::testing::{TestDatabase, maintenance, unique_name};

use crate::support::{Run, migrator, migrator_command};

/// Where the server gives no second connection to look for them with, they are waited for no longer than others.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_be_looked_for_is_not_waited_for_for_ever() {
    let database = TestDatabase::new(Backend::Postgres).await;
    migrator(&database, &["up"]).await.ends(0);
    let owner = unique_name("owner");
    maintenance(&format!("CREATE ROLE {owner} LOGIN PASSWORD 'secret' CONNECTION LIMIT 1")).await;
    let mut holder = database.connect().await;
    holder
        .batch(&format!(
            "GRANT ALL ON ALL TABLES IN SCHEMA public TO {owner};
             BEGIN; LOCK TABLE refinery_schema_history IN ACCESS EXCLUSIVE MODE"
        ))
        .await
        .unwrap();
    let (_, server) = database.address.rsplit_once('@').unwrap();
    let mut command = migrator_command(&database, &["up", "--deadline", "500ms"]);
    command.env("DATABASE_URL", format!("postgresql://{owner}:secret@{server}"));
    let run = tokio::time::timeout(Duration::from_secs(20), Run::of(command)).await.expect("it gives up");
    run.ends(75).says(&["who is in the way could not be asked", "too many connections", "gave up after"]);
    drop((holder, database));
    maintenance(&format!("DROP ROLE {owner}")).await;
}
