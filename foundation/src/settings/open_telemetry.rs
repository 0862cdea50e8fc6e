//! OpenTelemetry's own variables.

use std::time::Duration;

use super::{OtlpHeaders, ResourceAttributes, Setting};

crate::settings! {
    /// OpenTelemetry's own variables, under the names and with the meanings that its specification
    /// gives them: <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.
    pub struct OpenTelemetrySettings("OTEL_") {
        /// Turns traces off, whatever else is set.
        sdk_disabled: bool = "false",
        /// Where traces are sent, for example `http://collector:4318`. Not set: nowhere.
        exporter_otlp_endpoint: Option<OtlpEndpoint> = "",
        /// How they are sent.
        exporter_otlp_protocol: OtlpProtocol = "http/protobuf",
        /// Headers for the collector, `name=value,name=value`.
        exporter_otlp_headers: Option<OtlpHeaders> = "",
        /// How long one export may take, in milliseconds as the specification wants it, or with a unit.
        exporter_otlp_timeout: OtlpTimeout = "10000",
        /// The name of this program in traces. Not set: its own name.
        service_name: Option<String> = "",
        /// Attributes of this process in traces, `name=value,name=value`.
        resource_attributes: Option<ResourceAttributes> = "",
        /// Which traces are kept: `always_on`, `always_off`, `traceidratio` and `parentbased_` with one of
        /// these.
        traces_sampler: TracesSampler = "parentbased_always_on",
        /// The share of traces that a ratio keeps, 0 to 1.
        traces_sampler_arg: Share = "1",
    }
}

/// How traces are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// OTLP over gRPC.
    Grpc,
    /// OTLP over HTTP with protobuf bodies.
    HttpProtobuf,
}

impl Setting for OtlpProtocol {
    const EXPECTED: &'static str = "grpc or http/protobuf";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "grpc" => Ok(Self::Grpc),
            "http/protobuf" => Ok(Self::HttpProtobuf),
            _ => Err("there is no such protocol".to_owned()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Grpc => "grpc".to_owned(),
            Self::HttpProtobuf => "http/protobuf".to_owned(),
        }
    }
}

/// The base address of a collector: scheme, host, perhaps a port and a path, never credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpEndpoint(String);

impl OtlpEndpoint {
    /// The address as it was given, without a slash at its end.
    #[must_use]
    pub fn base(&self) -> &str {
        self.0.trim_end_matches('/')
    }
}

impl Setting for OtlpEndpoint {
    const EXPECTED: &'static str = "an address such as http://collector:4318";
    // A password that somebody put into the address must not come back in the error about it.
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme)) else {
            return Err("this does not start with http:// or https://".to_owned());
        };
        if rest.contains(|it: char| it.is_whitespace() || it.is_control() || matches!(it, '?' | '#' | '"')) {
            return Err("this is not an address".to_owned());
        }
        let authority = rest.split('/').next().unwrap_or_default();
        if authority.contains('@') {
            return Err("a user name or password does not belong into it: send one in \
                        OTEL_EXPORTER_OTLP_HEADERS"
                .to_owned());
        }
        let host_end = authority.rfind(']').map_or(0, |bracket| bracket + 1);
        let (host, port) = match authority[host_end..].rfind(':') {
            Some(colon) => (&authority[..host_end + colon], Some(&authority[host_end + colon + 1..])),
            None => (authority, None),
        };
        if host.is_empty() {
            return Err("this names no host".to_owned());
        }
        if port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return Err("what follows the host is no port".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// Which traces are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TracesSampler {
    /// Whether a request that belongs to a caller's trace is kept exactly when the caller keeps it.
    pub parent_based: bool,
    /// What decides otherwise.
    pub root: RootSampler,
}

/// What decides whether a trace that starts here is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootSampler {
    /// Every trace is kept.
    AlwaysOn,
    /// None is.
    AlwaysOff,
    /// The share that `OTEL_TRACES_SAMPLER_ARG` says.
    Ratio,
}

impl Setting for TracesSampler {
    const EXPECTED: &'static str = "always_on, always_off, traceidratio, parentbased_always_on, \
                                    parentbased_always_off or parentbased_traceidratio";

    fn parse(text: &str) -> Result<Self, String> {
        let (parent_based, root) = match text.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, text),
        };
        let root = match root {
            "always_on" => RootSampler::AlwaysOn,
            "always_off" => RootSampler::AlwaysOff,
            "traceidratio" => RootSampler::Ratio,
            _ => return Err("there is no such sampler".to_owned()),
        };
        Ok(Self { parent_based, root })
    }

    fn show(&self) -> String {
        let root = match self.root {
            RootSampler::AlwaysOn => "always_on",
            RootSampler::AlwaysOff => "always_off",
            RootSampler::Ratio => "traceidratio",
        };
        format!("{}{root}", if self.parent_based { "parentbased_" } else { "" })
    }
}

/// A share from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(pub f64);

impl Setting for Share {
    const EXPECTED: &'static str = "a share from 0 to 1, such as 0.25";

    fn parse(text: &str) -> Result<Self, String> {
        match text.parse::<f64>() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self(share)),
            Ok(_) => Err("this is not within 0 and 1".to_owned()),
            Err(_) => Err("this is not a number".to_owned()),
        }
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// A duration that is milliseconds when it has no unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtlpTimeout(pub Duration);

impl Setting for OtlpTimeout {
    const EXPECTED: &'static str = "milliseconds from 1 up, or a duration such as 10s";

    fn parse(text: &str) -> Result<Self, String> {
        let timeout = match text.parse() {
            Ok(milliseconds) => Duration::from_millis(milliseconds),
            Err(_) => Duration::parse(text)?,
        };
        if timeout.is_zero() { Err("no export is done in no time".to_owned()) } else { Ok(Self(timeout)) }
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Environment, Section};

    fn problems(pairs: &[(&str, &str)]) -> Vec<String> {
        let mut environment = Environment::from_pairs(pairs.iter().copied());
        OpenTelemetrySettings::read(&mut environment);
        let Err(error) = environment.finish() else { return Vec::new() };
        error.problems.into_iter().map(|it| format!("{}: {}", it.name, it.detail)).collect()
    }

    #[test]
    fn every_bad_value_is_reported_and_no_secret_with_it() {
        let found = problems(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:hunter2@collector:4318"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization hunter2"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_RESOURCE_ATTRIBUTES", "team=%zz"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ]);
        assert_eq!(found.len(), 7, "{found:#?}");
        assert!(!found.concat().contains("hunter2"), "{found:#?}");
    }

    #[test]
    fn endpoints() {
        for good in
            ["http://collector", "https://collector:4318/", "http://[::1]:4318/base", "http://127.0.0.1:1"]
        {
            assert_eq!(OtlpEndpoint::parse(good).expect(good).base(), good.trim_end_matches('/'));
        }
        for bad in [
            "collector:4318",
            "ftp://collector",
            "http://",
            "http://:4318",
            "http://a:b",
            "http://a b",
            "http://a?b",
        ] {
            OtlpEndpoint::parse(bad).expect_err(bad);
        }
    }

    #[test]
    fn samplers_and_shares_show_as_they_are_written() {
        for root in ["always_on", "always_off", "traceidratio"] {
            for text in [root.to_owned(), format!("parentbased_{root}")] {
                assert_eq!(TracesSampler::parse(&text).expect(&text).show(), text);
            }
        }
        for share in ["0", "0.25", "1"] {
            assert_eq!(Share::parse(share).expect(share).show(), share);
        }
        for bad in ["-0.1", "1.1", "NaN", "half"] {
            Share::parse(bad).expect_err(bad);
        }
    }
}
