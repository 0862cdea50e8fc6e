//! Sessions: who is signed in, since when, and until when.

use time::OffsetDateTime;
use uuid::Uuid;

/// The sessions of one user, at most; a further login ends the oldest.
pub const MAX_SESSIONS: i64 = 100;

/// A session. Its token is nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Version 7: the order of ids is the order of logins.
    pub id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// When it began, in UTC.
    pub created_at: OffsetDateTime,
    /// When it was used last, to the minute, in UTC.
    pub last_used_at: OffsetDateTime,
    /// Its end, whatever its use, in UTC.
    pub expires_at: OffsetDateTime,
    /// From where it was begun.
    pub address: Option<String>,
    /// What the client called itself then.
    pub user_agent: Option<String>,
}
