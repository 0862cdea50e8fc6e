//! How long somebody waits who failed to sign in: by account, so that nobody guesses its password, and by
//! address, so that nobody guesses at many accounts.
//!
//! A lockout of an account cannot be used to keep its owner out. Sessions that exist go on. From an address
//! from which the account is signed in already, only the count of the address matters, whoever else fails
//! elsewhere. And from a site where nobody failed to sign in to this account for as long as failures are
//! remembered, one attempt is let through whatever others do elsewhere: that is what failures are counted by
//! account and site together for. If it fails too, the account's lock holds for the next. So a stranger gains
//! one guess for each site that they have, and the owner is delayed by what happens at their own site alone.
//!
//! What is counted is forgiven by and by: one failure for each full longest delay that goes by without
//! another, and all of them when they are no longer remembered. Whoever goes on guessing gets no more than
//! one guess for each longest delay, beside the first ones.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use uuid::Uuid;

use super::live::Live;

/// How many more failures an address has free than an account: people share addresses.
const ADDRESS_FACTOR: i64 = 10;

/// What somebody tries to sign in to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// An account, whatever it is called at the moment: one that is renamed begins nothing anew.
    Known(Uuid),
    /// A name, in lower case, that no account has.
    Unknown(String),
}

/// What failures are counted by. As text it is the key in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An account, whether there is one or not.
    Account(Account),
    /// A network, which is an IPv4 address or the first half of an IPv6 one: whoever has one of those has
    /// them all.
    Address(IpAddr),
    /// An account, as above, at a site. What counts is whether anybody failed there lately, not how often.
    Pair(IpAddr, Account),
}

impl Subject {
    /// That of an address.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        Self::Address(network(address))
    }

    /// That of an account at the site of an address: the IPv4 address or the
    /// first 48 bits of an IPv6 one. Sites have so many networks that each of these must not be worth a guess.
    #[must_use]
    pub fn pair(address: IpAddr, account: Account) -> Self {
        Self::Pair(prefix(address, 48), account)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(Account::Known(id)) => write!(formatter, "user:{id}"),
            Self::Account(Account::Unknown(name)) => write!(formatter, "account:{name}"),
            Self::Address(address) => write!(formatter, "address:{address}"),
            Self::Pair(address, Account::Known(id)) => write!(formatter, "user-pair:{address} {id}"),
            // No address has a blank, so the name is all that follows the first.
            Self::Pair(address, Account::Unknown(name)) => write!(formatter, "pair:{address} {name}"),
        }
    }
}

/// What tells clients apart of an address.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    prefix(address, 64)
}

/// The first bits of an IPv6 address; all of an IPv4 one.
fn prefix(address: IpAddr, bits: u32) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(it) => IpAddr::V6(Ipv6Addr::from_bits(it.to_bits() & !(u128::MAX >> bits))),
        v4 => v4,
    }
}

/// The number of failures of a subject with the one that happens now, so long after the one before it, which
/// is remembered for `retention`.
#[must_use]
pub fn with_one_more(settings: &Live, retention: Duration, failures: i64, elapsed: Duration) -> i64 {
    if elapsed > retention {
        return 1;
    }
    // Without a longest delay there is none at all, and nothing to forgive.
    let forgiven = elapsed.as_nanos().checked_div(settings.login_max_delay.as_nanos()).unwrap_or(0);
    let forgiven = i64::try_from(forgiven).unwrap_or(i64::MAX);
    failures.saturating_sub(forgiven).max(0).saturating_add(1)
}

/// How long to wait after the `failures`-th failure of the subject: nothing at first, then a delay that
/// doubles up to the longest. A pair waits for its account.
#[must_use]
pub fn delay(settings: &Live, subject: &Subject, failures: i64) -> Duration {
    let free = i64::from(settings.login_attempts);
    let free = match subject {
        Subject::Account(_) => free,
        Subject::Address(_) => free * ADDRESS_FACTOR,
        Subject::Pair(..) => return Duration::ZERO,
    };
    let beyond = failures - free;
    if beyond <= 0 {
        return Duration::ZERO;
    }
    let factor = u32::try_from(beyond - 1).ok().and_then(|it| 1_u32.checked_shl(it)).unwrap_or(u32::MAX);
    settings.login_delay.saturating_mul(factor).min(settings.login_max_delay)
}

#[cfg(test)]
mod tests {
    use foundation::settings::{Environment, Section as _};

    use super::*;
    use crate::settings::AuthSettings;

    const DAY: Duration = Duration::from_secs(86_400);

