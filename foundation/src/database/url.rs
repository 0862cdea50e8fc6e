//! Where a database is, in the spellings that people have in their environment already.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio_postgres::config::TargetSessionAttrs;

use crate::settings::{DatabaseSettings, Setting, percent_decode};

/// How much of TLS is wanted, with the meanings that libpq gives the words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    /// Never.
    Disable,
    /// When the server can; the certificate is not checked.
    #[default]
    Prefer,
    /// Always; the certificate is not checked, unless authorities are named.
    Require,
    /// Always, and a known authority signed the certificate.
    VerifyCa,
    /// Always, a known authority signed the certificate, and it names the host.
    VerifyFull,
}

impl Setting for SslMode {
    const EXPECTED: &'static str = "disable, prefer, require, verify-ca or verify-full";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "disable" => Ok(Self::Disable),
            "allow" | "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "verify-ca" => Ok(Self::VerifyCa),
            "verify-full" => Ok(Self::VerifyFull),
            _ => Err("there is no such mode".to_owned()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
        .to_owned()
    }
}

/// The variable that an address stands in unless something else is said.
const VARIABLE: &str = "DATABASE_URL";

/// The port of a server whose address names none.
pub(super) const DEFAULT_PORT: u16 = 5432;

/// The address of a database. Neither `Debug` nor `Display` shows its password.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A PostgreSQL server, or several of which one is the primary.
    Postgres(Box<PostgresUrl>),
    /// A SQLite file.
    Sqlite(PathBuf),
}

/// The address of a PostgreSQL database.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    pub(super) config: tokio_postgres::Config,
    pub(super) ssl_mode: Option<SslMode>,
    pub(super) ssl_root_cert: Option<PathBuf>,
    /// The variable that it stands in, for those who have to mend it.
    pub(super) variable: &'static str,
}

impl DatabaseUrl {
    /// A PostgreSQL database by the parts of its address.
    #[must_use]
    pub fn postgres(host: &str, port: u16, user: &str, password: Option<&str>, database: &str) -> Self {
        let mut config = tokio_postgres::Config::new();
        config.host(host).port(port).user(user).dbname(database);
        if let Some(password) = password {
            config.password(password);
        }
        Self::Postgres(Box::new(PostgresUrl {
            config,
            ssl_mode: None,
            ssl_root_cert: None,
            variable: VARIABLE,
        }))
    }

    /// A SQLite file.
    #[must_use]
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self::Sqlite(path.into())
    }

    /// The same server, with another database of it. A SQLite file stays as it is.
    #[must_use]
    pub fn with_database(&self, name: &str) -> Self {
        let mut other = self.clone();
        if let Self::Postgres(url) = &mut other {
            url.config.dbname(name);
        }
        other
    }

    /// The same, where of several hosts the one is taken that can be written, unless `target_session_attrs` says
    /// which one it has to be.
    #[must_use]
    pub fn for_writing(&self) -> Self {
        let mut other = self.clone();
        if let Self::Postgres(url) = &mut other
            && url.hosts().len() > 1
            && url.config.get_target_session_attrs() == TargetSessionAttrs::Any
        {
            url.config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        other
    }

    /// The name of the database: what PostgreSQL calls it, or the file.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Postgres(url) => url.config.get_dbname().unwrap_or_default().to_owned(),
            Self::Sqlite(path) => path.display().to_string(),
        }
    }

    /// The hosts with their ports, or nothing for a file.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        match self {
            Self::Postgres(url) => url.hosts(),
            Self::Sqlite(_) => Vec::new(),
        }
    }

    /// Whether the role's password is one of these.
    pub(crate) fn has_password_among(&self, passwords: &[&str]) -> bool {
        match self {
            Self::Postgres(url) => {
                url.config.get_password().is_some_and(|it| passwords.iter().any(|one| one.as_bytes() == it))
            }
            Self::Sqlite(_) => false,
        }
    }

    /// Fills in what the URL leaves open from the other settings; those of keepalives hold in any case.
    pub(crate) fn complete(&mut self, settings: &DatabaseSettings, variable: &'static str) {
        if let Some(schema) = &settings.schema {
            self.use_schema(schema);
        }
        let Self::Postgres(url) = self else { return };
        url.variable = variable;
        let ssl_mode = *url.ssl_mode.get_or_insert(settings.ssl_mode.unwrap_or_default());
        if url.ssl_root_cert.is_none() {
            url.ssl_root_cert.clone_from(&settings.ssl_root_cert);
        }
        let config = &mut url.config;
        config.ssl_mode(match ssl_mode {
            SslMode::Disable => tokio_postgres::config::SslMode::Disable,
            SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
            _ => tokio_postgres::config::SslMode::Require,
        });
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(settings.connect_timeout);
        }
        config.keepalives_idle(settings.keepalive_idle);
        // A peer that is gone without a word is noticed after the idle time and three probes.
        config.keepalives_interval(std::time::Duration::from_secs(5)).keepalives_retries(3);
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(settings.keepalive_idle + std::time::Duration::from_secs(15));
        }
    }

    /// Lets every connection find its tables in one schema.
    pub(crate) fn use_schema(&mut self, schema: &str) {
        let Self::Postgres(url) = self else { return };
        let others = url.config.get_options().map(|it| format!("{it} ")).unwrap_or_default();
        url.config.options(format!("{others}-c search_path=\"{schema}\""));
    }

    /// Looks whether the files that the address names can be read.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Postgres(url) => match &url.ssl_root_cert {
                Some(path) if std::fs::File::open(path).is_err() => {
                    Err(format!("the file {} cannot be read", path.display()))
                }
                _ => Ok(()),
            },
            Self::Sqlite(_) => Ok(()),
        }
    }
}

