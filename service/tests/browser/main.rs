//! The pages, in a browser, as a person uses them. Skipped, and said so, where there is none.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::redundant_clone,
    unreachable_pub,
    reason = "tests do what programs may not"
)]

#[path = "../support/browser/mod.rs"]
mod browser;
mod charts;
mod docs;
mod driver;
mod page;
#[path = "../support/mod.rs"]
mod support;
mod swagger;
