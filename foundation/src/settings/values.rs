//! The types that settings have, beside those of their own concern.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use secrecy::{ExposeSecret, SecretString};

use super::Setting;

/// A text that is never shown.
#[derive(Clone, Debug)]
pub struct Secret(SecretString);

impl Secret {
    /// The text itself. Pass it to what needs it and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl Setting for Secret {
    const EXPECTED: &'static str = "a text";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned().into()))
    }

    fn show(&self) -> String {
        "[redacted]".to_owned()
    }
}

/// Where to listen, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Not at all.
    Off,
    /// At this address and port.
    At(SocketAddr),
}

impl Setting for Listen {
    const EXPECTED: &'static str = "an address with a port such as 127.0.0.1:9464, or off";

    fn parse(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("off") { Ok(Self::Off) } else { SocketAddr::parse(text).map(Self::At) }
    }

    fn show(&self) -> String {
        match self {
            Self::Off => "off".to_owned(),
            Self::At(address) => address.to_string(),
        }
    }
}

impl Setting for Duration {
    const EXPECTED: &'static str = "a duration such as 250ms, 5s or 2m";

    fn parse(text: &str) -> Result<Self, String> {
        if text == "0" {
            return Ok(Self::ZERO);
        }
        humantime::parse_duration(text).map_err(|_| "this is not a duration with its unit".to_owned())
    }

    fn show(&self) -> String {
        humantime::format_duration(*self).to_string()
    }
}

impl Setting for ByteSize {
    const EXPECTED: &'static str = "a size such as 64KiB or 2MiB";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "this is not a size".to_owned())
    }

    fn show(&self) -> String {
        self.display().iec().to_string()
    }
}

impl Setting for bool {
    const EXPECTED: &'static str = "true or false";

    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err("this is neither".to_owned()),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self::from(text))
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

/// Types that the standard library reads and writes as the environment does.
macro_rules! plain_settings {
    ($($Type:ty: $expected:literal, $wrong:literal;)*) => { $(
        impl Setting for $Type {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| $wrong.to_owned())
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )* };
}

plain_settings! {
    String: "a text", "this is not a text";
    u16: "a number from 0 to 65535", "this is not such a number";
    u32: "a number from 0 up", "this is not such a number";
    i64: "a whole number", "this is not such a number";
    f64: "a number", "this is not a number";
    NonZeroU32: "a number from 1 up", "this is not such a number";
    SocketAddr: "an address with a port such as 127.0.0.1:8080", "this is not an address with a port";
    IpAddr: "an IP address", "this is not an IP address";
}
