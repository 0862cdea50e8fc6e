//! The routes of the service and what every request goes through. Handlers are thin: parse, authorize,
//! one call, convert.

pub mod api_tokens;
pub mod archive_policies;
pub mod archive_runs;
mod assets;
pub mod audit_events;
pub mod auth;
pub mod authorize;
pub mod config;
pub mod conventions;
pub mod docs;
mod document;
pub mod health;
pub mod metrics_aggregates;
pub mod metrics_series;
pub mod metrics_snapshots;
mod origin;
mod page;
mod parameters;
pub mod payload;
mod probes;
pub mod problem;
mod routes;
pub mod schema;
pub mod streams;
pub mod tags;
pub mod users;

use std::time::Duration;

use foundation::clock::Clock;
use foundation::entropy::Entropy;
use poem::http::Method;
use poem::{Endpoint, EndpointExt as _, Response};
use poem_openapi::{ContactObject, ExtraHeader, LicenseObject, OpenApi, OpenApiService};

use self::api_tokens::ApiTokensApi;
use self::archive_policies::ArchivePoliciesApi;
use self::archive_runs::ArchiveRunsApi;
use self::audit_events::AuditEventsApi;
use self::auth::AuthApi;
use self::config::ConfigApi;
use self::health::HealthApi;
use self::metrics_aggregates::MetricsAggregatesApi;
use self::metrics_series::MetricsSeriesApi;
use self::metrics_snapshots::MetricsSnapshotsApi;
use self::parameters::Documented;
use self::probes::Probes;
use self::routes::Pages;
pub use self::routes::{RouteFacts, RouteTable};
use self::schema::SchemaApi;
use self::users::UsersApi;
use crate::access::Gate;
use crate::actions::Actions;
use crate::actions::metrics_snapshots::Snapshots;
use crate::archive::Archiving;
use crate::lifecycle::Lifecycle;
use crate::middleware::{
    BodyLimit, Cors, Observe, Problems, ReadOwnWrites, RequestTimeout, TrustedProxies, catch_panic,
    head_as_get, one_host, security_headers,
};
use crate::probe::{ProbeView, SharedQuery};
use crate::product;
use crate::prometheus::HttpMetrics;
use crate::settings::{HttpSettings, MetricsSettings, Origins};

/// The routes that tell of health. They are bounded by themselves and asked all the time: no request
/// time limit, and no more than a debug line for a good answer.
const PROBES: &[&str] = &["/health", "/livez", "/readyz", "/startupz"];

/// The only body that is read of whoever is not known yet, and how large it may be, in bytes: a name of 255
/// characters and a password of 1024 bytes, with every character escaped.
const LOGIN: &str = "/api/v1/auth/login";
const LOGIN_BODY: u64 = 16 * 1024;

/// Whether the path is that of a probe, which answers at once from memory.
#[must_use]
pub fn is_probe(path: &str) -> bool {
    PROBES.contains(&path)
}

/// What the routes stand on.
#[derive(Clone)]
pub struct Parts {
    /// The stage of the process.
    pub lifecycle: Lifecycle,
    /// What the probe found last.
    pub probe: ProbeView,
    /// The query through the pool.
    pub query: SharedQuery,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// Where requests are counted.
    pub metrics: HttpMetrics,
    /// The door, which finds out who asks.
    pub gate: Gate,
    /// What the routes of accounts call.
    pub actions: Actions,
    /// What the routes of metrics call.
    pub snapshots: Snapshots,
    /// What runs of the archive policies stand on.
    pub archiving: Archiving,
}

/// The limits of every request.
#[derive(Clone, Debug)]
pub struct RequestLimits {
    /// How long it may take.
    pub timeout: Duration,
    /// How large its body may be, in bytes.
    pub body_bytes: u64,
    /// How large a stream may be, in bytes.
    pub stream_bytes: u64,
    /// The proxies whose word on the client's address is taken.
    pub trusted_proxies: TrustedProxies,
    /// The origins of the pages elsewhere that may use the API.
    pub cors_origins: Origins,
}

impl RequestLimits {
    /// The limits that the settings say.
    #[must_use]
    pub fn new(settings: &HttpSettings, metrics: &MetricsSettings) -> Self {
        Self {
            timeout: settings.request_timeout,
            body_bytes: settings.body_limit.as_u64(),
            stream_bytes: metrics.stream_limit.as_u64(),
            trusted_proxies: TrustedProxies::new(settings.trusted_proxies.clone()),
            cors_origins: settings.cors_origins.clone(),
        }
    }
}

/// The service as one endpoint, put together; `T` is what APIs were added to its own.
pub struct Application<T = ()> {
    parts: Parts,
    limits: RequestLimits,
    pages: Pages,
    added: T,
}

