//! What every request goes through, one concern in each file.

mod body_limit;
mod body_memory;
mod catch_panic;
mod client_address;
mod cors;
mod forwarded;
mod head;
mod observe;
mod one_host;
mod problems;
mod read_own_writes;
mod request_context;
mod security_headers;
mod timeout;

pub use body_limit::BodyLimit;
pub use catch_panic::catch_panic;
pub use client_address::TrustedProxies;
pub use cors::Cors;
pub use head::head_as_get;
pub use observe::Observe;
pub use one_host::one_host;
pub use problems::Problems;
pub use read_own_writes::{BEDPLATE_POSITION, ReadOwnWrites, UnreadablePosition};
pub use request_context::RequestContext;
pub use security_headers::security_headers;
pub use timeout::RequestTimeout;
