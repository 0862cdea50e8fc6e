//! HEAD is answered wherever GET is.

use poem::http::Method;
use poem::{Endpoint, Middleware, Request, Response, Result};

/// Asks with GET where the client asked with HEAD: headers, length included, are those of GET, and hyper
/// leaves the body out.
#[derive(Clone, Copy, Debug)]
pub struct HeadAsGet;

/// The endpoint of [`HeadAsGet`].
pub struct HeadAsGetEndpoint<E>(E);

/// Notes on the request that its method was HEAD.
#[derive(Clone, Copy, Debug)]
pub(super) struct WasHead;

impl<E: Endpoint<Output = Response>> Middleware<E> for HeadAsGet {
    type Output = HeadAsGetEndpoint<E>;

    fn transform(&self, endpoint: E) -> Self::Output {
        HeadAsGetEndpoint(endpoint)
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for HeadAsGetEndpoint<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        if request.method() == Method::HEAD {
            request.set_method(Method::GET);
            request.set_data(WasHead);
        }
        self.0.call(request).await
    }
}
