//! The values of the settings that are changed while the service runs, and the rules for them.

use std::ops::RangeInclusive;
use std::time::Duration;

use foundation::settings::{Secret, Setting as _};
use serde_json::Value;

use super::config::{Key, Stored};
use crate::settings::AuthSettings;

/// The word for an interval at which nothing is done.
const OFF: &str = "off";

const HOURS: RangeInclusive<u32> = 0..=23;
const ATTEMPTS: RangeInclusive<u32> = 1..=1_000_000;
/// A lockout must not keep anybody out for good.
const DELAYS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);
const INTERVALS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);

/// The longest text of a duration and of a secret, in bytes.
const MAX_DURATION_LENGTH: usize = 64;
const MAX_SECRET_LENGTH: usize = 512;

/// The values that hold.
#[derive(Clone, Debug)]
pub struct Live {
    /// How often figures are written as snapshots; nothing: not at all.
    pub collect_interval: Option<Duration>,
    /// The hour of the day, in UTC, at which archive policies are run.
    pub archive_run_hour: u8,
    /// Failed logins of one account that cost no delay.
    pub login_attempts: u32,
    /// The delay after the first failure above these.
    pub login_delay: Duration,
    /// The longest delay.
    pub login_max_delay: Duration,
    /// How long failures are remembered. Only the environment says it, and no delay is longer.
    pub failure_retention: Duration,
    /// The secret key with which archives are written to S3.
    pub archive_secret_access_key: Option<Secret>,
}

impl Live {
    /// What holds where nothing was put.
    #[must_use]
    pub const fn defaults(auth: &AuthSettings, collect_interval: Option<Duration>) -> Self {
        Self {
            collect_interval,
            archive_run_hour: 3,
            login_attempts: auth.login_attempts.get(),
            login_delay: auth.login_delay,
            login_max_delay: auth.login_max_delay,
            failure_retention: auth.failure_retention,
            archive_secret_access_key: None,
        }
    }

    /// What the rows come to: where nothing was put, the default; where something was that no rule allows,
    /// what held `before`. Also says which those are, and what is wrong with them, without their values.
    #[must_use]
    pub fn assemble(rows: &[Stored], defaults: &Self, before: &Self) -> (Self, Vec<(Key, String)>) {
        let (mut live, mut problems) = (defaults.clone(), Vec::new());
        for row in rows {
            let Some(value) = row.json() else { continue };
            if let Err(words) = live.set(row.key, &value) {
                live.copy(row.key, before);
                problems.push((row.key, words));
            }
        }
        // One after the other: what is taken back for one may break the other.
        for check in [Self::check_retention, Self::check_order] {
            for (key, words) in check(&live) {
                live.copy(key, before);
                if problems.iter().all(|(it, _)| *it != key) {
                    problems.push((key, words));
                }
            }
        }
        (live, problems)
    }

    /// Sets one.
    ///
    /// # Errors
    /// What is expected of the value, without the value.
    pub fn set(&mut self, key: Key, value: &Value) -> Result<(), String> {
        self.try_set(key, value).ok_or_else(|| format!("expected {}", key.rule()))
    }

    fn try_set(&mut self, key: Key, value: &Value) -> Option<()> {
        match key {
            Key::ArchiveRunHour => self.archive_run_hour = u8::try_from(whole(value, HOURS)?).ok()?,
            Key::ArchiveSecretAccessKey => self.archive_secret_access_key = Some(secret(value)?),
            Key::LoginAttempts => self.login_attempts = whole(value, ATTEMPTS)?,
            Key::LoginDelay => self.login_delay = duration(value, DELAYS)?,
            Key::LoginMaxDelay => self.login_max_delay = duration(value, DELAYS)?,
            Key::CollectInterval if value == OFF => self.collect_interval = None,
            Key::CollectInterval => self.collect_interval = Some(duration(value, INTERVALS)?),
        }
        Some(())
    }

    /// Takes the value of one from `other`.
    fn copy(&mut self, key: Key, other: &Self) {
        match key {
            Key::ArchiveRunHour => self.archive_run_hour = other.archive_run_hour,
            Key::ArchiveSecretAccessKey => {
                self.archive_secret_access_key.clone_from(&other.archive_secret_access_key);
            }
            Key::LoginAttempts => self.login_attempts = other.login_attempts,
            Key::LoginDelay => self.login_delay = other.login_delay,
            Key::LoginMaxDelay => self.login_max_delay = other.login_max_delay,
            Key::CollectInterval => self.collect_interval = other.collect_interval,
        }
    }

