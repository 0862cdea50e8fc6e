//! When a session or a token was used last, written down at most once a minute each, behind the requests.

use std::time::Duration;

use foundation::database::Database;
use time::OffsetDateTime;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::domain::access::Credential;
use crate::store::credentials::Found;
use crate::store::touches;

/// How old the note of the last use has to be before it is written anew.
const INTERVAL: Duration = Duration::from_secs(60);

/// How many notes wait to be written, at most; one that finds no place is written by a later request.
const WAITING: usize = 256;

/// A note that is to be written.
struct Touch {
    id: Uuid,
    is_session: bool,
    at: OffsetDateTime,
}

/// Writes down when something was used. Cheap to clone.
#[derive(Clone)]
pub(super) struct Touches(mpsc::Sender<Touch>);

impl Touches {
    /// Must be called inside of a tokio runtime. The task ends with the last clone.
    pub(super) fn new(database: Database) -> Self {
        let (sender, mut notes) = mpsc::channel::<Touch>(WAITING);
        tokio::spawn(async move {
            while let Some(Touch { id, is_session, at }) = notes.recv().await {
                if let Err(error) = touches::write(&database, id, is_session, at, at - INTERVAL).await {
                    tracing::warn!(error = %error, "the last use of a session or token was not written down");
                }
            }
        });
        Self(sender)
    }

    pub(super) fn touch(&self, found: &Found, now: OffsetDateTime) {
        if found.last_used_at.is_some_and(|used| now - used < INTERVAL) {
            return;
        }
        let (id, is_session) = match found.caller.credential {
            Credential::Session { id } => (id, true),
            Credential::ApiToken { id, .. } => (id, false),
        };
        // Full: the next request tries again.
        let _full = self.0.try_send(Touch { id, is_session, at: now });
    }
}
