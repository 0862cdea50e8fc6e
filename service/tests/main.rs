//! The tests of the service, in one program: linking one is much quicker than linking fifty. Those in a browser have
//! one of their own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::redundant_clone,
    clippy::print_stderr,
    unreachable_pub,
    reason = "tests do what programs may not"
)]

mod access_matrix;
mod archive;
mod audit;
mod auth;
mod bodies;
mod citus;
mod collector;
mod config;
mod connections;
mod contention;
mod credentials;
mod docs;
mod documents;
mod drain;
mod figures;
mod headers;
mod health;
mod leases;
mod live_settings;
mod logs;
mod metrics_documents;
mod metrics_plans;
mod metrics_reference;
mod metrics_slow_streams;
mod metrics_snapshots;
mod metrics_streams;
mod metrics_sums;
mod metrics_support;
mod openapi;
mod operators;
mod page;
mod parameters;
mod partitions;
mod postgres;
mod problems;
mod program;
mod prune;
mod releases;
mod schema;
mod standby;
mod support;
mod traces;
mod users;
mod users_list;
mod users_plans;
mod users_races;
mod users_support;
