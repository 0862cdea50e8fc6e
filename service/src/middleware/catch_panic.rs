//! A panic in a handler ends its request, not the process.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use poem::{Endpoint, Request, Response, Result};

use crate::api::problem::Failure;

/// Turns a panic into an error.
///
/// # Errors
/// What the handler ended with, or its panic.
pub async fn catch_panic<E: Endpoint<Output = Response>>(
    endpoint: Arc<E>,
    request: Request,
) -> Result<Response> {
    // What the handler may have left half done is its own: nothing of it is looked at again.
    match AssertUnwindSafe(endpoint.call(request)).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => Err(Failure::Panicked(message(&*panic).to_owned()).into()),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
