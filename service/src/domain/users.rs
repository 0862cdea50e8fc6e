//! Accounts: what they are, and what each type of them has to have.

use std::fmt;
use std::str::FromStr;

use time::OffsetDateTime;
use uuid::Uuid;

/// How a user signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UserType {
    /// With a name and a password.
    Local,
    /// With an EVE Online character, once single sign-on exists; until then nowhere.
    EveSso,
    /// With a name of the form `\domain\name` and a password.
    Domain,
}

impl UserType {
    /// The word for it in the API and in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::EveSso => "eve_sso",
            Self::Domain => "domain",
        }
    }
}

impl fmt::Display for UserType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A word that is no type of user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is neither local nor eve_sso nor domain")]
pub struct UnknownUserType;

impl FromStr for UserType {
    type Err = UnknownUserType;

    fn from_str(word: &str) -> Result<Self, UnknownUserType> {
        [Self::Local, Self::EveSso, Self::Domain]
            .into_iter()
            .find(|it| it.name() == word)
            .ok_or(UnknownUserType)
    }
}

/// An account. Its password's hash is not here: only signing in reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Version 7: the order of ids is the order of creation.
    pub id: Uuid,
    /// Unique without case, 1 to 255 characters.
    pub username: String,
    /// Unique without case.
    pub email: Option<String>,
    /// How the user signs in.
    pub user_type: UserType,
    /// The EVE Online character, unique; an `eve_sso` user has one.
    pub eve_character_id: Option<i64>,
    /// The owner's state: an inactive account does not exist for signing in.
    pub is_active: bool,
    /// The admin's state: a blocked user cannot sign in, and is told so after a right password.
    pub is_blocked: bool,
    /// Whether the user may do everything.
    pub is_admin: bool,
    /// Whether the account is for tests.
    pub is_test_user: bool,
    /// When it was made, in UTC.
    pub created_at: OffsetDateTime,
    /// When it was edited last, in UTC.
    pub updated_at: OffsetDateTime,
    /// When the user signed in last, in UTC.
    pub last_login: Option<OffsetDateTime>,
    /// Raised by each edit; the `ETag`.
    pub version: i64,
}
