//! `service serve`: settings, telemetry, the listeners, the database, and out again in the opposite order.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use foundation::clock::Clock;
use foundation::database::Database;
use foundation::entropy::Entropy;
use foundation::exit::Exit;
use foundation::settings::{Environment, Listen};
use foundation::telemetry::{Program, Telemetry};
use migrator::Migrator;
use migrator::settings::Settings;
use migrator::stop::Stop;
use poem::EndpointExt as _;
use poem_openapi::OpenApi;

use super::duties;
use super::{refuse, tell};
use crate::access::Gate;
use crate::actions::Actions;
use crate::actions::metrics_snapshots::Snapshots;
use crate::api::{Application, Parts, RequestLimits};
use crate::keys::Keys;
use crate::lifecycle::Lifecycle;
use crate::live_settings::{LiveSettings, poll_interval};
use crate::middleware::{Problems, catch_panic, head_as_get, one_host};
use crate::partitions::Partitions;
use crate::passwords::Passwords;
use crate::probe::{Probe, SharedQuery};
use crate::prometheus::{HttpMetrics, Metrics, RetentionMetrics, StateMetrics};
use crate::server::{ConnectionLimits, DrainEnd, DrainSettings, Listener, Server, Signals, drain};
use crate::settings::ServiceSettings;

/// The name that the database shows for the connections of this program.
const APPLICATION_NAME: &str = "bedplate-service";

/// How long a connection to the figures may be silent, and how many there may be.
const METRICS_LIMITS: ConnectionLimits =
    ConnectionLimits { max_connections: 16, idle_timeout: Duration::from_secs(75) };

pub(super) fn run(mut environment: Environment) -> Exit {
    let settings = ServiceSettings::read(&mut environment);
    let warnings = match environment.finish() {
        Ok((_, warnings)) => warnings,
        Err(error) => return refuse(&error),
    };
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let program = Program {
        name: APPLICATION_NAME,
        version: crate::VERSION,
        clock: clock.clone(),
        entropy: entropy.clone(),
    };
    let common = &settings.foundation;
    let telemetry = match Telemetry::start(&program, &common.log, &common.open_telemetry) {
        Ok(telemetry) => telemetry,
        Err(error) => {
            tell(format_args!("{error}"));
            return Exit::Configuration;
        }
    };
    log_panics();
    for warning in warnings {
        tracing::warn!(setting = warning.name, "{}", warning.detail);
    }
    let exit = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let exit = runtime.block_on(serve(settings, clock, entropy));
            // What was cut on the way out is not waited for.
            runtime.shutdown_background();
            exit
        }
        Err(error) => {
            tracing::error!(%error, "no threads to run on");
            Exit::Unavailable
        }
    };
    telemetry.shutdown();
    exit
}

/// A panic is a line of the log like any other, with the request that it happened in.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("without a message");
        tracing::error!(location, "panic: {message}");
    }));
}

async fn serve(settings: ServiceSettings, clock: Clock, entropy: Entropy) -> Exit {
    let on_terminal = std::io::stderr().is_terminal();
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(%error, "signals cannot be caught");
            return Exit::Unavailable;
        }
    };
    let (handle, stop) = Stop::new();
    let starting = Serving::start(settings, clock, entropy, stop);
    tokio::pin!(starting);
    let started = tokio::select! {
        biased;
        started = &mut starting => started,
        signal = signals.next() => {
            tracing::info!(signal, "stopping before anything was served");
            handle.stop();
            return starting.await.err().unwrap_or(Exit::Success);
        }
    };
    match started {
        Ok(serving) => {
            if on_terminal {
                let address = serving.address();
                tell(format_args!("\n  Overview: http://{address}/\n  Swagger UI: http://{address}/docs\n"));
            }
            serving.run(&mut signals, on_terminal).await
        }
        Err(exit) => exit,
    }
}

/// Brings the SQLite file up to date, as the migrator would.
async fn migrate(settings: &Settings, clock: &Clock, entropy: &Entropy, stop: Stop) -> Result<(), Exit> {
    match Migrator::new(settings, clock.clone(), entropy.clone(), stop).up(None).await {
        Ok(report) => {
            migrator::cli::tell_password(&report);
            let applied = report.applied.len();
            tracing::info!(applied, schema_version = report.current_version, "the schema is up to date");
            Ok(())
        }
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the schema cannot be brought up to date"
            );
            Err(error.exit())
        }
    }
}

/// The service, listening.
pub struct Serving<T = ()> {
    settings: ServiceSettings,
    lifecycle: Lifecycle,
    database: Database,
    listener: Listener,
    figures_listener: Option<Listener>,
    application: Application<T>,
    figures: Metrics,
}

