//! The daily run, by whichever replica comes first in its hour, and the one after a run that did not come to its
//! end.

use std::time::Duration;

use time::{OffsetDateTime, Time};

use super::{ArchiveError, Archiving, Asked};
use crate::domain::archive_runs::RunReason;
use crate::domain::config::Key;
use crate::lifecycle::{Lifecycle, Stage};
use crate::outage::Outage;
use crate::store::{archive_runs, config};

/// How often it is looked whether the hour has come, or a run did not come to its end.
pub const POLL: Duration = Duration::from_secs(3);

/// Runs the policies once a day, in the hour of `archive.run_hour`, until the process is on its way out. Where
/// nobody could begin a run in its hour, it begins as soon as somebody can. One that was killed or stopped is
/// followed by the next in any hour, and so is one that failed and left something in the middle.
pub async fn run_daily(archiving: Archiving, poll: Duration, lifecycle: Lifecycle) {
    let mut outage = Outage::default();
    loop {
        match run_if_due(&archiving, &lifecycle).await {
            Ok(()) if outage.ends() => {
                tracing::info!("the daily run of the archive policies can begin again");
            }
            Err(error) if outage.begins() => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the daily run of the archive policies cannot begin; it is tried again"
            ),
            _ => {}
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

/// When the hour of the daily run began last, if no run came to its end since then, and one may begin.
async fn due_since(archiving: &Archiving) -> Result<Option<OffsetDateTime>, ArchiveError> {
    let (now, hour) = (archiving.now().await?, archiving.live.current().archive_run_hour);
    let Some(since) = last_begin(now, hour) else { return Ok(None) };
    if archive_runs::was_scheduled_since(&archiving.database, since).await? {
        return Ok(None);
    }
    // Whoever sets the hour, or makes the database, does not ask for a run at once.
    let is_over = now - since >= time::Duration::HOUR;
    if is_over
        && config::changed_at(&archiving.database, Key::ArchiveRunHour).await?.is_some_and(|it| it > since)
    {
        return Ok(None);
    }
    Ok(archiving.may_begin().await?.then_some(since))
}

/// When this hour of the day began last.
fn last_begin(now: OffsetDateTime, hour: u8) -> Option<OffsetDateTime> {
    let today = now.replace_time(Time::from_hms(hour, 0, 0).ok()?);
    if today <= now { Some(today) } else { today.checked_sub(time::Duration::DAY) }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn an_hour_began_today_or_yesterday() {
        let begin = datetime!(2026-03-29 3:00 UTC);
        for now in
            [begin, datetime!(2026-03-29 3:59:59.999_999 UTC), datetime!(2026-03-30 2:59:59.999_999 UTC)]
        {
            assert_eq!(last_begin(now, 3), Some(begin));
        }
        assert_eq!(last_begin(datetime!(2026-03-30 3:00 UTC), 3), Some(datetime!(2026-03-30 3:00 UTC)));
    }
}
