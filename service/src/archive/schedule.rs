//! The daily run, by whichever replica comes first in its hour, and the one after a run that was killed.

use std::time::Duration;

use time::{OffsetDateTime, Time};

use super::{ArchiveError, Archiving, Asked};
use crate::domain::archive_runs::RunReason;
use crate::lifecycle::{Lifecycle, Stage};
use crate::store::archive_runs;

/// How often it is looked whether the hour has come, or a run was killed.
pub const POLL: Duration = Duration::from_secs(3);

/// Runs the policies once a day, in the hour of `archive.run_hour`, until the process is on its way out. A run
/// that cannot begin is tried again as long as the hour lasts. One that was killed is followed by the next in
/// any hour.
pub async fn run_daily(archiving: Archiving, poll: Duration, lifecycle: Lifecycle) {
    let mut failing = false;
    loop {
        match run_if_due(&archiving, &lifecycle).await {
            Ok(()) => failing = false,
            Err(error) => {
                if !failing {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the daily run of the archive policies cannot begin; it is tried again"
                    );
                }
                failing = true;
            }
        }
        tokio::select! {
            () = lifecycle.reached(Stage::Draining) => return,
            () = tokio::time::sleep(poll) => {}
        }
    }
}

async fn run_if_due(archiving: &Archiving, lifecycle: &Lifecycle) -> Result<(), ArchiveError> {
    let run = match due_since(archiving).await? {
        Some(since) => {
            let asked = Asked {
                reason: RunReason::Schedule,
                requested_by: None,
                is_dry_run: false,
                unless_since: Some(since),
            };
            archiving.begin(&asked, |_| None).await?
        }
        None => archiving.make_up().await?,
    };
    if let Some(run) = run {
        run.work(lifecycle).await;
    }
    Ok(())
}

/// When the hour of the daily run began, if this is it and there was none yet.
async fn due_since(archiving: &Archiving) -> Result<Option<OffsetDateTime>, ArchiveError> {
    let now = archiving.now().await?;
    let Some(since) = begin_of_hour(now, archiving.live.current().archive_run_hour) else { return Ok(None) };
    let was_there = archive_runs::was_scheduled_since(&archiving.database, since).await?;
    Ok((!was_there).then_some(since))
}

/// When this hour began, if it is the one of the day that is asked for.
fn begin_of_hour(now: OffsetDateTime, hour: u8) -> Option<OffsetDateTime> {
    (now.hour() == hour).then(|| Some(now.replace_time(Time::from_hms(hour, 0, 0).ok()?))).flatten()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_run_is_due_in_its_hour_alone() {
        let begin = datetime!(2026-03-29 3:00 UTC);
        for now in [begin, datetime!(2026-03-29 3:59:59.999_999 UTC)] {
            assert_eq!(begin_of_hour(now, 3), Some(begin));
        }
        for now in [datetime!(2026-03-29 2:59:59.999_999 UTC), datetime!(2026-03-29 4:00 UTC)] {
            assert_eq!(begin_of_hour(now, 3), None);
        }
    }
}
