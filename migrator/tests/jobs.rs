//! What a job in a cluster needs: last words, a role that owns, a schema of its own, and the next primary.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use foundation::database::{Backend, Connection, Statement};
use foundation::on_both_databases;
use foundation::testing::cluster::PrivateCluster;
use foundation::testing::eventually;
use foundation::testing::{TestDatabase, database_settings, maintenance, unique_name};
use migrator::schema::{self, SchemaState};
use serde_json::Value;
use tokio::io::AsyncBufReadExt as _;

use crate::support::{self, Run, embedded_versions, migrator_command, migrator_with, newest};

on_both_databases! {
    async fn the_last_words_are_left_where_the_cluster_reads_them(database: TestDatabase) {
        let log = database.folder.path().join("termination-log");
        let variables = [("MIGRATOR_TERMINATION_LOG", log.to_str().unwrap())];
        // Where there is no such file this is no container.
        migrator_with(&database, &variables, &["up", "--to", "1"]).await.ends(0);
        assert!(!log.exists());
        std::fs::write(&log, "what an earlier run left, which was a good deal longer than this one is").unwrap();
        let words = || serde_json::from_str::<Value>(&std::fs::read_to_string(&log).unwrap()).unwrap();

        migrator_with(&database, &variables, &["up"]).await.ends(0);
        let told = words();
        assert_eq!((told["command"].as_str(), told["exit_code"].as_i64()), (Some("up"), Some(0)));
        let expected = format!("applied {}; at version {}", embedded_versions().len() - 1, newest());
        assert!(told["message"].as_str().unwrap().starts_with(&expected), "{told}");

        migrator_with(&database, &variables, &["down", "--to", "9999"]).await.ends(2);
        let told = words();
        assert_eq!((told["command"].as_str(), told["exit_code"].as_i64()), (Some("down"), Some(2)));
        assert!(told["message"].as_str().unwrap().contains("9999"), "{told}");
    }
}

/// A program that writes to this, with these last words.
async fn ends_on(database: &TestDatabase, log: &Path, stdout: impl Into<Stdio>, arguments: &[&str]) -> Run {
    let mut command = migrator_command(database, arguments);
    command.stdout(stdout).env("MIGRATOR_TERMINATION_LOG", log);
    let output = command.spawn().unwrap().wait_with_output().await.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    Run { code: output.status.code().unwrap(), stdout: String::new(), stderr }
}

/// Who gets the exit code of success has the result too, unless nobody reads it any more.
#[tokio::test]
async fn a_result_that_is_lost_is_told() {
    let database = TestDatabase::new(Backend::Sqlite).await;
    let log = database.folder.path().join("termination-log");
    std::fs::write(&log, "").unwrap();
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    for arguments in [
        &["up"][..],
        &["dump"],
        &["status", "--format", "json"],
        &["history"],
        &["check-config"],
        &["lint"],
        &["lint", "--sarif"],
        &["completions", "bash"],
        &["man"],
    ] {
        let run = ends_on(&database, &log, full(), arguments).await.ends(78);
        run.says(&[
            "ended with exit code 0, but its result could not be written to standard output: No space",
        ]);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        ends_on(&database, &log, writer, arguments).await.ends(0);
    }
    ends_on(&database, &log, full(), &["--help"]).await.ends(78).says(&["the help could not be written"]);
    ends_on(&database, &log, full(), &["up"]).await.ends(78);
    let told: Value = serde_json::from_str(&std::fs::read_to_string(&log).unwrap()).unwrap();
    assert_eq!((&told["command"], &told["exit_code"]), (&"up".into(), &78.into()), "{told}");
    // What failed by itself says that, also when its document is lost.
    let run = ends_on(&database, &log, full(), &["stamp", "99999", "--format", "json"]).await.ends(2);
    run.says(&["version 99999", "the document could not be written"]);
}

