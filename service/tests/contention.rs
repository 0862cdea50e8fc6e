//! Who meets somebody else's lock is told to come again, whatever they asked for.

use foundation::database::Backend;
use foundation::on_both_databases;
use foundation::testing::{evidence, maintenance};
use serde_json::json;

use crate::support::accounts::{ADMIN_PASSWORD, Accounts, Kind, migrate};
use crate::support::{self, Program, client, header};

on_both_databases! {
    async fn locks_of_others_are_503_and_pass_by(test: TestDatabase) {
        migrate(&test).await;
        let backend = test.open().backend();
        if backend == Backend::Postgres {
            maintenance(&format!("ALTER DATABASE {} SET lock_timeout = '200ms'", test.url.name())).await;
        }
        let accounts = Accounts::new(test.open());
        let admin = accounts.user("admin", Kind { is_admin: true, ..Kind::default() }).await;
        let token = accounts.session(admin).await;
        let variables =
            [("DATABASE_URL", test.address.as_str()), ("DATABASE_WAIT_TIMEOUT", "200ms"), ("HTTP_DRAIN_DELAY", "0")];
        let mut program = Program::serve(&variables);
        let url = format!("http://{}/api/v1", program.address());
        let login = json!({ "username": "admin", "password": ADMIN_PASSWORD });
        let user = json!({ "username": "somebody", "user_type": "local", "password": "a new passphrase" });
        evidence::secrets_in(&user);
        let asked = [
            (client().post(format!("{url}/auth/login")).json(&login), 200),
            (client().post(format!("{url}/users")).bearer_auth(&token).json(&user), 201),
        ];

        let mut other = test.connect().await;
        // On PostgreSQL too, everybody can still read.
        other.batch(match backend {
            Backend::Sqlite => "BEGIN IMMEDIATE",
            Backend::Postgres => "BEGIN; LOCK TABLE users, session, login_failure, audit_event IN EXCLUSIVE MODE",
        }).await.unwrap();
        for (request, _) in &asked {
            let answer = request.try_clone().unwrap().send().await.unwrap();
            assert_eq!(answer.status(), 503, "{answer:?}");
            assert_eq!(header(&answer, "retry-after"), "1");
            assert_eq!(support::json(answer).await["code"], "busy");
        }
        other.batch("ROLLBACK").await.unwrap();
        for (request, status) in asked {
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), status);
            evidence::secrets_in(&support::json(answer).await);
        }

        program.signal("TERM");
        let log = program.everything();
        let told = |it: &&str| it.contains("a request was given up");
        assert_eq!(log.lines().filter(told).count(), 2, "{log}");
    }
}
