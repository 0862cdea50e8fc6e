//! Programs of others that a run starts: bounded, stopped with the run, what they say shown.

pub(crate) mod postgres;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::error::MigratorError;
use crate::session::Context;

/// How long a program may take to end when it is asked to.
const TERM_TIMEOUT: Duration = Duration::from_secs(3);

/// How much of what a program said is kept for the error: lines, and bytes of each.
const TAIL_LINES: usize = 10;
const LONGEST_LINE: usize = 500;

/// A program that has ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// What it wrote to its standard output, when that was asked for.
    pub(crate) output: Vec<u8>,
    /// The end of what it said.
    pub(crate) said: String,
}

impl Ended {
    /// The same, unless it failed: then `what` does not work out, and its last words.
    pub(crate) fn succeeded(self, what: &str) -> Result<Self, MigratorError> {
        if self.status.success() {
            return Ok(self);
        }
        let how = match self.status.code() {
            Some(code) => format!("exit code {code}"),
            None => self.status.to_string(),
        };
        let said = if self.said.is_empty() { "it said nothing".to_owned() } else { self.said };
        let what = format!("{what} ({how}): {said}");
        match self.status.code() {
            // What a shell says of a program that it cannot find or run.
            Some(126 | 127) => Err(MigratorError::Backup(what)),
            _ => Err(MigratorError::BackupFailed { unreachable: is_unreachable(&said), what }),
        }
    }
}

/// Whether these are the words of libpq for a server that is away, starting or going.
fn is_unreachable(said: &str) -> bool {
    [
        "connection to server",
        "could not connect to server",
        "could not translate host name",
        "server closed the connection",
        "terminating connection",
    ]
    .iter()
    .any(|words| said.contains(words))
}

/// What becomes of a program's standard output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// It is shown line by line, as what it says on standard error is.
    Shown,
    /// It is kept, and what it says on standard error is not shown.
    Kept,
}

/// Starts a program in a process group of its own, so that what it starts ends with it.
pub(crate) fn start(command: &mut Command, name: &str) -> Result<Child, MigratorError> {
    command.process_group(0).kill_on_drop(true).spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            let program = command.as_std().get_program().display().to_string();
            let purpose = if program == name { String::new() } else { format!(", which runs the {name}") };
            MigratorError::Backup(format!("there is no {program} on the PATH{purpose}"))
        }
        _ => MigratorError::File(error, format!("{name} cannot be started")),
    })
}

/// Runs a program to its end. `name` is how it is called in what is shown of it.
pub(crate) async fn run(
    context: &Context,
    mut command: Command,
    name: &str,
    output: Output,
) -> Result<Ended, MigratorError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = start(&mut command, name)?;
    let (group, stdout, stderr) = (child.id(), child.stdout.take(), child.stderr.take());
    let shown = output == Output::Shown;
    let work = async {
        let keep = async {
            match (output, stdout) {
                (Output::Kept, Some(mut stdout)) => {
                    let mut kept = Vec::new();
                    stdout.read_to_end(&mut kept).await.map(|_| (kept, VecDeque::new()))
                }
                (_, stdout) => lines(name, stdout, shown).await.map(|tail| (Vec::new(), tail)),
            }
        };
        let (kept, said) = tokio::join!(keep, lines(name, stderr, shown));
        let status = child.wait().await;
        let cannot = |error| MigratorError::File(error, format!("what {name} says cannot be read"));
        let (kept, mut said) = (kept.map_err(cannot)?, said.map_err(cannot)?);
        if said.is_empty() {
            said = kept.1;
        }
        let said = said.into_iter().collect::<Vec<_>>().join(" / ");
        Ok(Ended { status: status.map_err(cannot)?, output: kept.0, said })
    };
    bounded(context, name, &[group], |ended: &Ended| ended.status.success(), work).await
}

/// Lets programs work until they are done, the run is to stop, or `MIGRATOR_BACKUP_TIMEOUT` is over; `groups`
/// are then told to end, and made to. What was done meanwhile all the same counts when `succeeded` says so.
pub(crate) async fn bounded<T>(
    context: &Context,
    name: &str,
    groups: &[Option<u32>],
    succeeded: impl Fn(&T) -> bool,
    work: impl Future<Output = Result<T, MigratorError>>,
) -> Result<T, MigratorError> {
    let limit = context.settings.backup_timeout;
    let over = async {
        if limit.is_zero() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(limit).await;
    };
    tokio::pin!(work);
    let reason = tokio::select! {
        biased;
        done = &mut work => return done,
        () = context.stop.requested() => MigratorError::Stopped,
        () = over => MigratorError::TimedOut(format!(
            "{name} was not done within {} (MIGRATOR_BACKUP_TIMEOUT), and was ended",
            humantime::format_duration(limit)
        )),
    };
    signal(groups, Signal::TERM);
    match tokio::time::timeout(TERM_TIMEOUT, &mut work).await {
        // It was done just before.
        Ok(Ok(done)) if succeeded(&done) => return Ok(done),
        Ok(_) => {}
        Err(_) => signal(groups, Signal::KILL),
    }
    Err(reason)
}

fn signal(groups: &[Option<u32>], signal: Signal) {
    let known = groups.iter().flatten().filter_map(|id| Pid::from_raw(i32::try_from(*id).ok()?));
    for group in known {
        // It may have ended just before.
        if let Err(error) = kill_process_group(group, signal) {
            tracing::debug!(error = %error, "a program could not be told to end");
        }
    }
}

/// Reads what a program says to its end, shows it where that is wanted, and keeps the last lines.
pub(crate) async fn lines(
    name: &str,
    source: Option<impl AsyncRead + Unpin>,
    shown: bool,
) -> Result<VecDeque<String>, std::io::Error> {
    let mut tail = VecDeque::new();
    let Some(source) = source else { return Ok(tail) };
    let mut source = BufReader::new(source);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line has a bound too: the rest of a longer one is the next.
        let mut bounded = (&mut source).take(64 * 1024);
        if bounded.read_until(b'\n', &mut line).await? == 0 {
            return Ok(tail);
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if text.is_empty() {
            continue;
        }
        if shown {
            tracing::info!("{name}: {text}");
        }
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(text.chars().take(LONGEST_LINE).collect());
    }
}
