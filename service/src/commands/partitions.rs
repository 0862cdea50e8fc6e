//! `service partitions`: what has to be there before old snapshots are loaded.

use clap::Subcommand;
use foundation::database::{Backend, Database, DatabaseError};
use foundation::exit::Exit;
use foundation::settings::{Environment, FoundationSettings, Section as _};
use time::format_description::well_known::{Iso8601, Rfc3339};
use time::{Date, OffsetDateTime};
use tokio::runtime::Builder;

use super::{explain, refuse, require_file, say, tell, threads};
use crate::domain::partitions::MADE;
use crate::partitions::Partitions;
use crate::settings::MetricsSettings;

/// The most partitions that one command makes.
const MOST: i64 = 10_000;

/// What is done about partitions.
#[derive(Debug, Subcommand)]
pub(super) enum PartitionsCommand {
    /// Makes the partitions that are missing between two times, on PostgreSQL.
    Ensure {
        /// The first time: a date, which begins at midnight in UTC, or an RFC 3339 time.
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        from: OffsetDateTime,
        /// The first time after it.
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        to: OffsetDateTime,
    },
}

/// A date such as 2026-01-31 or a time such as 2026-01-31T12:00:00Z.
pub(super) fn parse_time(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| Date::parse(text, &Iso8601::DATE).map(|date| date.midnight().assume_utc()))
        .map_err(|_| "expected a date such as 2026-01-31 or a time such as 2026-01-31T12:00:00Z".to_owned())
}

pub(super) fn run(mut environment: Environment, command: &PartitionsCommand) -> Exit {
    let foundation = FoundationSettings::read(&mut environment);
    let metrics = MetricsSettings::read(&mut environment);
    metrics.check_bounds(&mut environment);
    if let Err(error) = environment.finish() {
        return refuse(&error);
    }
    let PartitionsCommand::Ensure { from, to } = *command;
    let width = metrics.width();
    if from >= to {
        tell("--from has to be before --to");
        return Exit::Usage;
    }
    if !width.has_room_for(from) || !width.has_room_for(to - time::Duration::NANOSECOND) {
        let (first, end) = (MADE.lower.date(), MADE.upper.date());
        tell(format_args!("there are no partitions before {first}, and none from {end} on"));
        return Exit::Usage;
    }
    if width.slot_of(to) - width.slot_of(from) > MOST {
        tell(format_args!("that is more than {MOST} partitions; make them in several steps"));
        return Exit::Usage;
    }
    if let Err(exit) = require_file(&foundation.database_url) {
        return exit;
    }
    let runtime = match threads(Builder::new_current_thread()) {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let made = runtime.block_on(async {
        let (url, pool) = (&foundation.database_url, &foundation.database);
        let database = Database::open(url, pool, "bedplate-service-partitions")?;
        let made = Partitions::new(database.clone(), width).ensure_between(from, to).await?;
        let backend = database.backend();
        database.close();
        Ok::<_, DatabaseError>((backend, made))
    });
    match made {
        Ok((backend, made)) => {
            let sentence = match backend {
                Backend::Postgres => format!("partitions made: {made}"),
                Backend::Sqlite => "SQLite has no partitions: there is nothing to make".to_owned(),
            };
            say(sentence);
            Exit::Success
        }
        Err(error) => explain(&error),
    }
}
