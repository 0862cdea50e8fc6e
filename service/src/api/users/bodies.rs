//! The bodies of the users' routes.

use poem_openapi::types::Example;
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::{Uuid, uuid};

use crate::api::conventions::bodies::{given, given_secret};
use crate::api::conventions::nullable::Nullable;
use crate::api::conventions::times::{rfc3339, rfc3339_or_null};
use crate::domain::users::{NewUser, User, UserPatch, UserType};
use foundation::settings::Secret;

/// How a user signs in.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case")]
pub enum UserTypeName {
    /// With a name and a password.
    Local,
    /// With an EVE Online character: nowhere yet, until there is single sign-on.
    EveSso,
    /// With a name of the form `\domain\name` and a password.
    Domain,
}

impl From<UserType> for UserTypeName {
    fn from(user_type: UserType) -> Self {
        match user_type {
            UserType::Local => Self::Local,
            UserType::EveSso => Self::EveSso,
            UserType::Domain => Self::Domain,
        }
    }
}

impl From<UserTypeName> for UserType {
    fn from(name: UserTypeName) -> Self {
        match name {
            UserTypeName::Local => Self::Local,
            UserTypeName::EveSso => Self::EveSso,
            UserTypeName::Domain => Self::Domain,
        }
    }
}

/// An account.
#[derive(Debug, Object, Serialize)]
#[oai(example, rename = "User")]
pub struct UserBody {
    /// Its id, a UUID of version 7: the order of ids is the order of creation.
    pub id: Uuid,
    /// Its name, unique without case.
    pub username: String,
    /// Its mail address, unique without case.
    pub email: Nullable<String>,
    /// How the user signs in.
    pub user_type: UserTypeName,
    /// The EVE Online character, unique.
    pub eve_character_id: Nullable<i64>,
    /// An inactive account does not exist for signing in.
    pub is_active: bool,
    /// A blocked user cannot sign in, and is told so after a right password.
    pub is_blocked: bool,
    /// Whether the user may do everything.
    pub is_admin: bool,
    /// Whether the account is for tests.
    pub is_test_user: bool,
    /// When it was made.
    #[serde(serialize_with = "rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was edited last.
    #[serde(serialize_with = "rfc3339")]
    pub updated_at: OffsetDateTime,
    /// When the user signed in last.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub last_login: Nullable<OffsetDateTime>,
    /// Raised by each edit: what the `ETag` says.
    pub version: i64,
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            username: user.username,
            email: Nullable(user.email),
            user_type: user.user_type.into(),
            eve_character_id: Nullable(user.eve_character_id),
            is_active: user.is_active,
            is_blocked: user.is_blocked,
            is_admin: user.is_admin,
            is_test_user: user.is_test_user,
            created_at: user.created_at,
            updated_at: user.updated_at,
            last_login: Nullable(user.last_login),
            version: user.version,
        }
    }
}

/// A page of accounts.
#[derive(Debug, Object, Serialize)]
#[oai(example, rename = "UserPage")]
pub struct UserPageBody {
    /// The accounts.
    pub items: Vec<UserBody>,
    /// Pass it as `cursor`, with the same filters, for the page behind this one. Null: this is the last.
    pub next_cursor: Nullable<String>,
}

/// An account to be made.
#[derive(Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(example, rename = "NewUser", deny_unknown_fields, skip_serializing_if_is_none)]
pub struct NewUserBody {
    /// Its name, unique without case. That of a domain account has the form `\domain\name`; no other has a
    /// backslash.
    #[oai(validator(min_length = 1, max_length = 255))]
    username: String,
    /// Its mail address, unique without case.
    #[serde(default)]
    #[oai(default, validator(min_length = 1, max_length = 255))]
    email: Option<Nullable<String>>,
    /// How the user signs in; `local` when it is not given.
    #[serde(default, deserialize_with = "given")]
    user_type: Option<UserTypeName>,
    /// The password of a local or domain account: none that everybody tries first, and not the name.
    #[serde(default, deserialize_with = "given_secret")]
    #[oai(validator(min_length = 8, max_length = 128))]
    password: Option<String>,
    /// The EVE Online character, unique. An `eve_sso` account has one.
    #[serde(default)]
    #[oai(default, validator(minimum(value = "1")))]
    eve_character_id: Option<Nullable<i64>>,
    /// Whether it is active; true when it is not given.
    #[serde(default, deserialize_with = "given")]
    is_active: Option<bool>,
    /// Whether the user may do everything; false when it is not given. No API token may say true.
    #[serde(default, deserialize_with = "given")]
    is_admin: Option<bool>,
    /// Whether the account is for tests; false when it is not given.
    #[serde(default, deserialize_with = "given")]
    is_test_user: Option<bool>,
}

