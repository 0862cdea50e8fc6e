//! The SQL of each noun, once, and from rows to types. No HTTP.

pub mod health;
