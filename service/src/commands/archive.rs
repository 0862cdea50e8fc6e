//! `service archive`: runs of the archive policies, for a CronJob and for people, and the way back.

use std::fmt::Write as _;
use std::sync::Arc;

use clap::Subcommand;
use foundation::clock::Clock;
use foundation::database::Database;
use foundation::entropy::Entropy;
use foundation::exit::Exit;
use foundation::settings::{Environment, FoundationSettings, Section as _};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::runtime::Builder;
use uuid::Uuid;

use super::partitions::parse_time;
use super::{explain, refuse, require_file, say, tell, threads};
use crate::archive::{ArchiveError, Archiving, Asked, Restore};
use crate::domain::archive_runs::{ArchiveRun, RunReason, RunState};
use crate::domain::audit::{Actor, AuditEvent, Change, Target};
use crate::domain::live::Live;
use crate::domain::partitions::Range;
use crate::leases::{LeaseError, Leases};
use crate::lifecycle::{Lifecycle, Stage};
use crate::live_settings::{LiveSettings, poll_interval};
use crate::prometheus::RetentionMetrics;
use crate::server::Signals;
use crate::settings::{ArchivePlace, ArchiveSettings, AuthSettings, MetricsSettings};

/// What is done about archives.
#[derive(Debug, Subcommand)]
pub(super) enum ArchiveCommand {
    /// Runs the archive policies, and waits for the end: exit 0, 75 when a run is under way elsewhere, 70 when
    /// something went wrong.
    Run {
        /// Only says what would go.
        #[arg(long)]
        dry_run: bool,
    },
    /// Brings snapshots back from the archive. Done twice, it is the same as done once: exit 0, 2 when no file has
    /// any of them, 75 when a run is under way or was interrupted, 70 when a file is damaged or cannot be read.
    Restore {
        /// The type of the snapshots.
        #[arg(long, value_name = "TYPE")]
        metric_type: String,
        /// The files that reach beyond this time are brought back, each whole: a date, which begins at
        /// midnight in UTC, or an RFC 3339 time.
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        from: OffsetDateTime,
        /// And begin before this one.
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        to: OffsetDateTime,
        /// Runs leave them alone until then.
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        until: OffsetDateTime,
    },
}

struct Settings {
    foundation: FoundationSettings,
    auth: AuthSettings,
    metrics: MetricsSettings,
    archive: ArchiveSettings,
    place: Option<ArchivePlace>,
}

