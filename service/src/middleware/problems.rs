//! Every error becomes `application/problem+json`.

use poem::http::HeaderValue;
use poem::http::header::{ALLOW, CONTENT_TYPE};
use poem::{Endpoint, Middleware, PathPattern, Request, Response, Result};

use super::RequestContext;
use super::read_own_writes::{Written, tell};
use crate::api::RouteTable;
use crate::api::problem::{About, answer_error, answer_status};

/// Answers errors, and writes anew what the framework answered without a document.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    routes: RouteTable,
}

impl Problems {
    /// Knows these routes.
    #[must_use]
    pub fn new(routes: RouteTable) -> Self {
        Self { routes }
    }
}

/// The endpoint of [`Problems`].
pub struct ProblemsEndpoint<E> {
    inner: E,
    routes: RouteTable,
}

impl<E: Endpoint<Output = Response>> Middleware<E> for Problems {
    type Output = ProblemsEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        ProblemsEndpoint { inner, routes: self.routes.clone() }
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for ProblemsEndpoint<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let uri = request.uri().clone();
        let context = request.data::<RequestContext>().cloned();
        let request_id = context.as_ref().map_or("", RequestContext::request_id);
        let asked = |route: Option<&PathPattern>| About {
            path: uri.path(),
            request_id,
            route: self.routes.find(route),
        };
        match self.inner.call(request).await {
            Ok(response) if !response.status().is_client_error() && !response.status().is_server_error() => {
                Ok(response)
            }
            Ok(response) if is_json(&response) => Ok(response),
            Ok(mut response) => {
                let route = response.data::<PathPattern>().cloned();
                let mut problem = answer_status(response.status(), asked(route.as_ref()));
                std::mem::swap(problem.extensions_mut(), response.extensions_mut());
                if let Some(allow) = response.headers_mut().remove(ALLOW) {
                    problem.headers_mut().insert(ALLOW, allow);
                }
                Ok(problem)
            }
            Err(error) => {
                let route = error.data::<PathPattern>().cloned();
                let mut problem = answer_error(&error, asked(route.as_ref()));
                if let Some(Written(written)) = error.data() {
                    tell(*written, &mut problem);
                }
                if let Some(route) = route {
                    problem.set_data(route);
                }
                Ok(problem)
            }
        }
    }
}

/// Whether the answer says in JSON what is wrong: a problem, or the state that a health route tells.
fn is_json(response: &Response) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type
        .is_some_and(|it| it.starts_with(b"application/json") || it.starts_with(b"application/problem+json"))
}
