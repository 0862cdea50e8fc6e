//! What is read from the environment, and what is said about it when it is wrong.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use foundation::settings::{
    Effective, Environment, FoundationSettings, Mode, Origin, Secret, Section as _, SettingsError, Warning,
    format_effective,
};

foundation::settings! {
    /// A section with a secret, as the programs have them.
    pub struct AdminSettings("ADMIN_") {
        /// The name.
        username: String = "admin",
        /// The password.
        password: Option<Secret> = "",
    }
}

type Outcome = Result<(Vec<Effective>, Vec<Warning>), SettingsError>;

fn read_from(mut environment: Environment) -> (FoundationSettings, AdminSettings, Outcome) {
    let settings = FoundationSettings::read(&mut environment);
    let admin = AdminSettings::read(&mut environment);
    (settings, admin, environment.finish())
}

fn read(pairs: &[(&str, &str)]) -> (FoundationSettings, AdminSettings, Outcome) {
    read_from(Environment::from_pairs(pairs.iter().copied()))
}

fn problems_of(outcome: Outcome) -> Vec<(String, String)> {
    let error = outcome.err().map_or_else(Vec::new, |it| it.problems);
    error.into_iter().map(|it| (it.name, it.detail)).collect()
}

/// The problems of these variables: name and sentence.
fn problems(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    problems_of(read(pairs).2)
}

/// The one problem of these variables.
fn problem(pairs: &[(&str, &str)]) -> (String, String) {
    let found = problems(pairs);
    assert_eq!(found.len(), 1, "{found:#?}");
    found[0].clone()
}

fn warnings(pairs: &[(&str, &str)]) -> Vec<String> {
    read(pairs).2.unwrap().1.into_iter().map(|it| it.name).collect()
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// These variables, beside a `.env` file with this text.
fn beside(dot_env: &str, pairs: &[(&str, &str)]) -> (FoundationSettings, AdminSettings, Outcome) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    std::fs::write(&path, dot_env).unwrap();
    let variables = pairs.iter().map(|(name, value)| (name.into(), value.into()));
    read_from(Environment::from_variables(variables, &path))
}

#[test]
fn every_problem_is_told_at_once_by_its_full_name() {
    let found = problems(&[
        ("BEDPLATE_ENV", "staging"),
        ("DATABASE_POOL_SIZE", "0"),
        ("DATABASE_CONNECT_TIMEOUT", "5"),
        ("DATABASE_ECHO", "perhaps"),
        ("DATABASE_SSL_MODE", "on"),
        ("POSTGRES_PORT", "65536"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "service=loud"),
        ("TELEMETRY_PROMETHEUS_ADDRESS", "localhost"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
    ]);
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "BEDPLATE_ENV",
        "DATABASE_POOL_SIZE",
        "DATABASE_SSL_MODE",
        "DATABASE_CONNECT_TIMEOUT",
        "DATABASE_ECHO",
        "POSTGRES_PORT",
        "LOG_LEVEL",
        "LOG_FORMAT",
        "TELEMETRY_PROMETHEUS_ADDRESS",
        "OTEL_TRACES_SAMPLER_ARG",
    ];
    let sorted = |mut names: Vec<&'static str>| {
        names.sort_unstable();
        names
    };
    let mut names = names;
    names.sort_unstable();
    assert_eq!(names, sorted(expected.to_vec()));
    for (name, detail) in &found {
        assert!(detail.contains("expected "), "{name}: {detail}");
    }
    let said = read(&[("DATABASE_POOL_SIZE", "0"), ("LOG_FORMAT", "xml")]).2.unwrap_err().to_string();
    assert_eq!(
        said,
        "2 problems with the settings:\n  \
         DATABASE_POOL_SIZE: this is not such a number (it is \"0\"); expected a number from 1 up\n  \
         LOG_FORMAT: there is no such format (it is \"xml\"); expected auto, text or json"
    );
}