    /// The longest delay, where failures are forgotten before it is over: then it would end early.
    fn check_retention(&self) -> Vec<(Key, String)> {
        if self.login_max_delay <= self.failure_retention {
            return Vec::new();
        }
        let words =
            format!("it may not be longer than AUTH_FAILURE_RETENTION, {}", self.failure_retention.show());
        vec![(Key::LoginMaxDelay, words)]
    }

    /// The two delays, where the first is longer than the longest.
    fn check_order(&self) -> Vec<(Key, String)> {
        if self.login_delay <= self.login_max_delay {
            return Vec::new();
        }
        let delay =
            format!("it may not be longer than auth.login_max_delay, {}", self.login_max_delay.show());
        let max_delay = format!("it may not be shorter than auth.login_delay, {}", self.login_delay.show());
        vec![(Key::LoginDelay, delay), (Key::LoginMaxDelay, max_delay)]
    }

    /// One of them as it is put and shown; nothing for a secret.
    #[must_use]
    pub fn value(&self, key: Key) -> Option<Value> {
        let text = match key {
            Key::ArchiveRunHour => return Some(self.archive_run_hour.into()),
            Key::LoginAttempts => return Some(self.login_attempts.into()),
            Key::ArchiveSecretAccessKey => return None,
            Key::LoginDelay => self.login_delay.show(),
            Key::LoginMaxDelay => self.login_max_delay.show(),
            Key::CollectInterval => self.collect_interval.map_or_else(|| OFF.to_owned(), |it| it.show()),
        };
        Some(text.into())
    }

    /// Those that break a rule, with words for each. What the environment says has to obey it too.
    #[must_use]
    pub fn broken_rules(&self) -> Vec<(Key, String)> {
        let mut scratch = self.clone();
        let broken = |key| Some((key, scratch.set(key, &self.value(key)?).err()?));
        let mut broken: Vec<_> = Key::ALL.iter().copied().filter_map(broken).collect();
        if broken.is_empty() {
            broken.extend(self.check_retention().into_iter().chain(self.check_order()).take(1));
        }
        broken
    }
}

fn whole(value: &Value, range: RangeInclusive<u32>) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok().filter(|it| range.contains(it))
}

fn duration(value: &Value, range: RangeInclusive<Duration>) -> Option<Duration> {
    let text = value.as_str().filter(|it| (1..=MAX_DURATION_LENGTH).contains(&it.len()))?;
    Duration::parse(text).ok().filter(|it| range.contains(it))
}

