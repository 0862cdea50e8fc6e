//! A panic in a handler ends its request, not the process.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use poem::{Endpoint, Middleware, Request, Response, Result};

use crate::api::problem::Failure;

/// Turns a panic into an error.
#[derive(Clone, Copy, Debug)]
pub struct CatchPanic;

/// The endpoint of [`CatchPanic`].
pub struct CatchPanicEndpoint<E>(E);

impl<E: Endpoint<Output = Response>> Middleware<E> for CatchPanic {
    type Output = CatchPanicEndpoint<E>;

    fn transform(&self, endpoint: E) -> Self::Output {
        CatchPanicEndpoint(endpoint)
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for CatchPanicEndpoint<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        // What the handler may have left half done is its own: nothing of it is looked at again.
        match AssertUnwindSafe(self.0.call(request)).catch_unwind().await {
            Ok(result) => result,
            Err(panic) => Err(Failure::Panicked(message(&*panic).to_owned()).into()),
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
