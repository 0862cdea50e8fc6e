//! Cursors: where a page begins, signed together with what is listed, so that none can be made up and none
//! can be taken from one list to another.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

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

/// The cursor of a position in a list: `list` names it with its filters.
#[must_use]
pub fn seal(keys: &Keys, list: &str, position: &str) -> String {
    let mut bytes = keys.sign(PURPOSE, &message(list, position.as_bytes())).to_vec();
    bytes.extend(position.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The position that [`seal`] was given.
///
/// # Errors
/// The cursor is not one of this list.
pub fn open(keys: &Keys, list: &str, cursor: &str) -> Result<String, Failure> {
    let position = || {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (signature, position) = bytes.split_at_checked(SIGNATURE)?;
        let is_ours = keys.verify(PURPOSE, &message(list, position), signature);
        is_ours.then(|| String::from_utf8(position.to_vec()).ok()).flatten()
    };
    position().ok_or_else(wrong)
}

/// The id that [`seal`] was given as a position.
///
/// # Errors
/// The cursor is not one of this list.
pub fn open_id(keys: &Keys, list: &str, cursor: &str) -> Result<Uuid, Failure> {
    Uuid::try_parse(&open(keys, list, cursor)?).map_err(|_| wrong())
}

/// What is told of a cursor that is none.
#[must_use]
pub fn wrong() -> Failure {
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
        let cursor = seal(&keys, "users a", "7");
        assert_eq!(open(&keys, "users a", &cursor).unwrap(), "7");
        assert!(open(&keys, "users b", &cursor).is_err());
        for index in 0..cursor.len() {
            let mut forged = cursor.clone().into_bytes();
            forged[index] = if forged[index] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert!(open(&keys, "users a", &forged).is_err(), "{forged}");
        }
        for none in ["", "x", "====", &cursor[..20]] {
            assert!(open(&keys, "users a", none).is_err(), "{none}");
        }
    }

    #[test]
    fn cursors_outlive_a_rotation_of_the_secret() {
        let (old, new) = ("an old secret of thirty-two characters", "a new secret of thirty-two characters!");
        let cursor = seal(&keys(&[("AUTH_SECRET", old)]), "users", "7");
        let rotated = keys(&[("AUTH_SECRET", new), ("AUTH_PREVIOUS_SECRET", old)]);
        assert_eq!(open(&rotated, "users", &cursor).unwrap(), "7");
        assert!(open(&keys(&[("AUTH_SECRET", new)]), "users", &cursor).is_err());
    }
}
