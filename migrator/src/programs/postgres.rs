//! PostgreSQL's own programs: found on the PATH, not older than the server, the password in their environment.

use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use foundation::database::{Connection, Statement};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::{Ended, Output, bounded, lines, run, start};
use crate::error::MigratorError;
use crate::session::Context;

const SERVER_VERSION: Statement =
    Statement::read("pg_settings", "SELECT current_setting('server_version_num') AS number");

/// The name of our sessions that these programs open.
const APPLICATION_NAME: &str = "bedplate-backup";

/// One of PostgreSQL's programs on the database that the settings name. What the caller's shell says to
/// these programs is left out: it is about another database.
pub(crate) fn program(context: &Context, name: &str) -> Command {
    let mut command = Command::new(name);
    surround(&mut command, context);
    command.env("PGAPPNAME", APPLICATION_NAME);
    command
}

/// Puts the address of the database into a program's environment.
pub(crate) fn surround(command: &mut Command, context: &Context) {
    let variables = context.url.libpq_environment();
    if variables.is_empty() {
        return;
    }
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("PG")) {
            command.env_remove(name);
        }
    }
    command.envs(variables);
}

/// The major version of one of these programs.
///
/// # Errors
/// That there is none, with what to install.
pub(crate) async fn version(context: &Context, name: &str) -> Result<u32, MigratorError> {
    let mut command = Command::new(name);
    command.arg("--version");
    let ended = match run(context, command, name, Output::Kept).await {
        Err(MigratorError::Backup(missing)) => {
            return Err(MigratorError::Backup(format!(
                "{missing}; install PostgreSQL's client programs (postgresql-client on Debian, libpq on Homebrew), of the server's version or newer"
            )));
        }
        ended => ended?.succeeded(&format!("{name} --version does not work")).map_err(lasting)?,
    };
    let said = String::from_utf8_lossy(&ended.output).into_owned();
    // pg_dump (PostgreSQL) 16.4 (Debian 16.4-1)
    let number = said.split(|it: char| !it.is_ascii_digit()).find_map(|it| it.parse().ok());
    number.ok_or_else(|| MigratorError::Backup(format!("{name} --version says no version: {}", said.trim())))
}

/// Refuses a program that is older than the server.
pub(crate) async fn not_older(
    context: &Context,
    connection: &mut Connection,
    name: &str,
) -> Result<(), MigratorError> {
    let ours = version(context, name).await?;
    let row = connection.query_optional(&SERVER_VERSION, &[]).await?;
    let number: Option<String> = row.map(|row| row.get("number")).transpose()?;
    let server = number.and_then(|it| it.parse::<u32>().ok()).unwrap_or_default() / 10_000;
    if ours >= server {
        return Ok(());
    }
    Err(MigratorError::Backup(format!(
        "{name} on the PATH is of version {ours} and the server of {server}: an older one does not understand it; install version {server} or newer, and put it first on the PATH"
    )))
}

/// Dumps the database into `file`, which is there and empty; of it the one schema that the settings name.
pub(crate) async fn dump(context: &Context, file: &Path) -> Result<(), MigratorError> {
    let mut command = program(context, "pg_dump");
    command.args(["--format=custom", "--no-password", "--file"]).arg(file);
    if let Some(role) = &context.settings.role {
        command.arg(format!("--role={role}"));
    }
    if let Some(schema) = &context.database.schema {
        // A pattern, in which nothing between quotation marks stands for something else.
        command.arg(format!("--schema=\"{schema}\""));
    }
    run(context, command, "pg_dump", Output::Shown).await?.succeeded("pg_dump failed").map(drop)
}

/// Reads a backup from its first byte to its last, and says at which version of the schema it is.
pub(crate) async fn read_back(context: &Context, file: &Path) -> Result<Option<i64>, MigratorError> {
    let name = file.display();
    // Its table of contents first: what is no backup at all is told in a sentence of its own.
    let listed = restoring(context, file, &["--list"]).await?;
    if !listed.status.success() && listed.said.contains("unsupported version") {
        let ours = version(context, "pg_restore").await?;
        return Err(MigratorError::Backup(format!(
            "{name} was made by a newer pg_dump than the pg_restore on the PATH, which is of version {ours} ({}); install a newer one",
            listed.said
        )));
    }
    listed.succeeded(&format!("{name} is no backup that pg_restore can read"))?;
    restoring(context, file, &["--file=/dev/null"])
        .await?
        .succeeded(&format!("{name} cannot be read to its end"))?;
    let history = restoring(context, file, &["--data-only", "--table=refinery_schema_history", "--file=-"]);
    let history = history.await?.succeeded(&format!("the history in {name} cannot be read"))?;
    Ok(newest_version(&String::from_utf8_lossy(&history.output)))
}

