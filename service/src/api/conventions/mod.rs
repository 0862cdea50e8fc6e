//! What all nouns of the API have in common: bodies, versions, keys of requests, cursors, what a client takes, and
//! which errors an operation may answer with.

pub mod accepting;
pub mod bodies;
pub mod cursors;
pub mod idempotency;
pub mod nullable;
pub mod refused;
pub mod times;
pub mod versions;

pub use bodies::{JsonBody, MergePatch};
pub use idempotency::IdempotencyKey;
pub use nullable::Nullable;
pub(crate) use refused::statuses;
pub use refused::{Refused, Statuses};
pub use times::check_range;
pub use versions::IfMatch;
