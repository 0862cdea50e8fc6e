//! The two roles of production: the owner migrates, the service serves and can change nothing about it.

use foundation::database::{Backend, Connection, DatabaseErrorKind, DatabaseUrl};
use foundation::testing::{
    TestDatabase, database_settings, maintenance, postgres_address, program, unique_name,
};
use migrator::Down;
use migrator::schema::{self, SchemaState};

use crate::support::{self, Run, library_at, migrator_command};

/// A database with its two roles, made by the script that a deployment uses.
struct Deployment {
    database: TestDatabase,
    owner: String,
    service: String,
}

impl Deployment {
    async fn new() -> Self {
        let database = TestDatabase::missing(Backend::Postgres);
        let made = Self { owner: unique_name("owner"), service: unique_name("service"), database };
        // Twice: the second time changes nothing.
        made.script().await;
        made.script().await;
        made
    }

    async fn script(&self) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/postgres/10-roles.sh");
        let mut command = program(script, self.database.folder.path());
        let address = postgres_address();
        let (host, port) =
            address.rsplit_once('@').unwrap().1.split_once('/').unwrap().0.rsplit_once(':').unwrap();
        command
            .env("PGHOST", host)
            .env("PGPORT", port)
            .env("PGUSER", "postgres")
            .env("PGPASSWORD", "postgres");
        command.env("BEDPLATE_DATABASE", self.database.url.name());
        command.env("OWNER_ROLE", &self.owner).env("OWNER_PASSWORD", "owner secret");
        command.env("SERVICE_ROLE", &self.service).env("SERVICE_PASSWORD", "service secret");
        Run::of(command).await.ends(0).hides(&["secret"]);
    }

    fn address(&self, role: &str, password: &str) -> String {
        let address = &self.database.address;
        format!("postgresql://{role}:{password}@{}", address.rsplit_once('@').unwrap().1)
    }

    fn owner_address(&self) -> String {
        self.address(&self.owner, "owner%20secret")
    }

    fn service_address(&self) -> String {
        self.address(&self.service, "service%20secret")
    }

    async fn migrator(&self, address: &str, arguments: &[&str]) -> Run {
        let mut command = migrator_command(&self.database, arguments);
        command.env("DATABASE_URL", address);
        Run::of(command).await.hides(&["owner secret", "service secret", "%20secret"])
    }

    async fn connect(&self, address: &str) -> Connection {
        let url: DatabaseUrl = address.parse().unwrap();
        Connection::open(&url, &database_settings([]), "test").await.unwrap()
    }

    async fn clean(self) {
        let Self { database, owner, service } = self;
        drop(database);
        maintenance(&format!("DROP ROLE {service}; DROP ROLE {owner}")).await;
    }
}

