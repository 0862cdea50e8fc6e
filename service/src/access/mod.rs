//! The door: from a token to who asks. Asked afresh for every request, never remembered, so that a session
//! that was ended through another process is refused by the next request to this one.

mod touches;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use foundation::clock::Clock;
use foundation::database::{Database, DatabaseError};
use foundation::entropy::Entropy;
use foundation::settings::Secret;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use self::touches::Touches;
use crate::domain::access::Credential;
use crate::store::credentials::{Found, TokenHash, Tokens};
use crate::store::together::Together;
use crate::store::users::ById;

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 512;

/// A new token: 256 random bits, as text that needs no quoting anywhere.
#[must_use]
pub fn make_token(entropy: &Entropy) -> Secret {
    Secret::from(URL_SAFE_NO_PAD.encode(entropy.bytes::<32>()))
}

/// What is stored of a token.
#[must_use]
pub fn token_hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

/// Lets callers in. Cheap to clone.
#[derive(Clone)]
pub struct Gate(Arc<Shared>);

struct Shared {
    tokens: Together<Tokens>,
    users: Together<ById>,
    touches: Touches,
    clock: Clock,
    idle_lifetime: Duration,
}

impl Gate {
    /// A door to the accounts of `database`. A session that was not used for `idle_lifetime` is over.
    #[must_use]
    pub fn new(database: Database, clock: Clock, idle_lifetime: Duration) -> Self {
        let tokens = Together::new(database.clone());
        let users = Together::new(database.clone());
        let touches = Touches::new(database);
        Self(Arc::new(Shared { tokens, users, touches, clock, idle_lifetime }))
    }

    /// The accounts, looked up together. What is found is for callers who may see it.
    #[must_use]
    pub fn users(&self) -> &Together<ById> {
        &self.0.users
    }

    /// Who the token stands for at this moment; nobody when it is unknown or over, or when its user is
    /// inactive or blocked.
    ///
    /// # Errors
    /// What the database says.
    pub async fn admit(&self, token: &str) -> Result<Option<Arc<Found>>, DatabaseError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Ok(None);
        }
        let Some(found) = self.0.tokens.find(token_hash(token)).await? else { return Ok(None) };
        let now = self.0.clock.now();
        if !self.0.is_good(&found, now) {
            return Ok(None);
        }
        self.0.touches.touch(&found, now);
        Ok(Some(found))
    }
}

impl Shared {
    fn is_good(&self, found: &Found, now: OffsetDateTime) -> bool {
        let user = &found.caller.user;
        let idle = match found.caller.credential {
            Credential::Session { .. } => {
                found.last_used_at.is_some_and(|used| now - used > self.idle_lifetime)
            }
            Credential::ApiToken { .. } => false,
        };
        user.is_active && !user.is_blocked && now < found.expires_at && !idle
    }
}
