//! The settings of the service.

mod archive;
mod metrics;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use bytesize::ByteSize;
use foundation::database::DatabaseUrl;
use foundation::settings::{
    ApplicationSettings, Environment, FoundationSettings, Mode, Secret, Section, Setting, Variable,
};
use ipnet::IpNet;
use migrator::settings::{AdminSettings, MigratorSettings};

pub use archive::{ArchivePlace, ArchiveSettings, ArchiveUrl};
pub use metrics::{Interval, MetricsSettings};

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
        /// How long a request may take from its head to its answer, its body included.
        request_timeout: Duration = "30s",
        /// How large the body of a request may be. All those that are being read may take eight times as much
        /// together; further ones of more than 16 KiB get 503.
        body_limit: ByteSize = "2MiB",
        /// How long a connection may take to send the head of its next request, waiting for one included.
        /// Longer than that of a load balancer in front, so that it is the balancer that closes. For its first
        /// request it has 10s at most.
        idle_timeout: Duration = "75s",
        /// Connections served at the same time, each of which may take 90 KiB of memory at worst. For a further one
        /// the one that has been without a request for the longest time is closed; where each has a request, it
        /// waits to be accepted.
        max_connections: NonZeroU32 = "1024",
        /// After SIGTERM, how long the service stays open while it already says that it is not ready, so
        /// that load balancers stop sending before it closes.
        drain_delay: Duration = "5s",
        /// The networks of the proxies in front, whose word on the client's address (`Forwarded` or
        /// `X-Forwarded-For`) is taken. Empty: the client is whoever connects.
        trusted_proxies: Networks = "",
        /// After `HTTP_DRAIN_DELAY`, how long running requests may take to finish.
        drain_timeout: Duration = "20s",
    }
}

foundation::settings! {
    /// How people and programs sign in.
    pub struct AuthSettings("AUTH_") {
        /// Keys the cursors of pages and the HMAC of idempotent bodies, at least 32 characters. The same for
        /// all replicas. Required in production; made for the process in development.
        secret: Option<Secret> = "",
        /// The secret before `AUTH_SECRET`, still accepted while it is being rotated.
        previous_secret: Option<Secret> = "",
        /// How long a session lasts, whatever its use.
        session_lifetime: Duration = "30d",
        /// How long a session lasts without being used.
        session_idle_lifetime: Duration = "7d",
        /// The longest lifetime that a token for programs may be given.
        token_max_lifetime: Duration = "366d",
        /// Memory of one argon2id hash. Hashes made with other parameters are renewed at the next login.
        argon2_memory: ByteSize = "19MiB",
        /// Passes of argon2id.
        argon2_passes: NonZeroU32 = "2",
        /// Lanes of argon2id.
        argon2_lanes: NonZeroU32 = "1",
        /// Memory that all hashes made at the same time may take together: it bounds their number. A stored
        /// hash that asks for more than this matches nothing.
        hashing_memory_limit: ByteSize = "64MiB",
        /// Hashes that wait for their turn, at most; further logins get 503.
        hashing_queue: NonZeroU32 = "16",
        /// Failed logins of one account that cost no delay; of one address ten times as many, because
        /// people share them. The default of the setting `auth.login_attempts`.
        login_attempts: NonZeroU32 = "5",
        /// The delay after the first failure above these, doubled by each further one. The default of the
        /// setting `auth.login_delay`.
        login_delay: Duration = "1s",
        /// The longest delay, a day at most and no longer than `AUTH_FAILURE_RETENTION`. As much time without a
        /// failure forgives one of them. The default of the setting `auth.login_max_delay`.
        login_max_delay: Duration = "15m",
        /// How long failures are remembered. So long after the last failure at an account from an address,
        /// one attempt from there is let through while the account is locked.
        failure_retention: Duration = "1d",
        /// How long audit events are kept.
        audit_retention: Duration = "365d",
        /// How long the answers of idempotent requests are kept.
        idempotency_retention: Duration = "24h",
    }
}

/// The fewest characters of `AUTH_SECRET`.
const MIN_SECRET_LENGTH: usize = 32;

impl AuthSettings {
    /// Says what is wrong with the secrets: what a cursor is signed with must not be guessed, and has to be
    /// the same for all replicas and after a restart.
    fn check_secrets(&self, environment: &mut Environment, application: &ApplicationSettings) {
        let name = "AUTH_SECRET";
        if self.secret.is_none() && application.env == Mode::Production && !environment.is_wrong(name) {
            environment.problem(
                name,
                "production needs it; set it, or AUTH_SECRET_FILE, to 32 characters or more, the same for all \
                 replicas (`openssl rand -hex 32` makes one)",
            );
        }
        for (name, secret) in [(name, &self.secret), ("AUTH_PREVIOUS_SECRET", &self.previous_secret)] {
            let length = secret.as_ref().map(|it| it.expose().chars().count());
            if length.is_some_and(|length| length < MIN_SECRET_LENGTH) {
                let detail = format!("it is too short; expected {MIN_SECRET_LENGTH} characters or more");
                environment.problem(name, detail);
            }
        }
    }
}

