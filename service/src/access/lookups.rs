//! Look-ups of tokens that arrive while one is under way go together in the next. Never stale, because
//! nothing is remembered: each answer was asked for after its request came in.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foundation::database::{Database, DatabaseError, DatabaseErrorKind};
use tokio::sync::oneshot;

use crate::store::credentials::{self, AT_ONCE, Found, TokenHash};

/// How many statements are under way at the same time, at most. What comes meanwhile waits for the next.
const UNDER_WAY: usize = 2;

/// How many look-ups wait at most: as many as there are connections, where the settings do not say another
/// number. Those whose request was given up do not count.
const WAITING: usize = 4096;

type Answer = Result<Option<Found>, String>;
type Waiting = (TokenHash, oneshot::Sender<Answer>);

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
    waiting: VecDeque<Waiting>,
}

impl Lookups {
    pub(super) fn new(database: Database) -> Self {
        Self(Arc::new(Shared { database, state: Mutex::default() }))
    }

    pub(super) async fn find(&self, hash: TokenHash) -> Result<Option<Found>, DatabaseError> {
        let (sender, answer) = oneshot::channel();
        let unavailable = |message: String| DatabaseError::new(DatabaseErrorKind::Unreachable, message);
        let begin = self.0.state().add((hash, sender));
        let begin = begin.ok_or_else(|| unavailable("too many look-ups wait for the database".to_owned()))?;
        if begin {
            let shared = Arc::clone(&self.0);
            // A task of its own: the others' look-ups go on when the first who asked goes away.
            tokio::spawn(async move { shared.work().await });
        }
        match answer.await {
            Ok(answer) => answer.map_err(unavailable),
            Err(_) => Err(unavailable("the look-up ended without an answer".to_owned())),
        }
    }
}

impl State {
    /// Adds a look-up; says whether somebody has to begin to work. Nothing: too many wait already.
    fn add(&mut self, waiting: Waiting) -> Option<bool> {
        if self.waiting.len() >= WAITING {
            self.waiting.retain(|(_, sender)| !sender.is_closed());
        }
        if self.waiting.len() >= WAITING {
            return None;
        }
        self.waiting.push_back(waiting);
        let begin = self.under_way < UNDER_WAY;
        self.under_way += usize::from(begin);
        Some(begin)
    }

    /// The next that are looked up together. None: whoever asks has no more work.
    fn take(&mut self) -> Vec<Waiting> {
        let mut batch = Vec::new();
        while batch.len() < AT_ONCE
            && let Some(next) = self.waiting.pop_front()
        {
            if !next.1.is_closed() {
                batch.push(next);
            }
        }
        if batch.is_empty() {
            self.under_way -= 1;
        }
        batch
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic happens under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn work(&self) {
        loop {
            let batch = self.state().take();
            if batch.is_empty() {
                return;
            }
            let hashes: Vec<TokenHash> = batch.iter().map(|(hash, _)| *hash).collect();
            let found = credentials::find(&self.database, &hashes).await;
            let found = found.map_err(|error| error.to_string());
            answer(batch, &found);
        }
    }
}

fn answer(batch: Vec<Waiting>, found: &Result<HashMap<TokenHash, Found>, String>) {
    for (hash, sender) in batch {
        let answer = match found {
            Ok(found) => Ok(found.get(&hash).cloned()),
            Err(error) => Err(error.clone()),
        };
        // Who asked may have gone away.
        let _gone = sender.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_wait_than_may_and_nobody_waits_for_who_went_away() {
        let mut state = State::default();
        let mut answers = Vec::new();
        let mut add = |state: &mut State| {
            let (sender, answer) = oneshot::channel();
            let begin = state.add(([0; 32], sender));
            answers.push(answer);
            begin
        };
        assert_eq!(
            [add(&mut state), add(&mut state), add(&mut state)],
            [Some(true), Some(true), Some(false)]
        );
        for _ in 3..WAITING {
            assert_eq!(add(&mut state), Some(false));
        }
        assert_eq!(add(&mut state), None);
        // All but the last who waits give up.
        answers.truncate(WAITING);
        drop(answers.drain(..WAITING - 1));
        let (sender, _answer) = oneshot::channel();
        assert_eq!(state.add(([1; 32], sender)), Some(false));
        assert_eq!(state.take().len(), 2);
        assert_eq!((state.take().len(), state.under_way), (0, 1));
    }
}