/// What a backup makes that lies in no schema.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MadeByBackup {
    /// As in `DROP`.
    pub(crate) kind: String,
    pub(crate) name: String,
}

/// Of these kinds there is one of a name in a database. Extensions stay as they are: a backup makes those that are
/// missing.
const OF_DATABASE: [&str; 5] = ["SCHEMA", "SERVER", "FOREIGN DATA WRAPPER", "PUBLICATION", "EVENT TRIGGER"];

/// What a backup makes that lies in no schema. `public`, which comes with each database, is among it where the
/// backup says something of it.
pub(crate) async fn made(context: &Context, file: &Path) -> Result<Vec<MadeByBackup>, MigratorError> {
    let listed = restoring(context, file, &["--schema-only", "--file=-"]).await?;
    let listed = listed.succeeded(&format!("what {} makes cannot be read", file.display()))?;
    Ok(made_of(&String::from_utf8_lossy(&listed.output)))
}

/// From the remark that pg_restore writes above each object.
fn made_of(sql: &str) -> Vec<MadeByBackup> {
    let remarks = sql.lines().filter_map(|line| line.strip_prefix("-- Name: ")?.split_once("; Type: "));
    let made = remarks.filter_map(|(name, rest)| {
        let kind = rest.split_once("; Schema: -; Owner:")?.0;
        OF_DATABASE.contains(&kind).then(|| MadeByBackup { kind: kind.to_owned(), name: name.to_owned() })
    });
    made.collect()
}

/// What of a backup is brought back, as pg_restore lists it: all but the schema `public`, which a backup of that
/// schema alone has like any other, and which is in every database.
async fn entries(context: &Context, file: &Path) -> Result<String, MigratorError> {
    let listed = restoring(context, file, &["--list"]).await?;
    let listed = listed.succeeded(&format!("{} is no backup that pg_restore can read", file.display()))?;
    Ok(without_public(&String::from_utf8_lossy(&listed.output)))
}

/// An entry is a number, those of its catalogue and its object, its kind, its schema, its name and its owner.
fn without_public(list: &str) -> String {
    let is_public = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().skip(3).collect();
        matches!(*words, ["SCHEMA", "-", "public", ..] | ["COMMENT", "-", "SCHEMA", "public", ..])
    };
    list.lines().filter(|line| !is_public(line)).map(|line| format!("{line}\n")).collect()
}

async fn restoring(context: &Context, file: &Path, arguments: &[&str]) -> Result<Ended, MigratorError> {
    let mut command = Command::new("pg_restore");
    command.args(arguments).arg(file);
    run(context, command, "pg_restore", Output::Kept).await
}

/// The highest number in the first column of a COPY.
fn newest_version(sql: &str) -> Option<i64> {
    let rows = sql.lines().skip_while(|line| !line.starts_with("COPY ")).skip(1);
    let rows = rows.take_while(|line| *line != "\\.");
    rows.filter_map(|line| line.split('\t').next()?.parse().ok()).max()
}

/// Said where nobody knows how it ended.
const UNKNOWN: &str = "the restore was broken off while it was committed, so it may have been restored and it may be what it was: look at it (`migrator status`)";

/// The exit code of psql when the server refused a statement, COMMIT among them.
const REFUSED: i32 = 3;