#[test]
fn no_secret_is_shown_in_an_error() {
    for (name, value) in [
        ("DATABASE_URL", "postgresql://me:hunter2@host:port/app"),
        ("DATABASE_URL", "mysql://me:hunter2@host/app"),
        ("DATABASE_URL", "me:hunter2@host/app"),
        ("DATABASE_URL", " postgresql://me:hunter2@host/app"),
        ("DATABASE_URL", "postgresql://me:x?hunter2=@host/app"),
        ("DATABASE_URL", "postgresql://me:x@hunter2@host/app"),
        ("DATABASE_URL", "postgresql://me@host/app?password=hunter2&sslmode=hunter2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization: hunter2"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:hunter2@collector"),
    ] {
        let (settings, _, outcome) = read(&[(name, value)]);
        let error = outcome.unwrap_err();
        assert_eq!(error.problems.len(), 1, "{error}");
        assert_eq!(error.problems[0].name, name);
        let shown = format!("{error} {error:?} {settings:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(error.to_string().contains("expected "), "{error}");
    }
}

#[test]
fn no_secret_is_shown_when_all_is_well() {
    let pairs = [
        ("DATABASE_URL", "postgresql://me:hunter2@host/app"),
        ("POSTGRES_PASSWORD", "hunter2"),
        ("ADMIN_PASSWORD", "hunter2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2"),
    ];
    let environment = Environment::from_pairs(pairs);
    let (settings, admin, outcome) = read_from(environment);
    assert_eq!(admin.password.as_ref().unwrap().expose(), "hunter2");
    let (effective, warnings) = outcome.unwrap();
    let json = serde_json::to_string(&effective).unwrap();
    let shown =
        format!("{settings:?} {admin:?} {effective:?} {warnings:?} {json} {}", format_effective(&effective));
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("postgresql://me:[redacted]@host:5432/app"), "{shown}");
}

#[test]
fn a_secret_may_come_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "password", "hunter2 \r\n");
    let (_, admin, outcome) = read(&[("ADMIN_PASSWORD_FILE", &path)]);
    assert_eq!(admin.password.unwrap().expose(), "hunter2 ", "only the line break at its end goes");
    let (effective, warnings) = outcome.unwrap();
    let origin = &effective.iter().find(|it| it.name == "ADMIN_PASSWORD").unwrap().origin;
    assert_eq!(*origin, Origin::File(path.into()));
    assert_eq!(warnings, []);

    let url = file(folder.path(), "url", "postgresql://me:hunter2@host/app\n");
    assert_eq!(read(&[("DATABASE_URL_FILE", &url)]).0.database_url.name(), "app");
    let token = file(folder.path(), "headers", "authorization=hunter2\n");
    assert!(
        read(&[("OTEL_EXPORTER_OTLP_HEADERS_FILE", &token)]).0.open_telemetry.exporter_otlp_headers.is_some()
    );
}

#[test]
fn a_file_that_gives_no_secret_is_one_problem() {
    let folder = tempfile::tempdir().unwrap();
    let (name, said) = problem(&[("ADMIN_PASSWORD_FILE", "/nowhere/password")]);
    assert_eq!(name, "ADMIN_PASSWORD_FILE");
    assert!(said.contains("/nowhere/password cannot be read (No such file"), "{said}");
    let empty = file(folder.path(), "empty", "\n");
    let (name, said) = problem(&[("ADMIN_PASSWORD_FILE", &empty)]);
    assert!(name == "ADMIN_PASSWORD_FILE" && said.contains("is empty"), "{name}: {said}");
    let full = file(folder.path(), "full", "hunter2");
    let (name, said) = problem(&[("ADMIN_PASSWORD_FILE", &full), ("ADMIN_PASSWORD", "hunter3")]);
    assert_eq!((name.as_str(), said.contains("both it and ADMIN_PASSWORD_FILE")), ("ADMIN_PASSWORD", true));
    // A bad URL in a file: the file is named, and production does not call it missing as well.
    let bad = file(folder.path(), "url", "mysql://me:hunter2@host/app");
    let production = ("BEDPLATE_ENV", "production");
    let (name, said) = problem(&[production, ("DATABASE_URL_FILE", &bad)]);
    assert_eq!(name, "DATABASE_URL_FILE");
    assert!(!said.contains("hunter2"), "{said}");
    assert_eq!(problem(&[production, ("DATABASE_URL_FILE", "/nowhere")]).0, "DATABASE_URL_FILE");
    assert_eq!(problem(&[production, ("DATABASE_URL", "nothing")]).0, "DATABASE_URL");
    assert_eq!(problem(&[production, ("POSTGRES_PASSWORD_FILE", "/nowhere")]).0, "POSTGRES_PASSWORD_FILE");
}

#[test]
fn only_a_secret_comes_from_a_file() {
    let (name, said) = problem(&[("DATABASE_POOL_SIZE_FILE", "/run/secrets/size")]);
    assert_eq!(name, "DATABASE_POOL_SIZE_FILE");
    assert_eq!(said, "only a secret may come from a file; set DATABASE_POOL_SIZE itself");
}

#[test]
fn an_empty_variable_is_none() {
    let (settings, admin, outcome) =
        read(&[("DATABASE_URL", ""), ("DATABASE_POOL_SIZE", ""), ("ADMIN_PASSWORD", ""), ("DATABASE_X", "")]);
    assert_eq!(settings.database.pool_size.get(), 10);
    assert!(settings.database.url.is_none() && admin.password.is_none());
    assert_eq!(outcome.unwrap().1, []);
    assert!(problems(&[("ADMIN_PASSWORD", "hunter2"), ("ADMIN_PASSWORD_FILE", "")]).is_empty());
}

