//! Which passwords are taken: by the service for every account, by the migrator for the administrator.

use std::ops::RangeInclusive;

/// How many characters a password has.
pub const LENGTH: RangeInclusive<usize> = 8..=128;

/// Passwords of at least eight characters that everybody tries first, in lower case and in order. From the
/// lists of what leaked most often, and what this program's own documentation suggests.
const COMMON: &str = include_str!("common.txt");

/// Whether a password may be taken for the account of this name.
///
/// # Errors
/// What is wrong with it, without a part of it.
pub fn check(password: &str, username: &str) -> Result<(), &'static str> {
    let folded = password.to_lowercase();
    if !LENGTH.contains(&password.chars().count()) {
        Err("a password has 8 to 128 characters")
    } else if folded == username.to_lowercase() {
        Err("the password is the name; choose another")
    } else if is_common(&folded) {
        Err("the password is one that everybody tries first; choose another")
    } else {
        Ok(())
    }
}

fn is_common(folded: &str) -> bool {
    COMMON.lines().any(|it| it == folded) || is_one_character(folded)
}

fn is_one_character(text: &str) -> bool {
    let mut characters = text.chars();
    let first = characters.next();
    characters.all(|it| Some(it) == first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_can_refuse_something() {
        let lines: Vec<&str> = COMMON.lines().collect();
        assert!(lines.len() > 300, "{}", lines.len());
        for line in lines {
            assert!(LENGTH.contains(&line.chars().count()), "{line} is refused for its length already");
            assert_eq!(line, line.to_lowercase());
        }
    }

    #[test]
    fn bad_passwords_are_refused() {
        for password in ["short", &"x".repeat(129), "Password1", "QWERTYUIOP", "zzzzzzzzzz", "Somebody"] {
            assert!(check(password, "somebody").is_err(), "{password}");
        }
        for password in ["correct horse", "пароль и ключ", "\u{0}\u{1}\u{2} control 9"] {
            assert_eq!(check(password, "somebody"), Ok(()), "{password:?}");
        }
    }
}
