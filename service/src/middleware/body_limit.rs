//! No body is larger than it may be.

use std::io;

use http_body_util::{BodyExt as _, Limited};
use poem::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use poem::{Body, Endpoint, Middleware, Request, Response, Result};

use crate::api::problem::Failure;
use crate::api::streams::is_stream;

/// Refuses larger bodies: by what the client announces, else when there is too much of it.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimit {
    body: u64,
    stream: u64,
    exception: Option<(&'static str, u64)>,
}

impl BodyLimit {
    /// Allows this many bytes, and as many of a stream.
    #[must_use]
    pub const fn new(body: u64, stream: u64) -> Self {
        Self { body, stream, exception: None }
    }

    /// Allows no more than this many at this path.
    #[must_use]
    pub const fn less_at(self, path: &'static str, bytes: u64) -> Self {
        Self { exception: Some((path, bytes)), ..self }
    }

    fn of(self, request: &Request) -> u64 {
        let usual = if is_stream(request) { self.stream } else { self.body };
        match self.exception {
            Some((exception, bytes)) if exception == request.uri().path() => bytes.min(usual),
            _ => usual,
        }
    }
}

/// The endpoint of [`BodyLimit`].
pub struct BodyLimitEndpoint<E> {
    inner: E,
    limits: BodyLimit,
}

impl<E: Endpoint<Output = Response>> Middleware<E> for BodyLimit {
    type Output = BodyLimitEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        BodyLimitEndpoint { inner, limits: *self }
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for BodyLimitEndpoint<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let limit = self.limits.of(&request);
        let headers = request.headers();
        if let Some(length) = headers.get(CONTENT_LENGTH) {
            // hyper has checked the number, and reads no more than it says.
            let length = length.to_str().ok().and_then(|it| it.parse().ok()).unwrap_or(u64::MAX);
            if length > limit {
                return Err(Failure::BodyTooLarge(limit).into());
            }
        } else if headers.contains_key(TRANSFER_ENCODING) {
            let body = limited(request.take_body(), limit);
            request.set_body(body);
        }
        self.inner.call(request).await
    }
}

fn limited(body: Body, limit: u64) -> Body {
    let inner: http_body_util::combinators::BoxBody<bytes::Bytes, io::Error> = body.into();
    let limited = Limited::new(inner, usize::try_from(limit).unwrap_or(usize::MAX));
    let limited = limited.map_err(move |error| match error.downcast::<io::Error>() {
        Ok(broken) => *broken,
        Err(_too_large) => io::Error::other(Failure::BodyTooLarge(limit)),
    });
    limited.boxed().into()
}
