//! No request takes longer than it may.

use std::sync::Arc;
use std::time::Duration;

use poem::{Endpoint, Middleware, Request, Response, Result};

use crate::api::is_probe;
use crate::api::problem::Failure;
use crate::api::streams::is_stream;
use crate::server::Reading;

/// Gives a request up after this time. Its future is dropped: what it did in a transaction is rolled back.
#[derive(Clone, Copy, Debug)]
pub struct RequestTimeout(Duration);

impl RequestTimeout {
    /// Gives requests up after `limit`.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self(limit)
    }
}

/// The endpoint of [`RequestTimeout`].
pub struct RequestTimeoutEndpoint<E> {
    inner: E,
    limit: Duration,
}

impl<E: Endpoint<Output = Response>> Middleware<E> for RequestTimeout {
    type Output = RequestTimeoutEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        RequestTimeoutEndpoint { inner, limit: self.0 }
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for RequestTimeoutEndpoint<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        // A probe waits for nothing, and is spared the timer. A stream takes as long as it takes; each wait for
        // it has a limit.
        if is_probe(request.uri().path()) || is_stream(&request) {
            return self.inner.call(request).await;
        }
        let reading = request.data::<Arc<Reading>>().cloned();
        match tokio::time::timeout(self.limit, self.inner.call(request)).await {
            Ok(result) => result,
            // It is the client that took too long.
            Err(_elapsed) if reading.is_some_and(|it| it.is_awaited()) => Err(Failure::BodyTimedOut.into()),
            Err(_elapsed) => Err(Failure::TimedOut.into()),
        }
    }
}
