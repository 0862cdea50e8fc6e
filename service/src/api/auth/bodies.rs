//! The bodies of signing in.

use poem_openapi::Object;
use poem_openapi::types::Example;
use serde::Serialize;
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

use crate::api::api_tokens::ScopeName;
use crate::domain::access::{Caller, Credential};
use crate::domain::sessions::Session;
use crate::domain::users::{User, UserType};

/// What somebody signs in with.
#[derive(Object)]
#[oai(example, deny_unknown_fields)]
pub struct LoginRequest {
    /// The name, in any case; that of a domain user is `\domain\name`.
    pub username: String,
    /// The password.
    #[oai(validator(max_length = 1024))]
    pub password: String,
}

/// A password that is to be changed.
#[derive(Object)]
#[oai(example, deny_unknown_fields)]
pub struct PasswordRequest {
    /// The password that it is.
    #[oai(validator(max_length = 1024))]
    pub current_password: String,
    /// The password that it is to be: 8 to 128 characters, any, but not the name and none that everybody
    /// tries first.
    #[oai(validator(max_length = 1024))]
    pub new_password: String,
}

/// An account, as its owner sees it.
#[derive(Object, Serialize)]
pub struct Account {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub username: String,
    /// Its mail address.
    pub email: Option<String>,
    /// `local`, `eve_sso` or `domain`.
    pub user_type: String,
    /// Its EVE Online character.
    pub eve_character_id: Option<i64>,
    /// Whether it is in use.
    pub is_active: bool,
    /// Whether an administrator blocked it.
    pub is_blocked: bool,
    /// Whether it is that of an administrator.
    pub is_admin: bool,
    /// Whether it is for tests.
    pub is_test_user: bool,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was edited last.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// When somebody signed in with it last.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_login: Option<OffsetDateTime>,
    /// Raised by each edit.
    pub version: i64,
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
    pub user: Account,
}

/// Who asks.
#[derive(Object, Serialize)]
#[oai(example)]
pub struct Whoami {
    /// The user.
    pub user: Account,
    /// How they are known: `session` or `api_token`.
    pub credential: String,
    /// What the token may do, as far as its owner may. Nothing for a session: it may do all that the user
    /// may.
    pub scopes: Option<Vec<ScopeName>>,
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
    pub address: Option<String>,
    /// What the client called itself then.
    pub user_agent: Option<String>,
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
    pub next_cursor: Option<String>,
}

impl From<&User> for Account {
    fn from(user: &User) -> Self {
        Self {
            id: user.id,
            username: user.username.clone(),
            email: user.email.clone(),
            user_type: user.user_type.name().to_owned(),
            eve_character_id: user.eve_character_id,
            is_active: user.is_active,
            is_blocked: user.is_blocked,
            is_admin: user.is_admin,
            is_test_user: user.is_test_user,
            created_at: user.created_at,
            updated_at: user.updated_at,
            last_login: user.last_login,
            version: user.version,
        }
    }
}

impl From<&Caller> for Whoami {
    fn from(caller: &Caller) -> Self {
        let (credential, scopes) = match &caller.credential {
            Credential::Session { .. } => ("session", None),
            Credential::ApiToken { scopes, .. } => {
                ("api_token", Some(scopes.0.iter().copied().map(ScopeName::from).collect()))
            }
        };
        Self { user: Account::from(&caller.user), credential: credential.to_owned(), scopes }
    }
}

impl SessionBody {
    pub(super) fn new(session: Session, current: Uuid) -> Self {
        Self {
            id: session.id,
            created_at: session.created_at,
            last_used_at: session.last_used_at,
            expires_at: session.expires_at,
            address: session.address,
            user_agent: session.user_agent,
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

fn example_account() -> Account {
    Account::from(&User {
        id: EXAMPLE_ID,
        username: "ada".to_owned(),
        email: Some("ada@example.org".to_owned()),
        user_type: UserType::Local,
        eve_character_id: None,
        is_active: true,
        is_blocked: false,
        is_admin: false,
        is_test_user: false,
        created_at: EXAMPLE_TIME,
        updated_at: EXAMPLE_TIME,
        last_login: Some(EXAMPLE_TIME),
        version: 1,
    })
}

impl Example for LoginAnswer {
    fn example() -> Self {
        Self {
            token: "Zm9ydHktdGhyZWUgY2hhcmFjdGVycyBvZiBiYXNlNjQ".to_owned(),
            expires_at: EXAMPLE_TIME + time::Duration::days(30),
            user: example_account(),
        }
    }
}

impl Example for Whoami {
    fn example() -> Self {
        let scopes = Some(vec![ScopeName::UsersRead]);
        Self { user: example_account(), credential: "api_token".to_owned(), scopes }
    }
}

impl Example for Sessions {
    fn example() -> Self {
        let session = SessionBody {
            id: EXAMPLE_ID,
            created_at: EXAMPLE_TIME,
            last_used_at: EXAMPLE_TIME,
            expires_at: EXAMPLE_TIME + time::Duration::days(30),
            address: Some("192.0.2.7".to_owned()),
            user_agent: Some("Mozilla/5.0".to_owned()),
            is_current: true,
        };
        Self { items: vec![session], next_cursor: None }
    }
}
