//! The page for those who come from other tools: every command of ours on it is one.

use clap::{CommandFactory, Parser};
use migrator::cli::Cli;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/coming-from.md");

/// The commands that begin with `migrator`, in code between backquotes and in blocks, up to a comment, a
/// redirection or the end of a group.
fn commands(page: &str) -> Vec<Vec<String>> {
    let (mut spans, mut in_block) = (Vec::new(), false);
    for line in page.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            spans.extend(line.split("; "));
        } else {
            spans.extend(line.split('`').skip(1).step_by(2));
        }
    }
    let words = |span: &str| {
        let words =
            span.split_whitespace().take_while(|it| !["#", ">", "}"].contains(it) && !it.ends_with(';'));
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    spans.into_iter().map(words).filter(|it| it.first().is_some_and(|it| it == "migrator")).collect()
}

#[test]
fn every_command_is_understood() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let commands = commands(&page);
    assert!(commands.len() > 60, "{}", commands.len());
    for command in &commands {
        // Where a version stands for any, in words.
        let command: Vec<&str> =
            command.iter().map(|it| if it == "VERSION" { "3" } else { it.as_str() }).collect();
        if let Err(error) = Cli::try_parse_from(&command) {
            panic!("{}: {error}", command.join(" "));
        }
    }
    let names: Vec<&str> = commands.iter().filter_map(|it| it.get(1)).map(String::as_str).collect();
    for name in ["import-history", "up", "down", "plan", "status", "history", "stamp", "new", "dump", "check"]
    {
        assert!(names.contains(&name), "{name}");
        assert!(Cli::command().find_subcommand(name).is_some(), "{name}");
    }
}
