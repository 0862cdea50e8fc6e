//! Runs of the archive policies, and what they did.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::archive_policies::ArchiveAction;

/// Why there was a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunReason {
    /// Its hour came.
    Schedule,
    /// Somebody asked through the API.
    Request,
    /// Somebody asked on the command line.
    CommandLine,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunState {
    /// It works.
    Running,
    /// It did everything.
    Succeeded,
    /// It did not do everything; the error says why.
    Failed,
    /// Its process ended, or lost the lease, in the middle.
    Abandoned,
}

/// A word that stands for nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is none of the known words")]
pub struct UnknownWord;

impl RunReason {
    /// The word for it in the API and in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Request => "request",
            Self::CommandLine => "command_line",
        }
    }
}

impl FromStr for RunReason {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let all = [Self::Schedule, Self::Request, Self::CommandLine];
        all.into_iter().find(|it| it.name() == word).ok_or(UnknownWord)
    }
}

impl RunState {
    /// The word for it in the API and in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

impl FromStr for RunState {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let all = [Self::Running, Self::Succeeded, Self::Failed, Self::Abandoned];
        all.into_iter().find(|it| it.name() == word).ok_or(UnknownWord)
    }
}

/// What a run did; of a dry run what it would have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Rows that are gone and nowhere else.
    pub rows_deleted: u64,
    /// Rows that are in the archive alone now.
    pub rows_archived: u64,
    /// Partitions that were dropped whole.
    pub partitions_dropped: u64,
    /// What these took on the disk, their indexes included, in bytes. Rows that are deleted one by one leave
    /// room inside of the database, which is not counted.
    pub bytes_freed: u64,
}

impl Figures {
    /// Counts rows that are gone.
    pub fn count(&mut self, action: ArchiveAction, rows: u64) {
        match action {
            ArchiveAction::Delete => self.rows_deleted += rows,
            ArchiveAction::Archive => self.rows_archived += rows,
        }
    }
}

/// What a run did about one type in one partition, or in the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// The type; nothing for a partition as a whole.
    pub metric_type: Option<String>,
    /// What was done: `delete`, `archive`, `drop`, `put_back` or `skip`.
    pub action: String,
    /// The range of time from here on.
    #[serde(with = "time::serde::rfc3339")]
    pub from: OffsetDateTime,
    /// The range of time before this.
    #[serde(with = "time::serde::rfc3339")]
    pub to: OffsetDateTime,
    /// The rows.
    pub rows: u64,
    /// The bytes of a partition.
    pub bytes: u64,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The most details that are kept of a run.
const MAX_DETAILS: usize = 1000;

/// What a run did, piece by piece; what follows on what came before is one piece with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details(Vec<Detail>);

impl Details {
    /// Adds a piece. Of more than a thousand only the first are kept.
    pub fn add(&mut self, detail: Detail) {
        let same = |it: &&mut Detail| {
            it.metric_type == detail.metric_type
                && it.action == detail.action
                && it.note == detail.note
                && detail.metric_type.is_some()
        };
        if let Some(known) = self.0.iter_mut().find(same) {
            known.from = known.from.min(detail.from);
            known.to = known.to.max(detail.to);
            known.rows += detail.rows;
            known.bytes += detail.bytes;
        } else if self.0.len() < MAX_DETAILS {
            self.0.push(detail);
        }
    }

    /// The pieces.
    #[must_use]
    pub fn pieces(&self) -> &[Detail] {
        &self.0
    }
}

/// A run of the archive policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveRun {
    /// Version 7: the order of ids is the order of runs.
    pub id: Uuid,
    /// Why.
    pub reason: RunReason,
    /// The user who asked for it.
    pub requested_by: Option<Uuid>,
    /// Whether it only says what it would do.
    pub is_dry_run: bool,
    /// How far it is.
    pub state: RunState,
    /// The number of the lease that it runs under.
    pub fencing: i64,
    /// When it began, in UTC.
    pub started_at: OffsetDateTime,
    /// When it ended, in UTC.
    pub finished_at: Option<OffsetDateTime>,
    /// What it did until now.
    pub figures: Figures,
    /// What it did, piece by piece; there at its end.
    pub details: Vec<Detail>,
    /// Why it did not do everything.
    pub error: Option<String>,
}

/// A run that came before, as far as it says whether another one has to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastRun {
    /// How it ended.
    pub state: RunState,
    /// The number of the lease that it ran under: later runs have greater ones.
    pub fencing: i64,
    /// When it began, in UTC.
    pub started_at: OffsetDateTime,
    /// When it ended, in UTC.
    pub finished_at: Option<OffsetDateTime>,
}

/// Whether a run is to follow the last ones before its hour comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Following {
    /// The last one did what it was to do.
    Nothing,
    /// The last one did not come to its end: the next begins at this time, or later.
    From(OffsetDateTime),
    /// The last one came to its end, without doing everything: the next begins at this time, or later, when
    /// rows are not where they belong.
    UnfinishedFrom(OffsetDateTime),
}