pub(super) fn run(mut environment: Environment, command: &ArchiveCommand) -> Exit {
    let foundation = FoundationSettings::read(&mut environment);
    let auth = AuthSettings::read(&mut environment);
    let metrics = MetricsSettings::read(&mut environment);
    metrics.check_bounds(&mut environment);
    let (archive, place) = ArchiveSettings::read_with_place(&mut environment, &foundation);
    if let Err(error) = environment.finish() {
        return refuse(&error);
    }
    if let Err(exit) = require_file(&foundation.database_url) {
        return exit;
    }
    let runtime = match threads(Builder::new_multi_thread()) {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let exit = runtime.block_on(async {
        match perform(&Settings { foundation, auth, metrics, archive, place }, command).await {
            Ok(exit) => exit,
            Err(ArchiveError::Database(error) | ArchiveError::Lease(LeaseError::Database(error))) => {
                explain(&error)
            }
            Err(error) => {
                tell(&error);
                error.exit()
            }
        }
    });
    runtime.shutdown_background();
    exit
}

async fn perform(settings: &Settings, command: &ArchiveCommand) -> Result<Exit, ArchiveError> {
    let (url, pool) = (&settings.foundation.database_url, &settings.foundation.database);
    let database = Database::open(url, pool, "bedplate-service-archive")?;
    let lifecycle = Lifecycle::default();
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let live = Live::defaults(&settings.auth, None);
    let poll = poll_interval(database.backend());
    let archiving = Archiving {
        leases: Leases::new(database.clone(), &clock, &entropy),
        // Credentials may be among them: nothing is begun before they are read.
        live: LiveSettings::start_read(database.primary(), live, poll, lifecycle.clone()).await?,
        // Nobody reads the figures of a command.
        metrics: RetentionMetrics::default(),
        width: settings.metrics.width(),
        settings: Arc::new(settings.archive.clone()),
        place: settings.place.clone(),
        // What a run decides by must not be behind.
        database: database.primary(),
        clock,
        entropy,
    };
    let mut signals = Signals::new()?;
    let stopping = lifecycle.clone();
    tokio::spawn(async move {
        signals.next().await;
        stopping.advance(Stage::Draining);
    });
    let exit = match command {
        ArchiveCommand::Run { dry_run } => run_policies(&archiving, *dry_run, &lifecycle).await,
        ArchiveCommand::Restore { metric_type, from, to, until } => {
            let range = Range { lower: *from, upper: *to };
            let asked = Restore { metric_type: metric_type.clone(), range, until: *until };
            tokio::select! {
                () = lifecycle.reached(Stage::Draining) => Err(ArchiveError::Stopped),
                exit = restore(&archiving, &asked) => exit,
            }
        }
    };
    lifecycle.advance(Stage::Closing);
    database.close();
    exit
}

fn event(archiving: &Archiving, action: &str, target: Target, after: serde_json::Value) -> AuditEvent {
    let change = Change { before: None, after: Some(after) };
    AuditEvent::new(&archiving.clock, &archiving.entropy, action, Actor::COMMAND_LINE, target, change)
}

async fn run_policies(
    archiving: &Archiving,
    is_dry_run: bool,
    lifecycle: &Lifecycle,
) -> Result<Exit, ArchiveError> {
    let asked = Asked { reason: RunReason::CommandLine, requested_by: None, is_dry_run, unless_since: None };
    let told = |id: Uuid| {
        let target = Target { kind: "archive_run".to_owned(), id: Some(id.to_string()) };
        Some(event(archiving, "archive_run.started", target, json!({ "is_dry_run": is_dry_run })))
    };
    let Some(run) = archiving.begin(&asked, told).await? else {
        tell("a run is under way, or something is being restored: nothing was done");
        return Ok(Exit::Interrupted);
    };
    let run = run.work(lifecycle).await;
    say(describe(&run));
    if let Some(error) = &run.error {
        tell(format_args!("{error}\nThe next run goes on where this one ended."));
    }
    Ok(match run.state {
        RunState::Succeeded => Exit::Success,
        RunState::Abandoned => Exit::Interrupted,
        RunState::Failed | RunState::Running => Exit::Migration,
    })
}

/// What a run did, in lines for people.
fn describe(run: &ArchiveRun) -> String {
    let mut text = String::new();
    for piece in &run.details {
        let what = piece.metric_type.as_deref().unwrap_or("partition");
        let times = [piece.from, piece.to].map(|time| time.format(&Rfc3339).unwrap_or_default());
        let size = if piece.metric_type.is_some() {
            format!("{} rows", piece.rows)
        } else {
            format!("{} bytes", piece.bytes)
        };
        // A text takes whatever is written to it.
        let _infallible =
            write!(text, "{:<15} {what} from {} to {}: {size}", piece.action, times[0], times[1]);
        let note = piece.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
        let _infallible = writeln!(text, "{note}");
    }
    let figures = &run.figures;
    let done = if run.is_dry_run { "would be" } else { "were" };
    text.push_str(&format!(
        "{}: {} rows {done} deleted, {} archived, {} partitions dropped, {} bytes freed",
        run.id, figures.rows_deleted, figures.rows_archived, figures.partitions_dropped, figures.bytes_freed
    ));
    text
}

async fn restore(archiving: &Archiving, asked: &Restore) -> Result<Exit, ArchiveError> {
    if asked.range.lower >= asked.range.upper {
        tell("--from has to be before --to");
        return Ok(Exit::Usage);
    }
    if asked.until <= archiving.clock.now() {
        tell("--until has to lie ahead: the next run would take everything away again");
        return Ok(Exit::Usage);
    }
    let text = |time: OffsetDateTime| time.format(&Rfc3339).unwrap_or_default();
    let (from, to, until) = (text(asked.range.lower), text(asked.range.upper), text(asked.until));
    let after = json!({ "metric_type": asked.metric_type, "from": from, "to": to, "until": until });
    let target = Target { kind: "archive".to_owned(), id: Some(asked.metric_type.clone()) };
    let event = event(archiving, "archive.restored", target, after);
    let Some(done) = archiving.restore(asked, &event).await? else {
        tell("a run is under way, or something is being restored: nothing was done");
        return Ok(Exit::Interrupted);
    };
    if done.files == 0 {
        let metric_type = &asked.metric_type;
        tell(format_args!(
            "the archive has no file of the type {metric_type:?} between {from} and {to}: nothing was done"
        ));
        return Ok(Exit::Usage);
    }
    say(format_args!(
        "{} rows of {} files are in the table until {until}; {} of them were not there before",
        done.rows, done.files, done.inserted
    ));
    Ok(Exit::Success)
}
