//! Signing in and out, sessions, and tokens for programs, on both databases.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::redundant_clone,
    reason = "tests do what programs may not"
)]

mod house;
mod lockouts;
mod logins;
mod logs;
mod powers;
mod sessions;
mod strangers;
#[path = "../support/mod.rs"]
mod support;
mod tokens;