    fn ada() -> Account {
        Account::Unknown("ada".to_owned())
    }

    fn live<const N: usize>(variables: [(&str, &str); N]) -> Live {
        Live::defaults(&AuthSettings::read(&mut Environment::from_pairs(variables)), None)
    }

    #[test]
    fn delays_grow_up_to_the_longest() {
        let settings = live([]);
        let account = Subject::Account(ada());
        let delays = [0, 1, 5, 6, 7, 8, 15, 16, 17, 1000, i64::MAX].map(|it| delay(&settings, &account, it));
        assert_eq!(delays, [0, 0, 0, 1, 2, 4, 512, 900, 900, 900, 900].map(Duration::from_secs));
        let address = Subject::address("192.0.2.7".parse().unwrap());
        assert_eq!(delay(&settings, &address, 50), Duration::ZERO);
        assert_eq!(delay(&settings, &address, 52), Duration::from_secs(2));
        let pair = Subject::pair("192.0.2.7".parse().unwrap(), ada());
        assert_eq!(delay(&settings, &pair, i64::MAX), Duration::ZERO);
    }

    #[test]
    fn each_longest_delay_forgives_one_failure() {
        let settings = live([]);
        for (failures, elapsed, expected) in [
            (1, 0, 2),
            (16, 899, 17),
            (16, 900, 16),
            (16, 1799, 16),
            (16, 1800, 15),
            (16, 900 * 16, 1),
            (16, 86_400, 1),
            (100, 86_400, 5),
            (1000, 86_401, 1),
        ] {
            let with_this = with_one_more(&settings, DAY, failures, Duration::from_secs(elapsed));
            assert_eq!(with_this, expected, "{failures} failures, {elapsed} s");
        }
        let never = live([("AUTH_LOGIN_MAX_DELAY", "0s")]);
        assert_eq!(with_one_more(&never, DAY, 7, Duration::from_secs(60)), 8);
    }

    /// However the guesses are spread: as soon as each may be, or in bursts after so many longest delays.
    #[test]
    fn no_pause_makes_guessing_faster() {
        let settings = live([]);
        let account = Subject::Account(ada());
        let longest = settings.login_max_delay;
        for (burst, pause) in [(1, 0), (1, 1), (1, 2), (2, 1), (3, 2), (5, 4), (6, 6), (16, 16), (20, 30)] {
            let (mut failures, mut guesses, mut now, mut last) = (0, 0_u64, Duration::ZERO, Duration::ZERO);
            let days = Duration::from_secs(10 * 86_400);
            while now < days {
                failures = with_one_more(&settings, DAY, failures, now.checked_sub(last).unwrap());
                (guesses, last) = (guesses + 1, now);
                now += delay(&settings, &account, failures);
                if guesses % burst == 0 {
                    now += longest * pause;
                }
            }
            let bound = days.as_secs() / longest.as_secs() + 5 + 11 + 1;
            assert!(guesses <= bound, "{burst} after {pause}: {guesses} of {bound}");
        }
    }

    #[test]
    fn an_ipv6_address_is_counted_by_its_network() {
        let subject = |text: &str| Subject::address(text.parse().unwrap()).to_string();
        assert_eq!(subject("2001:db8:1:2:3:4:5:6"), "address:2001:db8:1:2::");
        assert_eq!(subject("::ffff:192.0.2.7"), "address:192.0.2.7");
        let pair = |text: &str| {
            let account = Account::Unknown("ada b".to_owned());
            Subject::pair(text.parse().unwrap(), account).to_string()
        };
        assert_eq!(pair("2001:db8:1:2:3:4:5:6"), "pair:2001:db8:1:: ada b");
        assert_eq!(pair("::ffff:192.0.2.7"), "pair:192.0.2.7 ada b");
    }

    /// Somebody may choose a name that looks like the id of another.
    #[test]
    fn no_name_is_counted_as_an_account() {
        let id = Uuid::from_u128(7);
        for name in [id.to_string(), format!("user:{id}")] {
            let unknown = Account::Unknown(name);
            let known = Account::Known(id);
            let site = "192.0.2.7".parse().unwrap();
            assert_ne!(
                Subject::Account(known.clone()).to_string(),
                Subject::Account(unknown.clone()).to_string()
            );
            assert_ne!(Subject::pair(site, known).to_string(), Subject::pair(site, unknown).to_string());
        }
        assert_eq!(Subject::Account(ada()).to_string(), "account:ada");
        assert_eq!(Subject::Account(Account::Known(id)).to_string(), format!("user:{id}"));
    }
}
