//! What browsers are told about every answer.

use std::sync::Arc;

use poem::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use poem::{Endpoint, Request, Response, Result};

/// For answers of the API, which are no documents: load nothing, be in no frame, keep nothing. A handler
/// that set one of these itself knows better.
static HEADERS: [(HeaderName, HeaderValue); 5] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Adds the headers.
///
/// # Errors
/// What the handler ended with.
pub async fn security_headers<E: Endpoint<Output = Response>>(
    endpoint: Arc<E>,
    request: Request,
) -> Result<Response> {
    let mut response = endpoint.call(request).await?;
    // Two more come further out: the request's id and its trace. The map would grow for each otherwise.
    response.headers_mut().reserve(HEADERS.len() + 2);
    for (name, value) in &HEADERS {
        response.headers_mut().entry(name.clone()).or_insert_with(|| value.clone());
    }
    Ok(response)
}
