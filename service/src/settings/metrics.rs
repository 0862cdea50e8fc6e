//! The settings of metric snapshots.

use std::num::NonZeroU32;
use std::time::Duration;

use foundation::settings::{Environment, Mode, Setting};

use crate::domain::partitions::Width;

/// How often something is done, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// Never.
    Off,
    /// Each time this long after the last.
    Every(Duration),
}

/// The shortest interval.
const SHORTEST: Duration = Duration::from_secs(1);

impl Setting for Interval {
    const EXPECTED: &'static str = "a duration of 1s or more such as 10s or 5m, or off";

    fn parse(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(Self::Off);
        }
        match Duration::parse(text)? {
            interval if interval < SHORTEST => Err("this is too short".to_owned()),
            interval => Ok(Self::Every(interval)),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Off => "off".to_owned(),
            Self::Every(interval) => interval.show(),
        }
    }
}

foundation::settings! {
    /// How metric snapshots are collected, taken and kept.
    pub struct MetricsSettings("METRICS_") {
        /// How often the figures of this host and of the service are written as snapshots; `off` for never.
        /// Left empty it is 10s in development and off in production. The default of the setting
        /// `metrics.collect_interval`.
        collect_interval: Option<Interval> = "",
        /// The range of time that one partition of the snapshots has, on PostgreSQL: from 1h to 31d, in full
        /// minutes. What exists stays when it is changed.
        partition_width: Duration = "1d",
        /// Partitions that are made before their time comes.
        partitions_ahead: NonZeroU32 = "7",
        /// How old a snapshot may be when it is written.
        write_past: Duration = "7d",
        /// How far ahead of this clock the time of a snapshot may be when it is written.
        write_ahead: Duration = "1h",
    }
}

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl MetricsSettings {
    /// How often this host's figures are collected.
    #[must_use]
    pub fn collect_interval(&self, mode: Mode) -> Interval {
        self.collect_interval.unwrap_or(match mode {
            Mode::Production => Interval::Off,
            Mode::Development => Interval::Every(Duration::from_secs(10)),
        })
    }

    /// The width of a partition; that of a day where [`check_bounds`](Self::check_bounds) has a problem.
    #[must_use]
    pub fn width(&self) -> Width {
        Width::new(self.partition_width).unwrap_or(Width::DAY)
    }

    /// Adds a problem for each value that cannot work.
    pub(crate) fn check_bounds(&self, environment: &mut Environment) {
        let mut bound = |name: &str, value: Duration, least: Duration, most: Duration| {
            if !(least..=most).contains(&value) && !environment.is_wrong(name) {
                environment.problem(name, format!("expected from {} to {}", least.show(), most.show()));
            }
        };
        bound("METRICS_PARTITION_WIDTH", self.partition_width, HOUR, 31 * DAY);
        bound("METRICS_WRITE_PAST", self.write_past, Duration::ZERO, 36_600 * DAY);
        bound("METRICS_WRITE_AHEAD", self.write_ahead, Duration::ZERO, 366 * DAY);
        let name = "METRICS_PARTITION_WIDTH";
        if Width::new(self.partition_width).is_none() && !environment.is_wrong(name) {
            environment.problem(name, "expected full minutes");
        }
        let (name, most) = ("METRICS_PARTITIONS_AHEAD", 1000);
        if self.partitions_ahead.get() > most {
            environment.problem(name, format!("expected a number from 1 to {most}"));
        }
    }
}
