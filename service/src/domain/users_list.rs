//! Pages of accounts: which accounts, in which order, and from where on.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::users::{User, UserType};

/// Which accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFilter {
    /// Those of this type.
    pub user_type: Option<UserType>,
    /// Those that are active, or are not.
    pub is_active: Option<bool>,
    /// Those that are blocked, or are not.
    pub is_blocked: Option<bool>,
    /// Administrators, or others.
    pub is_admin: Option<bool>,
    /// Those whose name or mail address begins with this, in lower case.
    pub prefix: Option<String>,
}

/// Where a page begins: behind this place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Position {
    /// Behind the account with this id.
    Id(Uuid),
    /// Behind the account that this name, in lower case, led to.
    Name(String),
    /// Behind the account that this mail address, in lower case, led to.
    Email(String),
}

/// A page of accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserPage {
    /// The accounts, each on one page only.
    pub users: Vec<User>,
    /// Where the next page begins; nothing when this is the last.
    pub next: Option<Position>,
}

/// A text without case, as the database's keys have it: ASCII only.
#[must_use]
pub fn fold(text: &str) -> String {
    text.to_ascii_lowercase()
}

/// The first text, byte by byte, behind all that begin with `prefix`. Returns `None` when there is none.
#[must_use]
pub fn end_of_prefix(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        // In UTF-8 the order of bytes is that of code points; surrogates are none.
        let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(u32::from(last) + 1) };
        if let Some(next) = next {
            end.push(next);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_behind_all_that_begin_with_it() {
        for (prefix, end) in [
            ("ab", Some("ac")),
            ("a\u{7f}", Some("a\u{80}")),
            ("a\u{d7ff}", Some("a\u{e000}")),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}", None),
            ("", None),
        ] {
            assert_eq!(end_of_prefix(prefix).as_deref(), end, "{prefix:?}");
        }
    }
}
