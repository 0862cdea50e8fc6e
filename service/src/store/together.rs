//! Look-ups that arrive while one is under way go together in the next. Never stale, because nothing is
//! remembered: each answer was asked for after its request came in.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use foundation::database::{Database, DatabaseError, DatabaseErrorKind};
use tokio::sync::oneshot;

/// How many keys one statement looks up, at most.
pub const AT_ONCE: usize = 16;

/// How many statements are under way at the same time, at most. What comes meanwhile waits for the next.
const UNDER_WAY: usize = 2;

/// What can be looked up, several at once.
pub trait LookUp: Send + Sync + 'static {
    /// What it is found by, unique.
    type Key: Copy + Ord + Hash + Send + Sync;
    /// What is found.
    type Found: Clone + Send + Sync;

    /// What is found by these keys, of which there are 1 to [`AT_ONCE`]. Those that nothing is found by are
    /// not in the answer.
    fn find(
        database: &Database,
        keys: &[Self::Key],
    ) -> impl Future<Output = Result<HashMap<Self::Key, Self::Found>, DatabaseError>> + Send;
}

/// The error of a statement, for each of those who waited for it.
type Failure = (DatabaseErrorKind, String);
type Answer<L> = Result<Option<<L as LookUp>::Found>, Failure>;
type Waiting<L> = (<L as LookUp>::Key, oneshot::Sender<Answer<L>>);

/// Looks things up, several at once where several are asked for. Cheap to clone.
pub struct Together<L: LookUp>(Arc<Shared<L>>);

impl<L: LookUp> Clone for Together<L> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Shared<L: LookUp> {
    database: Database,
    state: Mutex<State<L>>,
}

struct State<L: LookUp> {
    under_way: usize,
    waiting: Vec<Waiting<L>>,
}

impl<L: LookUp> Together<L> {
    /// Looks things up in `database`.
    #[must_use]
    pub fn new(database: Database) -> Self {
        let state = Mutex::new(State { under_way: 0, waiting: Vec::new() });
        Self(Arc::new(Shared { database, state }))
    }

    /// What is found by the key, if anything.
    ///
    /// # Errors
    /// What the database says.
    pub async fn find(&self, key: L::Key) -> Result<Option<L::Found>, DatabaseError> {
        let (sender, answer) = oneshot::channel();
        if self.0.enqueue(key, sender) {
            let shared = Arc::clone(&self.0);
            // A task of its own: the others' look-ups go on when the first who asked goes away.
            tokio::spawn(async move { shared.work().await });
        }
        match answer.await {
            Ok(answer) => answer.map_err(|(kind, message)| DatabaseError::new(kind, message)),
            Err(_) => {
                let message = "the look-up ended without an answer";
                Err(DatabaseError::new(DatabaseErrorKind::Unreachable, message))
            }
        }
    }
}

impl<L: LookUp> Shared<L> {
    /// Adds a look-up; says whether somebody has to begin to work.
    fn enqueue(&self, key: L::Key, sender: oneshot::Sender<Answer<L>>) -> bool {
        // Nothing that can panic happens under this lock.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.push((key, sender));
        let begin = state.under_way < UNDER_WAY;
        state.under_way += usize::from(begin);
        begin
    }

    fn take(&self) -> Vec<Waiting<L>> {
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
            let mut keys: Vec<L::Key> = batch.iter().map(|(key, _)| *key).collect();
            // A program sends many requests with one token.
            keys.sort_unstable();
            keys.dedup();
            let found = L::find(&self.database, &keys).await;
            answer::<L>(batch, &found.map_err(|error| (error.kind(), error.to_string())));
        }
    }
}

fn answer<L: LookUp>(batch: Vec<Waiting<L>>, found: &Result<HashMap<L::Key, L::Found>, Failure>) {
    for (key, sender) in batch {
        let answer = match found {
            Ok(found) => Ok(found.get(&key).cloned()),
            Err(error) => Err(error.clone()),
        };
        // Who asked may have gone away.
        let _gone = sender.send(answer);
    }
}

/// The values of a statement with places for `places` keys. Where there are fewer keys, the last one stands
/// in the places that are left: PostgreSQL would take nulls there for a reason to plan the statement anew
/// each time.
pub fn fill<K>(keys: &[K], places: usize) -> impl Iterator<Item = &K> {
    (0..places).filter_map(move |place| keys.get(place).or(keys.last()))
}
