//! What `new --autogenerate` writes is what is run: the files are applied, taken back, and nothing is left to do.

use std::path::PathBuf;

use foundation::clock::Clock;
use foundation::database::Backend;
use foundation::entropy::Entropy;
use foundation::testing::TestDatabase;
use migrator::Migrator;
use migrator::source::{Catalog, Dialect};
use migrator::stop::Stop;

use crate::support::{Run, backend, migrator, settings};

/// A project with one migration and its desired schema, for one database.
struct Project {
    database: TestDatabase,
}

impl Project {
    async fn new(backend: Backend, first: &str, desired: &str) -> Self {
        let project = Self { database: TestDatabase::new(backend).await };
        let dialect = project.dialect();
        project.write(&format!("migrations/{dialect}/V1__first.sql"), first);
        project.write(&format!("undo/{dialect}/D1__first.sql"), "SELECT 1;\n");
        project.write(&format!("schema/{dialect}.sql"), desired);
        project
    }

    fn folder(&self) -> PathBuf {
        self.database.folder.path().join("project")
    }

    fn dialect(&self) -> &'static str {
        Dialect::from(backend(&self.database)).folder()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    async fn generate(&self) -> Run {
        let folder = self.folder();
        let arguments =
            ["new", "change", "--autogenerate", "--no-rename", "--folder", folder.to_str().unwrap()];
        migrator(&self.database, &arguments).await
    }

    fn loaded(&self) -> Migrator {
        let (_nobody_stops_it, stop) = Stop::new();
        let catalog = Catalog::from_folder(&self.folder(), Dialect::from(backend(&self.database))).unwrap();
        Migrator::new(&settings(&self.database.address, &[]), Clock::system(), Entropy::system(), stop)
            .with_catalog(catalog)
    }

    /// The texts of the newest migration.
    fn written(&self) -> String {
        let files = std::fs::read_dir(self.folder().join("migrations").join(self.dialect())).unwrap();
        let newest = files.map(|it| it.unwrap().path()).filter(|it| !it.ends_with("V1__first.sql")).max();
        std::fs::read_to_string(newest.unwrap()).unwrap()
    }
}

/// A condition that PostgreSQL writes over several lines, and in two ways.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn triggers_and_rules_are_what_was_desired() {
    let tables = "CREATE TABLE t (id integer PRIMARY KEY, s varchar(20)); CREATE TABLE log (s text);\n";
    let desired = format!(
        "{tables}CREATE TRIGGER tr BEFORE UPDATE ON t FOR EACH ROW WHEN (NEW.s IN ('a', 'b'))
            EXECUTE FUNCTION suppress_redundant_updates_trigger();
        CREATE RULE r AS ON DELETE TO t WHERE OLD.s IN ('a', 'b')
            DO ALSO INSERT INTO log VALUES (CASE WHEN OLD.s = 'a' THEN 'x' ELSE 'y' END);
        CREATE VIEW v AS SELECT id, s FROM t;
        CREATE TRIGGER tv INSTEAD OF UPDATE ON v FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
        CREATE RULE rv AS ON DELETE TO v WHERE OLD.s IN ('a', 'b') DO INSTEAD NOTHING;\n"
    );
    let project = Project::new(Backend::Postgres, tables, &desired).await;
    let written = project.generate().await.ends(0);
    assert!(!written.stdout.contains("does not reach"), "{written}");
    project.loaded().up(None).await.unwrap();
    let again = project.generate().await.ends(0);
    assert!(again.stdout.starts_with("nothing to do"), "{again}");
    project.loaded().down(migrator::Down::Steps(1)).await.unwrap();
    project.loaded().up(None).await.unwrap();
    for against_scratch in [false, true] {
        let report = project.loaded().check(against_scratch).await.unwrap();
        assert!(report.clean(), "{}", report.text());
    }
}

/// What stands in a remark is no SQL, however many lines it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remark_stays_a_comment() {
    let table = "CREATE TABLE t (id integer PRIMARY KEY);\n";
    let desired = format!(
        "{table}CREATE TABLE u (id integer PRIMARY KEY); CREATE TYPE \"span\nDROP TABLE t;\" AS RANGE (subtype = float8);"
    );
    let project = Project::new(Backend::Postgres, table, &desired).await;
    project.generate().await.ends(0);
    let written = project.written();
    assert!(
        written.contains("-- Look at: the range type span DROP TABLE t; is to be made by hand\n"),
        "{written}"
    );
    project.loaded().up(None).await.unwrap();
    project.generate().await.ends(2).says(&["this cannot be said in SQL here"]);
}

/// A migration has the same number on both databases, so the one without a desired schema is not passed over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_without_a_desired_schema_are_refused() {
    for (backend, other) in [(Backend::Sqlite, "postgres"), (Backend::Postgres, "sqlite")] {
        let table = "CREATE TABLE t (id integer PRIMARY KEY);\n";
        let project =
            Project::new(backend, table, "CREATE TABLE t (id integer PRIMARY KEY, a text);\n").await;
        project.write(&format!("migrations/{other}/V1__first.sql"), table);
        let missing = format!("schema/{other}.sql");
        project.generate().await.ends(2).says(&["there are migrations and no", &missing]);
    }
}

/// What is desired and not written is said, until a migration by hand has made it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_beyond_the_schema_is_said() {
    let table = "CREATE TABLE e (id integer, at integer) PARTITION BY RANGE (at);\n";
    let by_hand = "CREATE SCHEMA billing; CREATE TABLE billing.inv (id serial);
        CREATE TABLE e_def PARTITION OF e DEFAULT; CREATE COLLATION ci (provider = icu, locale = 'und');
        ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;
        ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;\n";
    let project = Project::new(Backend::Postgres, table, &format!("{table}{by_hand}")).await;
    let said = [
        "the schema billing is to be made by hand",
        "the table billing.inv is to be made by hand",
        "the partition e_def of e is to be made by hand",
        "the collation ci is to be made by hand",
        "the default right of PUBLIC to SELECT on tables is to be made by hand",
        "the end of the default right of PUBLIC on functions is to be made by hand",
    ];
    project.generate().await.ends(2).says(&said);
    let used = format!("{table}{by_hand}CREATE TABLE t (a text COLLATE ci);\n");
    project.write("schema/postgres.sql", &used);
    project
        .generate()
        .await
        .ends(70)
        .says(&["in `CREATE TABLE t", "(the collation ci is to be made by hand)"]);
    project.write("migrations/postgres/V1__first.sql", &format!("{table}{by_hand}"));
    let written = project.generate().await.ends(0);
    assert!(!written.stdout.contains("by hand"), "{written}");
    project.loaded().up(None).await.unwrap();
    assert!(project.loaded().dump().await.unwrap().contains("-- the collation ci is to be made by hand"));
}
