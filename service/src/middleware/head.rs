//! HEAD is answered wherever GET is.

use std::sync::Arc;

use poem::http::Method;
use poem::{Endpoint, Request, Response, Result};

/// Notes on the request that its method was HEAD.
#[derive(Clone, Copy, Debug)]
pub(super) struct WasHead;

/// Asks with GET where the client asked with HEAD: headers, length included, are those of GET, and hyper
/// leaves the body out.
///
/// # Errors
/// What the handler ended with.
pub async fn head_as_get<E: Endpoint<Output = Response>>(
    endpoint: Arc<E>,
    mut request: Request,
) -> Result<Response> {
    if request.method() == Method::HEAD {
        request.set_method(Method::GET);
        request.set_data(WasHead);
    }
    endpoint.call(request).await
}
