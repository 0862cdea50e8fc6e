//! Accounts: what they are, and what each type of them has to have.

use std::fmt;
use std::str::FromStr;

use foundation::passwords;
use foundation::settings::Secret;
use serde_json::Value;
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

impl User {
    /// Whether the user can sign in. An `eve_sso` user signs in nowhere yet.
    #[must_use]
    pub fn can_sign_in(&self) -> bool {
        self.is_active && !self.is_blocked && self.user_type != UserType::EveSso
    }

    /// Whether the user can sign in as an administrator.
    #[must_use]
    pub fn is_acting_admin(&self) -> bool {
        self.is_admin && self.can_sign_in()
    }

    /// Whether the user has a right of an administrator, or the use of it, that they had not `before`.
    #[must_use]
    pub fn gains_admin(&self, before: &Self) -> bool {
        self.is_admin && (!before.is_admin || self.can_sign_in() && !before.can_sign_in())
    }

    /// Whether the name is of the same domain as the other's, in any case. Those without one share that.
    #[must_use]
    pub fn is_of_domain_of(&self, other: &Self) -> bool {
        let domain = |user: &Self| {
            let name = user.username.strip_prefix('\\')?;
            Some(name.split_once('\\')?.0.to_ascii_lowercase())
        };
        domain(self) == domain(other)
    }

    /// What can be said of the account without a secret, by the names of the API.
    #[must_use]
    pub fn facts(&self) -> [(&'static str, Value); 8] {
        [
            ("username", self.username.as_str().into()),
            ("email", self.email.as_deref().into()),
            ("user_type", self.user_type.name().into()),
            ("eve_character_id", self.eve_character_id.into()),
            ("is_active", self.is_active.into()),
            ("is_blocked", self.is_blocked.into()),
            ("is_admin", self.is_admin.into()),
            ("is_test_user", self.is_test_user.into()),
        ]
    }

    /// What the account may not be like: a pointer into the body of a request and a sentence for each. The
    /// database refuses the same, in other words.
    #[must_use]
    pub fn broken_rules(&self) -> Vec<BrokenRule> {
        let rules = [
            ("/body/username", username_rule(&self.username, self.user_type)),
            ("/body/email", self.email.as_deref().and_then(email_rule)),
            ("/body/eve_character_id", character_rule(self.eve_character_id, self.user_type)),
        ];
        rules.into_iter().filter_map(|(pointer, rule)| Some(broken(pointer, rule?))).collect()
    }
}

/// A pointer into the body of a request, and what is wrong there.
pub type BrokenRule = (String, String);

fn broken(pointer: &str, rule: &str) -> BrokenRule {
    (pointer.to_owned(), rule.to_owned())
}

fn username_rule(name: &str, user_type: UserType) -> Option<&'static str> {
    let backslashes = name.matches('\\').count();
    let has_domain = backslashes == 2 && name.split('\\').skip(1).all(|part| !part.is_empty());
    if !(1..=255).contains(&name.chars().count()) {
        Some("a name has 1 to 255 characters")
    } else if name.chars().any(char::is_control) {
        Some("a name has no control characters")
    } else if name.trim() != name {
        Some("a name neither begins nor ends with a blank")
    } else if user_type == UserType::Domain && !(name.starts_with('\\') && has_domain) {
        Some(r"the name of a domain account has the form \domain\name")
    } else if user_type != UserType::Domain && backslashes > 0 {
        Some("only the name of a domain account has a backslash")
    } else {
        None
    }
}

fn email_rule(email: &str) -> Option<&'static str> {
    let has_parts = email.rsplit_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
    if !(1..=255).contains(&email.chars().count()) {
        Some("a mail address has 1 to 255 characters")
    } else if !has_parts || email.chars().any(|it| it.is_control() || it.is_whitespace()) {
        Some("this is no mail address, such as somebody@example.org")
    } else {
        None
    }
}

fn character_rule(character: Option<i64>, user_type: UserType) -> Option<&'static str> {
    match character {
        Some(id) if id < 1 => Some("the id of a character is 1 or more"),
        None if user_type == UserType::EveSso => Some("an eve_sso account has a character"),
        _ => None,
    }
}

/// An account that is to be made.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// As [`User::username`].
    pub username: String,
    /// As [`User::email`].
    pub email: Option<String>,
    /// As [`User::user_type`].
    pub user_type: UserType,
    /// What the user signs in with; an `eve_sso` user with none.
    pub password: Option<Secret>,
    /// As [`User::eve_character_id`].
    pub eve_character_id: Option<i64>,
    /// As [`User::is_active`].
    pub is_active: bool,
    /// As [`User::is_admin`].
    pub is_admin: bool,
    /// As [`User::is_test_user`].
    pub is_test_user: bool,
}

