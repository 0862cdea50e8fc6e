//! Where the logs go and how much of them.

use super::Setting;

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Setting for LogFormat {
    const EXPECTED: &'static str = "auto, text or json";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("there is no such format".to_owned()),
        }
    }

    fn show(&self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// The directives of a log filter, known to be well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevel(pub String);

impl Setting for LogLevel {
    const EXPECTED: &'static str =
        "error, warn, info, debug, trace or off, or directives such as info,service=debug";

    fn parse(text: &str) -> Result<Self, String> {
        match tracing_subscriber::EnvFilter::try_new(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err("this is not a log filter".to_owned()),
        }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

crate::settings! {
    /// Where the logs go (standard error, always) and how much of them.
    pub struct LogSettings("LOG_") {
        /// How much is logged: a level, or directives per target such as `info,service=debug`.
        level: LogLevel = "info",
        /// `json` for machines, `text` for people, `auto`: text on a terminal, JSON elsewhere.
        format: LogFormat = "auto",
    }
}
