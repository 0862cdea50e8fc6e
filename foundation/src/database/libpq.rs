//! The address of a database as PostgreSQL's own programs take it: in their environment, because an argument
//! can be read by every user of the machine.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use tokio_postgres::config::{ChannelBinding, Host, TargetSessionAttrs};

use super::url::{DEFAULT_PORT, port_of};
use super::{DatabaseUrl, PostgresUrl, SslMode};
use crate::settings::Setting as _;

impl DatabaseUrl {
    /// The variables by which `pg_dump`, `pg_restore` and `psql` reach this database, the password among them:
    /// for the environment of a program, and for nothing that is shown. None for a SQLite file.
    #[must_use]
    pub fn libpq_environment(&self) -> Vec<(&'static str, OsString)> {
        match self {
            Self::Postgres(url) => environment(url, self.name()),
            Self::Sqlite(_) => Vec::new(),
        }
    }
}

fn environment(url: &PostgresUrl, database: String) -> Vec<(&'static str, OsString)> {
    let config = &url.config;
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        })
        .collect();
    let addresses: Vec<String> = config.get_hostaddrs().iter().map(ToString::to_string).collect();
    let port_of = |index: usize| port_of(config, index).unwrap_or(DEFAULT_PORT).to_string();
    let ports: Vec<String> = (0..hosts.len().max(addresses.len())).map(port_of).collect();
    let mut variables: Vec<(&'static str, OsString)> = vec![
        ("PGHOST", hosts.join(",").into()),
        ("PGHOSTADDR", addresses.join(",").into()),
        ("PGPORT", ports.join(",").into()),
        ("PGDATABASE", database.into()),
        ("PGUSER", config.get_user().unwrap_or_default().into()),
        ("PGSSLMODE", ssl_mode(url).show().into()),
    ];
    // An address may have names alone.
    variables.retain(|(_, value)| !value.is_empty());
    if let Some(password) = config.get_password() {
        variables.push(("PGPASSWORD", OsString::from_vec(password.to_owned())));
    }
    match (&url.ssl_root_cert, ssl_mode(url)) {
        (Some(path), _) => variables.push(("PGSSLROOTCERT", path.into())),
        // Without a file libpq looks for one at home, and we in the operating system.
        (None, SslMode::VerifyFull) => variables.push(("PGSSLROOTCERT", "system".into())),
        (None, _) => {}
    }
    match config.get_target_session_attrs() {
        TargetSessionAttrs::ReadWrite => variables.push(("PGTARGETSESSIONATTRS", "read-write".into())),
        TargetSessionAttrs::ReadOnly => variables.push(("PGTARGETSESSIONATTRS", "read-only".into())),
        _ => {}
    }
    match config.get_channel_binding() {
        ChannelBinding::Require => variables.push(("PGCHANNELBINDING", "require".into())),
        ChannelBinding::Disable => variables.push(("PGCHANNELBINDING", "disable".into())),
        _ => {}
    }
    if let Some(options) = config.get_options() {
        variables.push(("PGOPTIONS", options.into()));
    }
    if let Some(timeout) = config.get_connect_timeout() {
        // Whole seconds, of which libpq takes one for two.
        variables.push(("PGCONNECT_TIMEOUT", timeout.as_secs().max(2).to_string().into()));
    }
    variables
}

/// What is meant by it here. Authorities of the operating system are known to libpq for `verify-full` alone.
fn ssl_mode(url: &PostgresUrl) -> SslMode {
    match url.ssl_mode.unwrap_or_default() {
        SslMode::VerifyCa if url.ssl_root_cert.is_none() => SslMode::VerifyFull,
        mode => mode,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(address: &str) -> Vec<(&'static str, String)> {
        let url: DatabaseUrl = address.parse().expect("an address");
        let text = |value: OsString| value.into_string().expect("text");
        url.libpq_environment().into_iter().map(|(name, value)| (name, text(value))).collect()
    }

    #[test]
    fn an_address_becomes_variables() {
        let found = variables(
            "postgresql+asyncpg://me:a%20b%40c@one:5433,two/app?sslmode=verify-full&target_session_attrs=read-write&channel_binding=require",
        );
        assert_eq!(
            found,
            [
                ("PGHOST", "one,two".to_owned()),
                ("PGPORT", "5433,5432".to_owned()),
                ("PGDATABASE", "app".to_owned()),
                ("PGUSER", "me".to_owned()),
                ("PGSSLMODE", "verify-full".to_owned()),
                ("PGPASSWORD", "a b@c".to_owned()),
                ("PGSSLROOTCERT", "system".to_owned()),
                ("PGTARGETSESSIONATTRS", "read-write".to_owned()),
                ("PGCHANNELBINDING", "require".to_owned()),
            ]
        );
        let sockets =
            variables("postgresql://me@%2Frun%2Fpostgresql/app?sslmode=verify-ca&sslrootcert=/ca.pem");
        assert!(sockets.contains(&("PGHOST", "/run/postgresql".to_owned())), "{sockets:?}");
        assert!(sockets.contains(&("PGSSLMODE", "verify-ca".to_owned())), "{sockets:?}");
        assert!(sockets.contains(&("PGSSLROOTCERT", "/ca.pem".to_owned())), "{sockets:?}");
        assert!(sockets.iter().all(|(name, _)| *name != "PGPASSWORD"), "{sockets:?}");
        let numbers = variables("postgresql://me@one,two:5433/app?hostaddr=10.0.0.1,::1");
        assert_eq!(
            numbers[..3],
            [
                ("PGHOST", "one,two".to_owned()),
                ("PGHOSTADDR", "10.0.0.1,::1".to_owned()),
                ("PGPORT", "5432,5433".to_owned()),
            ]
        );
        let numbers = variables("postgresql://me@/app?hostaddr=10.0.0.1,10.0.0.2");
        assert_eq!(
            numbers[..3],
            [
                ("PGHOST", "10.0.0.1,10.0.0.2".to_owned()),
                ("PGHOSTADDR", "10.0.0.1,10.0.0.2".to_owned()),
                ("PGPORT", "5432,5432".to_owned()),
            ]
        );
        assert!(variables("sqlite:///./x.db").is_empty());
    }

    /// Those programs are not left to choose a role and a database of their own.
    #[test]
    fn what_an_address_leaves_open_is_said() {
        let user = whoami::username().expect("whoever runs the tests has a name");
        for (address, database) in [("postgresql://db", user.as_str()), ("postgresql://@db/app?user=", "app")]
        {
            let url: DatabaseUrl = address.parse().expect("an address");
            assert_eq!(url.name(), database);
            let config = match &url {
                DatabaseUrl::Postgres(url) => Some(&url.config),
                DatabaseUrl::Sqlite(_) => None,
            };
            assert_eq!(config.and_then(tokio_postgres::Config::get_user), Some(user.as_str()));
            assert_eq!(config.and_then(tokio_postgres::Config::get_dbname), Some(database));
            let found = variables(address);
            assert!(found.contains(&("PGUSER", user.clone())), "{found:?}");
            assert!(found.contains(&("PGDATABASE", database.to_owned())), "{found:?}");
        }
    }
}
