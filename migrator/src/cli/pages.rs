//! What a shell and `man` want to know about a program: made from its command line, so that it is never old.

use std::io;
use std::path::{Path, PathBuf};

pub use clap_complete::Shell;

/// The script that completes the command line in this shell.
#[must_use]
pub fn completions(mut command: clap::Command, shell: Shell) -> String {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The page of the manual about a program, its commands among it.
///
/// # Errors
/// Never, but that is what writing says.
pub fn manual(command: clap::Command) -> io::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(without_help(command)).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Writes that page and one for each command into a folder, `NAME-COMMAND.1`; says which.
///
/// # Errors
/// When a file cannot be written.
pub fn manual_pages(command: clap::Command, folder: &Path) -> io::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(without_help(command), folder)?;
    let entries = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut pages = entries.collect::<io::Result<Vec<_>>>()?;
    pages.retain(|page| page.extension().is_some_and(|it| it == "1"));
    pages.sort();
    Ok(pages)
}

/// Nobody looks up in a manual how to be helped.
fn without_help(command: clap::Command) -> clap::Command {
    command.disable_help_subcommand(true)
}
