//! The settings of metric snapshots.

use std::num::NonZeroU32;
use std::time::Duration;

use bytesize::ByteSize;
use foundation::settings::{Environment, Mode, Setting};

use crate::domain::metrics_snapshots::document::DocumentLimits;
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
        /// How large the document of a snapshot may be.
        data_limit: ByteSize = "64KiB",
        /// How many objects and arrays may be in each other in a document, itself included.
        data_depth: NonZeroU32 = "16",
        /// How many keys the objects of a document may have, all together.
        data_keys: NonZeroU32 = "1000",
        /// How large a stream of snapshots (NDJSON) may be, before and after it is decompressed.
        /// `HTTP_BODY_LIMIT` and `HTTP_REQUEST_TIMEOUT` do not bound a stream.
        stream_limit: ByteSize = "4GiB",
        /// How long a stream may make the service wait for what comes next, and how long whoever reads one
        /// may wait before taking more.
        stream_idle_timeout: Duration = "30s",
        /// How long reading a stream may take, however slowly: it keeps the disk from being cleaned up. It is
        /// broken off then, and whoever reads it goes on from its last line.
        stream_timeout: Duration = "1h",
        /// How many streams are written at the same time, and how many read; further ones get 503.
        streams: NonZeroU32 = "4",
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

    /// The width of a partition; that of a day where it is none, which is a problem that was told.
    #[must_use]
    pub fn width(&self) -> Width {
        Width::new(self.partition_width).unwrap_or(Width::DAY)
    }

    /// How large documents may be.
    #[must_use]
    pub fn document_limits(&self) -> DocumentLimits {
        let size = |it: NonZeroU32| usize::try_from(it.get()).unwrap_or(usize::MAX);
        let bytes = usize::try_from(self.data_limit.as_u64()).unwrap_or(usize::MAX);
        DocumentLimits { bytes, depth: size(self.data_depth), keys: size(self.data_keys) }
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
        bound("METRICS_STREAM_IDLE_TIMEOUT", self.stream_idle_timeout, SHORTEST, HOUR);
        bound("METRICS_STREAM_TIMEOUT", self.stream_timeout, SHORTEST, 31 * DAY);
        // What reads JSON goes no deeper.
        check_most(environment, "METRICS_DATA_DEPTH", self.data_depth.get(), 100);
        check_most(environment, "METRICS_DATA_KEYS", self.data_keys.get(), 100_000);
        let (name, most) = ("METRICS_DATA_LIMIT", ByteSize::mib(1));
        if self.data_limit > most && !environment.is_wrong(name) {
            environment.problem(name, format!("expected {most} or less"));
        }
        let name = "METRICS_PARTITION_WIDTH";
        if Width::new(self.partition_width).is_none() && !environment.is_wrong(name) {
            environment.problem(name, "expected full minutes");
        }
        check_most(environment, "METRICS_PARTITIONS_AHEAD", self.partitions_ahead.get(), 1000);
    }
}

fn check_most(environment: &mut Environment, name: &str, value: u32, most: u32) {
    if value > most && !environment.is_wrong(name) {
        environment.problem(name, format!("expected a number from 1 to {most}"));
    }
}
