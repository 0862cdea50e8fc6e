//! How long somebody waits who failed to sign in: by account, so that nobody guesses its password, and by
//! address, so that nobody guesses at many accounts.
//!
//! A lockout of an account cannot keep its owner out for good. Sessions that exist go on; from an address
//! from which the account is signed in already, only the count of the address matters, whoever else fails
//! elsewhere; and from everywhere else the account is open again after the longest delay.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::live::Live;

/// How many more failures an address has free than an account: people share addresses.
const ADDRESS_FACTOR: i64 = 10;

/// What failures are counted by. As text it is the key in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An account by its name in lower case, whether there is one or not.
    Account(String),
    /// A network, which is an IPv4 address or the first half of an IPv6 one: whoever has one of those has
    /// them all.
    Address(IpAddr),
}

impl Subject {
    /// That of an address.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        Self::Address(network(address))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(name) => write!(formatter, "account:{name}"),
            Self::Address(address) => write!(formatter, "address:{address}"),
        }
    }
}

/// What tells clients apart of an address.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(it) => IpAddr::V6(Ipv6Addr::from_bits(it.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

/// How long to wait after the `failures`-th failure of the subject: nothing at first, then a delay that
/// doubles up to the longest.
#[must_use]
pub fn delay(settings: &Live, subject: &Subject, failures: i64) -> Duration {
    let free = i64::from(settings.login_attempts);
    let free = match subject {
        Subject::Account(_) => free,
        Subject::Address(_) => free * ADDRESS_FACTOR,
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

    #[test]
    fn delays_grow_up_to_the_longest() {
        let settings = Live::defaults(&AuthSettings::read(&mut Environment::from_pairs([])), None);
        let account = Subject::Account("ada".to_owned());
        let delays = [0, 1, 5, 6, 7, 8, 15, 16, 17, 1000, i64::MAX].map(|it| delay(&settings, &account, it));
        assert_eq!(delays, [0, 0, 0, 1, 2, 4, 512, 900, 900, 900, 900].map(Duration::from_secs));
        let address = Subject::address("192.0.2.7".parse().unwrap());
        assert_eq!(delay(&settings, &address, 50), Duration::ZERO);
        assert_eq!(delay(&settings, &address, 52), Duration::from_secs(2));
    }

    #[test]
    fn an_ipv6_address_is_counted_by_its_network() {
        let subject = |text: &str| Subject::address(text.parse().unwrap()).to_string();
        assert_eq!(subject("2001:db8:1:2:3:4:5:6"), "address:2001:db8:1:2::");
        assert_eq!(subject("::ffff:192.0.2.7"), "address:192.0.2.7");
        assert_eq!(Subject::Account("ada".to_owned()).to_string(), "account:ada");
    }
}
