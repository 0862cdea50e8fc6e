//! Look-ups of tokens that arrive while one is under way go together in the next. Never stale, because
//! nothing is remembered: each answer was asked for after its request came in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use foundation::database::{Database, DatabaseError, DatabaseErrorKind};
use tokio::sync::oneshot;

use crate::store::credentials::{self, AT_ONCE, Found, TokenHash};

/// How many statements are under way at the same time, at most. What comes meanwhile waits for the next.
const UNDER_WAY: usize = 2;

type Answer = Result<Option<Found>, String>;

/// Looks tokens up, several at once where there are several. Cheap to clone.
#[derive(Clone)]
pub(super) struct Lookups(Arc<Shared>);

struct Shared {
    database: Database,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    under_way: usize,
    waiting: Vec<(TokenHash, oneshot::Sender<Answer>)>,
}

impl Lookups {
    pub(super) fn new(database: Database) -> Self {
        Self(Arc::new(Shared { database, state: Mutex::default() }))
    }

    pub(super) async fn find(&self, hash: TokenHash) -> Result<Option<Found>, DatabaseError> {
        let (sender, answer) = oneshot::channel();
        if self.0.enqueue(hash, sender) {
            let shared = Arc::clone(&self.0);
            // A task of its own: the others' look-ups go on when the first who asked goes away.
            tokio::spawn(async move { shared.work().await });
        }
        let unavailable = |message: String| DatabaseError::new(DatabaseErrorKind::Unreachable, message);
        match answer.await {
            Ok(answer) => answer.map_err(unavailable),
            Err(_) => Err(unavailable("the look-up ended without an answer".to_owned())),
        }
    }
}

impl Shared {
    /// Adds a look-up; says whether somebody has to begin to work.
    fn enqueue(&self, hash: TokenHash, sender: oneshot::Sender<Answer>) -> bool {
        // Nothing that can panic happens under this lock.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.push((hash, sender));
        let begin = state.under_way < UNDER_WAY;
        state.under_way += usize::from(begin);
        begin
    }

    fn take(&self) -> Vec<(TokenHash, oneshot::Sender<Answer>)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let count = state.waiting.len().min(AT_ONCE);
        let batch: Vec<_> = state.waiting.drain(..count).collect();
        if batch.is_empty() {
            state.under_way -= 1;
        }
        batch
    }

    async fn work(&self) {
        loop {
            let batch = self.take();
            if batch.is_empty() {
                return;
            }
            let mut hashes: Vec<TokenHash> = batch.iter().map(|(hash, _)| *hash).collect();
            // A program sends many requests with one token.
            hashes.sort_unstable();
            hashes.dedup();
            let found = credentials::find(&self.database, &hashes).await;
            let found = found.map_err(|error| error.to_string());
            answer(batch, &found);
        }
    }
}

fn answer(
    batch: Vec<(TokenHash, oneshot::Sender<Answer>)>,
    found: &Result<HashMap<TokenHash, Found>, String>,
) {
    for (hash, sender) in batch {
        let answer = match found {
            Ok(found) => Ok(found.get(&hash).cloned()),
            Err(error) => Err(error.clone()),
        };
        // Who asked may have gone away.
        let _gone = sender.send(answer);
    }
}