async fn is_denied(connection: &mut Connection, sql: &str) {
    let error = connection.batch(sql).await.expect_err(sql);
    assert_eq!(error.sqlstate(), Some("42501"), "{sql}: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_can_serve_and_nothing_else() {
    let deployment = Deployment::new().await;
    let (owner, service) = (deployment.owner_address(), deployment.service_address());
    // Before the migrator ran there is nothing to read, and that is what is said.
    let early = deployment.migrator(&service, &["wait", "--timeout", "0s"]).await.ends(75);
    early.says(&["no migration is applied yet"]);

    let up = deployment.migrator(&owner, &["up", "--grant-to", &deployment.service]).await.ends(0);
    assert!(up.stdout.contains(&format!("gave {} what it lacked", deployment.service)), "{up}");
    let again = deployment.migrator(&owner, &["up", "--grant-to", &deployment.service]).await.ends(0);
    assert_eq!(again.stdout, format!("nothing to do; at version {}\n", support::newest()));

    let mut connection = deployment.connect(&service).await;
    let insert = "INSERT INTO users (id, username, user_type, password_hash) VALUES ('01890000-0000-7000-8000-0000000000ff', 'x', 'local', 'h')";
    for allowed in [
        insert,
        "SELECT * FROM users",
        "UPDATE users SET email = 'x@example.org' WHERE username = 'x'",
        "DELETE FROM users WHERE username = 'x'",
        "SELECT * FROM refinery_schema_history",
        "SELECT * FROM migrator_journal",
        "SELECT metrics_snapshot_ensure_partition('2026-01-01 00:00Z', '2026-01-02 00:00Z')",
        "INSERT INTO metrics_snapshot (timestamp, source, metric_type, metric_data) VALUES ('2026-01-01 12:00Z', 'a', 'cpu', '{}')",
        "SELECT * FROM metrics_snapshot_partition",
        "SELECT metrics_snapshot_detach_partition('2026-01-01 00:00Z', '2026-01-02 00:00Z', 1000)",
        // What it had detached it may read, and have dropped.
        "DO $$ DECLARE rows int; BEGIN
           EXECUTE (SELECT format('SELECT count(*) FROM %I', name) FROM metrics_snapshot_detached) INTO rows;
           ASSERT rows = 1 AND (SELECT metrics_snapshot_drop_detached(name) FROM metrics_snapshot_detached);
         END $$",
        // A list that somebody wrote into is no way to have another table dropped.
        "DO $$ BEGIN
           INSERT INTO metrics_snapshot_detached VALUES ('users', now(), 'infinity');
           ASSERT NOT metrics_snapshot_drop_detached('users');
         END $$",
    ] {
        connection.batch(allowed).await.expect(allowed);
    }
    for denied in [
        "CREATE TABLE mine (id int)",
        "DROP TABLE users",
        "ALTER TABLE users ADD COLUMN x int",
        "TRUNCATE users",
        "CREATE TABLE part PARTITION OF metrics_snapshot FOR VALUES FROM ('2026-01-01') TO ('2026-01-02')",
        "ALTER TABLE metrics_snapshot ADD COLUMN x int",
        "ALTER FUNCTION metrics_snapshot_drop_detached(text) RESET ALL",
        "DELETE FROM refinery_schema_history",
        "UPDATE refinery_schema_history SET checksum = '1'",
        "INSERT INTO refinery_schema_history VALUES (99999, 'x', 'x', 'x')",
        "DELETE FROM migrator_journal",
        "UPDATE migrator_journal SET name = 'x'",
        "INSERT INTO migrator_journal (action, outcome, started_at, migrator_version) VALUES ('reset', 'reset', now(), '1')",
        "CREATE SCHEMA mine",
        "CREATE TEMPORARY TABLE mine (id int)",
    ] {
        is_denied(&mut connection, denied).await;
    }
    for looking in
        [&["status"][..], &["history"], &["wait", "--timeout", "5s"], &["wait", "--for", "database"]]
    {
        deployment.migrator(&service, looking).await.ends(0);
    }
    // Nothing is pending, so also `up` is right, and changes nothing.
    deployment.migrator(&service, &["up"]).await.ends(0);
    assert_eq!(schema::inspect(&mut connection).await.unwrap().state, SchemaState::Current);
    deployment.migrator(&service, &["down"]).await.ends(78);
    drop(connection);
    deployment.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_migration_reaches_the_service() {
    let deployment = Deployment::new().await;
    let (owner, service) = (deployment.owner_address(), deployment.service_address());
    let grant = [("MIGRATOR_GRANT_TO", deployment.service.as_str())];
    let first = ("V1__first", "CREATE TABLE first (id bigint PRIMARY KEY);");
    let second = ("V2__second", "CREATE TABLE second (id bigserial PRIMARY KEY, other bigint GENERATED ALWAYS AS IDENTITY, note text);
        CREATE VIEW seen AS SELECT id FROM second;
        CREATE TABLE parts (id bigint, at int) PARTITION BY RANGE (at);
        CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (9);");
    library_at(&owner, Backend::Postgres, &[first], &grant).up(None).await.unwrap();
    let mut connection = deployment.connect(&service).await;
    connection.batch("INSERT INTO first VALUES (1)").await.unwrap();
    let report = library_at(&owner, Backend::Postgres, &[first, second], &grant).up(None).await.unwrap();
    assert_eq!((report.applied.len(), report.granted_to.as_deref()), (1, Some(deployment.service.as_str())));
    let all = "INSERT INTO second (note) VALUES ('x'); SELECT * FROM seen; INSERT INTO parts VALUES (1, 1); UPDATE second SET note = 'y'; DELETE FROM second";
    connection.batch(all).await.unwrap();

    // Rights that somebody took away come back, though nothing is pending.
    let mut owning = deployment.connect(&owner).await;
    owning
        .batch(&format!("REVOKE ALL ON first, refinery_schema_history FROM {}", deployment.service))
        .await
        .unwrap();
    is_denied(&mut connection, "SELECT * FROM first").await;
    let error = schema::inspect(&mut connection).await.expect_err("it may not read the history");
    assert_eq!(error.kind(), DatabaseErrorKind::InsufficientPrivilege);
    assert!(error.to_string().contains("MIGRATOR_GRANT_TO"), "{error}");
    deployment.migrator(&service, &["status"]).await.ends(78).says(&["MIGRATOR_GRANT_TO"]);
    let repaired = library_at(&owner, Backend::Postgres, &[first, second], &grant).up(None).await.unwrap();
    assert!(repaired.applied.is_empty() && repaired.granted_to.is_some());
    connection.batch("SELECT * FROM first; SELECT * FROM refinery_schema_history").await.unwrap();
    drop((connection, owning));
    deployment.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_does_not_exist() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let run = support::migrator(&database, &["up", "--grant-to", "nobody_of_that_name"]).await.ends(78);
    run.says(&["nobody_of_that_name", "does not exist", "MIGRATOR_GRANT_TO"]);
    let mut connection = database.connect().await;
    assert!(!support::has_table(&mut connection, "users").await, "nothing was changed");
}

/// It is told that rights are missing, which a person mends.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_role_that_owns_nothing_cannot_migrate() {
    let deployment = Deployment::new().await;
    deployment.migrator(&deployment.service_address(), &["up"]).await.ends(78).says(&["permission denied"]);
    deployment.clean().await;
}

/// The service goes on while migrations run, and may be older than the one that fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_made_anew_has_its_rights_at_once() {
    let deployment = Deployment::new().await;
    let (owner, service) = (deployment.owner_address(), deployment.service_address());
    let grant = [("MIGRATOR_GRANT_TO", deployment.service.as_str())];
    let anew = "CREATE TABLE v (id bigint, note text);\nINSERT INTO v SELECT id FROM u;\nDROP TABLE u;\nALTER TABLE v RENAME TO u;";
    let back = "CREATE TABLE v (id bigint);\nINSERT INTO v SELECT id FROM u;\nDROP TABLE u;\nALTER TABLE v RENAME TO u;";
    let parts = "-- migrator: no-transaction\nCREATE TABLE w (id bigint);\nSELECT 1 / 0;";
    let files = [
        ("V1__u", "CREATE TABLE u (id bigint);"),
        ("V2__anew", anew),
        ("D2__anew", back),
        ("V3__fails", "SELECT 1 / 0;"),
    ];
    let release = |files: support::Files<'_>| library_at(&owner, Backend::Postgres, files, &grant);
    release(&files[..1]).up(None).await.unwrap();
    let mut connection = deployment.connect(&service).await;
    release(&files).up(None).await.expect_err("nothing is divided by zero");
    connection.batch("INSERT INTO u VALUES (1, 'new')").await.unwrap();
    release(&files[..3]).down(Down::Steps(1)).await.unwrap();
    connection.batch("INSERT INTO u VALUES (2); SELECT * FROM refinery_schema_history").await.unwrap();

    // Of what runs in parts some is done, and stays.
    release(&[files[0], ("V2__parts", parts)]).up(None).await.expect_err("nothing is divided by zero");
    connection.batch("INSERT INTO w VALUES (1)").await.unwrap();
    drop(connection);
    deployment.clean().await;
}

/// The rights come with the record of the migration, and not only at the end of the run.
#[tokio::test(flavor = "multi_thread")]
async fn what_runs_in_parts_has_its_rights_before_the_next_migration() {
    let deployment = Deployment::new().await;
    let owner = deployment.owner_address();
    let grant = [("MIGRATOR_GRANT_TO", deployment.service.as_str())];
    let has_rights = |table: &str| {
        format!(
            "DO $$ BEGIN ASSERT has_table_privilege('{}', '{table}', 'INSERT'); END $$;",
            deployment.service
        )
    };
    let back = "CREATE TABLE v (id bigint);\nVACUUM u;";
    let (after, after_undo) = (has_rights("u"), has_rights("v"));
    let files = [
        ("V1__first", "SELECT 1;"),
        ("D1__first", after_undo.as_str()),
        ("V2__parts", "-- migrator: no-transaction\nCREATE TABLE u (id bigint);"),
        ("D2__parts", back),
        ("V3__next", after.as_str()),
    ];
    let release = library_at(&owner, Backend::Postgres, &files, &grant);
    release.up(None).await.unwrap();
    release.down(Down::Steps(3)).await.unwrap();
    deployment.clean().await;
}

/// What belongs to an extension, and a foreign table of another role, is theirs: nothing is given on it, and nothing
/// is missing.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_extension_or_another_role_has_is_left_alone_and_our_foreign_table_is_not() {
    let deployment = Deployment::new().await;
    let owner = deployment.owner_address();
    let grant = [("MIGRATOR_GRANT_TO", deployment.service.as_str())];
    let first = ("V1__first", "CREATE TABLE first (id bigint);");
    let foreign = ("V2__foreign", "CREATE FOREIGN TABLE elsewhere (id bigint) SERVER s;");
    library_at(&owner, Backend::Postgres, &[first], &grant).up(None).await.unwrap();
    // A table of an extension as its administrator makes it, which this role does not own.
    let mut administrator = deployment.database.connect().await;
    administrator
        .batch(&format!(
            "CREATE TABLE theirs (id bigserial); CREATE VIEW shown AS SELECT 1 AS one;
             ALTER EXTENSION plpgsql ADD TABLE theirs; ALTER EXTENSION plpgsql ADD VIEW shown;
             ALTER EXTENSION plpgsql ADD SEQUENCE theirs_id_seq;
             CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; GRANT USAGE ON FOREIGN SERVER s TO {};
             CREATE FOREIGN TABLE not_ours (id bigint) SERVER s",
            deployment.owner
        ))
        .await
        .unwrap();
    let again = library_at(&owner, Backend::Postgres, &[first], &grant).up(None).await.unwrap();
    assert_eq!(again.granted_to, None);
    let report = library_at(&owner, Backend::Postgres, &[first, foreign], &grant).up(None).await.unwrap();
    assert_eq!(report.granted_to.as_deref(), Some(deployment.service.as_str()));
    let may = |table: &str| {
        format!(
            "SELECT CAST(has_table_privilege('{}', '{table}', 'INSERT') AS int)::bigint AS it",
            deployment.service
        )
    };
    assert_eq!(support::number(&mut administrator, &may("elsewhere")).await, 1);
    for table in ["theirs", "not_ours"] {
        assert_eq!(support::number(&mut administrator, &may(table)).await, 0, "{table}");
    }
    drop(administrator);
    deployment.clean().await;
}
