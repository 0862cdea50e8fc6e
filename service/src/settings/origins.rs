//! Where pages come from.

use foundation::settings::Setting;
use poem::http::Uri;
use poem::http::header::HeaderValue;

/// Origins, each as a browser writes its own: `https://app.example.org`, with the port where it is not the usual one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Vec<HeaderValue>);

impl Origins {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is one of them.
    #[must_use]
    pub fn contains(&self, origin: &HeaderValue) -> bool {
        self.0.contains(origin)
    }
}

impl Setting for Origins {
    const EXPECTED: &'static str =
        "origins with commas such as https://app.example.org,http://localhost:3000";

    fn parse(text: &str) -> Result<Self, String> {
        let origins = text.split(',').map(|word| origin(word.trim())).collect::<Option<_>>();
        let wrong = "one of them is no origin: scheme and host, the port where it is not the usual one, and no path; `*` is none";
        origins.map(Self).ok_or_else(|| wrong.to_owned())
    }

    fn show(&self) -> String {
        self.0.iter().filter_map(|it| it.to_str().ok()).collect::<Vec<_>>().join(",")
    }

    fn absent() -> Option<Self> {
        Some(Self::default())
    }
}

/// An origin as browsers write it; one that they never write would never be known again.
fn origin(text: &str) -> Option<HeaderValue> {
    let text = text.to_ascii_lowercase();
    let uri: Uri = text.parse().ok()?;
    let usual_port = match uri.scheme_str()? {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let authority = uri.authority()?;
    let is_host = !authority.as_str().contains(['@', '*']) && !authority.host().is_empty();
    let is_written_so = text == format!("{}://{authority}", uri.scheme_str()?)
        && authority.port().is_none_or(|port| port.as_u16() != usual_port);
    (is_host && is_written_so).then(|| HeaderValue::try_from(text).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_those_that_browsers_write() {
        let origins =
            Origins::parse("https://App.example.org, http://localhost:3000,http://[::1]:8080").unwrap();
        assert_eq!(origins.show(), "https://app.example.org,http://localhost:3000,http://[::1]:8080");
        assert!(origins.contains(&HeaderValue::from_static("https://app.example.org")));
        assert!(!origins.contains(&HeaderValue::from_static("http://app.example.org")));
        for wrong in [
            "*",
            "null",
            "",
            "app.example.org",
            "https://app.example.org/",
            "https://app.example.org/page",
            "https://app.example.org:443",
            "http://app.example.org:80",
            "https://*.example.org",
            "https://me@app.example.org",
            "file:///page",
            "https://a,,https://b",
        ] {
            assert!(Origins::parse(wrong).is_err(), "{wrong}");
        }
    }
}
