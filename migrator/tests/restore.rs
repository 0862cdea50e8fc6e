//! `restore` beside others: migrators, roles and schemas of a database that is shared, and what it knows.

use std::time::Duration;

use foundation::database::Backend;
use foundation::testing::{TestDatabase, maintenance, unique_name};

use crate::support::tools::{fake, real_psql, with_all, with_path, with_tools};
use crate::support::{self, has_table, migrator, texts};

/// Other migrators wait until it is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrators_are_locked_out_while_it_is_restored() {
    let database = TestDatabase::new(Backend::Postgres).await;
    with_tools(&database, &["up", "--to", "3"]).await.ends(0);
    with_tools(&database, &["backup", "x"]).await.ends(0);
    let file = database.folder.path().join("x");
    let empty = TestDatabase::new(Backend::Postgres).await;
    let slow = tempfile::tempdir().unwrap();
    let (begun, go) = (slow.path().join("begun"), slow.path().join("go"));
    let real = real_psql();
    fake(
        slow.path(),
        "psql",
        &format!(
            "case $1 in --version) exec {0} --version;; esac; touch {1}; while ! test -e {2}; do sleep 0.05; done; exec {0} \"$@\"",
            real.display(),
            begun.display(),
            go.display()
        ),
    );
    let path = file.to_str().unwrap().to_owned();
    let (folders, arguments) = ([slow.path()], ["restore", path.as_str()]);
    let (restored, migrated) = tokio::join!(with_path(&empty, &folders, &arguments), async {
        foundation::testing::eventually(Duration::from_secs(20), "it restores", async || begun.exists())
            .await;
        let refused = migrator(&empty, &["up", "--deadline", "300ms"]).await;
        std::fs::write(&go, "").unwrap();
        refused
    });
    migrated.ends(75).says(&["the migrator's lock is held by", "bedplate-migrator"]);
    restored.ends(0);
    assert_eq!(support::versions(&mut empty.connect().await).await, ["1", "2", "3"]);
}

/// Where the one that signs in only acts as the owner, everything belongs to the owner afterwards too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_restored_belongs_to_the_role_of_the_migrator() {
    let (owner, login) = (unique_name("the \"owner\""), unique_name("login"));
    let quoted = owner.replace('"', "\"\"");
    maintenance(&format!("CREATE ROLE \"{quoted}\"; CREATE ROLE {login} LOGIN NOINHERIT PASSWORD 'x'; GRANT \"{quoted}\" TO {login}")).await;
    let [database, empty] =
        [TestDatabase::new(Backend::Postgres).await, TestDatabase::new(Backend::Postgres).await];
    let file = database.folder.path().join("x");
    let path = file.to_str().unwrap();
    for (database, commands) in [
        (&database, [&["up"][..], &["backup", path], &["restore", path, "--replace", "--yes"]]),
        (&empty, [&["restore", path][..], &["up"], &["status"]]),
    ] {
        let name = database.url.name();
        maintenance(&format!("ALTER DATABASE {name} OWNER TO \"{quoted}\"")).await;
        let server = database.address.rsplit_once('@').unwrap().1.to_owned();
        let address = format!("postgresql://{login}:x@{server}");
        let variables = [("DATABASE_URL", address.as_str()), ("MIGRATOR_ROLE", owner.as_str())];
        for arguments in commands {
            with_all(database, &[], &variables, arguments).await.ends(0);
        }
        let owners = "SELECT DISTINCT CAST(pg_get_userbyid(relowner) AS text) AS it FROM pg_class WHERE relnamespace = 'public'::regnamespace";
        assert_eq!(texts(&mut database.connect().await, owners).await.unwrap(), [owner.as_str()]);
    }
    drop((database, empty));
    maintenance(&format!("DROP ROLE {login}; DROP ROLE \"{quoted}\"")).await;
}

