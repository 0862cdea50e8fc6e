//! The commands of the program on both databases: what they do, what they print, how they end.

use foundation::database::Backend;
use foundation::on_both_databases;
use foundation::testing::TestDatabase;

use crate::support::{
    backend, count, each_up, embedded_versions, has_table, journal, migrator, migrator_with, newest, versions,
};

on_both_databases! {
    /// The second run finds nothing to do; what was taken back can be applied again.
    async fn up_applies_once_and_goes_back_and_forth(database: TestDatabase) {
        let first = migrator(&database, &[]).await.ends(0);
        let (all, newest) = (embedded_versions(), newest());
        assert!(first.stdout.starts_with(&format!("applied {}; at version {newest}\n", all.len())), "{first}");
        assert!(first.stdout.contains("made the administrator admin"), "{first}");
        let second = migrator(&database, &["up"]).await.ends(0);
        assert_eq!(second.stdout, format!("nothing to do; at version {newest}\n"), "{second}");
        let down = migrator(&database, &["down"]).await.ends(0);
        assert_eq!(down.stdout, format!("took 1 back; at version {}\n", all[all.len() - 2]), "{down}");
        let rest = migrator(&database, &["down", "--to", "0"]).await.ends(0);
        assert_eq!(rest.stdout, format!("took {} back; at version none\n", all.len() - 1), "{rest}");
        let mut connection = database.connect().await;
        assert!(!has_table(&mut connection, "users").await);
        assert!(versions(&mut connection).await.is_empty());
        let nothing = migrator(&database, &["down", "--steps", "3"]).await.ends(0);
        assert_eq!(nothing.stdout, "took 0 back; at version none\n", "{nothing}");
        migrator(&database, &["up", "--to", "1"]).await.ends(0);
        assert_eq!(versions(&mut connection).await, ["1"]);
        let base = migrator(&database, &["down", "--to", "0"]).await.ends(0);
        assert_eq!(base.stdout, "took 1 back; at version none\n", "{base}");
        assert_eq!(count(&mut connection, "refinery_schema_history").await, 0);
        let downs = all.iter().rev().map(|version| format!("down {version}"));
        let again = ["up 1".to_owned(), "down 1".to_owned()];
        let done: Vec<String> = each_up().into_iter().chain(downs).chain(again).collect();
        assert_eq!(journal(&mut connection).await, done);
        drop(connection);
        let unknown = (newest + 1).to_string();
        let no_migration = format!("no migration with the version {unknown}");
        migrator(&database, &["up", "--to", &unknown]).await.ends(2).says(&[&no_migration]);
        let not_applied = format!("version {unknown} is not applied");
        migrator(&database, &["down", "--to", &unknown]).await.ends(2).says(&[&not_applied]);
    }

    /// Each command writes one document, and its logs elsewhere.
    async fn every_command_writes_one_document(database: TestDatabase) {
        let json = async |arguments: &[&str]| {
            let arguments = [arguments, &["--format", "json"]].concat();
            migrator_with(&database, &[("LOG_FORMAT", "json")], &arguments).await.ends(0).json()
        };
        let before = json(&["status"]).await;
        let (all, newest) = (embedded_versions(), newest());
        assert_eq!((before["pending"].as_u64(), before["current_version"].as_i64()), (Some(all.len() as u64), None));
        assert_eq!(before["migrations"][0]["state"], "pending");

        let up = json(&["up"]).await;
        assert_eq!(
            (up["command"].as_str(), up["applied"][0]["name"].as_str()),
            (Some("up"), Some("create_users"))
        );
        assert_eq!((up["admin"].as_str(), up["current_version"].as_i64()), (Some("admin"), Some(newest)));
        assert!(json(&["up"]).await["applied"].as_array().unwrap().is_empty());

        let status = json(&["status"]).await;
        assert_eq!((status["pending"].as_i64(), status["current_version"].as_i64()), (Some(0), Some(newest)));
        assert_eq!(
            (status["newest_version"].as_i64(), status["problems"].as_array().unwrap().len()),
            (Some(newest), 0)
        );
        assert_eq!(status["migrations"][0]["state"], "applied");
        assert!(status["migrations"][0]["applied_on"].as_str().unwrap().ends_with('Z'));

        let history = json(&["history"]).await;
        assert_eq!(
            (history["entries"][0]["action"].as_str(), history["entries"][0]["outcome"].as_str()),
            (Some("up"), Some("applied"))
        );
        assert_eq!(json(&["stamp", "0"]).await["changed"], true);
        let stamp = ["stamp", &newest.to_string()];
        assert_eq!(json(&stamp).await["changed"], true);
        assert_eq!(json(&stamp).await["changed"], false);
        assert_eq!(json(&["wait", "--timeout", "1s"]).await["ready"], "schema");
        let down = json(&["down"]).await;
        assert_eq!(
            (down["undone"][0]["version"].as_i64(), down["current_version"].as_i64()),
            (Some(newest), Some(all[all.len() - 2]))
        );
        let wrong = migrator(&database, &["stamp", "99999", "--format", "json"]).await.ends(2);
        assert!(wrong.json()["error"]["message"].as_str().unwrap().contains("version 99999"), "{wrong}");
        assert!(!wrong.stderr.is_empty(), "the log says it too");
    }

    /// People get tables.
    async fn tables_are_for_people(database: TestDatabase) {
        migrator(&database, &["up"]).await.ends(0);
        let status = migrator(&database, &["status"]).await.ends(0).hides(&["postgres:postgres"]);
        let words = |line: usize| status.stdout.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(words(0), ["VERSION", "NAME", "STATE", "APPLIED", "ON"], "{status}");
        assert_eq!(words(1)[..3], ["1", "create_users", "applied"], "{status}");
        let newest = newest();
        assert!(status.stdout.contains(&format!("at version {newest} of {newest}, 0 pending")), "{status}");
        let history = migrator(&database, &["history"]).await.ends(0);
        assert!(
            history.stdout.starts_with("STARTED AT") && history.stdout.contains("create_users"),
            "{history}"
        );
    }

    /// A database, file or schema that is missing was perhaps misspelt: only what fills it makes it.
    async fn what_is_missing_is_not_made_by_looking_at_it(database: TestDatabase) {
        let missing = TestDatabase::missing(backend(&database));
        let writes = [&["stamp", "2"][..], &["down"], &["repair", "--yes"], &["import-history"]];
        let looks = [&["status"][..], &["history"], &["check"], &["dump"]];
        for arguments in writes.into_iter().chain(looks) {
            migrator(&missing, arguments).await.ends(78);
        }
        if backend(&database) == Backend::Sqlite {
            migrator(&missing, &["stamp", "2"]).await.ends(78).says(&["there is no file", "`migrator up` makes it"]);
            assert!(std::fs::read_dir(missing.folder.path()).unwrap().next().is_none(), "no file was made");
        } else {
            let nowhere = [("DATABASE_SCHEMA", "nowhere")];
            for arguments in [&["stamp", "2"][..], &["down"], &["rehearse", "--pending"]].into_iter().chain(looks) {
                let refused = migrator_with(&database, &nowhere, arguments).await.ends(78);
                refused.says(&["there is no schema nowhere", "`migrator up` makes one"]);
            }
            // What shows what would be done takes it for the empty one that it will be.
            for arguments in [&["plan"][..], &["rehearse"]] {
                migrator_with(&database, &nowhere, arguments).await.ends(0);
            }
        }
        // There is nothing to take back, and nothing is made for that either.
        migrator(&database, &["down"]).await.ends(0);
        let mut connection = database.connect().await;
        assert!(!has_table(&mut connection, "refinery_schema_history").await);
    }

    /// A stamp says what is there without running anything.
    async fn stamp_runs_nothing(database: TestDatabase) {
        let stamped = migrator(&database, &["stamp", "1"]).await.ends(0);
        assert!(stamped.stdout.contains("nothing was run"), "{stamped}");
        let mut connection = database.connect().await;
        assert_eq!(versions(&mut connection).await, ["1"]);
        assert!(!has_table(&mut connection, "users").await);
        assert_eq!(journal(&mut connection).await, ["stamp 1"]);
        migrator(&database, &["stamp", "0"]).await.ends(0);
        assert!(versions(&mut connection).await.is_empty());
        migrator(&database, &["up"]).await.ends(0);
        assert!(has_table(&mut connection, "users").await);
    }

    /// Everything goes, also what no migration made, and the history begins anew.
    async fn reset_empties_and_begins_anew(database: TestDatabase) {
        migrator(&database, &["up"]).await.ends(0);
        let mut connection = database.connect().await;
        connection.batch("CREATE TABLE \"left Over\" (id bigint PRIMARY KEY); CREATE VIEW seen AS SELECT id FROM \"left Over\"; CREATE TABLE pointing (id bigint REFERENCES \"left Over\" (id))").await.unwrap();
        drop(connection);
        let reset = migrator(&database, &["reset", "--yes"]).await.ends(0);
        let all = each_up();
        let applied = format!("applied {}; at version {}", all.len(), newest());
        assert!(reset.stdout.contains(&applied), "{reset}");
        let mut connection = database.connect().await;
        for gone in ["\"left Over\"", "seen", "pointing"] {
            assert!(!has_table(&mut connection, gone).await, "{gone}");
        }
        assert_eq!(journal(&mut connection).await, all);
        assert_eq!(count(&mut connection, "users").await, 1);
    }

    /// Nobody deletes a database by mistake.
    async fn reset_asks_first(database: TestDatabase) {
        migrator(&database, &["up"]).await.ends(0);
        migrator(&database, &["reset"]).await.ends(2).says(&["no terminal", "--yes"]);
        let production = [("BEDPLATE_ENV", "production"), ("ADMIN_PASSWORD", "correct horse battery")];
        let refused = migrator_with(&database, &production, &["reset", "--yes"]).await.ends(2);
        refused.says(&["production", "--i-know-this-deletes-everything"]);
        let mut connection = database.connect().await;
        assert_eq!(journal(&mut connection).await, each_up());
        drop(connection);
        let known = ["reset", "--yes", "--i-know-this-deletes-everything"];
        migrator_with(&database, &production, &known).await.ends(0).hides(&["correct horse"]);
    }
}

