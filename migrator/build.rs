//! Proves the migrations and their undo files, and embeds them. A wrong file fails the build by name.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

// The very rules that the library applies when it loads the files.
#[path = "src/source/rules/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "the build needs a part of what the library has")]
mod rules;

use rules::{Catalog, Dialect, SourceErrors};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let folder = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/source/rules");
    for dialect in Dialect::ALL {
        for kind in ["migrations", "undo"] {
            println!("cargo::rerun-if-changed={kind}/{}", dialect.folder());
        }
    }

    let postgres = Catalog::from_folder(&folder, Dialect::Postgres);
    let sqlite = Catalog::from_folder(&folder, Dialect::Sqlite);
    let pair = match (&postgres, &sqlite) {
        (Ok(postgres), Ok(sqlite)) => Catalog::check_pair(postgres, sqlite),
        // The other problems are told first: a file that cannot be read has no counterpart either.
        _ => Ok(()),
    };
    let reported =
        [report(postgres.as_ref().err()), report(sqlite.as_ref().err()), report(pair.err().as_ref())];
    if reported.contains(&true) {
        return Ok(ExitCode::FAILURE);
    }

    let mut generated = String::new();
    for catalog in [postgres?, sqlite?] {
        write_lists(&mut generated, &folder, &catalog)?;
    }
    fs::write(Path::new(&variable("OUT_DIR")?).join("embedded.rs"), generated)?;
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::disallowed_methods, reason = "cargo speaks to a build script through its environment")]
fn variable(name: &str) -> Result<String, Box<dyn Error>> {
    env::var(name).map_err(|error| format!("{name}: {error}").into())
}

/// Tells cargo of every problem, one line each. Whether there was any.
fn report(errors: Option<&SourceErrors>) -> bool {
    let problems = errors.map(SourceErrors::problems).unwrap_or_default();
    for problem in problems {
        println!("cargo::error={problem}");
    }
    !problems.is_empty()
}

/// Two constants, `<DIALECT>_MIGRATIONS` and `<DIALECT>_UNDO`, of file names and contents.
fn write_lists(generated: &mut String, folder: &Path, catalog: &Catalog) -> Result<(), Box<dyn Error>> {
    let dialect = catalog.dialect().folder();
    let migrations = catalog.iter().map(|migration| format!("{migration}.sql")).collect();
    let undo = catalog.iter().filter_map(|migration| Some(migration.undo()?.file_name.clone())).collect();
    let lists: [(&str, Vec<String>); 2] = [("migrations", migrations), ("undo", undo)];
    for (kind, names) in lists {
        writeln!(generated, "const {}_{}: &[File] = &[", dialect.to_uppercase(), kind.to_uppercase())?;
        for name in names {
            let path = folder.join(kind).join(dialect).join(&name);
            let path = path.to_str().ok_or("the path of this folder is not UTF-8")?;
            writeln!(generated, "    ({name:?}, include_str!({path:?})),")?;
        }
        writeln!(generated, "];")?;
    }
    Ok(())
}
