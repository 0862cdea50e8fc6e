//! Which pages elsewhere may read the answers (CORS, as the Fetch standard has it).
//!
//! That of poem 3.1 refuses every request of an origin that it does not know, those of our own page among them.

use poem::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderValue,
    ORIGIN, VARY,
};
use poem::http::{Method, StatusCode};
use poem::{Endpoint, Middleware, Request, Response, Result};

use crate::settings::Origins;

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";

/// The headers of a request that a script may set.
const ALLOWED: &str = "authorization, bedplate-position, content-encoding, content-type, idempotency-key, if-match, \
                       if-none-match, traceparent, tracestate, x-request-id";

/// The headers of an answer that a script may read, beside those that it always may.
const EXPOSED: &str =
    "bedplate-position, etag, idempotent-replayed, location, retry-after, traceparent, x-request-id";

/// How long a browser may remember what it was told, in seconds: two hours, which is as long as any of them does.
const MAX_AGE: &str = "7200";

/// Tells browsers which pages may use the API. No credentials are among it: tokens are sent by scripts, not by the
/// browser.
#[derive(Clone, Debug)]
pub struct Cors(Origins);

impl Cors {
    /// Pages of these origins may.
    #[must_use]
    pub const fn new(origins: Origins) -> Self {
        Self(origins)
    }
}

/// The endpoint of [`Cors`].
pub struct CorsEndpoint<E> {
    inner: E,
    origins: Origins,
}

impl<E: Endpoint<Output = Response>> Middleware<E> for Cors {
    type Output = CorsEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        CorsEndpoint { inner, origins: self.0.clone() }
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for CorsEndpoint<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        if self.origins.is_empty() {
            return self.inner.call(request).await;
        }
        let origin = request.headers().get(ORIGIN).filter(|it| self.origins.contains(it)).cloned();
        let is_preflight = request.method() == Method::OPTIONS
            && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let mut response =
            if origin.is_some() && is_preflight { preflight() } else { self.inner.call(request).await? };
        let headers = response.headers_mut();
        // Whoever keeps the answer for another page has to know.
        headers.append(VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
        Ok(response)
    }
}

/// What a browser asks before it sends what a form could not have sent.
fn preflight() -> Response {
    Response::builder()
        .status(StatusCode::NO_CONTENT)
        .header(ACCESS_CONTROL_ALLOW_METHODS, METHODS)
        .header(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED)
        .header(ACCESS_CONTROL_MAX_AGE, MAX_AGE)
        .finish()
}
