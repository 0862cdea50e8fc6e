//! Signing in and out, sessions, and tokens for programs, on both databases.

mod house;
mod lockouts;
mod logins;
mod logs;
mod powers;
mod sessions;
mod strangers;
mod tokens;
