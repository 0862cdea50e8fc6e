//! What a person asks the program: help with examples that work, the manual, and completions.

use clap::{CommandFactory, Parser};
use migrator::cli::Cli;

use crate::support::Run;

/// The examples below a help, as they would be typed: what follows two blanks is about them.
fn examples(command: &clap::Command) -> Vec<String> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let lines =
        help.lines().filter_map(|line| line.strip_prefix("  ").filter(|it| it.starts_with("migrator")));
    lines.map(|line| line.split_once("  ").map_or(line, |(typed, _)| typed).to_owned()).collect()
}

/// The words of a line as a shell sees them; the only quotes are single ones.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (number, part) in line.split('\'').enumerate() {
        if number % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// Each command of the program, and the program itself.
fn commands() -> Vec<clap::Command> {
    let whole = Cli::command();
    let mut commands: Vec<clap::Command> = whole.get_subcommands().cloned().collect();
    commands.push(whole);
    commands
}

#[test]
fn each_command_has_examples_that_parse() {
    for command in commands() {
        let name = command.get_name();
        let examples = examples(&command);
        assert!(!examples.is_empty(), "the help of {name} has no example");
        for example in examples {
            let words = words(&example);
            if name != "migrator" {
                assert_eq!(words[1], name, "{example}");
            }
            let parsed = Cli::try_parse_from(&words);
            assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
        }
    }
    assert!(commands().len() > 15, "there are as many as that");
}

#[test]
fn each_command_and_option_says_what_it_is_for() {
    for command in commands() {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        for argument in command.get_arguments().filter(|it| !it.is_hide_set()) {
            assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
        }
    }
}

/// Without any setting, in an empty folder, and nothing is left there.
async fn said(arguments: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let mut command = foundation::testing::program(env!("CARGO_BIN_EXE_migrator"), folder.path());
    command.args(arguments).env("BEDPLATE_ENV", "production");
    let run = Run::of(command).await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    run
}

#[tokio::test]
async fn the_manual_names_every_command() {
    let page = said(&["man"]).await.ends(0).stdout.replace("\\-", "-");
    for command in commands() {
        assert!(page.contains(command.get_name()), "{}", command.get_name());
    }
    for words in ["Exit codes", "MIGRATOR_LOCK_TIMEOUT", ".TH migrator"] {
        assert!(page.contains(words), "{words}\n{page}");
    }
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("man1");
    said(&["man", "--folder", inside.to_str().unwrap()]).await.ends(0);
    for command in Cli::command().get_subcommands() {
        let page = inside.join(format!("migrator-{}.1", command.get_name()));
        let text = std::fs::read_to_string(&page).unwrap();
        assert!(text.contains("Examples:"), "{}", page.display());
    }
}

#[tokio::test]
async fn shells_take_the_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = said(&["completions", shell]).await.ends(0).stdout;
        for command in Cli::command().get_subcommands() {
            assert!(script.contains(command.get_name()), "{shell} {}", command.get_name());
        }
        if shell == "bash" {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("migrator");
            std::fs::write(&file, &script).unwrap();
            let mut bash = foundation::testing::program("bash", folder.path());
            // What it offers after `migrator rep`.
            bash.arg("-c").arg(
                "source ./migrator; COMP_WORDS=(migrator rep); COMP_CWORD=1; _migrator migrator rep migrator; echo \"${COMPREPLY[@]}\"",
            );
            assert_eq!(Run::of(bash).await.ends(0).stdout.trim(), "repair");
        }
    }
    said(&["completions", "tcsh"]).await.ends(2);
}
