//! The tests of the foundation that may share a process. What sets a subscriber for its whole process, or looks at
//! the memory of it, has one of its own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by panicking")]

mod database;
mod database_migrated;
mod database_prepared;
mod database_together;
mod database_url;
mod postgres;
mod settings;
mod settings_database;
mod settings_values;
