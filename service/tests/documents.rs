//! `.env.example`, `deploy/settings.md` and the commands of the documents are what the programs do, and the
//! documents' links lead somewhere.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use foundation::database::Backend;
use foundation::settings::{Environment, Variable};
use foundation::testing::{TestDatabase, address_of_database, postgres_address, program, unique_name};

const TITLES: &[(&str, &str)] = &[
    ("BEDPLATE_", "The place"),
    ("DATABASE_", "The database"),
    ("POSTGRES_", "The database in parts"),
    ("HTTP_", "HTTP"),
    ("AUTH_", "Signing in"),
    ("METRICS_", "Snapshots"),
    ("ARCHIVE_", "Archives"),
    ("LOG_", "Logs"),
    ("TELEMETRY_", "Figures"),
    ("OTEL_", "Traces (OpenTelemetry's own variables)"),
    ("MIGRATOR_", "The migrator"),
    ("ADMIN_", "The default admin"),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The variables under each title, in the order of the titles.
fn sections() -> Vec<(&'static str, Vec<Variable>)> {
    let mut left = service::settings::ServiceSettings::variables();
    let take = |(prefix, title): (&str, &'static str)| {
        let (taken, rest) = left.drain(..).partition(|it: &Variable| it.name.starts_with(prefix));
        left = rest;
        (title, taken)
    };
    let sections = TITLES.iter().copied().map(take).filter(|(_, variables)| !variables.is_empty()).collect();
    let names: Vec<_> = left.iter().map(|it| it.name.as_str()).collect();
    assert!(names.is_empty(), "TITLES in tests/documents.rs needs a title for {}", names.join(", "));
    sections
}

/// What is read is what is listed: a section that only one of `read` and `variables` knows is documented nowhere,
/// or read by nobody.
#[test]
fn what_is_listed_is_what_is_read() {
    // On a SQLite file the service reads the settings of the migrator too.
    let mut environment = Environment::from_pairs([("DATABASE_URL", "sqlite:///any.db")]);
    let _settings = service::settings::ServiceSettings::read(&mut environment);
    let (effective, _) = environment.finish().unwrap();
    let read: BTreeSet<_> = effective.into_iter().map(|it| it.name).collect();
    let listed: BTreeSet<_> =
        service::settings::ServiceSettings::variables().into_iter().map(|it| it.name).collect();
    assert_eq!(listed.difference(&read).collect::<Vec<_>>(), [""; 0], "listed, and not read");
    assert_eq!(read.difference(&listed).collect::<Vec<_>>(), [""; 0], "read, and not listed");
}

fn wrapped(text: &str) -> String {
    let mut lines = vec!["#".to_owned()];
    for word in text.split_whitespace() {
        if lines.last().unwrap().len() + word.len() > 100 {
            lines.push("#".to_owned());
        }
        let line = lines.last_mut().unwrap();
        let _infallible = write!(line, " {word}");
    }
    lines.join("\n")
}

fn env_example() -> String {
    let mut text =
        "# Every setting with its default. Copy this file to .env for development (`cp .env.example .env`)
# and take the # away from what you change. Values with blanks, quotes or $ stand in single quotes. A secret
# may come from a file instead: NAME_FILE=/path. Written by the tests from the code: see deploy/settings.md.\n"
            .to_owned();
    for (title, variables) in sections() {
        let _infallible = writeln!(text, "\n# ---- {title} ----");
        for it in variables {
            let secret =
                if it.secret { format!(" May be given as {}_FILE.", it.name) } else { String::new() };
            let about = wrapped(&format!("{} Expected: {}.{secret}", it.meaning, it.expected));
            let _infallible = writeln!(text, "\n{about}\n#{}={}", it.name, it.default);
        }
    }
    text
}

fn settings_table() -> String {
    let mut text = String::new();
    for (title, variables) in sections() {
        let _infallible =
            write!(text, "\n## {title}\n\n| variable | default | meaning |\n| --- | --- | --- |\n");
        for it in variables {
            let default = if it.default.is_empty() { String::new() } else { format!("`{}`", it.default) };
            let secret = if it.secret { " (or `_FILE`)" } else { "" };
            let _infallible = writeln!(text, "| `{}`{secret} | {default} | {} |", it.name, it.meaning);
        }
    }
    text.push('\n');
    text
}

/// Compares a file with what the code says, or writes it where `UPDATE_DOCUMENTS` is set.
fn holds(name: &str, expected: &str) {
    let path = root().join(name);
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let hint = "UPDATE_DOCUMENTS=1 make test ARGS='-p service documents::' writes it anew";
    assert!(found == expected, "{name} and the settings in the code disagree: {hint}");
}

#[test]
fn env_example_lists_every_setting() {
    holds(".env.example", &env_example());
}

#[test]
fn the_page_of_settings_lists_every_one() {
    let name = "deploy/settings.md";
    let text = std::fs::read_to_string(root().join(name)).unwrap();
    let begin = text.find("<!-- settings:").unwrap();
    let begin = begin + text[begin..].find("-->\n").unwrap() + 4;
    let end = text.find("<!-- /settings -->").unwrap();
    holds(name, &format!("{}{}{}", &text[..begin], settings_table(), &text[end..]));
}

/// The example is itself a file that can be loaded, with everything taken out of its comments but what is
/// empty: the defaults are values that the settings take.
#[test]
fn the_defaults_of_the_example_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".env");
    let lines = env_example()
        .lines()
        .filter(|line| !line.starts_with("# ") && !line.ends_with('='))
        .fold(String::new(), |text, line| text + line.strip_prefix('#').unwrap_or(line) + "\n");
    std::fs::write(&file, lines).unwrap();
    let mut environment = Environment::from_variables([], &file);
    let _settings = service::settings::ServiceSettings::read(&mut environment);
    let (_, warnings) = environment.finish().unwrap();
    assert_eq!(warnings, []);
}

