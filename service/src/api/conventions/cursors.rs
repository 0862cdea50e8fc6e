//! Cursors: where a page begins, signed together with what is listed, so that none can be made up and none
//! can be taken from one list to another.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Nullable;
use crate::actions::ActionError;
use crate::api::problem::Failure;
use crate::keys::Keys;

const PURPOSE: &str = "cursor";

/// How long a signature is, in bytes.
const SIGNATURE: usize = 32;

fn message(list: &str, position: &[u8]) -> Vec<u8> {
    let mut message = format!("{}:{list}", list.len()).into_bytes();
    message.extend(position);
    message
}

/// How many items a page has when it is not said.
#[must_use]
pub fn default_limit() -> u16 {
    50
}

/// The cursor of a position in a list: `list` names it with its filters.
///
/// # Errors
/// The position has no form in JSON: a defect.
pub fn seal<T: Serialize>(keys: &Keys, list: &str, position: &T) -> Result<String, Failure> {
    let position = serde_json::to_vec(position).map_err(ActionError::from)?;
    let mut bytes = keys.sign(PURPOSE, &message(list, &position)).to_vec();
    bytes.extend(position);
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The position that [`seal`] was given, where there is a cursor.
///
/// # Errors
/// The cursor is not one of this list.
pub fn open<T: DeserializeOwned>(
    keys: &Keys,
    list: &str,
    cursor: Option<&str>,
) -> Result<Option<T>, Failure> {
    let position = |cursor: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (signature, position) = bytes.split_at_checked(SIGNATURE)?;
        let is_ours = keys.verify(PURPOSE, &message(list, position), signature);
        is_ours.then(|| serde_json::from_slice(position).ok()).flatten()
    };
    cursor.map(|it| position(it).ok_or_else(wrong)).transpose()
}

/// Cuts what was found down to a page and says where the next one begins. One more than `limit` was asked for,
/// which says whether there is a next one.
///
/// # Errors
/// As [`seal`].
pub fn cut<T, P: Serialize>(
    keys: &Keys,
    list: &str,
    found: &mut Vec<T>,
    limit: u32,
    position: impl Fn(&T) -> P,
) -> Result<Nullable<String>, Failure> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| has_more);
    last.map(|it| seal(keys, list, &position(it))).transpose().map(Nullable)
}

/// What is told of a cursor that is none.
fn wrong() -> Failure {
    let detail = "this is no cursor of this list with these filters; begin again without one";
    Failure::Unreadable("/query/cursor", detail.to_owned())
}

#[cfg(test)]
mod tests {
    use foundation::entropy::Entropy;
    use foundation::settings::{Environment, Section as _};

    use super::*;
    use crate::settings::AuthSettings;

    fn keys(pairs: &[(&str, &str)]) -> Keys {
        let settings = AuthSettings::read(&mut Environment::from_pairs(pairs.iter().copied()));
        Keys::new(&settings, &Entropy::system())
    }

    #[test]
    fn a_cursor_is_for_one_list_and_is_not_made_up() {
        let keys = keys(&[]);
        let open = |list: &str, cursor: &str| open::<u8>(&keys, list, Some(cursor));
        let cursor = seal(&keys, "users a", &7).unwrap();
        assert_eq!(open("users a", &cursor).unwrap(), Some(7));
        assert!(open("users b", &cursor).is_err());
        for index in 0..cursor.len() {
            let mut forged = cursor.clone().into_bytes();
            forged[index] = if forged[index] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert!(open("users a", &forged).is_err(), "{forged}");
        }
        for none in ["", "x", "====", &cursor[..20]] {
            assert!(open("users a", none).is_err(), "{none}");
        }
    }

    #[test]
    fn a_page_has_a_next_one_where_more_than_its_limit_was_found() {
        let keys = keys(&[]);
        for (found, page, next) in [(0..2, 0..2, None), (0..3, 0..3, None), (0..4, 0..3, Some(2))] {
            let mut found: Vec<u8> = found.collect();
            let cursor = cut(&keys, "users", &mut found, 3, |it| *it).unwrap();
            assert_eq!(found, page.collect::<Vec<u8>>());
            assert_eq!(open(&keys, "users", cursor.0.as_deref()).unwrap(), next);
        }
    }

    #[test]
    fn cursors_outlive_a_rotation_of_the_secret() {
        let (old, new) = ("an old secret of thirty-two characters", "a new secret of thirty-two characters!");
        let cursor = seal(&keys(&[("AUTH_SECRET", old)]), "users", &7).unwrap();
        let open = |keys: &Keys| open::<u8>(keys, "users", Some(&cursor));
        let rotated = keys(&[("AUTH_SECRET", new), ("AUTH_PREVIOUS_SECRET", old)]);
        assert_eq!(open(&rotated).unwrap(), Some(7));
        assert!(open(&keys(&[("AUTH_SECRET", new)])).is_err());
    }
}
