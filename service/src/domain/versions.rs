//! Which version of something a change is meant for.

/// The versions that a change is meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Whichever there is.
    Any,
    /// One of these.
    Versions(Vec<i64>),
}

impl Expected {
    /// Whether the change is meant for this version.
    #[must_use]
    pub fn contains(&self, version: i64) -> bool {
        match self {
            Self::Any => true,
            Self::Versions(versions) => versions.contains(&version),
        }
    }
}
