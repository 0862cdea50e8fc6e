//! The program from outside: its commands, what it says, and what it ends with.

use std::process::Output;

use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Program, client, command, wait_for};

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    run_in(&folder, arguments, variables)
}

fn run_in(folder: &TempDir, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    command(folder).args(arguments).envs(variables.iter().copied()).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn bad_usage_is_2_and_help_is_0() {
    assert_eq!(run(&["frobnicate"], &[]).status.code(), Some(2));
    let help = run(&["--help"], &[]);
    assert_eq!(help.status.code(), Some(0));
    assert!(["serve", "check-config", "healthcheck"].iter().all(|it| text(&help.stdout).contains(it)));
    for pages in [&["man"][..], &["completions", "bash"], &["completions", "zsh"]] {
        let page = run(pages, &[("DATABASE_URL", "not a setting that is looked at")]);
        assert_eq!(page.status.code(), Some(0), "{}", text(&page.stderr));
        for command in ["serve", "check", "admin", "partitions", "archive", "healthcheck"] {
            assert!(text(&page.stdout).contains(command), "{pages:?} {command}");
        }
    }
    assert!(text(&run(&["--version"], &[]).stdout).contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_settings_in_force_are_shown_without_secrets() {
    let url = ("DATABASE_URL", "postgresql://me:hunter2@db.example/x");
    let shown = run(&["check-config"], &[url, ("HTTP_ADDRESS", "127.0.0.1:9999")]);
    assert_eq!(shown.status.code(), Some(0));
    let table = text(&shown.stdout);
    let line = table.lines().find(|line| line.starts_with("HTTP_ADDRESS")).expect("a line");
    assert!(line.contains("127.0.0.1:9999") && line.ends_with("environment"), "{line}");
    assert!(table.lines().any(|line| line.starts_with("HTTP_BODY_LIMIT") && line.ends_with("default")));
    assert!(!table.contains("hunter2"));

    let shown = run(&["check-config", "--format", "json"], &[url, ("HTTP_FROBNICATION_MODE", "x")]);
    let document: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let settings = document["settings"].as_array().expect("settings");
    let address = settings.iter().find(|it| it["name"] == "HTTP_ADDRESS").expect("the address");
    assert_eq!((&address["value"], &address["origin"]), (&"127.0.0.1:8080".into(), &"default".into()));
    assert_eq!(document["warnings"][0]["name"], "HTTP_FROBNICATION_MODE");
    assert!(!document.to_string().contains("hunter2"));
}

/// What was asked for and did not arrive is a failure.
#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in
        [&["check-config"][..], &["check-config", "--format", "json"], &["man"], &["completions", "bash"]]
    {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
        let child =
            command(&folder).args(arguments).stdout(full).stderr(std::process::Stdio::piped()).spawn();
        let ended = child.expect("the program runs").wait_with_output().expect("it ends");
        assert_eq!(ended.status.code(), Some(69), "{arguments:?}");
        assert!(text(&ended.stderr).contains("standard output cannot be written"), "{arguments:?}");
    }
}

#[test]
fn every_bad_setting_is_told_at_once() {
    let variables = [
        ("HTTP_ADDRESS", "here"),
        ("HTTP_REQUEST_TIMEOUT", "soon"),
        ("HTTP_DRAIN_DELAI", "1s"),
        ("DATABASE_URL", "postgresql://me:hunter2@:x/"),
        ("DATABASE_POOL_SIZE", "0"),
    ];
    for arguments in [&["check-config"][..], &["serve"], &[]] {
        let refused = run(arguments, &variables);
        assert_eq!(refused.status.code(), Some(78));
        assert!(refused.stdout.is_empty());
        let said = text(&refused.stderr);
        for name in [
            "HTTP_ADDRESS",
            "HTTP_REQUEST_TIMEOUT",
            "did you mean HTTP_DRAIN_DELAY",
            "DATABASE_URL",
            "DATABASE_POOL_SIZE",
        ] {
            assert!(said.contains(name), "no {name} in {said}");
        }
        assert!(!said.contains("hunter2"), "{said}");
    }
}

/// Not even one that stands where none belongs.
#[test]
fn no_secret_comes_back_with_what_is_wrong_about_it() {
    for address in [
        "az://container/prefix?sv=2024&sig=hunter2",
        "az://container/prefix#sig=hunter2",
        "s3://AKIA:hunter2@bucket/",
        "hunter2",
        "https://bucket.example.org/?token=hunter2",
    ] {
        let refused = run(&["check-config"], &[("ARCHIVE_URL", address)]);
        assert_eq!(refused.status.code(), Some(78), "{address}");
        let said = text(&refused.stdout) + &text(&refused.stderr);
        assert!(said.contains("ARCHIVE_URL") && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn production_does_not_fall_back_to_a_file() {
    let refused = run(&["serve"], &[("BEDPLATE_ENV", "production")]);
    assert_eq!(refused.status.code(), Some(78));
    let said = text(&refused.stderr);
    assert!(said.contains("DATABASE_URL") && said.contains("AUTH_SECRET"), "{said}");
}

#[test]
fn secrets_that_are_too_short_are_refused() {
    let variables = [("AUTH_SECRET", "tooshort1"), ("AUTH_PREVIOUS_SECRET", "tooshort2")];
    let refused = run(&["check-config"], &variables);
    assert_eq!(refused.status.code(), Some(78));
    let said = text(&refused.stderr);
    assert!(variables.iter().all(|(name, secret)| said.contains(name) && !said.contains(secret)), "{said}");
}

/// The defaults of settings that are changed while the service runs obey the rules for these.
#[test]
fn defaults_that_no_rule_allows_are_refused() {
    for (variables, words) in [
        ([("AUTH_LOGIN_DELAY", "20m"), ("AUTH_LOGIN_MAX_DELAY", "15m")], "it may not be longer than"),
        ([("AUTH_LOGIN_DELAY", "0"), ("AUTH_LOGIN_MAX_DELAY", "15m")], "expected a duration from 1ms to 1d"),
    ] {
        let refused = run(&["check-config"], &variables);
        assert_eq!(refused.status.code(), Some(78));
        let said = text(&refused.stderr);
        assert!(said.contains("AUTH_LOGIN_DELAY") && said.contains(words), "{said}");
    }
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    for variable in ["HTTP_ADDRESS", "TELEMETRY_PROMETHEUS_ADDRESS"] {
        let mut variables = vec![("HTTP_ADDRESS", "127.0.0.1:0"), ("TELEMETRY_PROMETHEUS_ADDRESS", "off")];
        variables.retain(|(name, _)| *name != variable);
        variables.push((variable, &address));
        let refused = run(&["serve"], &variables);
        assert_eq!(refused.status.code(), Some(69));
        let said = text(&refused.stderr);
        assert!(said.contains(&address) && said.contains("in use") && said.contains(variable), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn an_address_of_another_machine_is_a_setting_to_mend() {
    let refused = run(&["serve"], &[("HTTP_ADDRESS", "192.0.2.1:8080")]);
    assert_eq!(refused.status.code(), Some(78));
    assert!(text(&refused.stderr).contains("HTTP_ADDRESS"));
}

#[test]
fn a_file_that_is_no_database_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(
        folder.path().join("bedplate.db"),
        "not a database, but long enough to look at".repeat(50),
    )
    .expect("a file");
    let variables = [("HTTP_ADDRESS", "127.0.0.1:0"), ("TELEMETRY_PROMETHEUS_ADDRESS", "off")];
    let refused = run_in(&folder, &["serve"], &variables);
    assert_eq!(refused.status.code(), Some(78), "{}", text(&refused.stderr));
}

#[tokio::test]
async fn the_program_serves_and_checks_itself() {
    let mut program = Program::serve(&[]);
    let address = program.address();
    wait_for(&client(), &format!("http://{address}/readyz"), StatusCode::OK).await;
    let folder = tempfile::tempdir().expect("a folder");
    let check = |arguments: &[&str]| {
        run_in(&folder, arguments, &[("HTTP_ADDRESS", &address.to_string())]).status.code()
    };
    assert_eq!(check(&["healthcheck"]), Some(0));
    assert_eq!(check(&["healthcheck", "--ready"]), Some(0));
    program.signal("TERM");
    program.logged("stopping: not ready");
    assert_eq!(check(&["healthcheck"]), Some(0));
    assert_eq!(check(&["healthcheck", "--ready"]), Some(69));
    program.signal("TERM");
    program.ended();
    assert_eq!(check(&["healthcheck"]), Some(69));
    assert_eq!(run(&["healthcheck"], &[("HTTP_ADDRESS", "there")]).status.code(), Some(78));
}
