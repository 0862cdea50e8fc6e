//! PostgreSQL servers that are away, frozen, restarted, read-only, or want TLS: each test has its own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by panicking")]

mod cluster;
mod hosts;
mod lanes;
mod listen;
mod opening;
mod pool;
mod tls;
