//! The settings of the service.

mod archive;
mod auth;
mod metrics;
mod origins;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use bytesize::ByteSize;
use foundation::database::DatabaseUrl;
use foundation::settings::{Environment, FoundationSettings, Section, Setting, Variable};
use ipnet::IpNet;
use migrator::settings::{AdminSettings, MigratorSettings};

pub use archive::{ArchivePlace, ArchiveSettings, ArchiveUrl};
pub use auth::AuthSettings;
pub use metrics::{Interval, MetricsSettings};
pub use origins::Origins;

use crate::domain::config::Key;
use crate::domain::live::Live;

/// Networks, each as `10.0.0.0/8` or as a single address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(pub Vec<IpNet>);

impl Networks {
    /// Whether the address is in one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl Setting for Networks {
    const EXPECTED: &'static str = "networks and addresses with commas such as 10.0.0.0/8,192.0.2.7";

    fn parse(text: &str) -> Result<Self, String> {
        let network = |word: &str| {
            word.parse::<IpNet>().or_else(|_| word.parse::<IpAddr>().map(IpNet::from)).map_err(|_| ())
        };
        let networks = text.split(',').map(|word| network(word.trim())).collect::<Result<_, ()>>();
        networks.map(Self).map_err(|()| "one of them is neither a network nor an address".to_owned())
    }

    fn show(&self) -> String {
        self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    fn absent() -> Option<Self> {
        Some(Self::default())
    }
}

foundation::settings! {
    /// How HTTP is served.
    pub struct HttpSettings("HTTP_") {
        /// Where the service listens. The images set `0.0.0.0:8080`. Port 0 takes a free one, which the
        /// log names.
        address: SocketAddr = "127.0.0.1:8080",
        /// How long a request may take from its head to its answer, its body included. After that it is answered with
        /// 503, or with 408 where it is its body that has not come.
        request_timeout: Duration = "30s",
        /// How large the body of a request may be. All those that are being read may take eight times as much
        /// together; further ones of more than 16 KiB get 503.
        body_limit: ByteSize = "2MiB",
        /// How long a connection may take to send the head of its next request, waiting for one included.
        /// Longer than that of a load balancer in front, so that it is the balancer that closes. For its first
        /// request it has 10s at most.
        idle_timeout: Duration = "75s",
        /// Connections served at the same time, each of which may take 90 KiB of memory at worst. For a further one
        /// the one that has been without a request for the longest time is closed; where each has a request, the
        /// one of which its client has sent or taken next to nothing for the longest time, five seconds at least.
        /// Else it waits to be accepted.
        max_connections: NonZeroU32 = "1024",
        /// After SIGTERM, how long the service stays open while it already says that it is not ready, so
        /// that load balancers stop sending before it closes.
        drain_delay: Duration = "5s",
        /// The networks of the proxies in front, whose word on the client's address (`Forwarded` or
        /// `X-Forwarded-For`) is taken. Empty: the client is whoever connects.
        trusted_proxies: Networks = "",
        /// The origins of the pages elsewhere, such as `https://app.example.org`, whose scripts may use the API
        /// (CORS), with the tokens that they are given. Empty: none, as where a proxy in front answers for it.
        cors_origins: Origins = "",
        /// After `HTTP_DRAIN_DELAY`, how long running requests may take to finish. Where it is shorter than
        /// `HTTP_REQUEST_TIMEOUT`, requests that may take longer are cut.
        drain_timeout: Duration = "30s",
    }
}

impl HttpSettings {
    /// Adds a problem for each time that cannot work.
    fn check_bounds(&self, environment: &mut Environment) {
        let moment = Duration::from_millis(100);
        environment.bound("HTTP_REQUEST_TIMEOUT", self.request_timeout, moment);
        environment.bound("HTTP_IDLE_TIMEOUT", self.idle_timeout, moment);
        environment.bound("HTTP_DRAIN_DELAY", self.drain_delay, Duration::ZERO);
        environment.bound("HTTP_DRAIN_TIMEOUT", self.drain_timeout, Duration::ZERO);
        if self.drain_timeout < self.request_timeout {
            let detail =
                "it is shorter than HTTP_REQUEST_TIMEOUT: requests may be cut when the service stops";
            environment.warning("HTTP_DRAIN_TIMEOUT", detail);
        }
    }
}

/// Everything that the service reads.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
    /// What both programs read.
    pub foundation: FoundationSettings,
    /// How HTTP is served.
    pub http: HttpSettings,
    /// How people and programs sign in.
    pub auth: AuthSettings,
    /// How metric snapshots are collected, taken and kept.
    pub metrics: MetricsSettings,
    /// How runs of the archive policies behave.
    pub archive: ArchiveSettings,
    /// Where snapshots are archived, if anywhere.
    pub archive_place: Option<ArchivePlace>,
    /// Those of the migrator, whose work the service does itself on a SQLite file: no other program
    /// reaches it. Not read with PostgreSQL.
    pub migrations: Option<migrator::settings::Settings>,
}

