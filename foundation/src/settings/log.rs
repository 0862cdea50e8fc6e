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
        // The filter takes a word that is no level for the name of a target, and logs nothing but that.
        let is_no_level = |part: &str| {
            !part.contains(['=', '['])
                && part.trim().parse::<tracing_subscriber::filter::LevelFilter>().is_err()
        };
        let known = !text.split(',').any(is_no_level);
        match tracing_subscriber::EnvFilter::try_new(text) {
            Ok(_) if known => Ok(Self(text.to_owned())),
            _ => Err("this is not a log filter".to_owned()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for text in
            ["info", "WARN", "off", "debug,hyper=warn", "service::access=debug", "info,[request]=debug"]
        {
            assert!(LogLevel::parse(text).is_ok(), "{text}");
        }
        for text in ["loud", "inf", "info,servce", "service=loud"] {
            assert!(LogLevel::parse(text).is_err(), "{text}");
        }
    }
}
