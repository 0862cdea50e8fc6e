//! What the service signs with, so that it knows again what it gave away: the cursors of pages, and the
//! bodies of idempotent requests.

use std::fmt;
use std::sync::Arc;

use foundation::entropy::Entropy;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::settings::AuthSettings;

/// The present key, and another one that is accepted while it is being rotated: the next, or the one before. Cheap to clone.
#[derive(Clone)]
pub struct Keys(Arc<Pair>);

struct Pair {
    current: Vec<u8>,
    other: Option<Vec<u8>>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Keys")
    }
}

impl Keys {
    /// Those of `AUTH_SECRET` and `AUTH_PREVIOUS_SECRET`. Without the former, which only development
    /// allows, one is made that ends with the process.
    #[must_use]
    pub fn new(settings: &AuthSettings, entropy: &Entropy) -> Self {
        let bytes = |secret: &foundation::settings::Secret| secret.expose().as_bytes().to_vec();
        let current = settings.secret.as_ref().map_or_else(|| entropy.bytes::<32>().to_vec(), bytes);
        let other = settings.previous_secret.as_ref().map(bytes);
        Self(Arc::new(Pair { current, other }))
    }

    /// HMAC-SHA-256 of `message` under the present key. What was signed for one purpose (a word such as
    /// `cursor`) is worth nothing for another.
    #[must_use]
    pub fn sign(&self, purpose: &str, message: &[u8]) -> [u8; 32] {
        mac(&self.0.current, purpose, message).finalize().into_bytes().into()
    }

    /// Whether `signature` is that of `message`, by the present key or by the other one. It takes the same
    /// time however much of it is right.
    #[must_use]
    pub fn verify(&self, purpose: &str, message: &[u8], signature: &[u8]) -> bool {
        let is_by = |key: &Vec<u8>| mac(key, purpose, message).verify_slice(signature).is_ok();
        is_by(&self.0.current) || self.0.other.as_ref().is_some_and(is_by)
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn mac(key: &[u8], purpose: &str, message: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::new_from_slice(key).expect("a key of any length");
    mac.update(purpose.as_bytes());
    // No purpose has this byte, so none runs into the message.
    mac.update(&[0]);
    mac.update(message);
    mac
}

#[cfg(test)]
mod tests {
    use foundation::settings::{Environment, Section as _};

    use super::*;

    fn keys(variables: &[(&str, &str)]) -> Keys {
        let settings = AuthSettings::read(&mut Environment::from_pairs(variables.iter().copied()));
        Keys::new(&settings, &Entropy::system())
    }

    const OLD: &str = "an old secret of thirty-two characters";
    const NEW: &str = "a new secret of thirty-two characters!";

    #[test]
    fn a_signature_is_for_one_purpose_and_one_message() {
        let keys = keys(&[("AUTH_SECRET", NEW)]);
        let signature = keys.sign("cursor", b"message");
        assert!(keys.verify("cursor", b"message", &signature));
        assert!(!keys.verify("cursor", b"massage", &signature));
        assert!(!keys.verify("body", b"message", &signature));
        assert!(
            !keys.verify("cursor", b"message", &signature[..16]) && !keys.verify("cursor", b"message", b"")
        );
    }

    /// While replicas are replaced, those of two steps that follow each other serve side by side.
    #[test]
    fn replicas_understand_each_other_at_each_step_of_a_rotation() {
        let steps = [(OLD, None), (OLD, Some(NEW)), (NEW, Some(OLD)), (NEW, None)];
        let steps = steps.map(|(secret, other)| {
            let other = other.map(|it| ("AUTH_PREVIOUS_SECRET", it));
            keys(&[("AUTH_SECRET", secret)].into_iter().chain(other).collect::<Vec<_>>())
        });
        let understands =
            |one: &Keys, other: &Keys| one.verify("cursor", b"it", &other.sign("cursor", b"it"));
        for pair in steps.windows(2) {
            assert!(understands(&pair[0], &pair[1]) && understands(&pair[1], &pair[0]));
        }
        assert!(!understands(&steps[0], &steps[2]) && !understands(&steps[3], &steps[1]));
    }

    #[test]
    fn without_a_secret_each_process_has_its_own() {
        assert_ne!(keys(&[]).sign("cursor", b"message"), keys(&[]).sign("cursor", b"message"));
    }
}
