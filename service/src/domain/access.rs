//! Who asks, and what they may do.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::users::User;

/// Declares the scopes, each with its word, so that no list of them can lack one.
macro_rules! scopes {
    ($( #[doc = $what:literal] $Name:ident = $word:literal, )*) => {
        /// What a token may be allowed to do. What a signed-in user may do is not bounded by scopes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Scope { $( #[doc = $what] $Name, )* }

        impl Scope {
            /// All of them.
            pub const ALL: &'static [Self] = &[$( Self::$Name, )*];

            /// The word for it, such as `users:read`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$Name => $word, )* }
            }
        }
    };
}

// Texts have them in this order.
scopes! {
    /// Read accounts.
    UsersRead = "users:read",
    /// Change accounts.
    UsersWrite = "users:write",
    /// Read metric snapshots.
    MetricsRead = "metrics:read",
    /// Write metric snapshots.
    MetricsWrite = "metrics:write",
    /// Read settings.
    ConfigRead = "config:read",
    /// Change settings.
    ConfigWrite = "config:write",
    /// Change and run archive policies.
    ArchiveWrite = "archive:write",
    /// Read audit events.
    AuditRead = "audit:read",
}

/// A word that is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no scope")]
pub struct UnknownScope(pub String);

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(word: &str) -> Result<Self, UnknownScope> {
        Self::ALL.iter().copied().find(|it| it.name() == word).ok_or_else(|| UnknownScope(word.to_owned()))
    }
}

/// A set of scopes; as text, their words in order with a blank between two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(pub BTreeSet<Scope>);

impl Scopes {
    /// Whether the scope is one of them.
    #[must_use]
    pub fn contains(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// Those of a text that this release knows. What a newer one wrote may have more, which allow nothing here.
    #[must_use]
    pub fn known(text: &str) -> Self {
        Self(text.split_whitespace().filter_map(|word| word.parse().ok()).collect())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.0.iter().map(|scope| scope.name()).collect();
        formatter.write_str(&words.join(" "))
    }
}

impl FromStr for Scopes {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        text.split_whitespace().map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// How a caller is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// By a session that began with a password.
    Session {
        /// The session.
        id: Uuid,
    },
    /// By a token for programs.
    ApiToken {
        /// The token.
        id: Uuid,
        /// What the token may do.
        scopes: Scopes,
    },
}

/// Who asks: a user who is active and not blocked at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user: User,
    /// How they are known.
    pub credential: Credential,
}

/// Why a caller may not do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The token lacks this scope.
    LacksScope(Scope),
    /// Only an administrator may.
    NeedsAdmin,
    /// Only who signed in with a password may, no token.
    NeedsSession,
}

/// Which tokens may do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenRule {
    /// Those with this scope.
    Scope(Scope),
    /// All of them.
    Any,
    /// None: only who signed in with a password.
    Never,
}

/// What an operation asks of its caller. Each is declared once, in the API's table of permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Which tokens may.
    pub token: TokenRule,
    /// Whether only an administrator may.
    pub admin: bool,
}

impl Caller {
    /// Whether the caller may do what asks for this: a token by its scopes and by its owner's rights,
    /// whichever is less.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, requirement: Requirement) -> Result<(), Refusal> {
        match (&self.credential, requirement.token) {
            (Credential::Session { .. }, _) | (Credential::ApiToken { .. }, TokenRule::Any) => {}
            (Credential::ApiToken { .. }, TokenRule::Never) => return Err(Refusal::NeedsSession),
            (Credential::ApiToken { scopes, .. }, TokenRule::Scope(scope)) if !scopes.contains(scope) => {
                return Err(Refusal::LacksScope(scope));
            }
            (Credential::ApiToken { .. }, TokenRule::Scope(_)) => {}
        }
        if requirement.admin && !self.user.is_admin { Err(Refusal::NeedsAdmin) } else { Ok(()) }
    }

    /// Whether the caller is this user.
    #[must_use]
    pub fn is(&self, user: Uuid) -> bool {
        self.user.id == user
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_written_and_read_in_order() {
        let scopes: Scopes = "users:write audit:read users:read".parse().unwrap();
        assert_eq!(scopes.to_string(), "users:read users:write audit:read");
        assert_eq!("users:fly".parse::<Scopes>(), Err(UnknownScope("users:fly".to_owned())));
        assert_eq!(Scopes::known("users:fly audit:read users:read").to_string(), "users:read audit:read");
        assert_eq!(Scopes::known("users:fly"), Scopes::default());
    }
}
