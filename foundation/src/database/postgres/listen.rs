//! A connection that hears notifications, made again whenever it breaks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{interval_at, sleep, timeout};
use tokio_postgres::{Client, Notification};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::renewals::Renewals;
use super::{configured, hosts, not_connected, timed_out, tls};
use crate::database::listen::Heard;
use crate::database::{DatabaseError, DatabaseErrorKind, PostgresUrl};
use crate::settings::DatabaseSettings;

/// Notifications that wait for a listener. When there are more, they wait in the server.
const WAITING: usize = 64;

/// The pause after the first failure. It doubles with each one that follows.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Where notifications are listened to.
pub(super) struct ListenTo {
    url: PostgresUrl,
    tls: MakeRustlsConnect,
    renewals: Arc<Renewals>,
    application_name: String,
    create_timeout: Duration,
    /// How long it may be silent before it is asked whether it is there.
    idle: Duration,
    answer_timeout: Duration,
}

impl ListenTo {
    pub(super) fn new(
        url: &PostgresUrl,
        settings: &DatabaseSettings,
        renewals: &Arc<Renewals>,
        application_name: &str,
    ) -> Result<Self, DatabaseError> {
        Ok(Self {
            url: url.clone(),
            tls: tls::connector(url)?,
            renewals: Arc::clone(renewals),
            application_name: application_name.to_owned(),
            create_timeout: settings.create_timeout,
            idle: settings.keepalive_idle.max(Duration::from_secs(1)),
            answer_timeout: settings.recycle_timeout,
        })
    }

    /// Listens until nobody wants to hear it any more.
    pub(super) fn listen(self: &Arc<Self>, name: &'static str) -> Receiver<Heard> {
        let (heard, messages) = channel(WAITING);
        let here = Arc::clone(self);
        tokio::spawn(async move {
            let gone = heard.clone();
            tokio::select! {
                () = gone.closed() => {}
                () = here.keep_listening(name, &heard) => {}
            }
        });
        messages
    }

    async fn keep_listening(&self, name: &'static str, heard: &Sender<Heard>) {
        let mut failures = 0;
        loop {
            let error = match self.connect(name).await {
                Ok((client, notifications)) => {
                    if failures > 0 {
                        tracing::info!(channel = name, "notifications of PostgreSQL are heard again");
                    }
                    failures = 0;
                    let _taken = heard.send(Heard::Reconnected).await;
                    self.forward(&client, notifications, heard).await
                }
                Err(error) => error,
            };
            if failures == 0 {
                tracing::warn!(channel = name, error = %error, "notifications of PostgreSQL are not heard at the moment");
            }
            sleep(FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE)).await;
            failures += 1;
        }
    }

    async fn connect(&self, name: &'static str) -> Result<(Client, Receiver<Notification>), DatabaseError> {
        let config = configured(&self.url, &self.application_name);
        let (sender, notifications) = channel(WAITING);
        let connected = async move {
            let generation = self.renewals.generation();
            // Not kept here: the channel ends with the connection.
            let (client, task) =
                hosts::connect_and_hear(&config, &self.tls, self.create_timeout, Some(&sender)).await?;
            drop(sender);
            if !self.renewals.adopt(task.abort_handle(), generation) {
                let message = "another server became the primary meanwhile";
                return Err(DatabaseError::new(DatabaseErrorKind::Unreachable, message));
            }
            client.batch_execute(&format!("LISTEN \"{}\"", name.replace('"', "\"\""))).await?;
            Ok::<_, DatabaseError>(client)
        };
        match timeout(self.create_timeout, connected).await {
            Ok(Ok(client)) => Ok((client, notifications)),
            Ok(Err(error)) => Err(not_connected(&self.url, error)),
            Err(_) => Err(not_connected(&self.url, timed_out(self.create_timeout))),
        }
    }

    /// Passes on what comes, and asks now and then whether the server is still there. Returns why not.
    async fn forward(
        &self,
        client: &Client,
        mut notifications: Receiver<Notification>,
        heard: &Sender<Heard>,
    ) -> DatabaseError {
        let mut check = interval_at(tokio::time::Instant::now() + self.idle, self.idle);
        loop {
            tokio::select! {
                notification = notifications.recv() => {
                    let Some(notification) = notification else {
                        return DatabaseError::new(DatabaseErrorKind::Unreachable, "the connection broke");
                    };
                    let _taken = heard.send(Heard::Notification(notification.payload().to_owned())).await;
                }
                _ = check.tick() => match timeout(self.answer_timeout, client.simple_query("")).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return error.into(),
                    Err(_) => return timed_out(self.answer_timeout),
                },
            }
        }
    }
}
