//! The settings of the service.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use bytesize::ByteSize;
use foundation::database::DatabaseUrl;
use foundation::settings::{Environment, FoundationSettings, Section, Variable};
use migrator::settings::{AdminSettings, MigratorSettings};

foundation::settings! {
    /// How HTTP is served.
    pub struct HttpSettings("HTTP_") {
        /// Where the service listens. The images set `0.0.0.0:8080`. Port 0 takes a free one, which the
        /// log names.
        address: SocketAddr = "127.0.0.1:8080",
        /// How long a request may take from its head to its answer, its body included.
        request_timeout: Duration = "30s",
        /// How large the body of a request may be.
        body_limit: ByteSize = "2MiB",
        /// How long a connection may take to send the head of its next request, waiting for one included.
        /// Longer than that of a load balancer in front, so that it is the balancer that closes.
        idle_timeout: Duration = "75s",
        /// Connections served at the same time; further ones wait to be accepted.
        max_connections: NonZeroU32 = "4096",
        /// After SIGTERM, how long the service stays open while it already says that it is not ready, so
        /// that load balancers stop sending before it closes.
        drain_delay: Duration = "5s",
        /// After `HTTP_DRAIN_DELAY`, how long running requests may take to finish.
        drain_timeout: Duration = "20s",
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
        let migrations =
            matches!(foundation.database_url, DatabaseUrl::Sqlite(_)).then(|| migrator::settings::Settings {
                foundation: foundation.clone(),
                migrator: MigratorSettings::read(environment),
                admin: AdminSettings::read(environment),
            });
        Self { foundation, http, migrations }
    }

    /// Every variable that [`read`](Self::read) knows.
    #[must_use]
    pub fn variables() -> Vec<Variable> {
        [
            FoundationSettings::variables(),
            HttpSettings::variables(),
            MigratorSettings::variables(),
            AdminSettings::variables(),
        ]
        .concat()
    }
}
