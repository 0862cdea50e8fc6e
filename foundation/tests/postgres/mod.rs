//! PostgreSQL servers that are away, frozen, restarted, read-only, or want TLS: each test has its own.

mod cluster;
mod hosts;
mod lanes;
mod listen;
mod opening;
mod pool;
mod tls;
