//! Who asks: the id of the request and the trace that it belongs to.

use std::net::IpAddr;
use std::sync::Arc;

use foundation::clock::Clock;
use foundation::entropy::Entropy;
use foundation::telemetry::propagation::TraceContext;
use poem::Request;
use poem::http::header::{HeaderName, HeaderValue};
use uuid::fmt::Hyphenated;

/// The header that names a request.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long a request id from outside may be, in characters.
const MAX_REQUEST_ID: usize = 128;

/// The names of one request. Handlers find it in the request's data.
#[derive(Clone, Debug)]
pub struct RequestContext(Arc<Names>);

#[derive(Debug)]
struct Names {
    request_id: HeaderValue,
    trace: TraceContext,
    client: Option<IpAddr>,
}

impl RequestContext {
    pub(super) fn new(request_id: HeaderValue, trace: TraceContext, client: Option<IpAddr>) -> Self {
        Self(Arc::new(Names { request_id, trace, client }))
    }

    /// The id that the answer and the log have for the request.
    #[must_use]
    pub fn request_id(&self) -> &str {
        text(&self.0.request_id)
    }

    /// The request's place in its trace, to be passed on with requests that it causes.
    #[must_use]
    pub fn trace(&self) -> &TraceContext {
        &self.0.trace
    }

    /// The client's address, behind the proxies that are trusted.
    #[must_use]
    pub fn client_address(&self) -> Option<IpAddr> {
        self.0.client
    }

    pub(super) fn request_id_header(&self) -> HeaderValue {
        self.0.request_id.clone()
    }
}

/// The text of a request id, which is ASCII whoever made it.
pub(super) fn text(request_id: &HeaderValue) -> &str {
    request_id.to_str().unwrap_or_default()
}

/// The id that the client gives the request, where it is sane: one of at most 128 visible characters, so
/// that it can neither break a line of the log nor fill it. Otherwise a new one.
pub(super) fn request_id(request: &Request, clock: &Clock, entropy: &Entropy) -> HeaderValue {
    let given = request.headers().get(X_REQUEST_ID).filter(|value| {
        let bytes = value.as_bytes();
        (1..=MAX_REQUEST_ID).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    });
    given.cloned().unwrap_or_else(|| {
        let mut buffer = [0; Hyphenated::LENGTH];
        let id = entropy.uuid_v7(clock.now()).hyphenated().encode_lower(&mut buffer);
        HeaderValue::from_str(id).unwrap_or_else(|_| HeaderValue::from_static("-"))
    })
}

/// The trace that the client's request belongs to, if it names one.
pub(super) fn caller(request: &Request) -> Option<TraceContext> {
    TraceContext::from_headers(|name| request.headers().get(name).and_then(|value| value.to_str().ok()))
}