impl Application {
    /// The service on `parts`.
    #[must_use]
    pub fn new(parts: Parts, limits: RequestLimits) -> Self {
        Self { parts, limits, pages: Pages::default(), added: () }
    }
}

impl<T: OpenApi + 'static> Application<T> {
    /// Adds a route that the API's documentation does not name. Everything under the first segment of its
    /// path belongs to such routes.
    #[must_use]
    pub fn with_page<E>(mut self, path: &str, method: Method, endpoint: E) -> Self
    where
        E: Endpoint<Output = Response> + 'static,
    {
        self.pages.add(path, method, endpoint);
        self
    }

    /// Adds an API beside our own: the documentation names it, and its queries are held against that.
    #[must_use]
    pub fn with_api<U: OpenApi + 'static>(self, api: U) -> Application<(T, U)> {
        let Self { parts, limits, pages, added } = self;
        Application { parts, limits, pages, added: (added, api) }
    }

    /// Routes and middleware, ready to be served.
    ///
    /// # Errors
    /// Its documentation cannot be made.
    pub fn into_endpoint(self) -> std::io::Result<impl Endpoint<Output = Response> + 'static> {
        let Self { parts, limits, mut pages, added } = self;
        let api = open_api(&parts, added);
        let document = document::finish(&api.spec())?;
        let docs = docs::docs(&document.json, &document.yaml)?;
        for path in ["/docs", "/docs/", "/docs/:file", "/openapi.json", "/openapi.yaml"] {
            pages.add(path, Method::GET, docs.clone());
        }
        let page = page::page();
        for path in ["/", "/assets/:file"] {
            pages.add(path, Method::GET, page.clone());
        }
        let (routes, table) = pages.beside(api);
        let probes = Probes::new(health_api(&parts));
        Ok(routes
            // `Authorized` finds it there.
            .data(parts.gate)
            .with(ReadOwnWrites::new(parts.actions.database.has_standby()))
            .with(probes)
            .with(BodyLimit::new(limits.body_bytes, limits.stream_bytes).less_at(LOGIN, LOGIN_BODY))
            .with(RequestTimeout::new(limits.timeout))
            .around(catch_panic)
            .around(one_host)
            .with(Problems::new(table.clone()))
            .around(security_headers)
            .with(Cors::new(limits.cors_origins))
            .with(Observe::new(parts.metrics, parts.clock, parts.entropy, table, limits.trusted_proxies))
            .around(head_as_get))
    }
}

/// The documented API. Its documents are what `/openapi.json` and `/openapi.yaml` serve.
fn open_api<T: OpenApi>(parts: &Parts, added: T) -> OpenApiService<impl OpenApi + use<T>, ()> {
    OpenApiService::new(apis(parts, added), product::TITLE, crate::VERSION)
        .description(product::DESCRIPTION)
        .license(LicenseObject::new(product::LICENSE))
        .extra_response_header::<String, _>(
            ExtraHeader::new("X-Request-Id").description("The id that the log has for the request"),
        )
        .contact(ContactObject::new().name(product::CONTACT_NAME).url(product::CONTACT_URL))
}

fn health_api(parts: &Parts) -> HealthApi {
    let Parts { lifecycle, probe, query, clock, .. } = parts.clone();
    HealthApi { lifecycle, probe, query, clock }
}

/// Every API, one for each noun. What is of a project of its own is a line more in `routes`.
fn apis<T: OpenApi>(parts: &Parts, added: T) -> impl OpenApi + use<T> {
    let Parts { lifecycle, actions, snapshots, archiving, .. } = parts.clone();
    let accounts = (
        UsersApi { actions: actions.clone() },
        AuthApi { actions: actions.clone() },
        ApiTokensApi { actions: actions.clone() },
    );
    let administration =
        (ConfigApi { actions: actions.clone() }, AuditEventsApi { actions: actions.clone() });
    let metrics = (
        MetricsSnapshotsApi { snapshots: snapshots.clone() },
        MetricsSeriesApi { snapshots: snapshots.clone() },
        MetricsAggregatesApi { snapshots },
    );
    let schema = SchemaApi { database: actions.database.clone() };
    let archive = (
        ArchivePoliciesApi { actions: actions.clone(), can_archive: archiving.place.is_some() },
        ArchiveRunsApi { actions, archiving, lifecycle },
    );
    // In groups, because a tuple that is an API has 16 members at most.
    let routes = (schema, accounts, administration, metrics, archive, added);
    // Who asks for health may put what they like behind the path.
    (health_api(parts), Documented(routes))
}
