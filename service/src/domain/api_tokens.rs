//! Tokens for programs: what they are called, what they may do, and until when.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::access::Scopes;

/// The tokens of one user, at most.
pub const MAX_TOKENS: i64 = 100;

/// The longest name of a token, in characters.
const MAX_NAME: usize = 100;

/// A token for programs. Its text is nowhere: it was shown once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// Version 7: the order of ids is the order of creation.
    pub id: Uuid,
    /// Whose it is. It may do no more than they may.
    pub user_id: Uuid,
    /// Unique among those of its owner, 1 to 100 characters.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// When it was made, in UTC.
    pub created_at: OffsetDateTime,
    /// Its end, in UTC.
    pub expires_at: OffsetDateTime,
    /// When it was used last, to the minute, in UTC.
    pub last_used_at: Option<OffsetDateTime>,
}

/// When a token ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// At this time.
    At(OffsetDateTime),
    /// So long after it is made.
    After(Duration),
}

/// A token that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewApiToken {
    /// What its owner calls it.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// When it ends; nothing where the request does not say it, or says it twice.
    pub expiry: Option<Expiry>,
}

impl NewApiToken {
    /// When the token would end if it were made `now`.
    ///
    /// # Errors
    /// The rules that it breaks: pointers, and what is wrong with each.
    pub fn expires_at(
        &self,
        now: OffsetDateTime,
        max_lifetime: Duration,
    ) -> Result<OffsetDateTime, Vec<(String, String)>> {
        let mut broken = Vec::new();
        let mut breaks = |pointer: &str, rule: String| broken.push((pointer.to_owned(), rule));
        if !(1..=MAX_NAME).contains(&self.name.chars().count()) {
            breaks("/body/name", format!("it must have 1 to {MAX_NAME} characters"));
        } else if self.name.chars().any(char::is_control) {
            breaks("/body/name", "it must not contain control characters".to_owned());
        }
        if self.scopes.0.is_empty() {
            breaks("/body/scopes", "there must be one at least".to_owned());
        }
        let latest = now.checked_add(time::Duration::try_from(max_lifetime).unwrap_or(time::Duration::MAX));
        let (pointer, end) = match self.expiry {
            Some(Expiry::At(end)) => ("/body/expires_at", Some(end)),
            Some(Expiry::After(lifetime)) => {
                let lifetime = time::Duration::try_from(lifetime).ok();
                ("/body/lifetime_seconds", lifetime.and_then(|it| now.checked_add(it)))
            }
            None => {
                breaks("/body/expires_at", "give either it or lifetime_seconds".to_owned());
                return Err(broken);
            }
        };
        let end = end.filter(|end| latest.is_none_or(|latest| *end <= latest));
        let shown = humantime(max_lifetime);
        match end {
            None => breaks(pointer, format!("the token may last {shown} at most")),
            Some(end) if end <= now => breaks(pointer, "it must lie in the future".to_owned()),
            Some(end) if broken.is_empty() => return Ok(end),
            Some(_) => {}
        }
        Err(broken)
    }
}

/// A length of time in the largest unit that it has no rest in.
fn humantime(duration: Duration) -> String {
    let seconds = duration.as_secs();
    [("days", 86_400), ("hours", 3600), ("minutes", 60)]
        .into_iter()
        .find(|(_, unit)| seconds.is_multiple_of(*unit))
        .map_or_else(|| format!("{seconds} seconds"), |(name, unit)| format!("{} {name}", seconds / unit))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2024-02-29 12:00 UTC);
    const DAY: Duration = Duration::from_secs(86_400);

    fn token(name: &str, scopes: &str, expiry: Option<Expiry>) -> NewApiToken {
        NewApiToken { name: name.to_owned(), scopes: scopes.parse().unwrap(), expiry }
    }

    fn broken(token: &NewApiToken) -> Vec<String> {
        let rules = token.expires_at(NOW, DAY).unwrap_err();
        rules.into_iter().map(|(pointer, _)| pointer).collect()
    }

    #[test]
    fn a_token_ends_as_it_is_asked_for() {
        let hour = Duration::from_secs(3600);
        let after = token("backup", "users:read", Some(Expiry::After(hour)));
        assert_eq!(after.expires_at(NOW, DAY), Ok(NOW + hour));
        let at = token("backup", "users:read", Some(Expiry::At(NOW + DAY)));
        assert_eq!(at.expires_at(NOW, DAY), Ok(NOW + DAY));
    }

    #[test]
    fn every_broken_rule_is_told() {
        let long = "x".repeat(101);
        for (name, scopes, expiry, expected) in [
            ("", "", None, vec!["/body/name", "/body/scopes", "/body/expires_at"]),
            (&*long, "users:read", Some(Expiry::At(NOW)), vec!["/body/name", "/body/expires_at"]),
            ("a\0b", "users:read", Some(Expiry::After(DAY)), vec!["/body/name"]),
            ("a", "users:read", Some(Expiry::After(DAY * 2)), vec!["/body/lifetime_seconds"]),
            ("a", "users:read", Some(Expiry::After(Duration::MAX)), vec!["/body/lifetime_seconds"]),
            ("a", "users:read", Some(Expiry::After(Duration::ZERO)), vec!["/body/lifetime_seconds"]),
        ] {
            assert_eq!(broken(&token(name, scopes, expiry)), expected);
        }
        let rules = token("a", "users:read", Some(Expiry::After(DAY * 2))).expires_at(NOW, DAY).unwrap_err();
        assert!(rules[0].1.contains("1 days"), "{rules:?}");
    }
}