/// What is wrong with the arguments is told to a program as everything else is.
#[tokio::test]
async fn wrong_arguments_are_told_to_programs_too() {
    let database = TestDatabase::missing(Backend::Sqlite);
    let log = database.folder.path().join("termination-log");
    let variables = [("MIGRATOR_TERMINATION_LOG", log.to_str().unwrap())];
    for (arguments, command, said) in [
        (&["down", "--to", "-1"][..], "down", "unexpected argument '-1'"),
        (&["stamp"], "stamp", "<VERSION>"),
        (&["--bogus"], "arguments", "unexpected argument '--bogus'"),
        (&["up", "--lock-timeout", "abc"], "up", "invalid value 'abc' for '--lock-timeout <DURATION>'"),
        (&["dwon"], "arguments", "unrecognized subcommand 'dwon'"),
        (&["up", "--role", ""], "up", "it is empty"),
        (&["up", "--schema", " "], "up", "it is empty"),
        (&["up", "--grant-to", ""], "up", "it is empty"),
        (&["up", "--migrations", ""], "up", "it is empty"),
        (&["up", "--backup-cmd", ""], "up", "it is empty"),
    ] {
        std::fs::write(&log, "").unwrap();
        let told = || serde_json::from_str::<Value>(&std::fs::read_to_string(&log).unwrap()).unwrap();
        let plain = migrator_with(&database, &variables, arguments).await.ends(2).says(&[said]);
        assert_eq!(plain.stdout, "", "{plain}");
        assert_eq!((&told()["command"], &told()["exit_code"]), (&command.into(), &2.into()));
        let json = [arguments, &["--format", "json"]].concat();
        let document = migrator_with(&database, &variables, &json).await.ends(2).says(&[said]).json();
        assert_eq!(document["command"], command, "{document}");
        assert!(document["error"]["message"].as_str().unwrap().contains(said), "{document}");
        assert_eq!(told()["message"], document["error"]["message"]);
    }
    // Settings that are wrong are told where they say themselves.
    std::fs::write(&log, "").unwrap();
    let wrong = [variables[0], ("MIGRATOR_LOCK_TIMEOUT", "abc")];
    migrator_with(&database, &wrong, &["up"]).await.ends(78);
    assert!(std::fs::read_to_string(&log).unwrap().contains("MIGRATOR_LOCK_TIMEOUT"));
    for arguments in [&["--help"][..], &["--version"], &["help", "up"]] {
        let run = migrator_with(&database, &variables, arguments).await.ends(0);
        assert!(!run.stdout.is_empty() && run.stderr.is_empty(), "{run}");
    }
    assert!(!database.file().exists());
}

async fn text(connection: &mut Connection, sql: &'static str) -> String {
    let row = connection.query_optional(&Statement::read("pg_catalog", sql), &[]).await.unwrap();
    row.expect("a row").get("it").unwrap()
}

const OWNERS: &str = "SELECT string_agg(DISTINCT pg_get_userbyid(relowner)::text, ',') AS it FROM pg_class
   WHERE relnamespace = current_schema()::regnamespace";

/// Who signs in has no rights of its own; what is made belongs to the role it is a member of.
#[tokio::test]
async fn another_role_owns_what_is_made() {
    let database = TestDatabase::missing(Backend::Postgres);
    let (owner, login) = (unique_name("owner"), unique_name("login"));
    maintenance(&format!("CREATE ROLE {owner}")).await;
    maintenance(&format!("CREATE ROLE {login} LOGIN CREATEDB PASSWORD 'secret'")).await;
    let host = database.address.rsplit_once('@').unwrap().1;
    let address = format!("postgresql://{login}:secret@{host}");
    let up = async |arguments: &[&str]| {
        let mut command = migrator_command(&database, arguments);
        command.env("DATABASE_URL", &address).env("ADMIN_PASSWORD", "a password of the test");
        Run::of(command).await
    };
    up(&["up", "--role", &owner]).await.ends(78).says(&["MIGRATOR_ROLE", "GRANT"]);
    up(&["up", "--role", "nobody-is-called-so"]).await.ends(78).says(&["there is no role"]);
    maintenance(&format!("GRANT {owner} TO {login}")).await;
    up(&["up", "--role", &owner]).await.ends(0);
    up(&["check", "--role", &owner]).await.ends(0);
    let mut connection = database.connect().await;
    assert_eq!(text(&mut connection, OWNERS).await, owner);
    drop(connection);
    maintenance(&format!("DROP DATABASE {} WITH (FORCE)", database.url.name())).await;
    maintenance(&format!("DROP ROLE {owner}")).await;
    maintenance(&format!("DROP ROLE {login}")).await;
}

const SCHEMAS: &str = "SELECT string_agg(DISTINCT relnamespace::regnamespace::text, ',') AS it FROM pg_class
   WHERE relname IN ('users', 'metrics_snapshot', 'refinery_schema_history', 'migrator_journal')";

