//! Which database, and how it is reached.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::{ApplicationSettings, Environment, Mode, Origin, Secret, Section as _};
use crate::database::{DatabaseUrl, SslMode};

/// The passwords of database roles that stand in this repository.
const SHIPPED_PASSWORDS: [&str; 4] =
    ["owner-development", "service-development", "postgres-development", "CHANGE-ME"];

/// The SQLite file that is used when nothing is configured, relative to the working folder.
const FALLBACK_URL: &str = "sqlite:///./bedplate.db";

/// More connections than any server takes, and few enough to count.
const MOST_CONNECTIONS: u32 = 10_000;

/// As much of a name as PostgreSQL keeps, in bytes.
const LONGEST_NAME: usize = 63;

crate::settings! {
    /// How the database is reached.
    pub struct DatabaseSettings("DATABASE_") {
        /// The database: `postgresql://user:password@host:5432/name?sslmode=require` (several hosts with
        /// commas), or `sqlite:///./file.db` (three slashes relative to the working folder, four
        /// absolute). SQLAlchemy's spellings such as `postgresql+asyncpg://` are understood. Not set: the
        /// `POSTGRES_*` parts, or `sqlite:///./bedplate.db`.
        url: Option<DatabaseUrl> = "",
        /// The same database past a transaction pooler, for what a pooler loses: listening to changes. Not
        /// set: `DATABASE_URL`.
        direct_url: Option<DatabaseUrl> = "",
        /// A standby of the same database, or an address with several behind it, with a pool of its own:
        /// lists, searches and other reads that may be a moment behind go there, and to `DATABASE_URL` while
        /// it is away or too far behind. Not set: all go to `DATABASE_URL`.
        read_url: Option<DatabaseUrl> = "",
        /// How far behind the server of `DATABASE_READ_URL` may be to be read.
        read_max_lag: Duration = "5s",
        /// The schema of PostgreSQL that the tables are in. Not set: the first one of the role's `search_path`
        /// that there is, which is `public` as a rule.
        schema: Option<String> = "",
        /// How TLS is used when the URL does not say: `disable`, `prefer`, `require`, `verify-ca` or
        /// `verify-full`.
        ssl_mode: Option<SslMode> = "",
        /// A PEM file with the authorities that may have signed the server's certificate. Not set: those
        /// of the operating system.
        ssl_root_cert: Option<PathBuf> = "",
        /// Connections that are kept.
        pool_size: NonZeroU32 = "10",
        /// Connections above `DATABASE_POOL_SIZE` that are opened under load and closed when idle.
        max_overflow: u32 = "5",
        /// How long a connection may be idle before it is checked at its next use, and how long one above
        /// `DATABASE_POOL_SIZE` is kept.
        idle_timeout: Duration = "30s",
        /// How long one attempt to reach one host may take.
        connect_timeout: Duration = "5s",
        /// How long a request waits for a free connection of the pool.
        wait_timeout: Duration = "5s",
        /// How long opening a connection of the pool may take, all hosts together.
        create_timeout: Duration = "10s",
        /// How long the check of an idle connection may take.
        recycle_timeout: Duration = "2s",
        /// How long one statement of the service may run.
        statement_timeout: Duration = "30s",
        /// How long a connection is silent before TCP asks whether the server is still there.
        keepalive_idle: Duration = "30s",
        /// Logs each statement with its time and row count, never its values.
        echo: bool = "false",
    }
}

crate::settings! {
    /// The parts of a PostgreSQL address, as the `postgres` image names them. Read when `DATABASE_URL`
    /// is not set and at least one of them is.
    pub struct PostgresParts("POSTGRES_") {
        /// The host. Not set: `localhost`.
        host: Option<String> = "",
        /// The port.
        port: u16 = "5432",
        /// The role. Not set: `postgres`.
        user: Option<String> = "",
        /// The role's password.
        password: Option<Secret> = "",
        /// The name of the database. Not set: the name of the role.
        db: Option<String> = "",
    }
}

impl PostgresParts {
    fn url(&self, environment: &Environment) -> Option<DatabaseUrl> {
        let given = Self::variables().iter().any(|it| environment.origin(&it.name) != Origin::Default);
        let host = self.host.as_deref().unwrap_or("localhost");
        let user = self.user.as_deref().unwrap_or("postgres");
        let password = self.password.as_ref().map(Secret::expose);
        given.then(|| {
            DatabaseUrl::postgres(host, self.port, user, password, self.db.as_deref().unwrap_or(user))
        })
    }
}