impl PastRun {
    /// So many runs say how long the next one waits.
    pub const REMEMBERED: u32 = 16;
    /// So many in a row that did not come to their end are followed at once: processes end one after the other
    /// when a release is rolled out.
    const FOLLOWED_AT_ONCE: u32 = 5;
    /// The first pause, doubled each time, and the longest.
    const PAUSES: [Duration; 2] = [Duration::MINUTE, Duration::HOUR];

    /// Whether a run is to follow these, of which the first is the last that there was.
    #[must_use]
    pub fn following(runs: &[Self]) -> Following {
        let Some(last) = runs.first() else { return Following::Nothing };
        let has_failed = last.state == RunState::Failed;
        let is_same = |it: &&Self| match it.state {
            RunState::Succeeded => false,
            RunState::Failed => has_failed,
            RunState::Running | RunState::Abandoned => !has_failed,
        };
        let times = u32::try_from(runs.iter().take_while(is_same).count()).unwrap_or(u32::MAX);
        let ended = last.finished_at.unwrap_or(last.started_at);
        match last.state {
            RunState::Succeeded => Following::Nothing,
            RunState::Failed => Following::UnfinishedFrom(ended.saturating_add(Self::pause(times))),
            RunState::Running | RunState::Abandoned => {
                let times = times.saturating_sub(Self::FOLLOWED_AT_ONCE);
                Following::From(ended.saturating_add(Self::pause(times)))
            }
        }
    }

    fn pause(times: u32) -> Duration {
        let [first, longest] = Self::PAUSES;
        match times {
            0 => Duration::ZERO,
            _ => (first * 2_i32.pow((times - 1).min(10))).min(longest),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    /// The last runs, the newest first: what they are followed by, in minutes after the end of the last.
    fn following(states: &[RunState]) -> Following {
        let run = |(index, state): (usize, &RunState)| PastRun {
            state: *state,
            fencing: -i64::try_from(index).unwrap(),
            started_at: datetime!(2026-01-01 3:00 UTC),
            finished_at: (*state != RunState::Running).then_some(datetime!(2026-01-01 4:00 UTC)),
        };
        PastRun::following(&states.iter().enumerate().map(run).collect::<Vec<_>>())
    }

    #[test]
    fn what_did_not_come_to_its_end_is_followed_and_not_for_ever_at_once() {
        use RunState::{Abandoned, Failed, Running, Succeeded};
        let ended = datetime!(2026-01-01 4:00 UTC);
        for states in [&[][..], &[Succeeded], &[Succeeded, Failed, Abandoned]] {
            assert_eq!(following(states), Following::Nothing);
        }
        assert_eq!(following(&[Running, Succeeded]), Following::From(datetime!(2026-01-01 3:00 UTC)));
        let minutes = |times: usize, state: RunState| {
            let states: Vec<_> = std::iter::repeat_n(state, times).chain([Succeeded, state]).collect();
            let (Following::From(from) | Following::UnfinishedFrom(from)) = following(&states) else {
                return None;
            };
            Some((from - ended).whole_minutes())
        };
        let pauses = |state| (1..=14).map(|times| minutes(times, state)).collect::<Vec<_>>();
        assert_eq!(pauses(Abandoned), [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60].map(Some));
        assert_eq!(pauses(Failed), [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60, 60, 60].map(Some));
        assert_eq!(following(&[Failed]), Following::UnfinishedFrom(ended + Duration::MINUTE));
        // A process that ended is none that failed.
        assert_eq!(following(&[Abandoned, Failed, Failed, Failed]), Following::From(ended));
    }

    #[test]
    fn pieces_of_one_type_are_one_piece() {
        let day = datetime!(2026-01-01 0:00 UTC);
        let piece = |metric_type: Option<&str>, action: &str, days: i64, rows| Detail {
            metric_type: metric_type.map(str::to_owned),
            action: action.to_owned(),
            from: day + Duration::days(days),
            to: day + Duration::days(days + 1),
            rows,
            bytes: 0,
            note: None,
        };
        let mut details = Details::default();
        for (days, rows) in [(3, 1), (1, 2), (2, 4)] {
            details.add(piece(Some("cpu"), "delete", days, rows));
            details.add(piece(None, "drop", days, 0));
        }
        details.add(piece(Some("cpu"), "archive", 0, 8));
        let of_cpu: Vec<_> = details.pieces().iter().filter(|it| it.metric_type.is_some()).collect();
        assert_eq!(of_cpu.len(), 2);
        assert_eq!(
            (of_cpu[0].rows, of_cpu[0].from, of_cpu[0].to),
            (7, day + Duration::DAY, day + Duration::days(4))
        );
        assert_eq!(details.pieces().len(), 5, "each partition is one of its own");
    }
}
