//! Failures cost time, by account and by address, for all replicas together, and keep nobody out for good.

use foundation::testing::eventually;
use reqwest::{Response, StatusCode};
use time::Duration;

use crate::auth::house::{House, NewUser, PASSWORD, hash, login, login_from};
use crate::support::{header, json};

const OK: StatusCode = StatusCode::OK;
const WRONG: StatusCode = StatusCode::UNAUTHORIZED;
const LATER: StatusCode = StatusCode::TOO_MANY_REQUESTS;

const BEHIND_A_PROXY: [(&str, &str); 1] = [("HTTP_TRUSTED_PROXIES", "127.0.0.0/8")];

/// How long a refused attempt is told to wait, in seconds.
async fn refused(answer: Response) -> String {
    assert_eq!(answer.status(), LATER);
    let retry_after = header(&answer, "retry-after").to_owned();
    assert_eq!(json(answer).await["code"], "too_many_attempts");
    retry_after
}

foundation::on_both_databases! {
    async fn delays_grow_and_a_success_ends_them(test: TestDatabase) {
        let house = House::new(test).await;
        house.user("ada").await;
        let neighbour = house.neighbour(&[]).await;
        for name in ["ADA", "nobody"] {
            for attempt in 0..6 {
                let service = if attempt % 2 == 0 { &house.service } else { &neighbour };
                assert_eq!(login(service, name, "wrong").await.status(), WRONG, "{attempt}");
            }
            for service in [&house.service, &neighbour] {
                assert_eq!(refused(login(service, name, PASSWORD).await).await, "1");
            }
            house.wait(Duration::SECOND);
            assert_eq!(house.login(name, "wrong").await.status(), WRONG);
            assert_eq!(refused(login(&neighbour, name, "wrong").await).await, "2");
            house.wait(Duration::milliseconds(500));
            assert_eq!(refused(house.login(name, "wrong").await).await, "2");
        }
        house.wait(Duration::seconds(2));
        assert_eq!(house.login("ada", PASSWORD).await.status(), OK);
        for _ in 0..5 {
            assert_eq!(house.login("ada", "wrong").await.status(), WRONG);
        }
        assert_eq!(house.login("ada", PASSWORD).await.status(), OK);
    }

    async fn failures_are_forgotten(test: TestDatabase) {
        let house = House::new(test).await;
        for _ in 0..6 {
            assert_eq!(house.login("nobody", "wrong").await.status(), WRONG);
        }
        assert_eq!(house.login("nobody", "wrong").await.status(), LATER);
        house.wait(Duration::days(2));
        for _ in 0..6 {
            assert_eq!(house.login("nobody", "wrong").await.status(), WRONG);
        }
        assert_eq!(house.login("nobody", "wrong").await.status(), LATER);
    }

    async fn an_address_is_counted_whatever_the_names(test: TestDatabase) {
        let house = House::with(test, &BEHIND_A_PROXY).await;
        house.user("ada").await;
        for attempt in 0..51 {
            // The client's own words before it, and the rest of its network.
            let address = format!("198.51.100.1, 2001:db8::{attempt:x}");
            assert_eq!(login_from(&house, &address, &format!("name{attempt}"), "wrong").await, WRONG);
        }
        assert_eq!(login_from(&house, "2001:db8::ffff", "ada", PASSWORD).await, LATER);
        assert_eq!(login_from(&house, "2001:db8:0:1::1", "ada", PASSWORD).await, OK);
        // A success of its own does not make an address a better one.
        house.wait(Duration::SECOND);
        assert_eq!(login_from(&house, "2001:db8::1", "ada", PASSWORD).await, OK);
        assert_eq!(login_from(&house, "2001:db8::1", "ada", "wrong").await, WRONG);
        assert_eq!(login_from(&house, "2001:db8::1", "ada", PASSWORD).await, LATER);
    }

    /// It is no guess, so that the account is not locked by it, but it is not free for ever either.
    async fn the_right_password_of_a_blocked_account_is_counted_by_address(test: TestDatabase) {
        let house = House::with(test, &BEHIND_A_PROXY).await;
        house.insert(NewUser { is_blocked: true, ..NewUser::local("ada").await }).await;
        house.user("grace").await;
        for _ in 0..51 {
            assert_eq!(login_from(&house, "203.0.113.9", "ada", PASSWORD).await, StatusCode::FORBIDDEN);
        }
        for name in ["ada", "grace"] {
            assert_eq!(login_from(&house, "203.0.113.9", name, PASSWORD).await, LATER);
        }
        let events = "SELECT count(*) AS value FROM audit_event WHERE action = 'login.failed'";
        assert_eq!(house.value::<i64>(events).await, 51);
        let subjects = "SELECT subject AS value FROM login_failure";
        assert_eq!(house.values(subjects).await, ["address:203.0.113.9"]);
        assert_eq!(login_from(&house, "192.0.2.1", "ada", PASSWORD).await, StatusCode::FORBIDDEN);
        house.wait(Duration::SECOND);
        assert_eq!(login_from(&house, "203.0.113.9", "grace", PASSWORD).await, OK);
    }

    async fn nobody_locks_an_owner_out_of_where_they_are(test: TestDatabase) {
        let house = House::with(test, &BEHIND_A_PROXY).await;
        house.user("ada").await;
        assert_eq!(login_from(&house, "192.0.2.1", "ada", PASSWORD).await, OK);
        for _ in 0..6 {
            assert_eq!(login_from(&house, "203.0.113.9", "ada", "wrong").await, WRONG);
        }
        assert_eq!(login_from(&house, "192.0.2.2", "ada", "wrong").await, WRONG);
        for stranger in ["203.0.113.9", "192.0.2.2"] {
            assert_eq!(login_from(&house, stranger, "ada", PASSWORD).await, LATER);
        }
        assert_eq!(login_from(&house, "192.0.2.1", "ada", "wrong").await, WRONG);
        assert_eq!(login_from(&house, "192.0.2.1", "ada", PASSWORD).await, OK);
    }

    /// Guesses that wait for their turn together are refused alike once some of them have failed, so that
    /// no answer tells the right one from the others.
    async fn guesses_at_once_are_delayed_too(test: TestDatabase) {
        let slow = [("AUTH_ARGON2_MEMORY", "19MiB"), ("AUTH_ARGON2_PASSES", "4")];
        let house = House::with(test, &[
            slow[0], slow[1], ("AUTH_HASHING_MEMORY_LIMIT", "19MiB"), ("AUTH_LOGIN_ATTEMPTS", "1"),
        ]).await;
        house.insert(NewUser { hash: Some(hash(&slow).await), ..NewUser::local("ada").await }).await;
        let all = futures_util::future::join_all((0..12).map(|_| house.login("ada", "wrong"))).await;
        let statuses: Vec<_> = all.iter().map(Response::status).collect();
        assert!(statuses.iter().all(|it| [WRONG, LATER].contains(it)), "{statuses:?}");
        assert!(statuses.contains(&LATER), "{statuses:?}");
    }

    /// Whoever hangs up before the answer guesses no cheaper than others.
    async fn guesses_whose_client_hangs_up_are_counted(test: TestDatabase) {
        let slow = [("AUTH_ARGON2_MEMORY", "19MiB"), ("AUTH_ARGON2_PASSES", "12")];
        // One after the other is compared.
        let house = House::with(test, &[slow[0], slow[1], ("AUTH_HASHING_MEMORY_LIMIT", "19MiB")]).await;
        house.insert(NewUser { hash: Some(hash(&slow).await), ..NewUser::local("ada").await }).await;
        let guesses = (0..5).map(|_| Box::pin(house.login("ada", "wrong")));
        let (first, _, others) = futures_util::future::select_all(guesses).await;
        assert_eq!(first.status(), WRONG);
        drop(others);
        let told = "SELECT count(*) AS value FROM audit_event WHERE action = 'login.failed'";
        let (house, told) = (&house, &told);
        let all = || async move { house.value::<i64>(told).await == 5 };
        eventually(std::time::Duration::from_secs(20), "all of them are counted", all).await;
        assert_eq!(house.login("ada", "wrong").await.status(), WRONG);
        assert_eq!(house.login("ada", PASSWORD).await.status(), LATER);
    }

    async fn the_longest_delay_is_the_longest(test: TestDatabase) {
        let house = House::with(test, &[("AUTH_LOGIN_MAX_DELAY", "5s")]).await;
        house.user("ada").await;
        for _ in 0..20 {
            assert_eq!(house.login("ada", "wrong").await.status(), WRONG);
            house.wait(Duration::seconds(5));
        }
        assert_eq!(house.login("ada", PASSWORD).await.status(), OK);
    }

    async fn words_of_a_stranger_on_its_address_are_not_believed(test: TestDatabase) {
        let house = House::new(test).await;
        house.user("ada").await;
        assert_eq!(login_from(&house, "192.0.2.1", "ada", PASSWORD).await, OK);
        assert_eq!(house.value::<String>("SELECT address AS value FROM session").await, "127.0.0.1");
    }
}