impl DatabaseSettings {
    /// The database that the settings name: `DATABASE_URL`, else the `POSTGRES_*` parts, else, not in
    /// production, a SQLite file in the working folder.
    pub fn resolve(
        &mut self,
        environment: &mut Environment,
        application: &ApplicationSettings,
        parts: &PostgresParts,
    ) -> DatabaseUrl {
        self.check_bounds(environment);
        let mut url = match (&self.url, parts.url(environment)) {
            (Some(url), _) => url.clone(),
            (None, Some(url)) => {
                environment.derived("DATABASE_URL", &url, Origin::Derived("POSTGRES_*"));
                url
            }
            (None, None) => {
                let attempted = environment.is_wrong("DATABASE_URL")
                    || PostgresParts::variables().iter().any(|it| environment.is_wrong(&it.name));
                if application.env == Mode::Production && !attempted {
                    environment.problem(
                        "DATABASE_URL",
                        "not set, and production does not fall back to a SQLite file; set it, DATABASE_URL_FILE or POSTGRES_HOST",
                    );
                }
                let url = DatabaseUrl::sqlite(FALLBACK_URL.trim_start_matches("sqlite:///"));
                environment.derived("DATABASE_URL", &url, Origin::Default);
                url
            }
        };
        self.check_schema(&url, environment);
        self.complete("DATABASE_URL", &mut url, environment, application);
        self.direct_url =
            self.other("DATABASE_DIRECT_URL", self.direct_url.clone(), &url, environment, application);
        self.read_url =
            self.other("DATABASE_READ_URL", self.read_url.clone(), &url, environment, application);
        url
    }

    /// Another address of the database that `url` names.
    fn other(
        &self,
        name: &'static str,
        other: Option<DatabaseUrl>,
        url: &DatabaseUrl,
        environment: &mut Environment,
        application: &ApplicationSettings,
    ) -> Option<DatabaseUrl> {
        let mut other = other?;
        if environment.is_wrong("DATABASE_URL") {
            return None;
        }
        if matches!(url, DatabaseUrl::Sqlite(_)) || matches!(other, DatabaseUrl::Sqlite(_)) {
            environment.problem(
                name,
                "only PostgreSQL has one; expected this and DATABASE_URL to start with postgresql://",
            );
            return None;
        }
        self.complete(name, &mut other, environment, application);
        Some(other)
    }

    /// Fills in what an address leaves open, and looks at what it says.
    fn complete(
        &self,
        name: &'static str,
        url: &mut DatabaseUrl,
        environment: &mut Environment,
        application: &ApplicationSettings,
    ) {
        url.complete(self, name);
        if application.env == Mode::Production && url.has_password_among(&SHIPPED_PASSWORDS) {
            environment.problem(
                name,
                "its password is one that stands in the repository for development; production needs another",
            );
        }
        if let Err(detail) = url.check() {
            environment.problem("DATABASE_SSL_ROOT_CERT", detail);
        }
    }

    /// The schema's name stands in quotation marks between the options that a connection begins with.
    pub(super) fn check_schema(&self, url: &DatabaseUrl, environment: &mut Environment) {
        let Some(schema) = &self.schema else { return };
        if matches!(url, DatabaseUrl::Sqlite(_)) {
            let detail = "only PostgreSQL has schemas; expected DATABASE_URL to start with postgresql://";
            environment.problem("DATABASE_SCHEMA", detail);
        }
        let is_fit = |it: char| it.is_alphanumeric() || matches!(it, '_' | '-' | '$');
        if schema.len() > LONGEST_NAME || schema.starts_with("pg_") || !schema.chars().all(is_fit) {
            let detail = "this names no schema; expected at most 63 letters, digits, _, - and $, and no pg_ at the beginning";
            environment.problem("DATABASE_SCHEMA", detail);
        }
    }

    /// Nothing is done in no time, and none of these can be turned off with a zero.
    fn check_bounds(&self, environment: &mut Environment) {
        let (millisecond, second) = (Duration::from_millis(1), Duration::from_secs(1));
        for (name, value, least) in [
            ("DATABASE_READ_MAX_LAG", self.read_max_lag, 100 * millisecond),
            ("DATABASE_IDLE_TIMEOUT", self.idle_timeout, Duration::ZERO),
            ("DATABASE_CONNECT_TIMEOUT", self.connect_timeout, millisecond),
            ("DATABASE_WAIT_TIMEOUT", self.wait_timeout, millisecond),
            ("DATABASE_CREATE_TIMEOUT", self.create_timeout, millisecond),
            ("DATABASE_RECYCLE_TIMEOUT", self.recycle_timeout, millisecond),
            ("DATABASE_STATEMENT_TIMEOUT", self.statement_timeout, millisecond),
            ("DATABASE_KEEPALIVE_IDLE", self.keepalive_idle, second),
        ] {
            environment.bound(name, value, least);
        }
        if self.pool_size.get().saturating_add(self.max_overflow) > MOST_CONNECTIONS {
            let detail = format!(
                "with DATABASE_MAX_OVERFLOW these are more than {MOST_CONNECTIONS} connections; expected fewer"
            );
            environment.problem("DATABASE_POOL_SIZE", detail);
        }
    }
}