/// A run that could not bring the database back deletes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reset_checks_the_settings_first() {
    let database = TestDatabase::new(Backend::Postgres).await;
    migrator(&database, &["up"]).await.ends(0);
    let known = ["reset", "--yes", "--i-know-this-deletes-everything"];
    let production = [("BEDPLATE_ENV", "production")];
    migrator_with(&database, &production, &known).await.ends(78).says(&["ADMIN_PASSWORD"]);
    let role = [("MIGRATOR_GRANT_TO", "nobody_of_that_name")];
    migrator_with(&database, &role, &["reset", "--yes"]).await.ends(78).says(&["nobody_of_that_name"]);
    assert_eq!(count(&mut database.connect().await, "users").await, 1);
}

/// The files lie where the build looks for them.
#[tokio::test]
async fn new_writes_four_files() {
    let database = TestDatabase::missing(Backend::Sqlite);
    let folder = database.folder.path();
    std::fs::create_dir_all(folder.join("here/migrations")).unwrap();
    let arguments = ["new", "Add colour", "--folder", "here", "--format", "json"];
    let run = migrator(&database, &arguments).await.ends(0).json();
    let files = run["files"].as_array().unwrap();
    assert_eq!(files.len(), 4);
    for file in files {
        let file = file.as_str().unwrap();
        assert!(file.ends_with("__add_colour.sql") && folder.join(file).is_file(), "{file}");
    }
    migrator(&database, &["new", "x", "--folder", "there"]).await.ends(2).says(&["there"]);
    migrator(&database, &["new", "kölsch", "--folder", "here"])
        .await
        .ends(2)
        .says(&["no name for a migration"]);
    // The disk says why, and a person mends it.
    std::fs::create_dir_all(folder.join("odd/migrations")).unwrap();
    std::fs::write(folder.join("odd/migrations/sqlite"), "no folder").unwrap();
    let run = migrator(&database, &["new", "x", "--folder", "odd", "--format", "json"]).await.ends(78);
    let document = run.json();
    assert!(document["error"]["message"].as_str().unwrap().contains("Not a directory"), "{run}");
    assert!(document["error"]["causes"][0].as_str().unwrap().contains("Not a directory"), "{run}");
    assert!(!database.file().exists(), "no database is needed for it");
}