/// Services that share a database by its schemas: each is copied and put back alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_is_restored_beside_others() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let (one, two) = ([("DATABASE_SCHEMA", "Team-1")], [("DATABASE_SCHEMA", "team_2")]);
    for variables in [one, two] {
        with_all(&database, &[], &variables, &["up"]).await.ends(0);
    }
    let file = database.folder.path().join("one.backup");
    let path = file.to_str().unwrap();
    with_all(&database, &[], &one, &["backup", path]).await.ends(0);
    database.connect().await.batch("CREATE TABLE \"Team-1\".by_hand (id bigint); CREATE TABLE team_2.by_hand (id bigint); CREATE TABLE public.by_hand (id bigint)").await.unwrap();
    with_all(&database, &[], &one, &["restore", path]).await.ends(2).says(&["there is something in"]);
    with_all(&database, &[], &one, &["restore", path, "--replace", "--yes"]).await.ends(0);
    let tables = "SELECT schemaname || '.' || tablename AS it FROM pg_tables WHERE tablename IN ('by_hand', 'users') ORDER BY 1";
    let found = texts(&mut database.connect().await, tables).await.unwrap();
    assert_eq!(found, ["Team-1.users", "public.by_hand", "team_2.by_hand", "team_2.users"]);
    for variables in [one, two] {
        with_all(&database, &[], &variables, &["up"]).await.ends(0);
    }
    // Where that schema is not there yet, it comes with the backup; whatever else is there is in nobody's way.
    let other = TestDatabase::new(Backend::Postgres).await;
    with_all(&other, &[], &two, &["up"]).await.ends(0);
    with_all(&other, &[], &one, &["restore", path]).await.ends(0);
    with_all(&other, &[], &one, &["check"]).await.ends(0);
    assert_eq!(texts(&mut other.connect().await, tables).await.unwrap(), ["Team-1.users", "team_2.users"]);
}

/// `public`, named, is like another, but that it is in every database and keeps its owner and its rights.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn public_is_restored_as_a_schema_of_that_name() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let named = [("DATABASE_SCHEMA", "public")];
    let file = database.folder.path().join("x");
    let path = file.to_str().unwrap();
    let rights = "SELECT nspowner || ' ' || coalesce(CAST(nspacl AS text), '') AS it FROM pg_namespace WHERE nspname = 'public'";
    let first = texts(&mut database.connect().await, rights).await.unwrap();
    with_all(&database, &[], &named, &["up"]).await.ends(0);
    with_all(&database, &[], &named, &["backup", path]).await.ends(0);
    let later =
        "CREATE SCHEMA neighbour; CREATE TABLE neighbour.one (id bigint); CREATE TABLE one (id bigint)";
    database.connect().await.batch(later).await.unwrap();
    let tables = "SELECT schemaname || '.' || tablename AS it FROM pg_tables WHERE tablename IN ('one', 'users') ORDER BY 1";
    // The same file, by who names no schema.
    for variables in [&named[..], &[]] {
        with_all(&database, &[], variables, &["restore", path, "--replace", "--yes"]).await.ends(0);
        let found = texts(&mut database.connect().await, tables).await.unwrap();
        assert_eq!(found, ["neighbour.one", "public.users"]);
        with_all(&database, &[], variables, &["check"]).await.ends(0);
    }
    let empty = TestDatabase::new(Backend::Postgres).await;
    with_all(&empty, &[], &named, &["restore", path]).await.ends(0);
    with_all(&empty, &[], &named, &["check"]).await.ends(0);
    for database in [&database, &empty] {
        assert_eq!(texts(&mut database.connect().await, rights).await.unwrap(), first);
    }
}

/// Without a schema of its own, a backup replaces those that it makes, and others keep theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemas_that_a_backup_does_not_know_stay() {
    let database = TestDatabase::new(Backend::Postgres).await;
    with_tools(&database, &["up"]).await.ends(0);
    database
        .connect()
        .await
        .batch("CREATE SCHEMA \"of us\"; CREATE TABLE \"of us\".one (id bigint)")
        .await
        .unwrap();
    with_tools(&database, &["backup", "x"]).await.ends(0);
    let later = "CREATE SCHEMA neighbour; CREATE TABLE neighbour.one (id bigint); CREATE TABLE \"of us\".two (id bigint); CREATE TABLE two (id bigint)";
    database.connect().await.batch(later).await.unwrap();
    with_tools(&database, &["restore", "x", "--replace", "--yes"]).await.ends(0);
    let tables = "SELECT schemaname || '.' || tablename AS it FROM pg_tables WHERE tablename IN ('one', 'two') ORDER BY 1";
    assert_eq!(texts(&mut database.connect().await, tables).await.unwrap(), ["neighbour.one", "of us.one"]);
}