#[test]
fn a_line_break_at_the_end_of_a_value_is_none_of_it() {
    let (settings, admin, outcome) =
        read(&[("DATABASE_URL", "postgresql://me@host/app\n"), ("ADMIN_PASSWORD", "hunter2\r\n")]);
    outcome.unwrap();
    assert_eq!(settings.database_url.name(), "app");
    assert_eq!(admin.password.unwrap().expose(), "hunter2");
}

#[test]
fn blanks_around_a_value_are_pointed_out() {
    for (name, value) in [("DATABASE_POOL_SIZE", " 12"), ("DATABASE_URL", "postgresql://me@host/app ")] {
        let (_, said) = problem(&[(name, value)]);
        assert!(said.contains("there are blanks before or after it"), "{said}");
    }
}

#[test]
fn a_value_that_is_not_utf_8_is_told_by_its_name() {
    let variables = [
        ("ADMIN_PASSWORD".into(), OsString::from_vec(b"hunter2\xff".to_vec())),
        ("LOG_LEVEL".into(), OsString::from_vec(vec![0xff])),
        (OsString::from_vec(vec![0xfe]), "a name that is none of ours".into()),
    ];
    let error = read_from(Environment::from_variables(variables, Path::new(""))).2.unwrap_err();
    let mut names: Vec<_> = error.problems.iter().map(|it| it.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["ADMIN_PASSWORD", "LOG_LEVEL"]);
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
}

#[test]
fn a_misspelt_name_is_an_error_and_a_strange_one_a_warning() {
    for (name, meant) in [
        ("DATABASE_POOLSIZE", "DATABASE_POOL_SIZE"),
        ("DATABASE_POOL_SZIE", "DATABASE_POOL_SIZE"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("POSTGRES_PASWORD", "POSTGRES_PASSWORD"),
        ("POSTGRES_PASSWORD_FIEL", "POSTGRES_PASSWORD_FILE"),
        ("ADMIN_USER_NAME", "ADMIN_USERNAME"),
        ("LOG_LEVLE", "LOG_LEVEL"),
    ] {
        assert_eq!(problem(&[(name, "1")]), (name.into(), format!("no such setting; did you mean {meant}?")));
    }
    for name in [
        "DATABASE_COLOUR",
        "POSTGRES_SSL",
        "POSTGRES_UID",
        "POSTGRES_HOST_AUTH_METHOD",
        "OTEL_EXPORTER_OTLP_HEADER",
        "OTEL_METRICS_EXPORTER",
    ] {
        assert_eq!(warnings(&[(name, "1")]), [name]);
    }
    for name in ["PATH", "DATABAS_URL", "MY_DATABASE_URL", "database_url", "LOGNAME"] {
        assert_eq!(warnings(&[(name, "1")]), [""; 0], "{name} is nobody's business");
    }
}

#[test]
fn what_kubernetes_and_proxies_set_is_not_ours() {
    let address = "tcp://10.0.0.7:5432";
    let (settings, _, outcome) = read(&[
        ("HTTP_PROXY", "http://proxy:3128"),
        ("POSTGRES_PORT", address),
        ("POSTGRES_SERVICE_HOST", "10.0.0.7"),
        ("POSTGRES_SERVICE_PORT", "5432"),
        ("POSTGRES_SERVICE_PORT_POSTGRES", "5432"),
        ("POSTGRES_PORT_5432_TCP", address),
        ("POSTGRES_PORT_5432_TCP_ADDR", "10.0.0.7"),
        ("POSTGRES_PORT_5432_TCP_PORT", "5432"),
        ("POSTGRES_PORT_5432_TCP_PROTO", "tcp"),
        ("DATABASE_SERVICE_HOST", "10.0.0.8"),
        ("DATABASE_PORT", "udp://10.0.0.8:53"),
        ("DATABASE_PORT_53_UDP", "udp://10.0.0.8:53"),
        ("BEDPLATE_SERVICE_PORT_HTTP", "80"),
    ]);
    assert_eq!(outcome.unwrap().1, []);
    assert_eq!(
        settings.database_url.to_string(),
        "sqlite:///./bedplate.db",
        "none of these names a database"
    );
}

#[test]
fn the_file_dot_env_overrides_nothing() {
    let text = "# a remark\nexport DATABASE_POOL_SIZE=3\nLOG_LEVEL=\"debug\"\nADMIN_PASSWORD='hunter2'\nLOG_FORMAT=\n";
    let (settings, admin, outcome) = beside(text, &[("LOG_LEVEL", "warn"), ("ADMIN_PASSWORD_FILE", "")]);
    let effective = outcome.unwrap().0;
    assert_eq!((settings.database.pool_size.get(), settings.log.level.0.as_str()), (3, "warn"));
    assert_eq!(admin.password.unwrap().expose(), "hunter2");
    let origin = |name| effective.iter().find(|it| it.name == name).unwrap().origin.clone();
    assert_eq!(origin("DATABASE_POOL_SIZE"), Origin::DotEnv);
    assert_eq!((origin("LOG_LEVEL"), origin("LOG_FORMAT")), (Origin::Environment, Origin::Default));

    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "password", "of the file");
    let (_, admin, outcome) = beside(text, &[("ADMIN_PASSWORD_FILE", &path)]);
    outcome.unwrap();
    assert_eq!(admin.password.unwrap().expose(), "of the file", "nor the other way to give a secret");
    let (settings, _, outcome) = beside("\u{feff}DATABASE_POOL_SIZE=4\r\nLOG_LEVEL=debug\r\n", &[]);
    outcome.unwrap();
    assert_eq!((settings.database.pool_size.get(), settings.log.level.0.as_str()), (4, "debug"));
}