/// The documents of the repository, from its root.
fn pages() -> Vec<PathBuf> {
    let is_ours = |entry: &walkdir::DirEntry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 0 || !name.starts_with('.') && name != "target"
    };
    let entries = walkdir::WalkDir::new(root()).into_iter().filter_entry(is_ours);
    let paths = entries.map(|entry| entry.unwrap().into_path());
    paths.filter(|path| path.extension().is_some_and(|it| it == "md")).collect()
}

/// Where the headings of a page are reached, as GitHub names them.
fn anchors(page: &str) -> BTreeSet<String> {
    let lines = page.lines().filter(|line| line.starts_with('#'));
    let headings = lines.filter_map(|line| line.trim_start_matches('#').strip_prefix(' '));
    let kept = |it: char| it.is_alphanumeric() || "-_ ".contains(it);
    headings.map(|it| it.to_lowercase().replace(|it| !kept(it), "").replace(' ', "-")).collect()
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let pages = pages();
    assert!(pages.len() > 5, "{pages:?}");
    let mut broken = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        let links = text.split("](").skip(1).filter_map(|behind| behind.split_once(')'));
        for (link, _) in links.filter(|(link, _)| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.with_file_name(file) };
            let leads = match std::fs::read_to_string(&target) {
                Ok(text) => anchor.is_empty() || anchors(&text).contains(anchor),
                Err(_) => anchor.is_empty() && target.is_dir(),
            };
            if !leads {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The commands that the migrator's README shows below the comment `<!-- tested: NAME -->`.
fn commands(name: &str) -> String {
    let text = std::fs::read_to_string(root().join("migrator/README.md")).unwrap();
    let (_, rest) = text.split_once(&format!("<!-- tested: {name} -->\n```sh\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Runs them in a folder, with our programs and PostgreSQL's in the PATH.
async fn run(test: &TestDatabase, name: &str, environment: &[(&str, &str)]) {
    let programs = PathBuf::from(env!("CARGO_BIN_EXE_service")).parent().unwrap().to_owned();
    let mut path = vec![programs];
    path.extend(std::env::var_os("TEST_POSTGRES_BIN").map(PathBuf::from));
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
    let mut shell = program("bash", test.folder.path());
    shell.arg("-euo").arg("pipefail").arg("-c").arg(commands(name));
    shell.env("PATH", std::env::join_paths(path).unwrap()).envs(environment.iter().copied());
    let output = shell.output().await.unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

const ADMIN: (&str, &str) = ("ADMIN_PASSWORD", "a password of the test");

async fn admins(address: &str) -> i64 {
    const COUNT: foundation::database::Statement = foundation::database::Statement::read(
        "users",
        "SELECT CAST(count(*) AS BIGINT) AS count FROM users WHERE is_admin = $1",
    );
    let url = address.parse().unwrap();
    let settings = foundation::testing::database_settings([]);
    let mut connection = foundation::database::Connection::open(&url, &settings, "test").await.unwrap();
    connection.query_optional(&COUNT, &[true.into()]).await.unwrap().unwrap().get("count").unwrap()
}

fn migrator_settings(address: &str) -> migrator::settings::Settings {
    let pairs = [("DATABASE_URL", address), ADMIN];
    let mut environment = Environment::from_pairs(pairs);
    let settings = migrator::settings::Settings::read(&mut environment);
    environment.finish().unwrap();
    settings
}

fn a_migrator(address: &str) -> migrator::Migrator {
    use foundation::{clock::Clock, entropy::Entropy};
    let (_, stop) = migrator::stop::Stop::new();
    migrator::Migrator::new(&migrator_settings(address), Clock::system(), Entropy::system(), stop)
}

/// The migrator's program lies beside ours, because the whole workspace is built for its tests.
fn migrator_is_built() {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_service")).with_file_name("migrator");
    assert!(
        program.exists(),
        "{} is missing: run `make test`, or `cargo build -p migrator` first",
        program.display()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sqlite_backup_is_restored_as_the_readme_says() {
    migrator_is_built();
    let test = TestDatabase::missing(Backend::Sqlite);
    let file = test.folder.path().join("bedplate.db");
    let address = format!("sqlite:///{}", file.display());
    let before = a_migrator(&address).up(None).await.unwrap();
    run(&test, "backup", &[ADMIN]).await;
    for end in ["", "-wal", "-shm"] {
        let _it_may_not_be_there = std::fs::remove_file(format!("{}{end}", file.display()));
    }
    run(&test, "restore", &[ADMIN]).await;
    let status = a_migrator(&address).status().await.unwrap();
    assert_eq!((status.current_version, status.pending), (before.current_version, 0));
    assert_eq!(admins(&address).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_postgres_by_the_migrator_is_restored_as_the_readme_says() {
    migrator_is_built();
    let test = TestDatabase::new(Backend::Postgres).await;
    let before = a_migrator(&test.address).up(None).await.unwrap();
    run(&test, "backup", &[("DATABASE_URL", &test.address)]).await;
    foundation::testing::maintenance(&format!("DROP DATABASE {} WITH (FORCE)", test.url.name())).await;
    run(&test, "restore", &[("DATABASE_URL", &test.address), ADMIN]).await;
    let status = a_migrator(&test.address).status().await.unwrap();
    assert_eq!((status.current_version, status.pending), (before.current_version, 0));
    assert_eq!(admins(&test.address).await, 1);
    assert!(a_migrator(&test.address).check(true).await.unwrap().clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_backup_is_restored_as_the_readme_says() {
    migrator_is_built();
    let test = TestDatabase::new(Backend::Postgres).await;
    let before = a_migrator(&test.address).up(None).await.unwrap();
    run(&test, "backup-postgres", &[("DATABASE_URL", &test.address)]).await;
    let mut restored = TestDatabase::missing(Backend::Postgres);
    restored.address = address_of_database(&postgres_address(), &unique_name("restored"));
    restored.url = restored.address.parse().unwrap();
    foundation::testing::maintenance(&format!("CREATE DATABASE {}", restored.url.name())).await;
    run(&test, "restore-postgres", &[("RESTORE_URL", &restored.address), ADMIN]).await;
    let status = a_migrator(&restored.address).status().await.unwrap();
    assert_eq!((status.current_version, status.pending), (before.current_version, 0));
    assert_eq!(a_migrator(&restored.address).history().await.unwrap().len(), before.applied.len());
    assert_eq!(admins(&restored.address).await, 1);
    // What a migration took away from everybody is not given back by a restore.
    for against_scratch in [false, true] {
        let report = a_migrator(&restored.address).check(against_scratch).await.unwrap();
        assert!(report.clean(), "{}", report.text());
    }
}
