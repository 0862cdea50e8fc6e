//! The bodies of signing in.

use poem_openapi::Object;
use poem_openapi::types::Example;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

use crate::api::api_tokens::ScopeName;
use crate::api::conventions::Nullable;
use crate::api::conventions::bodies::secret;
use crate::api::users::UserBody;
use crate::domain::access::{Caller, Credential};
use crate::domain::sessions::Session;

/// What somebody signs in with.
#[derive(Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(example, deny_unknown_fields)]
pub struct LoginRequest {
    /// The name, in any case; that of a domain user is `\domain\name`.
    pub username: String,
    /// The password.
    #[serde(deserialize_with = "secret")]
    pub password: String,
}

/// A password that is to be changed.
#[derive(Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(example, deny_unknown_fields)]
pub struct PasswordRequest {
    /// The password that it is.
    #[serde(deserialize_with = "secret")]
    pub current_password: String,
    /// The password that it is to be: 8 to 128 characters, any, but not the name and none that everybody
    /// tries first.
    #[serde(deserialize_with = "secret")]
    pub new_password: String,
}

/// A session that has begun.
#[derive(Object, Serialize)]
#[oai(example)]
pub struct LoginAnswer {
    /// The token of the session, for `Authorization: Bearer`. It is told this once.
    pub token: String,
    /// When the session ends, whatever its use.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// Who signed in.
    pub user: UserBody,
}

/// Who asks.
#[derive(Object, Serialize)]
#[oai(example)]
pub struct Whoami {
    /// The user.
    pub user: UserBody,
    /// How they are known: `session` or `api_token`.
    pub credential: String,
    /// What the token may do, as far as its owner may. Nothing for a session: it may do all that the user
    /// may.
    pub scopes: Nullable<Vec<ScopeName>>,
}

/// A session.
#[derive(Object, Serialize)]
#[oai(rename = "Session")]
pub struct SessionBody {
    /// Its id.
    pub id: Uuid,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was used last, to the minute.
    #[serde(with = "time::serde::rfc3339")]
    pub last_used_at: OffsetDateTime,
    /// When it ends, whatever its use.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// From which address it was begun.
    pub address: Nullable<String>,
    /// What the client called itself then.
    pub user_agent: Nullable<String>,
    /// Whether it is the one that this request came in.
    pub is_current: bool,
}

/// Sessions, newest first. All there are, of which there are never many.
#[derive(Object, Serialize)]
#[oai(example)]
pub struct Sessions {
    /// The sessions.
    pub items: Vec<SessionBody>,
    /// Always null.
    pub next_cursor: Nullable<String>,
}

impl From<&Caller> for Whoami {
    fn from(caller: &Caller) -> Self {
        let (credential, scopes) = match &caller.credential {
            Credential::Session { .. } => ("session", None),
            Credential::ApiToken { scopes, .. } => {
                ("api_token", Some(scopes.0.iter().copied().map(ScopeName::from).collect()))
            }
        };
        Self {
            user: UserBody::from(caller.user.clone()),
            credential: credential.to_owned(),
            scopes: Nullable(scopes),
        }
    }
}

impl SessionBody {
    pub(super) fn new(session: Session, current: Uuid) -> Self {
        Self {
            id: session.id,
            created_at: session.created_at,
            last_used_at: session.last_used_at,
            expires_at: session.expires_at,
            address: Nullable(session.address),
            user_agent: Nullable(session.user_agent),
            is_current: session.id == current,
        }
    }
}

const EXAMPLE_TIME: OffsetDateTime = datetime!(2026-01-31 12:00:00 UTC);
const EXAMPLE_ID: Uuid = Uuid::from_u128(0x019c_139d_5400_7000_8000_0000_0000_0001);

impl Example for LoginRequest {
    fn example() -> Self {
        Self { username: "ada".to_owned(), password: "correct horse battery staple".to_owned() }
    }
}

impl Example for PasswordRequest {
    fn example() -> Self {
        let (current, new) = ("correct horse battery staple", "a better one than this");
        Self { current_password: current.to_owned(), new_password: new.to_owned() }
    }
}

impl Example for LoginAnswer {
    fn example() -> Self {
        Self {
            token: "Zm9ydHktdGhyZWUgY2hhcmFjdGVycyBvZiBiYXNlNjQ".to_owned(),
            expires_at: EXAMPLE_TIME + time::Duration::days(30),
            user: UserBody::example(),
        }
    }
}

impl Example for Whoami {
    fn example() -> Self {
        let scopes = Nullable(Some(vec![ScopeName::UsersRead]));
        Self { user: UserBody::example(), credential: "api_token".to_owned(), scopes }
    }
}

impl Example for Sessions {
    fn example() -> Self {
        let session = SessionBody {
            id: EXAMPLE_ID,
            created_at: EXAMPLE_TIME,
            last_used_at: EXAMPLE_TIME,
            expires_at: EXAMPLE_TIME + time::Duration::days(30),
            address: Nullable(Some("192.0.2.7".to_owned())),
            user_agent: Nullable(Some("Mozilla/5.0".to_owned())),
            is_current: true,
        };
        Self { items: vec![session], next_cursor: Nullable(None) }
    }
}