/// Everything is in the schema that is named, and two of them in one database know nothing of each other.
#[tokio::test]
async fn everything_is_in_one_schema() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let password = [("ADMIN_PASSWORD", "a password of the test")];
    migrator_with(&database, &password, &["up", "--schema", "Team-1"]).await.ends(0);
    let mut connection = database.connect().await;
    assert_eq!(text(&mut connection, SCHEMAS).await, "\"Team-1\"");
    for command in [&["status"][..], &["check"], &["rehearse"], &["plan", "--check"], &["up"]] {
        migrator_with(&database, &[("DATABASE_SCHEMA", "Team-1")], command).await.ends(0);
    }
    migrator_with(&database, &[], &["plan", "--check"]).await.ends(73);
    let both = [password[0], ("DATABASE_SCHEMA", "team_2")];
    migrator_with(&database, &both, &["up"]).await.ends(0);
    migrator_with(&database, &[("DATABASE_SCHEMA", "team_2")], &["down", "--to", "0"]).await.ends(0);
    migrator_with(&database, &[], &["check", "--schema", "Team-1"]).await.ends(0);
}

/// Where the search path leads nowhere nothing can be made, and what to do about it is told.
#[tokio::test]
async fn without_a_schema_to_work_in() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let mut connection = database.connect().await;
    connection
        .batch(&format!("ALTER DATABASE {} SET search_path = nosuch", database.url.name()))
        .await
        .unwrap();
    let password = [("ADMIN_PASSWORD", "a password of the test")];
    for arguments in [&["up"][..], &["up", "--grant-to", "postgres"], &["stamp", "1"], &["down"]] {
        let run = migrator_with(&database, &password, arguments).await.ends(78);
        run.says(&["there is no schema to work in", "DATABASE_SCHEMA", "SET search_path"]);
    }
    let run = migrator_with(&database, &password, &["down", "--schema", "nope"]).await.ends(78);
    run.says(&["there is no schema nope", "DATABASE_SCHEMA"]);
    migrator_with(&database, &password, &["up", "--schema", "public"]).await.ends(0);
}

/// The tables of another service are found behind those of this one, and are no history of it: neither where they
/// may be read nor where they may not.
#[tokio::test]
async fn what_lies_further_on_in_the_search_path_is_anothers() {
    let database = TestDatabase::new(Backend::Postgres).await;
    let password = [("ADMIN_PASSWORD", "a password of the test")];
    migrator_with(&database, &password, &["up"]).await.ends(0);
    let mut connection = database.connect().await;
    let history = support::versions(&mut connection).await;
    let (reader, stranger) = (unique_name("reader"), unique_name("stranger"));
    for (role, rights) in [(&reader, "SELECT"), (&stranger, "")] {
        let mut sql = format!(
            "CREATE ROLE {role} LOGIN CREATEDB PASSWORD 'secret'; CREATE SCHEMA {role} AUTHORIZATION {role}; ALTER ROLE {role} SET search_path = {role}, public;"
        );
        if !rights.is_empty() {
            sql.push_str(&format!("GRANT {rights} ON ALL TABLES IN SCHEMA public TO {role}"));
        }
        connection.batch(&sql).await.unwrap();
        let host = database.address.rsplit_once('@').unwrap().1;
        let address = format!("postgresql://{role}:secret@{host}");
        let second = [password[0], ("DATABASE_URL", &address)];
        let run = async |arguments: &[&str]| migrator_with(&database, &second, arguments).await;
        let status = run(&["status", "--format", "json"]).await.ends(0).json();
        assert_eq!(status["pending"], embedded_versions().len(), "{role}");
        run(&["history"]).await.ends(0);
        run(&["plan", "--check"]).await.ends(73);
        run(&["check"]).await.ends(73);
        run(&["wait", "--timeout", "0s"]).await.ends(75).says(&["no migration is applied yet"]);
        run(&["down"]).await.ends(0);
        // Somebody who asks before, and goes on to ask.
        let url = address.parse().unwrap();
        let mut early = Connection::open(&url, &database_settings([]), "test").await.unwrap();
        assert_eq!(schema::inspect(&mut early).await.unwrap().state, SchemaState::Unmigrated, "{role}");
        let up = run(&["up", "--format", "json"]).await.ends(0).json();
        assert_eq!(up["applied"].as_array().unwrap().len(), embedded_versions().len(), "{role}");
        assert_eq!(up["admin"], "admin", "it has an administrator of its own");
        assert_eq!(schema::inspect(&mut early).await.unwrap().state, SchemaState::Current, "{role}");
        drop(early);
        for command in [&["up"][..], &["check"], &["wait", "--timeout", "0s"], &["down", "--to", "0"]] {
            run(command).await.ends(0);
        }
        assert_eq!(support::versions(&mut connection).await, history, "the first one is as it was");
        connection.batch(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
    }
    migrator_with(&database, &[], &["check"]).await.ends(0);
}

#[tokio::test]
async fn a_name_that_no_schema_has_is_refused() {
    let database = TestDatabase::new(Backend::Postgres).await;
    for name in ["a b", "a\"b", "pg_mine", &"x".repeat(64)] {
        migrator_with(&database, &[], &["up", "--schema", name]).await.ends(78).says(&["DATABASE_SCHEMA"]);
    }
    let file = TestDatabase::new(Backend::Sqlite).await;
    migrator_with(&file, &[], &["up", "--schema", "app"])
        .await
        .ends(78)
        .says(&["only PostgreSQL has schemas"]);
}

/// While the run waits for the lock of the first server, that one ends and the second takes its place.
#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_at_the_next_primary() {
    let (first, second) = (PrivateCluster::start(), PrivateCluster::start());
    let database = TestDatabase::missing(Backend::Postgres);
    let mut holder =
        Connection::open(&first.address.parse().unwrap(), &database_settings([]), "test").await.unwrap();
    holder.batch("SELECT pg_advisory_lock(x'626564706c617465'::bigint)").await.unwrap();
    let both = format!(
        "{}:{},127.0.0.1:{}/postgres",
        first.address.rsplit_once(':').unwrap().0,
        first.port(),
        second.port()
    );
    let mut command = migrator_command(&database, &["up", "--format", "json"]);
    command.env("DATABASE_URL", &both).env("ADMIN_PASSWORD", "a password of the test");
    let mut child = command.spawn().unwrap();
    let mut lines = tokio::io::BufReader::new(child.stderr.take().unwrap()).lines();
    while !lines.next_line().await.unwrap().expect("it says so").contains("waiting for it") {}
    first.stop();
    let mut said = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        said.push_str(&line);
    }
    assert_eq!(child.wait().await.unwrap().code(), Some(0), "{said}");
    assert!(said.contains("the server went away before the first migration"), "{said}");
    let url = second.address.parse().unwrap();
    let mut connection = Connection::open(&url, &database_settings([]), "test").await.unwrap();
    assert_eq!(support::versions(&mut connection).await.len(), embedded_versions().len());
}

