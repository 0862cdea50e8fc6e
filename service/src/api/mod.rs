//! The routes of the service and what every request goes through. Handlers are thin: parse, authorize,
//! one call, convert.

pub mod docs;
pub mod health;
pub mod payload;
pub mod problem;
pub mod tags;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use foundation::clock::Clock;
use foundation::entropy::Entropy;
use poem::endpoint::BoxEndpoint;
use poem::http::{HeaderValue, Method};
use poem::{Endpoint, EndpointExt as _, IntoEndpoint as _, Request, Response, Result, Route, RouteMethod};
use poem_openapi::{ContactObject, LicenseObject, OpenApi, OpenApiService};

use self::docs::Docs;
use self::health::HealthApi;
use crate::lifecycle::Lifecycle;
use crate::metrics::HttpMetrics;
use crate::middleware::{
    BodyLimit, CatchPanic, HeadAsGet, Observe, Problems, RequestTimeout, SecurityHeaders,
};
use crate::probe::{ProbeView, SharedQuery};
use crate::settings::HttpSettings;

/// The routes that tell of health. They are bounded by themselves and asked all the time: no request
/// time limit, and no more than a debug line for a good answer.
const PROBES: [&str; 4] = ["/livez", "/readyz", "/startupz", "/health"];

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
}

/// The limits of every request.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// How long it may take.
    pub timeout: Duration,
    /// How large its body may be, in bytes.
    pub body_bytes: u64,
}

impl From<&HttpSettings> for RequestLimits {
    fn from(settings: &HttpSettings) -> Self {
        Self { timeout: settings.request_timeout, body_bytes: settings.body_limit.as_u64() }
    }
}

/// The service as one endpoint, put together.
pub struct Application {
    parts: Parts,
    limits: RequestLimits,
    pages: Vec<Page>,
}

/// A route that is not part of the documented API.
struct Page {
    path: String,
    methods: Vec<(Method, BoxEndpoint<'static>)>,
}

impl Application {
    /// The service on `parts`.
    #[must_use]
    pub fn new(parts: Parts, limits: RequestLimits) -> Self {
        Self { parts, limits, pages: Vec::new() }
    }

    /// Adds a route that the API's documentation does not name.
    #[must_use]
    pub fn with_page<E>(mut self, path: &str, method: Method, endpoint: E) -> Self
    where
        E: Endpoint<Output = Response> + 'static,
    {
        let endpoint = (method, endpoint.boxed());
        match self.pages.iter_mut().find(|page| page.path == path) {
            Some(page) => page.methods.push(endpoint),
            None => self.pages.push(Page { path: path.to_owned(), methods: vec![endpoint] }),
        }
        self
    }

    /// Routes and middleware, ready to be served.
    ///
    /// # Errors
    /// The documentation cannot be made.
    pub fn into_endpoint(self) -> std::io::Result<impl Endpoint<Output = Response> + 'static> {
        let Self { parts, limits, pages } = self;
        let api = open_api(&parts);
        let docs = Docs::new(&api.spec(), &api.spec_yaml())?;
        let mut with_docs = Self { parts, limits, pages };
        for path in ["/docs", "/docs/", "/docs/:file", "/openapi.json", "/openapi.yaml"] {
            with_docs = with_docs.with_page(path, Method::GET, docs.clone());
        }
        let root = poem::endpoint::make(|_| async { Ok::<_, poem::Error>(docs::redirect_to_docs().await) });
        let Self { parts, limits, pages } = with_docs.with_page("/", Method::GET, root);
        let allow = allow_table(&pages);
        let routes =
            Routes { api: api.into_endpoint(), first_segments: first_segments(&pages), pages: route(pages) };
        Ok(routes
            .with(BodyLimit::new(limits.body_bytes))
            .with(RequestTimeout::new(limits.timeout))
            .with(CatchPanic)
            .with(Problems::new(allow))
            .with(SecurityHeaders)
            .with(Observe::new(parts.metrics, parts.clock, parts.entropy))
            .with(HeadAsGet))
    }
}

/// The documented API. Its documents are what `/openapi.json` and `/openapi.yaml` serve.
fn open_api(parts: &Parts) -> OpenApiService<HealthApi, ()> {
    let Parts { lifecycle, probe, query, clock, .. } = parts.clone();
    OpenApiService::new(HealthApi { lifecycle, probe, query, clock }, "Bedplate", crate::VERSION)
        .summary("The base that a backend is bolted to")
        .description(
            "Errors are `application/problem+json` (RFC 9457). Times are RFC 3339 in UTC. Every answer \
             names its request in `X-Request-Id`, and so does the log.",
        )
        .license(LicenseObject::new("MIT OR Apache-2.0"))
        .contact(ContactObject::new().url("https://github.com/bedplate/bedplate"))
}

/// The documented API, and the pages beside it, told apart by the first segment of the path. Two tables
/// instead of one nested in the other: nesting rewrites the address of each request.
struct Routes {
    api: BoxEndpoint<'static>,
    pages: Route,
    first_segments: BTreeSet<String>,
}

impl Endpoint for Routes {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        if self.first_segments.contains(first_segment(request.uri().path())) {
            self.pages.call(request).await
        } else {
            self.api.call(request).await
        }
    }
}

fn first_segment(path: &str) -> &str {
    path.trim_start_matches('/').split('/').next().unwrap_or_default()
}

fn first_segments(pages: &[Page]) -> BTreeSet<String> {
    pages.iter().map(|page| first_segment(&page.path).to_owned()).collect()
}

fn route(pages: Vec<Page>) -> Route {
    pages.into_iter().fold(Route::new(), |route, page| {
        let methods = page.methods.into_iter();
        let methods = methods.fold(RouteMethod::new(), |all, (method, it)| all.method(method, it));
        route.at(page.path, methods)
    })
}

/// What `Allow` says for each route.
fn allow_table(pages: &[Page]) -> Arc<HashMap<String, HeaderValue>> {
    let mut methods: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let api = HealthApi::meta().into_iter().flat_map(|api| api.paths);
    let of_api = api.flat_map(|path| {
        let route = path.path.replace('{', ":").replace('}', "");
        path.operations.into_iter().map(move |operation| (route.clone(), operation.method))
    });
    let of_pages =
        pages.iter().flat_map(|page| page.methods.iter().map(|(it, _)| (page.path.clone(), it.clone())));
    for (path, method) in of_api.chain(of_pages) {
        let known = methods.entry(path).or_default();
        if method == Method::GET {
            known.insert(Method::HEAD.to_string());
        }
        known.insert(method.to_string());
    }
    let table = methods.into_iter().filter_map(|(path, known)| {
        let value = known.into_iter().collect::<Vec<_>>().join(", ");
        Some((path, HeaderValue::try_from(value).ok()?))
    });
    Arc::new(table.collect())
}
