//! Brings a database to the schema of this release, and tells which schema a database has.

pub mod source;
