//! What kind of place this is.

use super::Setting;

/// Development forgives, production does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Falls back to a SQLite file, makes the secrets it lacks, reads `.env`.
    Development,
    /// Refuses each of these.
    Production,
}

impl Setting for Mode {
    const EXPECTED: &'static str = "development or production";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "development" => Ok(Self::Development),
            "production" => Ok(Self::Production),
            _ => Err("there is no such mode".to_owned()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Development => "development".to_owned(),
            Self::Production => "production".to_owned(),
        }
    }
}

crate::settings! {
    /// What kind of place this is.
    pub struct ApplicationSettings("BEDPLATE_") {
        /// `production` refuses the SQLite fallback, a generated admin password and the `.env` file. The
        /// images set it.
        env: Mode = "development",
    }
}
