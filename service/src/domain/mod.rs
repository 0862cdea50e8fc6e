//! Plain types and their rules: no HTTP, no SQL.

pub mod access;
pub mod audit;
pub mod health;
pub mod idempotency;
pub mod passwords;
pub mod users;
pub mod users_list;
pub mod versions;