fn secret(value: &Value) -> Option<Secret> {
    let text = value.as_str().filter(|it| (1..=MAX_SECRET_LENGTH).contains(&it.len()))?;
    text.bytes().all(|it| it.is_ascii_graphic()).then(|| Secret::from(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use foundation::settings::{Environment, Section as _};
    use serde_json::json;

    use super::*;

    fn defaults() -> Live {
        Live::defaults(&AuthSettings::read(&mut Environment::from_pairs([])), Some(Duration::from_secs(10)))
    }

    fn row(key: Key, value: &str) -> Stored {
        Stored { value: Some(Secret::from(value.to_owned())), ..Stored::missing(key) }
    }

    #[test]
    fn each_has_a_rule() {
        let long = "x".repeat(512);
        let too_long = "x".repeat(513);
        let blanks = format!("5s{}", " ".repeat(63));
        let cases: [(Key, Vec<Value>, Vec<Value>); 6] = [
            (
                Key::ArchiveRunHour,
                vec![json!(0), json!(23)],
                vec![json!(24), json!(-1), json!(3.5), json!("3"), json!(4_294_967_296_u64)],
            ),
            (
                Key::ArchiveSecretAccessKey,
                vec![json!("x"), json!("wJalr/XUtn+FEMI="), json!(long)],
                vec![json!(""), json!(too_long), json!("a b"), json!("a\u{0}b"), json!("ü"), json!(7)],
            ),
            (
                Key::LoginAttempts,
                vec![json!(1), json!(1_000_000)],
                vec![json!(0), json!(1_000_001), json!(-5), json!(1e3), json!("5")],
            ),
            (
                Key::LoginDelay,
                vec![json!("1ms"), json!("15m"), json!("1m 30s")],
                vec![
                    json!("25h"),
                    json!("0"),
                    json!("999us"),
                    json!("5"),
                    json!(""),
                    json!(5),
                    json!(blanks),
                ],
            ),
            (
                Key::LoginMaxDelay,
                vec![json!("1s"), json!("1d")],
                vec![json!("0s"), json!("86401s"), json!("7d"), json!("-1s"), json!("forever"), json!("off")],
            ),
            (
                Key::CollectInterval,
                vec![json!("off"), json!("1s"), json!("1d")],
                vec![json!("999ms"), json!("2d"), json!("OFF"), json!(10), json!(false)],
            ),
        ];
        for (key, good, bad) in cases {
            for value in good {
                let mut live = defaults();
                assert_eq!(live.set(key, &value), Ok(()), "{key}: {value}");
                assert_eq!(live.broken_rules(), []);
                let (assembled, problems) =
                    Live::assemble(&[row(key, &value.to_string())], &defaults(), &defaults());
                assert_eq!((assembled.value(key), problems), (live.value(key), vec![]), "{key}: {value}");
            }
            for value in bad.into_iter().chain([Value::Null, json!([]), json!({ "a": 1 })]) {
                let mut live = defaults();
                assert_eq!(live.set(key, &value), Err(format!("expected {}", key.rule())), "{key}: {value}");
                assert_eq!(live.value(key), defaults().value(key), "{key}: {value}");
            }
        }
    }

    #[test]
    fn a_row_that_no_rule_allows_keeps_what_held() {
        let before = Live { login_attempts: 9, archive_run_hour: 7, ..defaults() };
        let rows = [
            row(Key::LoginAttempts, "0"),
            row(Key::ArchiveRunHour, "{"),
            row(Key::CollectInterval, "\"off\""),
        ];
        let (live, problems) = Live::assemble(&rows, &defaults(), &before);
        assert_eq!((live.login_attempts, live.archive_run_hour, live.collect_interval), (9, 7, None));
        assert_eq!(
            problems.iter().map(|it| it.0).collect::<Vec<_>>(),
            [Key::LoginAttempts, Key::ArchiveRunHour]
        );
    }

    #[test]
    fn the_first_delay_is_not_longer_than_the_longest() {
        let before = Live { login_delay: Duration::from_secs(2), ..defaults() };
        let (live, problems) = Live::assemble(&[row(Key::LoginDelay, "\"16m\"")], &defaults(), &before);
        assert_eq!((live.login_delay, live.login_max_delay), (before.login_delay, before.login_max_delay));
        assert_eq!(
            problems[0],
            (Key::LoginDelay, "it may not be longer than auth.login_max_delay, 15m".to_owned())
        );
        let rows = [row(Key::LoginDelay, "\"16m\""), row(Key::LoginMaxDelay, "\"16m\"")];
        assert_eq!(Live::assemble(&rows, &defaults(), &before).1, []);
        let live = Live { login_delay: Duration::from_hours(1), ..defaults() };
        assert_eq!(live.broken_rules()[0].0, Key::LoginDelay);
        assert_eq!(Live { login_delay: Duration::ZERO, ..defaults() }.broken_rules()[0].0, Key::LoginDelay);
    }

    #[test]
    fn no_delay_outlasts_the_memory_of_it() {
        let hour = Duration::from_hours(1);
        let defaults = Live { failure_retention: hour, ..defaults() };
        let put = |max_delay: &str| row(Key::LoginMaxDelay, &format!("\"{max_delay}\""));
        assert_eq!(Live::assemble(&[put("1h")], &defaults, &defaults).1, []);
        let (live, problems) = Live::assemble(&[put("61m")], &defaults, &defaults);
        assert_eq!(live.login_max_delay, defaults.login_max_delay);
        let words = "it may not be longer than AUTH_FAILURE_RETENTION, 1h".to_owned();
        assert_eq!(problems, [(Key::LoginMaxDelay, words)]);
        // Without it, the first delay is longer than the longest.
        let rows = [row(Key::LoginDelay, "\"30m\""), put("2h")];
        let (live, problems) = Live::assemble(&rows, &defaults, &defaults);
        assert_eq!(
            (live.login_delay, live.login_max_delay),
            (defaults.login_delay, defaults.login_max_delay)
        );
        assert_eq!(problems.iter().map(|it| it.0).collect::<Vec<_>>(), [Key::LoginMaxDelay, Key::LoginDelay]);
        let live = Live { failure_retention: Duration::from_secs(60), ..defaults };
        assert_eq!(live.broken_rules()[0].0, Key::LoginMaxDelay);
    }

    #[test]
    fn no_secret_is_shown() {
        let mut live = defaults();
        live.set(Key::ArchiveSecretAccessKey, &json!("hunter2hunter2")).unwrap();
        assert!(
            live.archive_secret_access_key.is_some() && live.value(Key::ArchiveSecretAccessKey).is_none()
        );
        let row = row(Key::ArchiveSecretAccessKey, "\"hunter2hunter2\"");
        assert!(!format!("{live:?} {row:?}").contains("hunter2"));
    }
}