#[test]
fn a_half_written_dot_env_is_one_problem_with_its_line() {
    for (text, line) in [
        ("LOG_LEVEL=debug\n\nADMIN_PASSWORD=\"hunter2\n", "line 3"),
        ("LOG_LEVEL=debug\nADMIN_PASSWORD hunter2\nLOG_FORMAT=json\n", "line 2"),
        ("ADMIN_PASSWORD='hunter2", "line 1"),
        ("=hunter2", "line 1"),
        ("LOG_LEVEL=debug\nADMIN_PASSWORD=hunter2 hunter2\n", "line 2"),
        ("LOG_LEVEL=debug\nADMIN_PASSWORD = hunter2 hunter2\n", "line 2"),
        ("LOG_LEVEL=debug\nADMIN_PASSWORD=\"hunter2\\hunter2\"\n", "line 2"),
    ] {
        let error = beside(text, &[]).2.unwrap_err();
        assert_eq!(error.problems.len(), 1, "{error}");
        assert!(error.problems[0].name.ends_with(".env"), "{error}");
        assert!(error.problems[0].detail.starts_with(line), "{text:?}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        assert!(beside(text, &[("BEDPLATE_ENV", "production"), ("POSTGRES_HOST", "db")]).2.is_ok());
    }
}

/// What follows a dollar sign would be missing from the password without a word.
#[test]
fn a_dollar_in_dot_env_is_kept_or_refused() {
    for line in ["ADMIN_PASSWORD=hunter$2", "ADMIN_PASSWORD=\"hunter$2\"", "ADMIN_PASSWORD = $hunter2"] {
        let error = beside(&format!("LOG_LEVEL=debug\n{line}\n"), &[]).2.unwrap_err();
        assert_eq!(error.problems.len(), 1, "{error}");
        assert!(error.problems[0].detail.starts_with("line 2 has a $"), "{error}");
        assert!(!error.to_string().contains("hunter"), "{error}");
    }
    for (line, password) in [
        ("ADMIN_PASSWORD='hunter$2'", "hunter$2"),
        ("ADMIN_PASSWORD=hunter\\$2", "hunter$2"),
        ("NUMBER=2\nADMIN_PASSWORD=hunter${NUMBER}", "hunter2"),
        ("# it costs a=$b\nADMIN_PASSWORD=hunter2 # and $c", "hunter2"),
    ] {
        let (_, admin, outcome) = beside(&format!("{line}\n"), &[]);
        outcome.unwrap();
        assert_eq!(admin.password.unwrap().expose(), password, "{line}");
    }
}

#[test]
fn production_reads_no_dot_env_and_falls_back_to_nothing() {
    let (settings, _, outcome) = beside("LOG_LEVEL=debug\n", &[("BEDPLATE_ENV", "production")]);
    assert_eq!(settings.application.env, Mode::Production);
    assert_eq!(settings.log.level.0, "info");
    let found = problems_of(outcome);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "DATABASE_URL");
    assert!(found[0].1.contains("DATABASE_URL_FILE or POSTGRES_HOST"), "{}", found[0].1);
    let (settings, _, outcome) = read(&[]);
    assert_eq!(settings.database_url.to_string(), "sqlite:///./bedplate.db");
    outcome.unwrap();
    read(&[("BEDPLATE_ENV", "production"), ("DATABASE_URL", "sqlite:////data/x.db")]).2.unwrap();
}
