//! Settings that are changed while the service runs: which there are, what each is for and what it may hold.
//! The list is here; the table `config` has what was put.

use std::fmt;
use std::str::FromStr;

use foundation::settings::Secret;
use serde_json::Value;
use time::OffsetDateTime;

use super::live::Live;

/// What form the value of a setting has in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number.
    Integer,
    /// A text such as `250ms`, `5s` or `2m`.
    Duration,
    /// A text.
    Text,
}

/// A setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// When archive policies are run.
    ArchiveRunHour,
    /// What archives are written to S3 with.
    ArchiveSecretAccessKey,
    /// How many failed logins cost no delay.
    LoginAttempts,
    /// The first delay.
    LoginDelay,
    /// The longest delay.
    LoginMaxDelay,
    /// How often figures are written.
    CollectInterval,
}

impl Key {
    /// All of them, in the order of their names.
    pub const ALL: &'static [Self] = &[
        Self::ArchiveRunHour,
        Self::ArchiveSecretAccessKey,
        Self::LoginAttempts,
        Self::LoginDelay,
        Self::LoginMaxDelay,
        Self::CollectInterval,
    ];

    /// Its name in the API and in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ArchiveRunHour => "archive.run_hour",
            Self::ArchiveSecretAccessKey => "archive.secret_access_key",
            Self::LoginAttempts => "auth.login_attempts",
            Self::LoginDelay => "auth.login_delay",
            Self::LoginMaxDelay => "auth.login_max_delay",
            Self::CollectInterval => "metrics.collect_interval",
        }
    }

    /// What it is for.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::ArchiveRunHour => "The hour of the day, in UTC, at which archive policies are run.",
            Self::ArchiveSecretAccessKey => "The secret key with which archives are written to S3.",
            Self::LoginAttempts => {
                "Failed logins of one account that cost no delay; of one address ten times as many."
            }
            Self::LoginDelay => "The delay after the first failure above these, doubled by each further one.",
            Self::LoginMaxDelay => "The longest delay.",
            Self::CollectInterval => {
                "How often the figures of this host and of the service are written as snapshots."
            }
        }
    }

    /// The form of its value.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::ArchiveRunHour | Self::LoginAttempts => Kind::Integer,
            Self::ArchiveSecretAccessKey => Kind::Text,
            Self::LoginDelay | Self::LoginMaxDelay | Self::CollectInterval => Kind::Duration,
        }
    }

    /// What it may hold, as it ends the sentence "expected ...". `domain::live` checks it.
    #[must_use]
    pub const fn rule(self) -> &'static str {
        match self {
            Self::ArchiveRunHour => "a whole number from 0 to 23",
            Self::ArchiveSecretAccessKey => "a text of 1 to 512 visible ASCII characters without blanks",
            Self::LoginAttempts => "a whole number from 1 to 1000000",
            Self::LoginDelay => "a duration from 1ms to 1d such as 1s, not longer than auth.login_max_delay",
            Self::LoginMaxDelay => {
                "a duration from 1ms to 1d such as 15m, not shorter than auth.login_delay, nor longer than \
                 AUTH_FAILURE_RETENTION"
            }
            Self::CollectInterval => "off, or a duration from 1s to 1d such as 10s",
        }
    }

    /// Whether its value is told to nobody.
    #[must_use]
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::ArchiveSecretAccessKey)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A name that no setting has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such setting")]
pub struct UnknownKey;

impl FromStr for Key {
    type Err = UnknownKey;

    fn from_str(name: &str) -> Result<Self, UnknownKey> {
        Self::ALL.iter().copied().find(|it| it.name() == name).ok_or(UnknownKey)
    }
}

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Which setting.
    pub key: Key,
    /// What was put there, in JSON; nothing where the default holds. It may be a secret.
    pub value: Option<Secret>,
    /// Raised by each change; 0 where there is no row.
    pub version: i64,
    /// When it was changed last; nothing where there is no row.
    pub updated_at: Option<OffsetDateTime>,
}

impl Stored {
    /// What stands for a row that is not there.
    #[must_use]
    pub const fn missing(key: Key) -> Self {
        Self { key, value: None, version: 0, updated_at: None }
    }

    /// What was put there. JSON that cannot be read is null, which no rule allows.
    #[must_use]
    pub fn json(&self) -> Option<Value> {
        let text = self.value.as_ref()?;
        Some(serde_json::from_str(text.expose()).unwrap_or(Value::Null))
    }

    /// Whether the same was put in both.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let text = |it: &Self| it.value.as_ref().map(|it| it.expose().to_owned());
        (self.key, self.version) == (other.key, other.version) && text(self) == text(other)
    }
}

/// A setting as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Which one.
    pub key: Key,
    /// What holds: what was put there, or the default. Nothing for a secret, and where there is a problem.
    pub value: Option<Value>,
    /// Whether something was put there.
    pub is_set: bool,
    /// What holds where nothing was put.
    pub default: Option<Value>,
    /// Why what is in the table is not obeyed.
    pub problem: Option<String>,
    /// Raised by each change.
    pub version: i64,
    /// When it was changed last.
    pub updated_at: Option<OffsetDateTime>,
}

impl Setting {
    /// What the rows come to.
    #[must_use]
    pub fn all(rows: &[Stored], defaults: &Live) -> Vec<Self> {
        let (live, problems) = Live::assemble(rows, defaults, defaults);
        let setting = |row: &Stored| {
            let problem = problems.iter().find(|(key, _)| *key == row.key).map(|(_, words)| words.clone());
            Self {
                key: row.key,
                value: live.value(row.key).filter(|_| problem.is_none()),
                is_set: row.value.is_some(),
                default: defaults.value(row.key),
                problem,
                version: row.version,
                updated_at: row.updated_at,
            }
        };
        rows.iter().map(setting).collect()
    }
}
