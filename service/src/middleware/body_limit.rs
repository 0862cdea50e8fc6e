//! No body is larger than it may be, nor all of them together.

use std::io;

use http_body_util::{BodyExt as _, Limited};
use poem::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use poem::{Body, Endpoint, Middleware, Request, Response, Result};

use super::body_memory::{BodyMemory, FREE_BYTES, Held};
use crate::api::problem::Failure;
use crate::api::streams::is_stream;

/// Refuses larger bodies: by what the client announces, else when there is too much of it. Bounds what the bodies
/// of all requests take together; streams are not collected, and have a bound of their own.
#[derive(Clone, Debug)]
pub struct BodyLimit {
    body: u64,
    stream: u64,
    exception: Option<(&'static str, u64)>,
    memory: BodyMemory,
}

impl BodyLimit {
    /// Allows this many bytes, and as many of a stream.
    #[must_use]
    pub fn new(body: u64, stream: u64) -> Self {
        Self { body, stream, exception: None, memory: BodyMemory::for_bodies_of(body) }
    }

    /// Allows no more than this many at this path.
    #[must_use]
    pub fn less_at(self, path: &'static str, bytes: u64) -> Self {
        Self { exception: Some((path, bytes)), ..self }
    }

    fn of(&self, request: &Request, is_stream: bool) -> u64 {
        let usual = if is_stream { self.stream } else { self.body };
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
        BodyLimitEndpoint { inner, limits: self.clone() }
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for BodyLimitEndpoint<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let is_stream = is_stream(&request);
        let limit = self.limits.of(&request, is_stream);
        let headers = request.headers();
        // hyper has checked the number, and reads no more than it says.
        let announced = headers.get(CONTENT_LENGTH).map(|it| it.to_str().ok().and_then(|it| it.parse().ok()));
        let announced = announced.map(|it| it.unwrap_or(u64::MAX));
        let body = match announced {
            Some(length) if length > limit => return Err(Failure::BodyTooLarge(limit).into()),
            Some(length) if is_stream || length <= FREE_BYTES => return self.inner.call(request).await,
            Some(_) => request.take_body(),
            None if headers.contains_key(TRANSFER_ENCODING) => limited(request.take_body(), limit),
            None => return self.inner.call(request).await,
        };
        let (body, _held) =
            if is_stream { (body, Held::default()) } else { self.limits.memory.counted(body, announced) };
        request.set_body(body);
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
