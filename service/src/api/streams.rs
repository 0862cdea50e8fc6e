//! Bodies that are streams: lines of JSON, of any number. The limits of other requests do not fit them.

use poem::Request;
use poem::http::Method;

/// Lines of JSON.
pub const NDJSON: &str = "application/x-ndjson";

/// The paths that take streams.
const PATHS: &[&str] = &["/api/v1/metrics/snapshots"];

/// Whether a media type, which may have parameters, is this one.
#[must_use]
pub fn is_of_type(content_type: &str, wanted: &str) -> bool {
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
}

/// Whether the body of the request is a stream.
#[must_use]
pub fn is_stream(request: &Request) -> bool {
    request.method() == Method::POST
        && PATHS.contains(&request.uri().path())
        && request.content_type().is_some_and(|it| is_of_type(it, NDJSON))
}
