//! The migrator: it owns the schema, and brings a database to the one that a release needs.
//!
//! A migration is applied once, whole, or not at all, whoever else runs, whenever the process dies. On
//! PostgreSQL an advisory lock lets one migrator work at a time, and each transaction proves that it still
//! holds it; on SQLite each transaction takes the one right to write before it looks at the history again.
//!
//! What is deliberately absent: migrations written in Rust, and undo files that refinery would take for
//! migrations (`U1__x.sql`); undo files are named `D1__x.sql`.

pub mod admin;
pub mod cli;
mod commands;
pub mod error;
mod grants;
pub mod history;
pub mod plan;
pub mod report;
pub mod schema;
mod session;
pub mod settings;
pub mod source;
mod step;
pub mod structure;
pub mod stop;

pub use commands::{Awaited, Migrator};
pub use error::MigratorError;
