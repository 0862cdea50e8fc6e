//! The service of Bedplate: it answers HTTP on a database that the migrator has brought up to date, and
//! tells the truth about its health.
//!
//! The arrows inside: `server -> api -> actions -> store -> foundation::database`, `access -> store`, and all
//! of them `-> domain`. What is written goes through an action; what is only read, `api` asks the store for.
//! Handlers contain no SQL, the store contains no HTTP, the domain contains neither.

pub mod access;
pub mod actions;
pub mod api;
pub mod archive;
pub mod collector;
pub mod commands;
pub mod domain;
pub mod keys;
pub mod leases;
pub mod lifecycle;
pub mod live_settings;
pub mod middleware;
mod outage;
pub mod partitions;
pub mod passwords;
pub mod probe;
pub mod product;
pub mod prometheus;
pub mod prune;
pub mod server;
pub mod settings;
pub mod store;

/// The release of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
