//! The structure of our own schema: what the dump says of it, and that every undo brings back what was before.

use std::path::Path;

use foundation::database::Backend;
use foundation::on_both_databases;
use migrator::source::{Dialect, embedded};
use migrator::statements::split;
use migrator::structure::{Partitions, Structure, difference, dump, mend};

use crate::support::{self, backend, migrator, settings};

fn own(database: &TestDatabase) -> migrator::Migrator {
    let (_nobody_stops_it, stop) = migrator::stop::Stop::new();
    let (clock, entropy) = (foundation::clock::Clock::system(), foundation::entropy::Entropy::system());
    let catalog = embedded(Dialect::from(backend(database))).clone();
    migrator::Migrator::new(&settings(&database.address, &[]), clock, entropy, stop).with_catalog(catalog)
}

use foundation::testing::TestDatabase;

on_both_databases! {
    /// The files in `schema` are what the migrations make, and make the same.
    async fn the_schema_files_are_what_the_migrations_make(database: TestDatabase) {
        let own = own(&database);
        own.up(None).await.unwrap();
        let dump = own.dump().await.unwrap();
        let dialect = Dialect::from(backend(&database));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(format!("{}.sql", dialect.folder()));
        #[allow(clippy::disallowed_methods, reason = "the developer asks for it")]
        if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &dump).unwrap();
        }
        let file = std::fs::read_to_string(&path).unwrap();
        assert!(
            file == dump,
            "{} is not what the migrations make: UPDATE_DOCUMENTS=1 make test ARGS='-p migrator structure::'\n{dump}",
            path.display()
        );
        let again = TestDatabase::new(backend(&database)).await;
        let mut connection = again.connect().await;
        for part in split(dialect, &file) {
            connection.batch(part.sql).await.unwrap();
        }
        let made = Structure::read(&mut connection).await.unwrap();
        let left = difference(&made, &own.structure().await.unwrap(), Partitions::All);
        assert!(left.is_empty(), "{left:#?}");
        let printed = migrator(&database, &["dump"]).await.ends(0);
        assert_eq!(printed.stdout, dump);
    }

    /// Each of our own migrations can be undone exactly, and applied again.
    async fn our_own_migrations_are_rehearsed(database: TestDatabase) {
        let rehearsal = migrator(&database, &["rehearse", "--format", "json"]).await.ends(0).json();
        let migrations = rehearsal["migrations"].as_array().unwrap();
        assert_eq!(migrations.len(), support::embedded_versions().len());
        assert!(migrations.iter().all(|it| it["outcome"] == "exact"), "{rehearsal:#}");
        if backend(&database) == Backend::Postgres {
            let session = &migrations[1];
            let locks = session["statements"][0]["locks"].to_string();
            assert!(locks.contains("users") && locks.contains("ShareRowExclusiveLock"), "{session:#}");
        }
        let mut connection = database.connect().await;
        let left = Structure::read(&mut connection).await.unwrap();
        assert!(left.tables.is_empty(), "the database itself stays as it was: {left:#?}");
    }

    /// What the migrations make is no drift, whichever way it is looked at.
    async fn a_fresh_schema_has_no_drift(database: TestDatabase) {
        let pending = migrator(&database, &["check"]).await.ends(73);
        assert!(pending.stdout.contains("pending: V1__create_users"), "{pending}");
        migrator(&database, &["up"]).await.ends(0);
        let clean = migrator(&database, &["check"]).await.ends(0);
        assert!(clean.stdout.contains("what the last run left on "), "{clean}");
        let clean = migrator(&database, &["check", "--against-scratch"]).await.ends(0);
        assert!(clean.stdout.contains("a scratch database"), "{clean}");
    }
}

/// Each dump makes the same schema of an empty database, whatever its parts are called: they come in the order
/// of the alphabet where nothing else says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_comes_in_an_order_that_works() {
    let functions = "CREATE TABLE t (id integer);
        CREATE FUNCTION z() RETURNS integer LANGUAGE sql AS 'SELECT 1';
        CREATE FUNCTION a() RETURNS integer LANGUAGE sql AS 'SELECT z()';
        CREATE FUNCTION b() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM t';
        ALTER TABLE t ADD COLUMN made integer DEFAULT a();";
    let types = "CREATE TYPE mood AS ENUM ('good', 'bad');
        CREATE DOMAIN a_mood AS mood DEFAULT 'bad' CHECK (VALUE <> 'good');
        CREATE TYPE b_pair AS (first mood, second a_mood);
        CREATE DOMAIN a_pair AS b_pair;
        CREATE FUNCTION is_even(n integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT n % 2 = 0';
        CREATE DOMAIN even AS integer CHECK (is_even(VALUE));
        CREATE TABLE t (id even, pair a_pair);";
    let views = "CREATE TABLE t (id integer);
        CREATE VIEW v AS SELECT id FROM t WHERE id > 1;
        CREATE FUNCTION a() RETURNS SETOF v LANGUAGE sql AS 'SELECT * FROM v';
        CREATE FUNCTION b(wanted v[]) RETURNS integer LANGUAGE sql AS 'SELECT 1';
        CREATE FUNCTION c() RETURNS SETOF t LANGUAGE sql AS 'SELECT * FROM t';";
    let changed_view = views.replace("id > 1", "id > 2");
    for (name, schema, other) in [
        ("functions", functions, "SELECT 1"),
        ("types", types, "SELECT 1"),
        ("views", views, changed_view.as_str()),
    ] {
        let made = async |ddl: &str| {
            let database = TestDatabase::new(Backend::Postgres).await;
            let mut connection = database.connect().await;
            connection.batch(ddl).await.unwrap_or_else(|error| panic!("{name}: {error}\n{ddl}"));
            (Structure::read(&mut connection).await.unwrap(), connection, database)
        };
        let (wanted, _, _database) = made(schema).await;
        let printed = dump(&wanted);
        let (found, _, _database) = made(&printed).await;
        let left = difference(&found, &wanted, Partitions::All);
        assert!(left.is_empty(), "{left:#?}\n{printed}");

        let (from, mut connection, _database) = made(other).await;
        let way = mend(&from, &wanted);
        connection
            .batch(&format!("BEGIN; {} COMMIT", way.sql()))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}\n{}", way.sql()));
        let found = Structure::read(&mut connection).await.unwrap();
        assert_eq!(difference(&found, &wanted, Partitions::All), []);
    }
}
