//! The two routes that are asked all the time, answered without what the framework finds out for handlers that
//! look at the request. The documented operations are what answers, here as there.

use poem::http::Method;
use poem::{Endpoint, IntoResponse, Middleware, PathPattern, Request, Response, Result};

use super::health::HealthApi;

/// Answers `GET` of the probes, and leaves everything else to the routes.
#[derive(Clone)]
pub(super) struct Probes {
    livez: PathPattern,
    readyz: PathPattern,
    health: HealthApi,
}

impl Probes {
    /// Answers as `health` does.
    pub(super) fn new(health: HealthApi) -> Self {
        let pattern = |path: &str| PathPattern(path.into());
        Self { livez: pattern("/livez"), readyz: pattern("/readyz"), health }
    }

    async fn answer(&self, request: &Request) -> Option<Result<Response>> {
        if request.method() != Method::GET {
            return None;
        }
        let (pattern, answer) = match request.uri().path() {
            path if path == &*self.livez.0 => (&self.livez, Ok(self.health.livez().await.into_response())),
            path if path == &*self.readyz.0 => {
                (&self.readyz, self.health.readyz().await.map(IntoResponse::into_response))
            }
            _ => return None,
        };
        // As the routes do, so that figures and errors know which one it was.
        Some(match answer {
            Ok(mut answer) => {
                answer.set_data(pattern.clone());
                Ok(answer)
            }
            Err(mut error) => {
                error.set_data(pattern.clone());
                Err(error)
            }
        })
    }
}

/// The endpoint of [`Probes`].
pub(super) struct ProbesEndpoint<E> {
    inner: E,
    probes: Probes,
}

impl<E: Endpoint<Output = Response>> Middleware<E> for Probes {
    type Output = ProbesEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        ProbesEndpoint { inner, probes: self.clone() }
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for ProbesEndpoint<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        match self.probes.answer(&request).await {
            Some(answer) => answer,
            None => self.inner.call(request).await,
        }
    }
}