impl Serving {
    /// Listens, and brings a SQLite file up to date unless `stop` asks for the end. PostgreSQL may be
    /// away: the service is then not ready.
    ///
    /// # Errors
    /// What the program ends with; the log has the reason.
    pub async fn start(
        settings: ServiceSettings,
        clock: Clock,
        entropy: Entropy,
        stop: Stop,
    ) -> Result<Self, Exit> {
        let listener = bind(settings.http.address, "HTTP_ADDRESS").await?;
        let figures_listener = match settings.foundation.telemetry.prometheus_address {
            Listen::Off => None,
            Listen::At(address) => Some(bind(address, "TELEMETRY_PROMETHEUS_ADDRESS").await?),
        };
        if let Some(migrations) = &settings.migrations {
            // On the heap: without optimisation it needs most of a thread's stack, and is over soon.
            Box::pin(migrate(migrations, &clock, &entropy, stop)).await?;
        }
        let (url, database_settings) = (&settings.foundation.database_url, &settings.foundation.database);
        let database = open(&settings)?;
        let lifecycle = Lifecycle::default();
        let (probe, view) =
            Probe::new(url.clone(), database_settings.clone(), database.clone(), clock.clone());
        tokio::spawn(probe.run());
        let http_metrics = HttpMetrics::default();
        let retention = RetentionMetrics::default();
        let state =
            StateMetrics { database: database.clone(), lifecycle: lifecycle.clone(), probe: view.clone() };
        let figures = Metrics::new(&clock, &[&http_metrics, &retention, &state]);
        let query = SharedQuery::new(database.clone());
        let auth = Arc::new(settings.auth.clone());
        let gate = Gate::new(database.clone(), clock.clone(), auth.session_idle_lifetime);
        let (defaults, poll) = (settings.live_defaults(), poll_interval(database.backend()));
        let live = LiveSettings::start(database.clone(), defaults, poll, lifecycle.clone()).await;
        let partitions = Partitions::new(database.clone(), settings.metrics.width());
        let passwords = Passwords::new(&auth, entropy.clone()).map_err(|error| {
            tracing::error!("{error}");
            Exit::Configuration
        })?;
        let actions = Actions {
            database: database.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            keys: Keys::new(&auth, &entropy),
            passwords,
            settings: auth,
            live,
        };
        let archiving = duties::archiving(&settings, &actions, &retention);
        duties::start(&settings, &actions, &partitions, &archiving, &lifecycle);
        let metrics_settings = Arc::new(settings.metrics.clone());
        let snapshots = Snapshots::new(actions.clone(), partitions, metrics_settings);
        let parts = Parts {
            lifecycle: lifecycle.clone(),
            probe: view,
            query,
            clock,
            entropy,
            metrics: http_metrics,
            gate,
            actions,
            snapshots,
            archiving,
        };
        let application = Application::new(parts, RequestLimits::new(&settings.http, &settings.metrics));
        Ok(Self { settings, lifecycle, database, listener, figures_listener, application, figures })
    }
}

impl<T: OpenApi + 'static> Serving<T> {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Adapts what is served.
    #[must_use]
    pub fn map_application<U>(self, adapt: impl FnOnce(Application<T>) -> Application<U>) -> Serving<U> {
        let Self { settings, lifecycle, database, listener, figures_listener, application, figures } = self;
        let application = adapt(application);
        Serving { settings, lifecycle, database, listener, figures_listener, application, figures }
    }

    /// Answers until a signal comes, and then until what runs is finished.
    pub async fn run(self, signals: &mut Signals, on_terminal: bool) -> Exit {
        let Self { settings, lifecycle, database, listener, figures_listener, application, figures } = self;
        let address = listener.address();
        let endpoint = match application.into_endpoint() {
            Ok(endpoint) => endpoint,
            Err(error) => {
                tracing::error!(%error, "the documentation cannot be made");
                return Exit::Configuration;
            }
        };
        if let Some(listener) = figures_listener {
            tracing::info!(address = %listener.address(), "figures for Prometheus are served at /metrics");
            // It is asked until the end of the process, also on the way out.
            let figures =
                figures.around(catch_panic).around(one_host).with(Problems::default()).around(head_as_get);
            tokio::spawn(Server::new(listener, figures, METRICS_LIMITS, Lifecycle::default()).run());
        }
        tracing::info!(%address, docs = %format_args!("http://{address}/docs"), "listening");
        let server = Server::new(listener, endpoint, (&settings.http).into(), lifecycle.clone());
        let drain_settings = DrainSettings::new(&settings.http, on_terminal);
        let end = drain(server.run(), &lifecycle, drain_settings, signals).await;
        database.close();
        match end {
            DrainEnd::Forced => Exit::Interrupted,
            DrainEnd::Finished | DrainEnd::TimedOut(_) => {
                tracing::info!("stopped");
                Exit::Success
            }
        }
    }
}

/// Sets the pool up; nothing is connected yet.
fn open(settings: &ServiceSettings) -> Result<Database, Exit> {
    let (url, pool) = (&settings.foundation.database_url, &settings.foundation.database);
    Database::open(url, pool, APPLICATION_NAME).map_err(|error| {
        tracing::error!(%error, "the database cannot be used");
        error.exit()
    })
}

async fn bind(address: SocketAddr, variable: &str) -> Result<Listener, Exit> {
    Listener::bind(address, variable).await.map_err(|error| {
        tracing::error!("{error}");
        error.exit()
    })
}
