//! Plain types and their rules: no HTTP, no SQL.

pub mod health;
