//! Histories of ten thousand migrations.

use std::path::Path;

use foundation::database::Backend;
use foundation::testing::TestDatabase;
use foundation::testing::cluster::PrivateCluster;
use foundation::{on_both_databases, testing::eventually};

use crate::support::{self, Run, migrator_command, migrator_with, newest};

const COUNT: usize = 10_000;

fn write_migrations(folder: &Path) {
    for version in 1..=COUNT {
        let sql = format!("INSERT INTO numbers (number) VALUES ({version});\n");
        let sql =
            if version == 1 { "CREATE TABLE numbers (number bigint NOT NULL);\n".to_owned() } else { sql };
        std::fs::write(folder.join(format!("V{version}__number_{version}.sql")), sql).unwrap();
    }
}

/// What the server was asked from here on, a line of its log for each statement.
struct Asked<'a> {
    cluster: &'a PrivateCluster,
    from: usize,
}

impl<'a> Asked<'a> {
    fn log(cluster: &PrivateCluster) -> String {
        std::fs::read_to_string(cluster.folder().join("log")).unwrap()
    }

    fn from_now(cluster: &'a PrivateCluster) -> Self {
        Self { cluster, from: Self::log(cluster).len() }
    }

    /// The statements, once the session that asked them has ended.
    async fn statements(&self) -> Vec<String> {
        let text = || Self::log(self.cluster)[self.from..].to_owned();
        eventually(std::time::Duration::from_secs(20), "the session has ended", async || {
            text().contains("disconnection")
        })
        .await;
        // A statement of several lines goes on behind tabs.
        let text = text().replace("\n\t", " ");
        let lines = text.lines().filter(|it| it.contains("execute ") || it.contains("statement: "));
        lines.map(str::to_owned).collect()
    }
}

/// A run that has nothing to do reads the history once, asks once whether there is an administrator where that
/// is its business, and begins no transaction.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_do_is_one_question() {
    let cluster = PrivateCluster::start();
    cluster
        .batch(&[
            "ALTER SYSTEM SET log_statement = 'all'",
            "ALTER SYSTEM SET log_disconnections = on",
            "SELECT pg_reload_conf()",
            "CREATE SCHEMA large",
        ])
        .await;
    let folder = tempfile::tempdir().unwrap();
    write_migrations(folder.path());
    let unused = TestDatabase::missing(Backend::Sqlite);
    let run = async |arguments: &[&str]| {
        let mut command = migrator_command(&unused, arguments);
        command.env("DATABASE_URL", &cluster.address).env("ADMIN_PASSWORD", "a password of the test");
        Run::of(command).await.ends(0)
    };
    let migrations = folder.path().to_str().unwrap();
    run(&["--schema", "large", "--migrations", migrations, "stamp", &COUNT.to_string()]).await;
    let asked = Asked::from_now(&cluster);
    let up = run(&["--schema", "large", "--migrations", migrations, "--format", "json", "up"]).await.json();
    assert_eq!((&up["applied"], &up["current_version"]), (&serde_json::json!([]), &serde_json::json!(COUNT)));
    let statements = asked.statements().await;
    let about = |word: &str| statements.iter().filter(|it| it.contains(word)).count();
    assert_eq!(about("refinery_schema_history"), 1, "{statements:#?}");
    assert_eq!((about("BEGIN"), about("users"), about("pg_try_advisory_lock")), (0, 0, 0), "{statements:#?}");

    run(&["--schema", "small", "up"]).await;
    let asked = Asked::from_now(&cluster);
    assert_eq!(
        run(&["--schema", "small", "--format", "json", "up"]).await.json()["current_version"],
        newest()
    );
    let statements = asked.statements().await;
    let about = |word: &str| statements.iter().filter(|it| it.contains(word)).count();
    assert_eq!((about("refinery_schema_history"), about("users")), (1, 1), "{statements:#?}");
    assert_eq!((about("BEGIN"), about("pg_try_advisory_lock")), (0, 0), "{statements:#?}");
}

on_both_databases! {
    async fn the_last_of_ten_thousand_is_applied(database: TestDatabase) {
        let folder = tempfile::tempdir().unwrap();
        write_migrations(folder.path());
        let variables = [("MIGRATOR_MIGRATIONS", folder.path().to_str().unwrap())];
        migrator_with(&database, &variables, &["up", "--to", "1"]).await.ends(0);
        migrator_with(&database, &variables, &["stamp", &(COUNT - 1).to_string()]).await.ends(0);
        let status = migrator_with(&database, &variables, &["status", "--format", "json"]).await.ends(0).json();
        assert_eq!((&status["pending"], &status["newest_version"]), (&1.into(), &COUNT.into()));
        let up = migrator_with(&database, &variables, &["up", "--format", "json"]).await.ends(0).json();
        assert_eq!(up["applied"].as_array().unwrap().len(), 1);
        assert_eq!(up["current_version"], COUNT);
        let mut connection = database.connect().await;
        assert_eq!(support::count(&mut connection, "numbers").await, 1);
    }
}