impl From<NewUserBody> for NewUser {
    fn from(body: NewUserBody) -> Self {
        Self {
            username: body.username,
            email: body.email.and_then(|it| it.0),
            user_type: body.user_type.map_or(UserType::Local, Into::into),
            password: body.password.map(Secret::from),
            eve_character_id: body.eve_character_id.and_then(|it| it.0),
            is_active: body.is_active.unwrap_or(true),
            is_admin: body.is_admin.unwrap_or(false),
            is_test_user: body.is_test_user.unwrap_or(false),
        }
    }
}

/// What is to be changed of an account (JSON merge patch): what is not given stays, null takes away. Others
/// than administrators change `username`, `email` and `is_active` of their own account.
#[derive(Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(example, rename = "UserPatch", deny_unknown_fields, skip_serializing_if_is_none)]
pub struct UserPatchBody {
    /// Its name.
    #[serde(default, deserialize_with = "given")]
    #[oai(validator(min_length = 1, max_length = 255))]
    username: Option<String>,
    /// Its mail address.
    #[serde(default, deserialize_with = "given")]
    #[oai(validator(min_length = 1, max_length = 255))]
    email: Option<Nullable<String>>,
    /// How the user signs in. From `eve_sso` there is no way back.
    #[serde(default, deserialize_with = "given")]
    user_type: Option<UserTypeName>,
    /// The EVE Online character.
    #[serde(default, deserialize_with = "given")]
    #[oai(validator(minimum(value = "1")))]
    eve_character_id: Option<Nullable<i64>>,
    /// Whether it is active.
    #[serde(default, deserialize_with = "given")]
    is_active: Option<bool>,
    /// Whether it is blocked.
    #[serde(default, deserialize_with = "given")]
    is_blocked: Option<bool>,
    /// Whether the user may do everything. No API token makes it true.
    #[serde(default, deserialize_with = "given")]
    is_admin: Option<bool>,
    /// Whether the account is for tests.
    #[serde(default, deserialize_with = "given")]
    is_test_user: Option<bool>,
}

impl From<UserPatchBody> for UserPatch {
    fn from(body: UserPatchBody) -> Self {
        Self {
            username: body.username,
            email: body.email.map(|it| it.0),
            user_type: body.user_type.map(Into::into),
            eve_character_id: body.eve_character_id.map(|it| it.0),
            is_active: body.is_active,
            is_blocked: body.is_blocked,
            is_admin: body.is_admin,
            is_test_user: body.is_test_user,
        }
    }
}

impl Example for UserBody {
    fn example() -> Self {
        Self {
            id: uuid!("01943f5c-1a2b-7c3d-8e4f-5a6b7c8d9e0f"),
            username: "ada".to_owned(),
            email: Nullable(Some("ada@example.org".to_owned())),
            user_type: UserTypeName::Local,
            eve_character_id: Nullable(None),
            is_active: true,
            is_blocked: false,
            is_admin: false,
            is_test_user: false,
            created_at: datetime!(2026-01-31 12:00:00 UTC),
            updated_at: datetime!(2026-01-31 12:00:00 UTC),
            last_login: Nullable(None),
            version: 1,
        }
    }
}

impl Example for UserPageBody {
    fn example() -> Self {
        Self { items: vec![UserBody::example()], next_cursor: Nullable(None) }
    }
}

impl Example for NewUserBody {
    fn example() -> Self {
        Self {
            username: "ada".to_owned(),
            email: Some(Nullable(Some("ada@example.org".to_owned()))),
            user_type: Some(UserTypeName::Local),
            password: Some("correct horse battery staple".to_owned()),
            eve_character_id: None,
            is_active: None,
            is_admin: None,
            is_test_user: None,
        }
    }
}

impl Example for UserPatchBody {
    fn example() -> Self {
        Self {
            username: None,
            email: Some(Nullable(Some("ada.lovelace@example.org".to_owned()))),
            user_type: None,
            eve_character_id: None,
            is_active: None,
            is_blocked: None,
            is_admin: None,
            is_test_user: None,
        }
    }
}
