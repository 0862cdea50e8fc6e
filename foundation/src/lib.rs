//! What both programs of Bedplate stand on: settings, telemetry and the database.
//!
//! This crate knows no table and no route. The arrows point one way:
//! `service -> migrator -> foundation` and `service -> foundation`.

pub mod clock;
pub mod database;
pub mod entropy;
pub mod exit;
pub mod passwords;
pub mod settings;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
