//! Who fails in somebody else's name keeps them out of nowhere but where both come from, and guesses no
//! faster for what the owner is let through by.

use reqwest::StatusCode;
use time::Duration;

use crate::auth::house::{House, NewUser, PASSWORD, answer_from, login_from};
use crate::support::{header, json};

const OK: StatusCode = StatusCode::OK;
const WRONG: StatusCode = StatusCode::UNAUTHORIZED;
const LATER: StatusCode = StatusCode::TOO_MANY_REQUESTS;

const BEHIND_A_PROXY: [(&str, &str); 1] = [("HTTP_TRUSTED_PROXIES", "127.0.0.0/8")];

/// Where the strangers are.
const ELSEWHERE: &str = "203.0.113.9";

/// A service with Ada.
async fn house(test: foundation::testing::TestDatabase) -> House {
    let house = House::with(test, &BEHIND_A_PROXY).await;
    house.user("ada").await;
    house
}

/// Locks the account from elsewhere: after six failures nobody is let in for a second.
async fn lock(house: &House, username: &str) {
    for _ in 0..6 {
        assert_eq!(login_from(house, ELSEWHERE, username, "wrong").await, WRONG);
    }
    assert_eq!(login_from(house, ELSEWHERE, username, "wrong").await, LATER);
}

/// Fails from there as soon as it is possible again, and says how long that took.
async fn fail_again(house: &House, address: &str, username: &str) -> Duration {
    let answer = answer_from(house, address, username, "wrong").await;
    assert_eq!(answer.status(), LATER);
    let wait = Duration::seconds(header(&answer, "retry-after").parse().unwrap());
    house.wait(wait);
    assert_eq!(login_from(house, address, username, "wrong").await, WRONG);
    wait
}