/// What lies in no schema is replaced too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_in_no_schema_is_restored() {
    let database = TestDatabase::new(Backend::Postgres).await;
    with_tools(&database, &["up", "--to", "2"]).await.ends(0);
    let made = "CREATE FOREIGN DATA WRAPPER \"their data\"; CREATE SERVER elsewhere FOREIGN DATA WRAPPER \"their data\"; CREATE USER MAPPING FOR CURRENT_USER SERVER elsewhere;
        CREATE FOREIGN TABLE theirs (id bigint) SERVER elsewhere; CREATE PUBLICATION \"of users\" FOR TABLE users;
        CREATE FUNCTION look() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER looking ON ddl_command_end EXECUTE FUNCTION look()";
    database.connect().await.batch(made).await.unwrap();
    with_tools(&database, &["backup", "x"]).await.ends(0);
    database.connect().await.batch("ALTER PUBLICATION \"of users\" DROP TABLE users").await.unwrap();
    with_tools(&database, &["restore", "x", "--replace", "--yes"]).await.ends(0);
    let found = "SELECT (SELECT CAST(string_agg(pubname || ' of ' || tablename, '') AS text) FROM pg_publication_tables)
        || (SELECT string_agg(evtname, '') FROM pg_event_trigger) || (SELECT string_agg(foreign_table_name, '') FROM information_schema.foreign_tables) AS it";
    assert_eq!(
        texts(&mut database.connect().await, found).await.unwrap(),
        ["of users of userslookingtheirs"]
    );
}

/// Once COMMIT is sent, only the server knows, and that is said; what is restored and cannot be read is a problem
/// and no failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_says_what_it_knows() {
    let database = TestDatabase::new(Backend::Postgres).await;
    with_tools(&database, &["up", "--to", "2"]).await.ends(0);
    with_tools(&database, &["backup", "x"]).await.ends(0);
    let file = database.folder.path().join("x");
    let path = file.to_str().unwrap();
    let fakes = tempfile::tempdir().unwrap();
    let psql = real_psql().display().to_string();
    // The answer to COMMIT is lost.
    fake(
        fakes.path(),
        "psql",
        &format!("case $1 in --version) exec {psql} --version;; esac; {psql} \"$@\"; exit 2"),
    );
    let empty = TestDatabase::new(Backend::Postgres).await;
    let run = with_path(&empty, &[fakes.path()], &["restore", path]).await.ends(75);
    run.says(&["it may have been restored", "look"]).hides(&["the database is what it was"]);
    assert!(has_table(&mut empty.connect().await, "users").await);
    // The server says no to COMMIT.
    fake(
        fakes.path(),
        "psql",
        &format!(
            "case $1 in --version) exec {psql} --version;; esac; sed 's/^COMMIT;$/SELECT 1 \\/ 0;/' | {psql} \"$@\""
        ),
    );
    let empty = TestDatabase::new(Backend::Postgres).await;
    with_path(&empty, &[fakes.path()], &["restore", path])
        .await
        .ends(75)
        .says(&["the database is what it was"]);
    assert!(!has_table(&mut empty.connect().await, "users").await);
    // The history cannot be read.
    fake(
        fakes.path(),
        "psql",
        &format!(
            "case $1 in --version) exec {psql} --version;; esac; {psql} \"$@\" && exec {psql} --quiet --command 'ALTER TABLE refinery_schema_history DROP COLUMN checksum'"
        ),
    );
    let run = with_path(&empty, &[fakes.path()], &["restore", path]).await.ends(65);
    assert!(
        run.stdout.contains("restored ")
            && run.stdout.contains("problem: it is restored, and cannot be read"),
        "{run}"
    );
}