impl PostgresUrl {
    /// Where it is connected to, each with its port. Beside addresses the names of hosts say what is to be in their
    /// certificates, and are asked for by nobody.
    pub(super) fn hosts(&self) -> Vec<String> {
        let port_of = |index: usize| port_of(&self.config, index).unwrap_or(DEFAULT_PORT);
        let addresses = self.config.get_hostaddrs();
        if !addresses.is_empty() {
            let addresses = addresses.iter().enumerate();
            return addresses.map(|(index, it)| SocketAddr::new(*it, port_of(index)).to_string()).collect();
        }
        let hosts = self.config.get_hosts().iter().enumerate();
        hosts
            .map(|(index, host)| match host {
                tokio_postgres::config::Host::Tcp(name) if name.contains(':') => {
                    format!("[{name}]:{}", port_of(index))
                }
                tokio_postgres::config::Host::Tcp(name) => format!("{name}:{}", port_of(index)),
                tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
            })
            .collect()
    }
}

/// The port of the host at this place: there is one for each, or one for all of them.
pub(super) fn port_of(config: &tokio_postgres::Config, index: usize) -> Option<u16> {
    let ports = config.get_ports();
    ports.get(index).or(ports.first()).copied()
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(url) => {
                let user = url.config.get_user().unwrap_or_default();
                let password = if url.config.get_password().is_some() { ":[redacted]" } else { "" };
                // A folder of sockets is written as libpq reads it, so that it is not taken for the database.
                let hosts = url.hosts().join(",").replace('/', "%2F");
                write!(formatter, "postgresql://{user}{password}@{hosts}/{}", self.name())?;
                url.ssl_mode.map_or(Ok(()), |mode| write!(formatter, "?sslmode={}", mode.show()))
            }
            Self::Sqlite(path) => write!(formatter, "sqlite:///{}", path.display()),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Setting for DatabaseUrl {
    const EXPECTED: &'static str = "postgresql://user:password@host:5432/name or sqlite:///./file.db, special characters percent-encoded";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) =
            text.split_once("://").filter(|_| text.trim() == text).ok_or("this is not a URL")?;
        match scheme.split('+').next().unwrap_or_default() {
            "postgresql" | "postgres" => parse_postgres(rest),
            "sqlite" => parse_sqlite(rest),
            _ => Err("it starts with neither postgresql:// nor sqlite://".to_owned()),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

/// `rest` is what follows `postgresql://`. The TLS parameters are ours: tokio-postgres knows only
/// three of the five modes. What it says of a bad URL could repeat a part of the password, so its
/// words are not passed on.
fn parse_postgres(rest: &str) -> Result<DatabaseUrl, String> {
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    // Read on, a part of the password would be taken for the host or for a parameter, and shown as such.
    if address.matches('@').count() > 1 || query.contains('@') {
        return Err(
            "there is more than one @ in it, or one after the ?; percent-encode what is special in the user and the password: @ is %40, ? is %3F"
                .to_owned(),
        );
    }
    let base = format!("postgresql://{address}");
    let mut config = tokio_postgres::Config::from_str(&base)
        .map_err(|_| "the user, password, hosts or database in it are malformed".to_owned())?;
    let (mut ssl_mode, mut ssl_root_cert, mut kept) = (None, None, Vec::new());
    for parameter in query.split('&').filter(|it| !it.is_empty()) {
        let (name, value) =
            parameter.split_once('=').ok_or("a parameter after the ? has no value".to_owned())?;
        match name {
            "sslmode" | "ssl" => {
                let mode = SslMode::parse(value);
                ssl_mode = Some(mode.map_err(|it| format!("{name}: {it} ({})", SslMode::EXPECTED))?);
            }
            "sslrootcert" => {
                let path = percent_decode(value).ok_or("sslrootcert: a % in it starts no %xx")?;
                ssl_root_cert = Some(PathBuf::from(path));
            }
            _ => {
                tokio_postgres::Config::from_str(&format!("{base}?{parameter}"))
                    .map_err(|_| format!("its parameter {name} is unknown, or its value is malformed"))?;
                kept.push(parameter);
            }
        }
    }
    if !kept.is_empty() {
        config = tokio_postgres::Config::from_str(&format!("{base}?{}", kept.join("&")))
            .map_err(|_| "its parameters are malformed".to_owned())?;
    }
    fill_in(&mut config)?;
    Ok(DatabaseUrl::Postgres(Box::new(PostgresUrl { config, ssl_mode, ssl_root_cert, variable: VARIABLE })))
}

/// Says what the address leaves open, as libpq does: the driver and the programs that are started on the same address
/// would each fill it in differently.
fn fill_in(config: &mut tokio_postgres::Config) -> Result<(), String> {
    if config.get_hosts().is_empty() {
        // Without the name of a host the driver begins no TLS. Of an address that has numbers alone they are the names.
        let addresses: Vec<String> = config.get_hostaddrs().iter().map(ToString::to_string).collect();
        for address in &addresses {
            config.host(address);
        }
        if addresses.is_empty() {
            config.host("localhost");
        }
    }
    let user = match config.get_user().filter(|it| !it.is_empty()) {
        Some(user) => user.to_owned(),
        None => whoami::username().map_err(|error| {
            format!(
                "it names no role, and the operating system has no name for its user ({error}); name the role"
            )
        })?,
    };
    if config.get_dbname().is_none_or(str::is_empty) {
        config.dbname(&user);
    }
    config.user(user);
    Ok(())
}

/// `rest` is what follows `sqlite://`, as SQLAlchemy reads it: one more slash and a path relative to
/// the working folder, two more and an absolute one. Parameters are SQLAlchemy's own and dropped.
fn parse_sqlite(rest: &str) -> Result<DatabaseUrl, String> {
    let path = rest.split('?').next().unwrap_or_default();
    let path =
        path.strip_prefix('/').ok_or("a SQLite URL has three slashes, or four for an absolute path")?;
    if path.is_empty() || path == ":memory:" {
        return Err("a database in memory is gone before the service could serve it; name a file".to_owned());
    }
    // SQLite would take it for a URI with parameters of its own, a database in memory among them.
    if path.starts_with("file:") {
        return Err("a path that starts with file: is not understood; name the file alone".to_owned());
    }
    if path.ends_with('/') || Path::new(path).is_dir() {
        return Err("this is a folder; name a file in it".to_owned());
    }
    Ok(DatabaseUrl::Sqlite(PathBuf::from(path)))
}