impl ServiceSettings {
    /// Reads them; what is wrong is told by [`Environment::finish`].
    pub fn read(environment: &mut Environment) -> Self {
        let foundation = FoundationSettings::read(environment);
        let http = HttpSettings::read(environment);
        http.check_bounds(environment);
        let auth = AuthSettings::read(environment);
        auth.check_secrets(environment, &foundation.application);
        auth.check_bounds(environment);
        let metrics = MetricsSettings::read(environment);
        metrics.check_bounds(environment);
        let (archive, archive_place) = ArchiveSettings::read_with_place(environment, &foundation);
        let migrations =
            matches!(foundation.database_url, DatabaseUrl::Sqlite(_)).then(|| migrator::settings::Settings {
                foundation: foundation.clone(),
                migrator: MigratorSettings::read(environment),
                admin: AdminSettings::read(environment),
            });
        if let Some(migrations) = &migrations {
            migrations.migrator.check_bounds(environment);
            migrations.admin.check(environment);
        }
        let settings = Self { foundation, http, auth, metrics, archive, archive_place, migrations };
        settings.check_live_defaults(environment);
        settings
    }

    /// What holds where nothing was put in the settings that are changed while the service runs.
    #[must_use]
    pub fn live_defaults(&self) -> Live {
        let collect_interval = match self.metrics.collect_interval(self.foundation.application.env) {
            Interval::Off => None,
            Interval::Every(interval) => Some(interval),
        };
        Live::defaults(&self.auth, collect_interval)
    }

    /// Adds a problem for each of these that its rule does not allow.
    fn check_live_defaults(&self, environment: &mut Environment) {
        for (key, words) in self.live_defaults().broken_rules() {
            let name = key.name().replace('.', "_").to_uppercase();
            // What is wrong with the retention itself is told already.
            let is_retention = key == Key::LoginMaxDelay && environment.is_wrong("AUTH_FAILURE_RETENTION");
            if !environment.is_wrong(&name) && !is_retention {
                environment.problem(name, words);
            }
        }
    }

    /// Every variable that [`read`](Self::read) knows.
    #[must_use]
    pub fn variables() -> Vec<Variable> {
        [
            FoundationSettings::variables(),
            HttpSettings::variables(),
            AuthSettings::variables(),
            MetricsSettings::variables(),
            ArchiveSettings::variables(),
            MigratorSettings::variables(),
            AdminSettings::variables(),
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_not_cut_by_a_stop_unless_it_is_told() {
        for (pairs, warned) in [
            (&[][..], &[][..]),
            (&[("HTTP_DRAIN_TIMEOUT", "29s")], &["HTTP_DRAIN_TIMEOUT"]),
            (&[("HTTP_REQUEST_TIMEOUT", "31s")], &["HTTP_DRAIN_TIMEOUT"]),
            (&[("HTTP_REQUEST_TIMEOUT", "5s"), ("HTTP_DRAIN_TIMEOUT", "5s")], &[]),
        ] {
            let mut environment = Environment::from_pairs(pairs.iter().copied());
            ServiceSettings::read(&mut environment);
            let (_, warnings) = environment.finish().unwrap();
            assert_eq!(warnings.iter().map(|it| &*it.name).collect::<Vec<_>>(), warned, "{pairs:?}");
        }
    }
}