/// Runs `before` and what is in the backup in one transaction. COMMIT comes after the last byte of the backup:
/// whatever ends before that, ends without it, and the database is what it was.
pub(crate) async fn restore(context: &Context, file: &Path, before: &str) -> Result<(), MigratorError> {
    let entries = entries(context, file).await.map_err(lasting)?;
    let mut reading = Command::new("pg_restore");
    reading.args(["--no-owner", "--use-list=/dev/stdin", "--file=-"]).arg(file).stdin(Stdio::piped());
    let mut reading = start(reading.stdout(Stdio::piped()).stderr(Stdio::piped()), "pg_restore")?;
    let mut writing = program(context, "psql");
    // Terse, because the details of an error have the values of rows in them.
    writing.args(["--no-psqlrc", "--quiet", "--no-password", "--output=/dev/null"]);
    writing.args(["--set=ON_ERROR_STOP=1", "--set=VERBOSITY=terse"]);
    writing.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut writing = start(&mut writing, "psql")?;
    let groups = [reading.id(), writing.id()];
    let (Some(mut list), Some(mut from), Some(mut to)) =
        (reading.stdin.take(), reading.stdout.take(), writing.stdin.take())
    else {
        return Err(MigratorError::Backup("what was started has no pipes".to_owned()));
    };
    let (from_says, to_says) = (reading.stderr.take(), writing.stderr.take());
    let committing = AtomicBool::new(false);
    let work = async {
        let copy = async {
            let copied = async {
                list.write_all(entries.as_bytes()).await?;
                drop(list);
                to.write_all(before.as_bytes()).await?;
                tokio::io::copy(&mut from, &mut to).await?;
                // psql stops at its first error, and the pipe with it.
                Ok::<_, std::io::Error>(())
            };
            let copied = copied.await;
            drop(from);
            let read = reading.wait().await?;
            if copied.is_ok() && read.success() {
                committing.store(true, Ordering::Relaxed);
                to.write_all(b"\nCOMMIT;\n").await?;
            }
            drop(to);
            Ok::<_, std::io::Error>(read)
        };
        let (read, from_said, to_said) =
            tokio::join!(copy, lines("pg_restore", from_says, false), lines("psql", to_says, false));
        let cannot = |error| MigratorError::File(error, "what was started cannot be talked to".to_owned());
        let written = Ended {
            status: writing.wait().await.map_err(cannot)?,
            output: Vec::new(),
            said: to_said.map_err(cannot)?.into_iter().collect::<Vec<_>>().join(" / "),
        };
        let is_known = !committing.load(Ordering::Relaxed) || written.status.code() == Some(REFUSED);
        let failed = if is_known { "the restore failed, and the database is what it was" } else { UNKNOWN };
        written.succeeded(failed).map_err(explain)?;
        let status = read.map_err(cannot)?;
        let said = from_said.map_err(cannot)?.into_iter().collect::<Vec<_>>().join(" / ");
        Ended { status, output: Vec::new(), said }.succeeded(failed).map(drop)
    };
    let done = bounded(context, "the restore", &groups, |()| true, work).await;
    done.map_err(|error| match error {
        MigratorError::Stopped | MigratorError::TimedOut(_) if committing.load(Ordering::Relaxed) => {
            MigratorError::BackupFailed { what: UNKNOWN.to_owned(), unreachable: false }
        }
        error => error,
    })
}

/// A failure that is the same the next time, because of the file or the program itself.
pub(crate) fn lasting(error: MigratorError) -> MigratorError {
    match error {
        MigratorError::BackupFailed { what, .. } => MigratorError::Backup(what),
        error => error,
    }
}

/// Says where roles come from.
fn explain(error: MigratorError) -> MigratorError {
    match error {
        MigratorError::BackupFailed { what: said, .. }
            if said.contains("role \"") && said.contains("does not exist") =>
        {
            MigratorError::Backup(format!(
                "{said}; roles are not in a backup of a database: make those that it gives rights to (deploy/postgres/10-roles.sh makes ours), and restore again"
            ))
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::{made_of, newest_version, without_public};

    #[test]
    fn the_schema_public_is_no_entry() {
        let kept = "; Archive created at 2026\n7; 2615 1 SCHEMA - app me\n9; 1259 2 TABLE public users me\n10; 0 0 ACL - SCHEMA public me\n";
        let listed = format!("{kept}5; 2615 2200 SCHEMA - public me\n11; 0 0 COMMENT - SCHEMA public me\n");
        assert_eq!(without_public(&listed), kept);
    }

    #[test]
    fn what_a_backup_makes_beside_schemas_is_read() {
        let sql = "--\n-- Name: Team 1; Type: SCHEMA; Schema: -; Owner: me\n--\n\nCREATE SCHEMA \"Team 1\";\n-- Name: x; Type: TABLE; Schema: app; Owner: me\n-- Name: SCHEMA app; Type: ACL; Schema: -; Owner: me\n-- Name: all; Type: PUBLICATION; Schema: -; Owner: me\n";
        let made: Vec<_> = made_of(sql).into_iter().map(|it| (it.kind, it.name)).collect();
        let expected = [("SCHEMA", "Team 1"), ("PUBLICATION", "all")];
        assert_eq!(made, expected.map(|(kind, name)| (kind.to_owned(), name.to_owned())));
    }

    #[test]
    fn the_version_of_a_backup_is_the_highest_of_its_history() {
        let sql = "SET x = 1;\nCOPY public.refinery_schema_history (version, name) FROM stdin;\n2\tb\n10\ta\n\\.\n\n99\n";
        assert_eq!(newest_version(sql), Some(10));
        assert_eq!(newest_version("COPY public.x (version) FROM stdin;\n\\.\n"), None);
        assert_eq!(newest_version(""), None);
    }
}