foundation::on_both_databases! {
    /// The owner is signed in nowhere, and the lock never ends for a moment.
    async fn an_owner_gets_in_however_long_others_fail(test: TestDatabase) {
        let house = house(test).await;
        for owner in ["192.0.2.1", "2001:db8:1:2::3"] {
            lock(&house, "ada").await;
            let mut waited = Duration::ZERO;
            while waited < Duration::hours(6) {
                waited += fail_again(&house, ELSEWHERE, "ada").await;
            }
            assert_eq!(login_from(&house, ELSEWHERE, "ada", PASSWORD).await, LATER);
            assert_eq!(login_from(&house, owner, "ada", PASSWORD).await, OK);
            house.execute("DELETE FROM session").await;
        }
        // The failure of another name at the same address is none of hers.
        lock(&house, "ada").await;
        assert_eq!(login_from(&house, "192.0.2.9", "grace", "wrong").await, WRONG);
        assert_eq!(login_from(&house, "192.0.2.9", "ada", PASSWORD).await, OK);
    }

    /// One that fails is the only one, whether there is such an account or not, until it is forgotten.
    async fn a_site_has_one_attempt_at_a_locked_account(test: TestDatabase) {
        let house = house(test).await;
        for name in ["ada", "nobody"] {
            lock(&house, name).await;
            // Of IPv6, 48 bits are one site.
            for (first, next) in [("192.0.2.1", "192.0.2.1"), ("2001:db8:1:2::3", "2001:db8:1:ffff::4")] {
                let answer = answer_from(&house, first, name, "wrong").await;
                assert_eq!(answer.status(), WRONG);
                assert_eq!(json(answer).await["code"], "invalid_credentials");
                for _ in 0..2 {
                    assert_eq!(login_from(&house, next, name, PASSWORD).await, LATER);
                }
            }
            assert_eq!(login_from(&house, "2001:db8:2::1", name, "wrong").await, WRONG);
            // What is a day old is pruned at any moment.
            house.wait(Duration::DAY - Duration::MILLISECOND);
            lock(&house, name).await;
            assert_eq!(login_from(&house, "192.0.2.1", name, PASSWORD).await, LATER, "it is just remembered");
            house.wait(Duration::SECOND);
            assert_eq!(login_from(&house, ELSEWHERE, name, "wrong").await, WRONG);
            assert_eq!(login_from(&house, ELSEWHERE, name, "wrong").await, LATER);
            assert_eq!(login_from(&house, "192.0.2.1", name, "wrong").await, WRONG);
            assert_eq!(login_from(&house, "192.0.2.1", name, PASSWORD).await, LATER);
        }
    }

    /// The attempt is taken before anything is compared.
    async fn of_many_at_once_one_is_compared(test: TestDatabase) {
        let house = house(test).await;
        let count = "SELECT CAST(count(*) AS BIGINT) AS value FROM audit_event";
        for name in ["ada", "nobody"] {
            lock(&house, name).await;
            for address in ["192.0.2.1", "2001:db8:1:2::3"] {
                let before: i64 = house.value(count).await;
                let all = (0..12).map(|_| login_from(&house, address, name, "wrong"));
                let mut statuses = futures_util::future::join_all(all).await;
                statuses.sort();
                assert_eq!((statuses[0], &statuses[1..]), (WRONG, &[LATER; 11][..]));
                assert_eq!(house.value::<i64>(count).await, before + 1);
            }
        }
    }

    /// What is refused for its address, or right though the account is blocked, is no failure there.
    async fn an_attempt_without_a_verdict_is_not_used_up(test: TestDatabase) {
        let house = house(test).await;
        house.insert(NewUser { is_blocked: true, ..NewUser::local("blocked").await }).await;
        lock(&house, "blocked").await;
        for _ in 0..2 {
            assert_eq!(login_from(&house, "192.0.2.1", "blocked", PASSWORD).await, StatusCode::FORBIDDEN);
        }
        assert_eq!(login_from(&house, "192.0.2.1", "blocked", "wrong").await, WRONG);
        assert_eq!(login_from(&house, "192.0.2.1", "blocked", PASSWORD).await, LATER);

        // Of the account it is locked for two seconds, of the address for one.
        lock(&house, "ada").await;
        fail_again(&house, ELSEWHERE, "ada").await;
        for name in 0..51 {
            assert_eq!(login_from(&house, "192.0.2.2", &format!("name{name}"), "wrong").await, WRONG);
        }
        let refused = answer_from(&house, "192.0.2.2", "ada", PASSWORD).await;
        assert_eq!((refused.status(), header(&refused, "retry-after")), (LATER, "1"));
        house.wait(Duration::SECOND);
        assert_eq!(login_from(&house, ELSEWHERE, "ada", PASSWORD).await, LATER);
        assert_eq!(login_from(&house, "192.0.2.2", "ada", PASSWORD).await, OK);
    }

    /// The longest name that an account can have, and the longest address.
    async fn the_longest_names_are_counted(test: TestDatabase) {
        let house = house(test).await;
        let name = "n".repeat(255);
        let address = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        for _ in 0..6 {
            assert_eq!(login_from(&house, address, &name, "wrong").await, WRONG);
        }
        assert_eq!(login_from(&house, address, &name, "wrong").await, LATER);
        let longest = "SELECT CAST(max(length(subject)) AS BIGINT) AS value FROM login_failure";
        assert_eq!(house.value::<i64>(longest).await, 277);
    }

    /// From ten sites in turn, each time as soon as one is let through.
    async fn guesses_of_a_day_are_few(test: TestDatabase) {
        let house = house(test).await;
        let end = house.now() + Duration::DAY;
        let (mut guesses, mut site) = (0, 0);
        while house.now() < end {
            site = (site + 1) % 10;
            let answer = answer_from(&house, &format!("203.0.113.{site}"), "ada", "wrong").await;
            if answer.status() == WRONG {
                guesses += 1;
            } else {
                house.wait(Duration::seconds(header(&answer, "retry-after").parse().unwrap()));
            }
        }
        // One for each quarter of an hour, the free ones, those while the delay doubles, and one for each site.
        let bound = 24 * 4 + 5 + 11 + 10;
        assert!((96..=bound).contains(&guesses), "{guesses} of {bound}");
    }

    /// One failure for each quarter of an hour without another.
    async fn an_address_is_forgiven_by_and_by(test: TestDatabase) {
        let house = house(test).await;
        for name in 0..51 {
            assert_eq!(login_from(&house, ELSEWHERE, &format!("name{name}"), "wrong").await, WRONG);
        }
        assert_eq!(login_from(&house, ELSEWHERE, "ada", PASSWORD).await, LATER);
        house.wait(Duration::minutes(150));
        for name in 0..10 {
            assert_eq!(login_from(&house, ELSEWHERE, &format!("other{name}"), "wrong").await, WRONG, "{name}");
        }
        assert_eq!(login_from(&house, ELSEWHERE, "ada", PASSWORD).await, LATER);
        let count = format!("SELECT failures AS value FROM login_failure WHERE subject = 'address:{ELSEWHERE}'");
        assert_eq!(house.value::<i64>(&count).await, 51);
    }
}
