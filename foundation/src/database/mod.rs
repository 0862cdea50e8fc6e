//! The database.
mod url;
pub use url::{DatabaseUrl, PostgresUrl, SslMode};