/// The longest time that people or programs are let in for, or that something is kept for. Dates that far
/// from today are ones that both databases have.
const CENTURY: Duration = Duration::from_hours(36_525 * 24);

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

impl AuthSettings {
    /// Says which times and which sizes cannot work. What is changed while the service runs has its rules in
    /// [`Live`].
    fn check_bounds(&self, environment: &mut Environment) {
        for (name, value, least, most) in [
            ("AUTH_SESSION_LIFETIME", self.session_lifetime, MINUTE, CENTURY),
            // The last use is written down once a minute.
            ("AUTH_SESSION_IDLE_LIFETIME", self.session_idle_lifetime, 2 * MINUTE, CENTURY),
            ("AUTH_TOKEN_MAX_LIFETIME", self.token_max_lifetime, SECOND, CENTURY),
            ("AUTH_FAILURE_RETENTION", self.failure_retention, MINUTE, CENTURY),
            ("AUTH_AUDIT_RETENTION", self.audit_retention, MINUTE, CENTURY),
            ("AUTH_IDEMPOTENCY_RETENTION", self.idempotency_retention, MINUTE, CENTURY),
        ] {
            if !(least..=most).contains(&value) {
                let unit = |it: Duration| format!("{}s", it.as_secs());
                let detail = format!("expected a duration from {} to {}", unit(least), unit(most));
                environment.problem(name, detail);
            }
        }
        if self.hashing_memory_limit < self.argon2_memory {
            let detail = format!("it has no room for one hash; expected {} or more", self.argon2_memory);
            environment.problem("AUTH_HASHING_MEMORY_LIMIT", detail);
        }
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

    /// The names of what is wrong.
    fn problems(pairs: &[(&str, &str)]) -> Vec<String> {
        let mut environment = Environment::from_pairs(pairs.iter().copied());
        ServiceSettings::read(&mut environment);
        let Err(error) = environment.finish() else { return Vec::new() };
        error.problems.into_iter().map(|it| it.name).collect()
    }

    #[test]
    fn times_that_no_clock_has_are_refused() {
        for name in [
            "AUTH_SESSION_LIFETIME",
            "AUTH_SESSION_IDLE_LIFETIME",
            "AUTH_TOKEN_MAX_LIFETIME",
            "AUTH_LOGIN_DELAY",
            "AUTH_LOGIN_MAX_DELAY",
            "AUTH_FAILURE_RETENTION",
            "AUTH_AUDIT_RETENTION",
            "AUTH_IDEMPOTENCY_RETENTION",
        ] {
            assert_eq!(problems(&[(name, "1000000y")]), [name]);
            assert_eq!(problems(&[(name, "15m")]), [""; 0]);
        }
        for name in ["AUTH_SESSION_IDLE_LIFETIME", "AUTH_AUDIT_RETENTION"] {
            assert_eq!(problems(&[(name, "0s")]), [name]);
        }
    }

    #[test]
    fn failures_are_remembered_as_long_as_they_delay() {
        let short = ("AUTH_FAILURE_RETENTION", "5m");
        assert_eq!(problems(&[short]), ["AUTH_LOGIN_MAX_DELAY"]);
        assert_eq!(problems(&[short, ("AUTH_LOGIN_MAX_DELAY", "5m")]), [""; 0]);
        assert_eq!(problems(&[("AUTH_FAILURE_RETENTION", "0s")]), ["AUTH_FAILURE_RETENTION"]);
    }

    /// What the environment allows is what may be put while the service runs.
    #[test]
    fn delays_are_bounded_alike_wherever_they_are_said() {
        let long = ("AUTH_FAILURE_RETENTION", "30d");
        for name in ["AUTH_LOGIN_DELAY", "AUTH_LOGIN_MAX_DELAY"] {
            let key = Key::ALL.iter().find(|it| name.ends_with(&it.name().replace('.', "_").to_uppercase()));
            let key = key.unwrap();
            for (value, is_good) in
                [("0s", false), ("999us", false), ("1d", true), ("86401s", false), ("7d", false)]
            {
                let longest = ("AUTH_LOGIN_MAX_DELAY", "1d");
                let all = if name == longest.0 {
                    vec![long, (name, value)]
                } else {
                    vec![long, longest, (name, value)]
                };
                let expected: &[&str] = if is_good { &[] } else { &[name] };
                assert_eq!(problems(&all), expected, "{name}={value}");
                let auth = AuthSettings::read(&mut Environment::from_pairs(all.iter().copied()));
                let mut live = Live::defaults(&auth, None);
                assert_eq!(live.set(*key, &value.into()).is_ok(), is_good, "{name}: {value}");
            }
        }
    }

    #[test]
    fn the_memory_of_all_hashes_has_room_for_one() {
        let small = ("AUTH_HASHING_MEMORY_LIMIT", "16MiB");
        assert_eq!(problems(&[small]), [small.0]);
        assert_eq!(problems(&[small, ("AUTH_ARGON2_MEMORY", "16MiB")]), [""; 0]);
    }
}