/// Whichever host is named first, what is written is written to the primary. A standby alone may be the primary in a
/// moment, so a job tries again.
#[tokio::test(flavor = "multi_thread")]
async fn of_several_hosts_the_primary_is_written() {
    let primary = PrivateCluster::start();
    let standby = primary.standby();
    let database = TestDatabase::missing(Backend::Postgres);
    let at = |name: &str, hosts: &[&PrivateCluster]| {
        let hosts: Vec<String> = hosts.iter().map(|it| format!("127.0.0.1:{}", it.port())).collect();
        let user = primary.address.rsplit_once('@').unwrap().0;
        format!("{user}@{}/{name}", hosts.join(","))
    };
    let run = async |address: &str, arguments: &[&str]| {
        let mut command = migrator_command(&database, arguments);
        command.env("DATABASE_URL", address).env("ADMIN_PASSWORD", "a password of the test");
        command.env("MIGRATOR_WAIT_TIMEOUT", "1s");
        Run::of(command).await
    };
    let (alone, both) = (at("postgres", &[&standby]), at("postgres", &[&standby, &primary]));
    let missing = at("missing", &[&standby]);
    for (address, arguments) in [
        (&alone, &["up"][..]),
        (&alone, &["stamp", "1"]),
        (&alone, &["up", "--schema", "new"]),
        (&missing, &["up"]),
    ] {
        run(address, arguments)
            .await
            .ends(69)
            .says(&["this is a standby", "target_session_attrs=read-write"]);
    }
    run(&at("postgres", &[&standby, &standby]), &["up"]).await.ends(69);
    for arguments in [
        &["up"][..],
        &["down", "--to", "0"],
        &["stamp", "1"],
        &["stamp", "0"],
        &["rehearse"],
        &["reset", "--yes"],
        &["up", "--schema", "new"],
    ] {
        run(&both, arguments).await.ends(0);
    }
    run(&at("made", &[&standby, &primary]), &["up"]).await.ends(0);
    // Whoever only looks may look at a standby, once it has got there.
    eventually(Duration::from_secs(20), "the standby follows", async || {
        run(&alone, &["wait", "--timeout", "0s"]).await.code == 0
    })
    .await;
    assert_eq!(run(&alone, &["status", "--format", "json"]).await.ends(0).json()["pending"], 0);
    run(&alone, &["up"]).await.ends(0);
    run(&alone, &["down"]).await.ends(69).says(&["this is a standby"]);
}
