//! Tokens that are looked up together: what one of them is like is nothing to the others.

use foundation::database::Backend;
use foundation::on_both_databases;
use service::access::token_hash;
use service::domain::access::Credential;
use service::store::api_tokens;
use service::store::credentials::Tokens;
use service::store::together::LookUp as _;

use crate::support::accounts::{Accounts, Kind, migrate};

on_both_databases! {
    /// A newer release may have written scopes that this one does not know, and is rolled back.
    async fn a_token_of_a_newer_release_has_the_scopes_that_are_known(database: TestDatabase) {
        migrate(&database).await;
        let accounts = Accounts::new(database.open());
        let user = accounts.user("user", Kind::default()).await;
        let (older, _) = (accounts.token(user, "users:read").await, accounts.session(user).await);
        let newer = accounts.token(user, "users:fly users:read").await;
        let newest = accounts.token(user, "users:fly").await;
        let hashes = [&older, &newer, &newest].map(|it| token_hash(it));
        let found = Tokens::find(&accounts.database, &hashes).await.unwrap();
        let scopes = hashes.map(|it| match &found[&it].caller.credential {
            Credential::ApiToken { scopes, .. } => scopes.to_string(),
            session => panic!("{session:?}"),
        });
        assert_eq!(scopes, ["users:read", "users:read", ""]);

        // Their owner sees them all, and may revoke each.
        let listed = api_tokens::list(&accounts.database, user).await.unwrap();
        let mut scopes: Vec<_> = listed.iter().map(|it| it.scopes.to_string()).collect();
        // They were made within one millisecond perhaps.
        scopes.sort();
        assert_eq!(scopes, ["", "users:read", "users:read"]);
        for token in &listed {
            let mut transaction = accounts.database.begin().await.unwrap();
            let revoked = api_tokens::delete(&mut transaction, token.id, user).await.unwrap();
            transaction.commit().await.unwrap();
            assert_eq!(revoked.as_ref(), Some(token));
        }
        assert_eq!(api_tokens::list(&accounts.database, user).await.unwrap(), []);
    }

    /// What is of no form that this release knows stands for nobody, and the others are who they are.
    async fn what_cannot_be_read_keeps_nobody_out(database: TestDatabase) {
        migrate(&database).await;
        let accounts = Accounts::new(database.open());
        let (user, stranger) = (accounts.user("user", Kind::default()).await, accounts.user("new", Kind::default()).await);
        let (session, good) = (accounts.session(user).await, accounts.token(user, "users:read").await);
        let unreadable = accounts.session(stranger).await;
        let allow = match accounts.database.backend() {
            Backend::Postgres => "ALTER TABLE users DROP CONSTRAINT users_user_type_known",
            Backend::Sqlite => "PRAGMA ignore_check_constraints = ON",
        };
        let change = format!("{allow}; UPDATE users SET user_type = 'robot' WHERE username LIKE 'new-%'");
        database.connect().await.batch(&change).await.unwrap();
        let hashes = [&unreadable, &session, &good].map(|it| token_hash(it));
        let found = Tokens::find(&accounts.database, &hashes).await.unwrap();
        assert_eq!(hashes.map(|it| found.contains_key(&it)), [false, true, true]);
    }
}
