//! Tokens that are looked up together: what one of them is like is nothing to the others.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests do what programs may not"
)]

#[path = "support/accounts.rs"]
mod accounts;

use accounts::{Accounts, Kind, migrate};
use foundation::on_both_databases;
use service::access::token_hash;
use service::store::credentials::Tokens;
use service::store::together::LookUp as _;

on_both_databases! {
    /// A newer release may have written scopes that this one does not know.
    async fn a_token_that_cannot_be_read_keeps_nobody_out(database: TestDatabase) {
        migrate(&database).await;
        let accounts = Accounts::new(database.open());
        let user = accounts.user("user", Kind::default()).await;
        let (session, good) = (accounts.session(user).await, accounts.token(user, "users:read").await);
        let newer = accounts.token(user, "users:fly users:read").await;
        let hashes = [&newer, &session, &good].map(|it| token_hash(it));
        let found = Tokens::find(&accounts.database, &hashes).await.unwrap();
        assert_eq!(hashes.map(|it| found.contains_key(&it)), [false, true, true]);
    }
}
