//! Archive policies: what goes, what stays, what comes back, and what a killed run leaves behind.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    unreachable_pub,
    reason = "tests do what programs may not"
)]

#[path = "../support/accounts.rs"]
mod accounts;
mod api;
mod bucket;
mod changes;
mod clients;
mod clouds;
mod detached;
mod following;
mod kills;
mod lost;
mod programs;
mod restores;
mod rules;
mod schedule;
#[path = "../support/mod.rs"]
mod support;
mod world;