impl NewUser {
    /// A local administrator.
    #[must_use]
    pub fn admin(username: String, email: Option<String>, password: Secret) -> Self {
        Self {
            username,
            email,
            user_type: UserType::Local,
            password: Some(password),
            eve_character_id: None,
            is_active: true,
            is_admin: true,
            is_test_user: false,
        }
    }

    /// The account as it is going to be.
    #[must_use]
    pub fn user(&self, id: Uuid, now: OffsetDateTime) -> User {
        User {
            id,
            username: self.username.clone(),
            email: self.email.clone(),
            user_type: self.user_type,
            eve_character_id: self.eve_character_id,
            is_active: self.is_active,
            is_blocked: false,
            is_admin: self.is_admin,
            is_test_user: self.is_test_user,
            created_at: now,
            updated_at: now,
            last_login: None,
            version: 1,
        }
    }

    /// What is wrong with the password, or with there being one or none.
    #[must_use]
    pub fn broken_password_rule(&self) -> Option<BrokenRule> {
        let rule = match (self.user_type, &self.password) {
            (UserType::EveSso, Some(_)) => Some("an eve_sso account has no password"),
            (UserType::EveSso, None) => None,
            (UserType::Local | UserType::Domain, Some(password)) => {
                passwords::check(password.expose(), &self.username).err()
            }
            (UserType::Local, None) => Some("a local account signs in with a password"),
            (UserType::Domain, None) => Some("a domain account signs in with a password"),
        };
        rule.map(|rule| broken("/body/password", rule))
    }
}

/// What is to be changed of an account. What is not given stays; the inner nothing takes a value away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserPatch {
    /// As [`User::username`].
    pub username: Option<String>,
    /// As [`User::email`].
    pub email: Option<Option<String>>,
    /// As [`User::user_type`].
    pub user_type: Option<UserType>,
    /// As [`User::eve_character_id`].
    pub eve_character_id: Option<Option<i64>>,
    /// As [`User::is_active`].
    pub is_active: Option<bool>,
    /// As [`User::is_blocked`].
    pub is_blocked: Option<bool>,
    /// As [`User::is_admin`].
    pub is_admin: Option<bool>,
    /// As [`User::is_test_user`].
    pub is_test_user: Option<bool>,
}

impl UserPatch {
    /// The fields among these that only an administrator may change.
    #[must_use]
    pub fn admin_fields(&self) -> Vec<&'static str> {
        let fields = [
            ("/body/user_type", self.user_type.is_some()),
            ("/body/eve_character_id", self.eve_character_id.is_some()),
            ("/body/is_blocked", self.is_blocked.is_some()),
            ("/body/is_admin", self.is_admin.is_some()),
            ("/body/is_test_user", self.is_test_user.is_some()),
        ];
        fields.into_iter().filter_map(|(field, is_given)| is_given.then_some(field)).collect()
    }

    /// Whether it may make an administrator one no longer.
    #[must_use]
    pub fn may_end_admin(&self) -> bool {
        self.is_admin == Some(false)
            || self.is_active == Some(false)
            || self.is_blocked == Some(true)
            || self.user_type == Some(UserType::EveSso)
    }

    /// The rules that the account breaks after the change because of it. What it was like before stays as it
    /// is: whoever brought it along otherwise could not even be blocked.
    #[must_use]
    pub fn broken_rules(&self, before: &User, after: &User) -> Vec<BrokenRule> {
        let old = before.broken_rules();
        let concerns = |pointer: &str| match pointer {
            "/body/username" => self.username.is_some() || self.user_type.is_some(),
            "/body/email" => self.email.is_some(),
            _ => self.eve_character_id.is_some() || self.user_type.is_some(),
        };
        let mut broken = after.broken_rules();
        broken.retain(|rule| concerns(&rule.0) || !old.contains(rule));
        broken
    }

    /// The account after the change.
    #[must_use]
    pub fn apply(&self, user: &User) -> User {
        let patch = self.clone();
        User {
            username: patch.username.unwrap_or_else(|| user.username.clone()),
            email: patch.email.unwrap_or_else(|| user.email.clone()),
            user_type: patch.user_type.unwrap_or(user.user_type),
            eve_character_id: patch.eve_character_id.unwrap_or(user.eve_character_id),
            is_active: patch.is_active.unwrap_or(user.is_active),
            is_blocked: patch.is_blocked.unwrap_or(user.is_blocked),
            is_admin: patch.is_admin.unwrap_or(user.is_admin),
            is_test_user: patch.is_test_user.unwrap_or(user.is_test_user),
            ..user.clone()
        }
    }
}
