//! Several hosts in one address, each of which gets its turn.
//!
//! tokio-postgres tries them one after the other, but its `connect_timeout` ends with the connection of
//! TCP. A host that is frozen still accepts that and then is silent for ever, so here the time is that of
//! the whole attempt; and where `target_session_attrs` says which of them it has to be, they are asked beside
//! each other.

use std::future::poll_fn;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::Sender;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_postgres::config::{Host, LoadBalanceHosts, TargetSessionAttrs};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, Notification};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::database::url::port_of;

/// How long a host may be silent before the next one is asked beside it, and how long one is left alone that
/// refused.
const PATIENCE: Duration = Duration::from_millis(500);

type Connected = (Client, JoinHandle<()>);

/// How connections are opened.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) tls: MakeRustlsConnect,
    /// How long connecting may take, all hosts together.
    pub(super) create_timeout: Duration,
}

impl Connector {
    /// Connects to the first host that will have it.
    pub(super) async fn connect(&self, config: &Config) -> Result<Connected, Error> {
        connect(config, &self.tls, self.create_timeout).await
    }
}

/// Connects to the first host that will have it. Each one but the last has its `connect_timeout`, or its
/// share of the time for all together where that is less; the last one may take what is left.
pub(super) async fn connect(
    config: &Config,
    tls: &MakeRustlsConnect,
    all_together: Duration,
) -> Result<Connected, Error> {
    connect_and_hear(config, tls, all_together, None).await
}

/// The same, with a place where the server's notifications go.
pub(super) async fn connect_and_hear(
    config: &Config,
    tls: &MakeRustlsConnect,
    all_together: Duration,
    notifications: Option<&Sender<Notification>>,
) -> Result<Connected, Error> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    // The ports are one for all of them or one for each; tokio-postgres knows what to say of others.
    let one_by_one = addresses.is_empty()
        && (ports.len() <= 1 || ports.len() == hosts.len())
        && config.get_load_balance_hosts() == LoadBalanceHosts::Disable;
    let (Some(limit), Some((last, others)), true) =
        (config.get_connect_timeout(), hosts.split_last(), one_by_one)
    else {
        return connect_any(config, tls, notifications).await;
    };
    if config.get_target_session_attrs() != TargetSessionAttrs::Any && !others.is_empty() {
        return connect_fitting(config, tls, notifications, *limit).await;
    }
    let share = all_together / u32::try_from(hosts.len()).unwrap_or(u32::MAX);
    let limit = share.min(*limit);
    for (index, host) in others.iter().enumerate() {
        let one = alone(config, host, port_of(config, index));
        match timeout(limit, connect_any(&one, tls, notifications)).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) => {
                tracing::debug!(host = ?host, error = %error, "a host refuses, the next one is tried");
            }
            Err(_) => tracing::debug!(host = ?host, "a host does not answer, the next one is tried"),
        }
    }
    connect_any(&alone(config, last, port_of(config, others.len())), tls, notifications).await
}

/// Connects to the host that is what is asked for, the primary for example. One that is silent does not keep the
/// next ones from being asked beside it, and who refuses is asked again while another one is silent: that is
/// what a failover looks like, and then who refused is promoted.
async fn connect_fitting(
    config: &Config,
    tls: &MakeRustlsConnect,
    notifications: Option<&Sender<Notification>>,
    limit: Duration,
) -> Result<Connected, Error> {
    let hosts = config.get_hosts();
    let attempt = |index: usize, pause: Duration| async move {
        let one = alone(config, &hosts[index], port_of(config, index));
        sleep(pause).await;
        (index, timeout(limit, connect_any(&one, tls, notifications)).await)
    };
    let mut attempts = FuturesUnordered::new();
    let mut refused = None;
    let mut silent: Vec<bool> = hosts.iter().map(|_| true).collect();
    let (mut asked, mut next_at) = (0, Instant::now());
    loop {
        if asked < hosts.len() && next_at <= Instant::now() {
            attempts.push(attempt(asked, Duration::ZERO));
            (asked, next_at) = (asked + 1, Instant::now() + PATIENCE);
        }
        let (index, answer) = tokio::select! {
            Some(answered) = attempts.next() => answered,
            () = sleep_until(next_at), if asked < hosts.len() => continue,
        };
        silent[index] = false;
        match answer {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) => {
                tracing::debug!(host = ?hosts[index], error = %error, "a host refuses");
                if silent.contains(&true) {
                    attempts.push(attempt(index, PATIENCE));
                }
                refused = Some(error);
            }
            Err(_) => tracing::debug!(host = ?hosts[index], "a host does not answer"),
        }
        next_at = Instant::now();
        if attempts.is_empty() && asked == hosts.len() {
            break;
        }
    }
    match refused {
        Some(error) => Err(error),
        // Whoever asked has a time limit of their own.
        None => std::future::pending().await,
    }
}

async fn connect_any(
    config: &Config,
    tls: &MakeRustlsConnect,
    notifications: Option<&Sender<Notification>>,
) -> Result<Connected, Error> {
    let (client, connection) = config.connect(tls.clone()).await?;
    let notifications = notifications.cloned();
    let task = tokio::spawn(async move {
        let ended = match notifications {
            Some(notifications) => hear(connection, notifications).await,
            None => connection.await,
        };
        if let Err(error) = ended {
            tracing::debug!(error = %error, "the connection to PostgreSQL ended");
        }
    });
    Ok((client, task))
}

/// Drives the connection and passes its notifications on. While nobody takes them it is not read from.
async fn hear<S, T>(
    mut connection: Connection<S, T>,
    notifications: Sender<Notification>,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notification(notification) = message?
            && notifications.send(notification).await.is_err()
        {
            break;
        }
    }
    Ok(())
}

/// The same with one host. tokio-postgres takes none away, so the rest is copied.
fn alone(config: &Config, host: &Host, port: Option<u16>) -> Config {
    let mut one = Config::new();
    match host {
        Host::Tcp(name) => one.host(name),
        Host::Unix(path) => one.host_path(path),
    };
    port.map(|port| one.port(port));
    config.get_user().map(|it| one.user(it));
    config.get_password().map(|it| one.password(it));
    config.get_dbname().map(|it| one.dbname(it));
    config.get_options().map(|it| one.options(it));
    config.get_application_name().map(|it| one.application_name(it));
    config.get_connect_timeout().map(|it| one.connect_timeout(*it));
    config.get_tcp_user_timeout().map(|it| one.tcp_user_timeout(*it));
    config.get_keepalives_interval().map(|it| one.keepalives_interval(it));
    config.get_keepalives_retries().map(|it| one.keepalives_retries(it));
    one.ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding());
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing of the address is lost on the way.
    #[test]
    fn one_host_of_one_is_the_same() {
        for url in [
            "postgresql://me:secret@db:6543/app?options=-cx%3D1&application_name=a&connect_timeout=3&tcp_user_timeout=4",
            "postgresql://me@%2Frun/app?keepalives=0&keepalives_idle=5&keepalives_interval=6&keepalives_retries=7",
            "postgresql://db/app?sslmode=require&target_session_attrs=read-only&channel_binding=require&sslnegotiation=direct",
        ] {
            let config: Config = url.parse().expect(url);
            let port = config.get_ports().first().copied();
            assert_eq!(alone(&config, &config.get_hosts()[0], port), config, "{url}");
        }
    }
}
